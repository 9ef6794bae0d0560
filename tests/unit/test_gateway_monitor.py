"""What an engineer sees of a gateway's line: frames, log text, and readings in every form they come in."""

from __future__ import annotations

import threading
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli.gateway_monitor import _listen
from deploy.gateways.monitor import Monitor
from devices.errors import LinkError
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Configuration, Field
from devices.firmware.application.frames import Frame
from devices.firmware.application.messages import Request, Tag, pack
from devices.firmware.link import SerialLink
from devices.simulator.boards.application import GatewayApplication
from tests.fakes.serial_line import SerialLine
from tests.support.hj212 import packet

NOW_US = 1_767_600_000_000_000
WATER = "6810010000050800008116901f00002301002c000000002c0000000000000000004816"


def seen(*bursts: bytes) -> list[str]:
    lines: list[str] = []
    monitor = Monitor(lines.append, lambda: NOW_US)
    for burst in bursts:
        monitor.feed(burst)
        monitor.silence()
    monitor.flush()
    return lines


def test_a_log_line_stands_as_it_came() -> None:
    assert seen(b"modem: registered, rssi -71\r\n") == ["modem: registered, rssi -71"]


def test_control_characters_move_no_cursor() -> None:
    assert seen(b"\x1b[2Jgone\x0b\n") == ["\\x1b[2Jgone\\x0b"]


def test_a_line_in_pieces_is_one_line() -> None:
    assert seen(b"link", b": up\r", b"\nnext\n") == ["link: up", "next"]


def test_json_in_a_log_line_is_decoded() -> None:
    line = 'tx {"v":1,"id":"WP-1","t":1767600000000,"seq":7,"m":{"pressure_kpa":412.5}}'
    text, decoded = seen(f"{line}\r\n".encode())
    assert text == line
    assert decoded.startswith('  = json: {"device":"WP-1","time":"2026-01-05T16:00:00+08:00"')


def test_json_that_does_not_decode_says_where_and_why() -> None:
    fault = seen(b'{"v":1,"id":"WP-1","t":0,"m":{"p":1}}\n')[1]
    assert fault.startswith("  ! json: json v1: t: expected epoch milliseconds")
    assert "stopped at byte 23 of" in fault


@pytest.mark.parametrize(
    "text", [WATER, f"rx {WATER.upper()}", " ".join(WATER[i : i + 2] for i in range(0, 70, 2))]
)
def test_a_meters_frame_in_hex_is_decoded(text: str) -> None:
    lines = seen(f"{text}\n".encode())
    assert lines[1].startswith("  = cjt188: ")
    assert '"units"' in lines[1]


def test_a_meters_bare_frame_is_decoded_though_it_has_zeros() -> None:
    lines = seen(bytes.fromhex(WATER))
    assert lines[0].startswith("68 10 01 00")
    assert lines[1].startswith("  = cjt188: ")


def test_a_modbus_reply_in_hex_is_read_by_the_request_before_it() -> None:
    lines = seen(b"01 03 00 00 00 01 84 0A\n", b"01 03 02 00 01 79 84\n")
    assert lines[1] == "  = modbus: a well-formed frame without readings"
    assert '"values":{"r0":1}' in lines[3]


def test_hj212_is_decoded_and_its_password_is_not_shown() -> None:
    lines = seen(packet("DataTime=20260105160000;w01001-Rtd=7.1"))
    assert "PW=******" in lines[0]
    assert "123456" not in "".join(lines)


def test_a_conversation_of_the_protocol_is_one_line_a_frame_without_its_secrets() -> None:
    board = GatewayApplication()
    line = SerialLine(board)
    heard = bytearray()
    receive = board.receive

    def both(data: bytes) -> bytes:
        answer = receive(data)
        heard.extend(data + answer)
        return answer

    board.receive = both  # type: ignore[method-assign]
    Client(line).configure(Configuration(gateway="GW-1", district="d", host="h", password="hunter2"))
    lines = seen(bytes(heard))
    assert any(one.startswith("<SET asks #") and "PASSWORD='set'" in one for one in lines)
    assert any(one.startswith("<COMMIT answer #") for one in lines)
    assert "configuration stored" in lines
    assert "hunter2" not in "".join(lines)


def test_a_refusal_says_why() -> None:
    frame = Frame(0xC0 | Request.GET, 7, pack([(Tag.CODE, b"\x09"), (Tag.ABOUT, bytes((Field.PASSWORD,)))]))
    assert seen(frame.wire) == ["<GET refused #7> (the field is secret and is never answered) ABOUT=70"]


def test_a_damaged_frame_is_a_line_without_its_bytes() -> None:
    wire = bytearray(Frame(Request.SET, 1, pack([(Field.PASSWORD, b"hunter2")])).wire)
    wire[-2] ^= 1
    (line,) = seen(bytes(wire))
    assert line.startswith("<damaged> ")
    assert "hunter2" not in line


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_bytes_are_lines_that_can_be_shown(bursts: list[bytes]) -> None:
    assert all(line.isprintable() for line in seen(*bursts))


class Unplugged:
    """A line that is gone at its second read, and back at the second attempt to open it."""

    url = "fake://line"

    def __init__(self) -> None:
        self.reads = iter([b"before\n", LinkError("fake://line: the line is gone"), b"after\n", b"", b""])
        self.attempts = 0

    def read(self, size: int, timeout_s: float) -> bytes:
        assert (size, timeout_s) == (4096, 0.02)
        came = next(self.reads)
        if isinstance(came, LinkError):
            raise came
        return came

    def reopen(self) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise LinkError("not yet")


def test_a_line_that_goes_away_is_waited_for_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    monitor = Monitor(lines.append, lambda: NOW_US)
    link = Unplugged()
    for _ in range(4):
        _listen(cast("SerialLink", link), monitor, threading.Event())
    monitor.flush()
    assert lines == ["before", "after"]
    assert capsys.readouterr().err.splitlines() == [
        "undercity: fake://line: the line is gone",
        "undercity: fake://line: the line is back",
    ]
