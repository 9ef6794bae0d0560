"""HJ 212 framing: the checksum, streams cut anywhere, lying lengths, packets built and read back."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.codecs.hj212.checksum import DIALECTS, crc, modbus, modbus_swapped
from devices.codecs.hj212.frame import PACKET_MAX, Packet, build, parse, split
from devices.errors import PayloadError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hj212.json").read_text())["vectors"]
PACKETS = [v["text"].encode() for v in VECTORS if v["crc_verified"]]
SHORT = [one for one in PACKETS if len(one) < 120]


def as_the_standard_writes_it(data: bytes) -> int:
    """The checksum, bit by bit."""
    value = 0xFFFF
    for byte in data:
        value = (value >> 8) ^ byte
        for _ in range(8):
            low = value & 1
            value >>= 1
            if low:
                value ^= 0xA001
    return value


def made(n: int = 0, cp: str = "QnRtn=1") -> bytes:
    return build(qn=f"2021041215452028{n % 10}", st="32", cn="9011", pw="123456", mn=f"MN-{n}", flag=4, cp=cp)


# Checksum


@given(st.binary(max_size=1100))
def test_the_checksum_by_folding_is_the_standard_s(data: bytes) -> None:
    assert crc(data) == as_the_standard_writes_it(data)


def test_the_checksum_holds_at_every_length_to_a_packet_s_largest() -> None:
    data = bytes(i * 7919 % 251 for i in range(9999))
    for size in (*range(130), 1023, 1024, 1025, 4095, 4096, 4097, 8191, 8192, 8193, 9998, 9999):
        assert crc(data[:size]) == as_the_standard_writes_it(data[:size])
        assert crc(bytes(size)) == as_the_standard_writes_it(bytes(size))


def test_there_are_256_checksums_and_one_changed_byte_always_changes_it() -> None:
    assert len({crc(bytes([a, b])) for a in range(256) for b in range(256)}) == 256
    assert len({crc(b"abc" + bytes([a]) + b"defghijklmn") for a in range(256)}) == 256


def test_the_modbus_checksums_are_those_of_the_published_check_value() -> None:
    assert (modbus(b"123456789"), modbus_swapped(b"123456789")) == (0x4B37, 0x374B)


# One packet


def test_the_standard_s_packet_is_read_field_by_field() -> None:
    body = next(one for one in PACKETS if one.endswith(b"1C80\r\n"))
    assert parse(body) == Packet(
        qn="20160801085857223",
        st="32",
        cn="1062",
        pw="100000",
        mn="010000A8900016F000169DC0",
        flag=5,
        cp="RtdInterval=30",
        cp_offset=body.index(b"RtdInterval"),
    )
    assert parse(body).items() == [{"RtdInterval": "30"}]


@pytest.mark.parametrize("body", PACKETS, ids=lambda body: body[-6:-2].decode())
def test_a_published_packet_built_again_is_the_same(body: bytes) -> None:
    packet = parse(body)
    again = build(
        qn=packet.qn, st=packet.st, cn=packet.cn, pw=packet.pw, mn=packet.mn, flag=packet.flag, cp=packet.cp
    )
    if b";CN=2051;QN=" in body:  # this logger has another order of fields
        assert parse(again) == packet
    else:
        assert again.upper() == body.upper()


def test_items_and_fields_keep_the_first_of_equal_names() -> None:
    packet = parse(made(cp="BeginTime=1,EndTime=2;a=3;a=4;;"))
    assert packet.items() == [{"BeginTime": "1", "EndTime": "2"}, {"a": "3"}, {"a": "4"}]
    assert packet.fields() == {"BeginTime": "1", "EndTime": "2", "a": "3"}


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="&"), max_size=200),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(1, 9999),
    st.sampled_from(sorted(DIALECTS)),
    st.none() | st.binary(min_size=16, max_size=16),
)
def test_a_packet_built_is_read_back(
    cp: str, flag: int | None, part: int | None, dialect: str, key: bytes | None
) -> None:
    body = build(
        qn="",
        st="32",
        cn="2011",
        pw="123456",
        mn="M",
        flag=flag,
        cp=cp,
        pnum=part,
        pno=part,
        crc_dialect=dialect,
        sm4_key=key,
    )
    packet = parse(body, crc_dialect=dialect, sm4_key=key)
    assert (packet.cp, packet.flag, packet.pnum, packet.pno) == (cp, flag, part, part)


@pytest.mark.parametrize(
    ("body", "expected", "offset"),
    [
        (b"", "##", 0),
        (b"#", "##", 0),
        (b"{}", "##", 0),
        (b"##12", "4 digits of length", 2),
        (b"##12a4xxxx", "4 digits of length", 2),
        (b"##0010abc", "10 bytes and a checksum", 9),
        (b"##0003abcXYZW", "4 hexadecimal digits after 3 bytes", 9),
        (made() + b"x", "CR LF and nothing else", len(made()) - 2),
        (b"##0003abc" + b"%04X" % crc(b"abc"), "CP=&&", 6),
        (b"##0006CP=&&a" + b"%04X" % crc(b"CP=&&a"), "&& behind CP", 12),
        (b"##0007CP=&&&&" + b"%04X" % crc(b"CP=&&&&"), "CN= with 4 digits", 6),
        (b"##0015CN=2011;CP=&&&&" + b"%04X" % crc(b"CN=2011;CP=&&&&"), "MN= with 1 to 64 characters", 6),
    ],
)
def test_what_is_no_packet_is_refused_with_what_was_expected_and_where(
    body: bytes, expected: str, offset: int
) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(body)
    assert f"expected {expected}" in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "field", [{"mn": "a;b"}, {"pw": "a&b"}, {"st": "#"}, {"cp": "x" * 10_000}, {"cp": "\ud800"}]
)
def test_a_packet_that_could_not_be_read_is_not_built(field: dict[str, str]) -> None:
    fields: dict[str, Any] = {"qn": "", "st": "32", "cn": "2011", "pw": "123456", "mn": "M", "cp": "", **field}
    with pytest.raises(PayloadError, match="nothing was built"):
        build(flag=4, **fields)


def segment(text: str, end: bytes = b"\r\n") -> bytes:
    data = text.encode()
    return b"##%04d%b%04X%b" % (len(data), data, crc(data), end)


WHOLE = "QN=20210412154520280;ST=32;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&a=1&&"


def test_of_fields_named_twice_the_first_counts() -> None:
    assert parse(segment("ST=32;ST=31;CN=2011;CN=2051;MN=a;MN=b;CP=&&&&")).mn == "a"


@pytest.mark.parametrize(
    "field", ["Flag=256", "Flag=-1", "Flag=x", "PNUM=10000", "PNO=1.5", "Flag", "CN=20A1", "MN=a b"]
)
def test_a_field_that_means_nothing_is_refused(field: str) -> None:
    with pytest.raises(PayloadError, match="expected"):
        parse(segment(f"{field};CN=2011;MN=a;CP=&&&&"))


def test_fields_behind_cp_are_taken_unless_strict() -> None:
    body = segment(WHOLE.replace("Flag=4;", "") + ";Flag=4")
    assert parse(body).flag == 4
    with pytest.raises(PayloadError, match="nothing behind CP"):
        parse(body, strict=True)


@pytest.mark.parametrize("end", [b"\n", b"\r", b" ", b"\r\n\r\n"])
def test_another_end_of_line_is_taken_unless_strict(end: bytes) -> None:
    assert (
        parse(segment(WHOLE, end)) == parse(segment(WHOLE, b""), strict=True) == parse(segment(WHOLE), strict=True)
    )
    with pytest.raises(PayloadError, match="CR LF"):
        parse(segment(WHOLE, end), strict=True)


def test_strict_reading_holds_cp_to_950_bytes_and_the_segment_to_1024() -> None:
    old = "ST=32;CN=2011;PW=123456;MN=88888880000001;CP=&&"
    parse(segment(old + "a" * 950 + "&&"), strict=True, version="2005")
    with pytest.raises(PayloadError, match="CP 951"):
        parse(segment(old + "a" * 951 + "&&"), strict=True, version="2005")
    with pytest.raises(PayloadError, match="got '1025"):
        parse(segment(WHOLE.replace("a=1", "a" * (1025 - len(WHOLE) + 3))), strict=True)


# Streams


def fed(pieces: list[bytes]) -> tuple[list[bytes], bytes, bytes]:
    """Packets, garbage and the rest, of a stream that comes in `pieces`."""
    buffer, packets, garbage = bytearray(), [], b""
    for piece in pieces:
        buffer += piece
        found = split(buffer)
        packets += found.packets
        garbage += b"".join(one.data for one in found.garbage)
        assert found.consumed <= len(buffer)
        del buffer[: found.consumed]
        assert len(buffer) <= PACKET_MAX
    return packets, garbage, bytes(buffer)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(marks)]


@given(
    st.lists(
        st.tuples(st.sampled_from(PACKETS), st.sampled_from([b"\r\n", b"\n", b"", b"\r\n\r\n", b" "])), max_size=6
    ),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_a_stream_gives_the_same_packets_however_it_is_cut(
    stream: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    data = b"".join(packet[:-2] + end for packet, end in stream)
    assert fed(cut(data, places)) == ([packet[:-2] for packet, _ in stream], b"", b"")


def test_a_stream_that_drips_byte_by_byte_gives_its_packets() -> None:
    data = b"".join(SHORT)
    assert fed([data[i : i + 1] for i in range(len(data))])[0] == [one[:-2] for one in SHORT]


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from(SHORT), max_size=8),
    st.lists(st.integers(0, 2000), max_size=6),
)
def test_any_stream_is_taken_and_no_byte_of_it_is_lost(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    packets, garbage, rest = fed(cut(data, places))
    blanks = sum(data.count(blank) for blank in (b"\r", b"\n", b" ", b"\t", b"\0"))
    assert len(data) - blanks <= sum(map(len, packets)) + len(garbage) + len(rest) <= len(data)


@pytest.mark.parametrize(
    "noise", [b"hello", b"#", b"##", b"##x", b"##12", b"##0000", b"##0005abcdeXXXX", b"\xff" * 50, b"###"]
)
def test_a_stream_goes_on_at_the_next_packet_behind_garbage(noise: bytes) -> None:
    found = split(noise + made(1) + noise + made(2))
    assert found.packets == [made(1)[:-2], made(2)[:-2]]
    assert b"".join(one.data for one in found.garbage) == noise * 2
    assert all(one.reason for one in found.garbage)


def test_a_wrong_checksum_comes_out_as_a_packet_for_its_reader_to_refuse() -> None:
    wrong = made(1)[:-6] + b"0000\r\n"
    found = split(wrong + made(2))
    assert found.packets == [wrong[:-2], made(2)[:-2]]
    with pytest.raises(PayloadError, match="expected checksum"):
        parse(found.packets[0])


@pytest.mark.parametrize("length", [b"0010", b"0070", b"0085", b"0200", b"0600", b"9999"])
def test_a_lying_length_costs_no_packet_behind_it(length: bytes) -> None:
    liar = b"##" + length + made(0)[6:]
    stream = liar + b"".join(made(n) for n in range(1, 9))
    found = split(stream)
    assert found.packets == [made(n)[:-2] for n in range(1, 9)]
    assert found.consumed >= len(stream) - 2


def test_a_length_that_ends_exactly_behind_another_packet_does_not_swallow_it() -> None:
    liar = b"##%04d" % (2 * len(made(1)) - 6 - 4 - 2) + made(1)[6:]
    assert split(liar + made(2)).packets == [made(2)[:-2]]


def test_a_length_too_large_is_noticed_as_soon_as_one_whole_packet_follows() -> None:
    liar = b"##9999" + made(0)[6:]
    assert split(liar) == ([], 0, [])
    assert split(liar + made(1)[:-20]).packets == []
    found = split(liar + made(1))
    assert found.packets == [made(1)[:-2]]
    assert found.garbage[0].data == liar[:-2] + b"\r\n"[: len(found.garbage[0].data) - len(liar) + 2]
    assert "reaches into the next packet" in found.garbage[0].reason


def test_a_packet_in_the_text_of_another_does_not_break_it() -> None:
    inner = made(1)[:-2].decode().replace("&", "")
    outer = made(2, cp=f"i-Info={inner}")
    assert split(outer).packets == [outer[:-2]]


HOSTILE = {
    "marks": b"#" * 65_536,
    "lengths": b"##9999" * 10_922,
    "digits": b"##9998" * 10_922,
    "short": b"##0000" * 10_922,
    "wrong": made(1)[:-6].join([b"##9990"] * 800),
    "doubtful": (b"##0020" + b"&" * 20 + b"0000") * 2184,
    "packets": made(1) * 750,
    "nothing": b" " * 65_536,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_buffer_takes_long(name: str) -> None:
    spent = []
    for _ in range(3):
        started = time.thread_time()
        split(HOSTILE[name])
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.05
