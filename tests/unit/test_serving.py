"""A simulated board behind a real port: bytes both ways, control lines, a pulled plug, the pace of a line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.firmware.link import Line, SerialLink
from devices.simulator.boards.paced import Paced
from devices.simulator.boards.serving import Served, serve_pty, serve_rfc2217, serve_tcp

EVERY_BYTE = bytes(range(256))


class Echo:
    """Gives back what it gets, and remembers its control lines and power cuts."""

    def __init__(self) -> None:
        self.lines: list[tuple[bool | None, bool | None]] = []
        self.cuts = 0

    def receive(self, data: bytes) -> bytes:
        return data

    def elapse(self, _seconds: float) -> bytes:
        return b""

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        self.lines.append((dtr, rts))

    def power_cut(self) -> None:
        self.cuts += 1


def echoed(served: Served, data: bytes = EVERY_BYTE) -> bytes:
    link = SerialLink(served.url)
    try:
        link.write(data)
        return link.read(len(data), 5.0)
    finally:
        link.close()


@pytest.mark.parametrize("serve", [serve_tcp, serve_pty, serve_rfc2217])
def test_every_byte_passes_both_ways_and_the_next_host_is_served_too(serve) -> None:
    with serve(Echo()) as served:
        assert echoed(served) == EVERY_BYTE
        assert echoed(served) == EVERY_BYTE


def test_control_lines_reach_a_board_behind_rfc_2217() -> None:
    board = Echo()
    with serve_rfc2217(board) as served:
        link = SerialLink(served.url)
        board.lines.clear()
        link.control(dtr=True)
        link.control(rts=True, dtr=False)
        link.close()
    assert board.lines == [(True, None), (False, None), (None, True)]


def test_a_pulled_plug_ends_the_connection_and_the_power() -> None:
    board = Echo()
    with serve_tcp(board) as served:
        link = SerialLink(served.url)
        link.write(b"x")
        assert link.read(1, 5.0) == b"x"
        served.unplug(power_too=True)
        with pytest.raises(Exception, match="the line is gone"):
            link.read(1, 5.0)
        assert board.cuts == 1
        link.reopen()
        link.write(b"y")
        assert link.read(1, 5.0) == b"y"
        link.close()


def test_a_paced_port_is_never_faster_than_its_line() -> None:
    line = Line(115200)
    with serve_tcp(Echo(), line) as served:
        begun = time.perf_counter()
        assert echoed(served, bytes(1152)) == bytes(1152)
        assert time.perf_counter() - begun >= 1152 * line.byte_s


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=20), step_s=st.floats(0.0005, 0.05))
def test_bytes_come_in_order_and_when_the_line_has_carried_them(sizes: list[int], step_s: float) -> None:
    paced, byte_s = Paced(0.001), 0.001
    sent = b"".join(bytes([i % 256]) * size for i, size in enumerate(sizes))
    now, found = 0.0, b""
    for i, size in enumerate(sizes):
        paced.put(bytes([i % 256]) * size, now)
    while len(found) < len(sent):
        now += step_s
        data, last = paced.take(now)
        found += data
        assert len(found) * byte_s <= now + 1e-6
        assert last <= now + 1e-6
        assert len(sent) - len(found) <= max(len(sent) - now / byte_s + 1.001, 0)
    assert found == sent
    assert paced.next_at() is None


def test_of_a_long_piece_nothing_comes_before_a_frame_of_it_is_there() -> None:
    paced = Paced(0.1, frame_s=1.0)
    paced.put(bytes(25), 0.0)
    assert paced.next_at() == 1.0
    assert paced.take(0.95) == (b"", 0.95)
    assert paced.take(1.05) == (bytes(10), 1.0)
    assert paced.take(1.5)[0] == b""
    assert len(paced.take(2.5)[0]) == 15
