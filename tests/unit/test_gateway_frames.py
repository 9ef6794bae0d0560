"""Frames among log text: any bytes, in any pieces."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import PayloadError
from devices.firmware.application.frames import (
    BODY_MAX,
    Damaged,
    Frame,
    FrameReader,
    Item,
    Words,
    cobs,
    crc16,
    parse,
    uncobs,
)
from devices.firmware.application.messages import Hello, Status, pack, unpack

FRAMES = st.builds(
    Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=BODY_MAX), st.integers(1, 7)
)
LOG = st.text(st.characters(min_codepoint=8, max_codepoint=0x2FF), max_size=60).map(str.encode)


def read(line: bytes, size: int = 0) -> list[Item]:
    reader = FrameReader()
    pieces = [line[at : at + size] for at in range(0, len(line), size)] if size else [line]
    return [item for piece in pieces for item in reader.feed(piece)] + list(reader.flush())


@given(st.binary(max_size=1100))
def test_cobs_has_no_zero_and_comes_back(data: bytes) -> None:
    assert 0 not in cobs(data)
    assert uncobs(cobs(data)) == data
    assert len(cobs(data)) <= len(data) + len(data) // 254 + 1


@pytest.mark.parametrize("size", [253, 254, 255, 508, 509])
def test_cobs_of_long_runs_comes_back(size: int) -> None:
    for data in (b"\1" * size, b"\1" * size + b"\0", b"\0" + b"\1" * size, b"\1" * size + b"\0\2"):
        assert uncobs(cobs(data)) == data


@given(FRAMES)
def test_a_frame_comes_back(frame: Frame) -> None:
    assert parse(frame.wire[1:-1]) == frame


@given(st.binary(max_size=1200))
def test_any_bytes_between_delimiters_are_a_frame_or_a_payload_error(data: bytes) -> None:
    try:
        frame = parse(data)
    except PayloadError:
        return
    assert parse(frame.wire[1:-1]) == frame


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_on_the_line_are_items_and_no_byte_but_delimiters_is_lost(data: bytes, size: int) -> None:
    shown = b"".join(one.wire[1:-1] if isinstance(one, Frame) else one.data for one in read(data, size))
    assert sorted(shown) == sorted(data.replace(b"\0", b""))


@given(st.lists(st.tuples(LOG, FRAMES), max_size=5), st.integers(1, 50))
def test_text_and_frames_share_a_line_whatever_the_pieces(parts: list[tuple[bytes, Frame]], size: int) -> None:
    items = read(b"".join(text + frame.wire for text, frame in parts), size)
    assert [one for one in items if isinstance(one, Frame)] == [frame for _, frame in parts]
    assert b"".join(one.data for one in items if isinstance(one, Words)) == b"".join(text for text, _ in parts)


def test_text_behind_a_frame_is_passed_on_before_the_next_delimiter() -> None:
    reader = FrameReader()
    list(reader.feed(Frame(1, 1).wire))
    assert list(reader.feed(b"link up\r\n")) == [Words(b"link up\r\n")]


@given(FRAMES, st.data())
def test_one_garbled_bit_never_gives_another_frame(frame: Frame, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(frame.wire) - 2))
    bit = data.draw(st.integers(0, 7))
    spoilt = bytearray(frame.wire)
    spoilt[at] ^= 1 << bit
    assert all(one == frame for one in read(bytes(spoilt)) if isinstance(one, Frame))


def test_a_frame_whose_end_was_lost_costs_only_itself() -> None:
    first, second = Frame(1, 1, b"x" * 20), Frame(1, 2)
    items = read(first.wire[:-1] + b"log\n" + second.wire)
    assert [type(one) for one in items] == [Damaged, Frame]
    assert items[-1] == second


def test_what_begins_like_a_frame_and_never_ends_is_bounded() -> None:
    reader = FrameReader()
    items = [
        item for _ in range(100) for item in reader.feed(b"\0\5\1" + b"x" * 50 if not reader.inside else b"x" * 50)
    ]
    assert any(isinstance(item, Damaged) for item in items)


def test_the_check_value_of_the_crc() -> None:
    assert crc16(b"123456789") == 0x29B1


def test_a_body_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(PayloadError, match="at most 1024 bytes, got 1025"):
        _ = Frame(1, 1, b"x" * 1025).wire


def test_no_representation_shows_a_body() -> None:
    frame = Frame(4, 1, b"hunter2")
    assert "hunter2" not in f"{frame!r} {Damaged(frame.wire, 'frame: cut')!r}"


@given(st.dictionaries(st.integers(0, 255), st.binary(max_size=600), max_size=4))
def test_a_body_comes_back_long_values_joined(values: dict[int, bytes]) -> None:
    assert unpack(pack(values.items())) == values


@given(st.binary(max_size=200))
def test_any_body_gives_records_or_a_payload_error(body: bytes) -> None:
    for understand in (unpack, Hello.unpack, Status.unpack):
        with contextlib.suppress(PayloadError):
            understand(body)


TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=100)


@given(
    st.builds(
        Hello,
        protocols=st.lists(st.integers(1, 255), max_size=3).map(tuple),
        board=TEXTS,
        revision=TEXTS,
        chip=TEXTS,
        serial=TEXTS,
        version=TEXTS,
        provisioned=st.booleans(),
        uptime_s=st.integers(0, 2**32 - 1),
        security_counter=st.integers(-1, 2**32 - 1),
        image_digest=st.sampled_from([b"", bytes(range(32))]),
        utc_ms=st.integers(0, 2**48),
        commit_id=st.sampled_from([b"", bytes(8)]),
        body_max=st.integers(0, 65535),
    )
)
def test_a_hello_comes_back(hello: Hello) -> None:
    assert Hello.unpack(hello.pack()) == hello


def test_a_device_moves_nobodys_cursor() -> None:
    status = Status.unpack(Status(connection=1, text="\x1b[2Jgone\n").pack())
    assert status.text == "�[2Jgone�"
