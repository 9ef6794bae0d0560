"""Modbus passed through by DTUs: whose reply, to which question, by which map; and nothing that writes."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.codecs import Context
from devices.codecs.modbus import CODEC
from devices.codecs.modbus.crc import crc16, sealed
from devices.codecs.modbus.frames import PAYLOAD_MAX, reply, request
from devices.codecs.modbus.numbers import SIZES, read, write
from devices.errors import PayloadError, RegistryError
from devices.readings import Sample

NOW = 1_790_000_000_000_000
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/modbus.json").read_text(encoding="utf-8"))
UNITS = {"unit_codes": {"0": "kPa", "1": "MPa"}}


def context(model: str = "", child: Callable[[str], Context | None] = lambda _: None, **settings: Any) -> Context:
    return Context(model=model, received_us=NOW, settings=settings, child=child)


def one(name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "address": 4, **more}


def answer(*words: int, unit: int = 1, function: int = 3) -> bytes:
    return reply("rtu", unit, function, struct.pack(f">{len(words)}H", *words))


def refusal(payload: bytes, sender: Context) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode(payload, sender)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["hex"]))
def test_published_frames_are_what_their_source_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    if vector["is"] == "request":
        assert CODEC.decode(payload, context()) == ()
    elif vector["is"] == "control":
        assert "control frame" in str(refusal(payload, context()))
    else:
        (sample,) = CODEC.decode(payload, context())
        assert sample == Sample("", NOW, vector["is"], units={})


@pytest.mark.parametrize("function", [5, 6, 15, 16, 22, 23])
def test_a_frame_that_writes_is_refused_and_never_built(function: int) -> None:
    body = {
        15: "010F0000000801FF",
        16: "0110000000010200FF",
        22: "01160004 00F2 0025",
        23: "0117 0000 0001 0000 0001 02 00FF",
    }.get(function, f"01{function:02X}0000FF00")
    assert "neither sends nor reads" in str(refusal(sealed(bytes.fromhex(body)), context("pressure-a")))
    for setting in (function, 0, 131):
        with pytest.raises(RegistryError):
            CODEC.check({"function": setting})


def test_map_a_takes_unit_and_decimals_from_the_device() -> None:
    (sample,) = CODEC.decode(answer(0, 3, 412), context("pressure-a", unit=1))
    assert (sample.values, sample.units) == ({"pressure": 0.412}, {"pressure": "MPa"})
    (sample,) = CODEC.decode(answer(1, 1, 0xFFFF), context(map="pressure-a"))
    assert (sample.values, sample.units) == ({"pressure": -0.1}, {"pressure": "kPa"})


def test_map_b_reads_floats_and_needs_to_be_told_its_unit_codes() -> None:
    words = [0] * 37
    words[0] = 1
    words[0x13:0x15] = struct.unpack(">2H", struct.pack(">f", 0.5))
    words[0x23:0x25] = struct.unpack(">2H", struct.pack(">f", 12.5))
    (sample,) = CODEC.decode(answer(*words), context("pressure-b", **UNITS))
    assert (sample.values, sample.units) == (
        {"pressure": 0.5, "temperature": 12.5},
        {"pressure": "MPa", "temperature": "degC"},
    )
    assert "unit_codes" in str(refusal(answer(*words), context("pressure-b")))


def test_a_unit_read_in_an_earlier_payload_is_remembered() -> None:
    sender = context("pressure-a")
    ask = request("rtu", 1, 3, 4, 1)
    assert "never read so far" in str(refusal(ask + answer(412), sender))
    assert CODEC.decode(request("rtu", 1, 3, 2, 2) + answer(1, 1), sender) == ()
    sender.memory.update(json.loads(json.dumps(sender.memory)))
    (sample,) = CODEC.decode(ask + answer(412), sender)
    assert (sample.values, sample.units) == ({"pressure": 41.2}, {"pressure": "kPa"})


def test_the_request_tells_where_a_reply_begins_also_in_the_message_before() -> None:
    sender = context(registers=[one(scale=0.1, unit="kPa")], reads=[])
    assert CODEC.decode(request("rtu", 1, 3, 3, 2), sender) == ()
    (sample,) = CODEC.decode(answer(7, 413), sender)
    assert sample == Sample("", NOW, {"x": 41.3}, units={"x": "kPa"})


def test_a_reply_of_another_size_than_asked_is_refused() -> None:
    sender = context(registers=[one()])
    assert "expected 4 bytes" in str(refusal(request("rtu", 1, 3, 3, 2) + answer(1, 2, 3), sender))
    assert "function 04 as requested" in str(refusal(request("rtu", 1, 4, 3, 2) + answer(1, 2), sender))


def test_a_request_has_one_reply_and_grows_old() -> None:
    sender = context(registers=[one()], reads=[{"start": 4, "count": 2}])
    CODEC.decode(request("rtu", 1, 3, 4, 1), sender)
    CODEC.decode(answer(1), sender)
    assert "set `reads` or `start`" in str(refusal(answer(1), sender))
    CODEC.decode(request("rtu", 1, 3, 4, 1), sender)
    sender.received_us += 61_000_000
    assert "set `reads` or `start`" in str(refusal(answer(1), sender))


def test_without_a_request_exactly_one_block_must_fit() -> None:
    registers = [one("a"), {"name": "b", "address": 20}]
    sender = context(registers=registers, reads=[{"start": 4, "count": 1}, {"start": 20, "count": 2}])
    assert CODEC.decode(answer(5, 6), sender)[0].values == {"b": 5.0}
    twice = context(registers=registers, reads=[{"start": 4, "count": 1}, {"start": 20, "count": 1}])
    assert "that fit 2" in str(refusal(answer(5), twice))
    assert CODEC.decode(answer(5), context(registers=registers, start=20))[0].values == {"b": 5.0}


def test_units_of_a_bus_are_their_own_devices_and_strangers_are_refused() -> None:
    child = context(registers=[one("temperature", unit="degC")])
    bus = context("pressure-a", lambda name: child if name == "7" else None, unit=1)
    mine, other = CODEC.decode(answer(1, 0, 400) + answer(21, unit=7), bus)
    assert (mine.device, mine.values) == ("", {"pressure": 400.0})
    assert (other.device, other.values) == ("7", {"temperature": 21.0})
    assert "expected unit 1" in str(refusal(answer(1, unit=9), bus))


def test_an_exception_is_refused_in_words_and_is_a_state_beside_readings() -> None:
    exception = sealed(bytes((7, 0x83, 2)))
    assert "exception 2 (illegal data address)" in str(refusal(exception, context()))
    child = context(registers=[one()])
    bus = context("pressure-a", lambda _: child, unit=1)
    mine, other = CODEC.decode(answer(1, 0, 400) + exception, bus)
    assert mine.values == {"pressure": 400.0}
    assert (other.device, other.values, other.states) == ("7", {}, {"exception": "2 (illegal data address)"})


@pytest.mark.parametrize(
    ("payload", "offset", "words"),
    [
        (b"", 0, "1 to 4096 bytes"),
        (b"\x01\x03", 2, "at least 5"),
        (bytes.fromhex("01030200017985"), 5, "expected CRC 79 84, got 79 85"),
        (bytes.fromhex("01030200018479"), 5, "(high byte first)"),
        (bytes.fromhex("010302000179"), 6, "8 or 7 bytes, got 6"),
        (bytes.fromhex("0103020001798401"), 8, "at least 5"),
        (bytes.fromhex("012B020001"), 1, "read function 01 to 04, got 2B"),
        (sealed(bytes.fromhex("0103050102030405")), 2, "byte count"),
        (sealed(bytes.fromhex("010300000000")), 2, "1 to 125 registers"),
        (sealed(bytes.fromhex("0103FFFF0002")), 2, "below 65536"),
        (bytes(PAYLOAD_MAX + 1), PAYLOAD_MAX, "bytes"),
    ],
)
def test_a_broken_frame_is_refused_at_its_place(payload: bytes, offset: int, words: str) -> None:
    error = refusal(payload, context())
    assert words in str(error)
    assert error.offset == offset


def test_numbers_that_are_none_are_left_out_or_refused() -> None:
    nan = struct.unpack(">2H", struct.pack(">f", float("nan")))
    pair = [one(type="float32"), {"name": "y", "address": 6, "type": "int16", "missing": 32767}]
    (sample,) = CODEC.decode(answer(*nan, 5), context(registers=pair))
    assert (sample.values, sample.states) == ({"y": 5.0}, {"x": "no value"})
    assert "no value" in str(refusal(answer(*nan, 32767), context(registers=pair)))
    assert "within 1e+15" in str(refusal(answer(0x7F80, 0, 1), context(registers=pair)))
    assert "digits 0 to 9" in str(refusal(answer(0x12AB), context(registers=[one(type="bcd16")])))


@given(st.floats(width=32))
def test_a_short_float_is_the_shortest_decimal_of_the_same_bits(value: float) -> None:
    data = struct.pack(">f", value)
    number = read(data, "float32", "abcd")
    assert number is not None
    assert math.isnan(value) or struct.pack(">f", number) == data
    assert read(struct.pack(">f", 103.4), "float32", "abcd") == 103.4


@pytest.mark.parametrize(
    ("order", "data"), [("abcd", "075BCD15"), ("cdab", "CD15075B"), ("badc", "5B0715CD"), ("dcba", "15CD5B07")]
)
def test_the_byte_orders_are_those_of_the_field(order: str, data: str) -> None:
    assert read(bytes.fromhex(data), "int32", order) == 123_456_789


def test_bits_three_bytes_long_are_told_from_a_request_by_what_is_awaited() -> None:
    registers = [{"name": f"b{at}", "address": at, "type": "bit"} for at in range(20)]
    sender = context(function=1, registers=registers)
    (sample,) = CODEC.decode(reply("rtu", 1, 1, b"\x05\x00\x08"), sender)
    assert [name for name, value in sample.values.items() if value] == ["b0", "b2", "b19"]


def test_a_reply_that_begins_with_what_checks_as_a_request_is_still_the_reply() -> None:
    asking_bytes = reply("rtu", 1, 3, bytes.fromhex("DFE4EF7F"))
    assert crc16(asking_bytes[:6]) == int.from_bytes(asking_bytes[6:8], "little")
    for payload in (asking_bytes, asking_bytes + answer(1, unit=1), request("rtu", 1, 3, 0, 2) + asking_bytes):
        assert CODEC.decode(payload, context())[0].values == {"r0": 0xDFE4, "r1": 0xEF7F}


def test_modbus_tcp_frames_are_read_when_set() -> None:
    sender = context("pressure-a", framing="tcp", unit=1, with_request=True)
    payload = CODEC.encode([Sample("", NOW, {"pressure": 412.5}, units={"pressure": "kPa"})], sender)
    assert payload[:7] == bytes((0, 0, 0, 0, 0, 6, 1))
    assert CODEC.decode(payload, sender)[0].values == {"pressure": 412.5}
    assert "header" in str(refusal(payload[1:], sender))


@pytest.mark.parametrize(
    "settings",
    [
        {"unit": 256},
        {"function": 6},
        {"map": "pressure-c"},
        {"map": "pressure-a", "registers": [one()]},
        {"registers": []},
        {"registers": [one(), one()]},
        {"registers": [one(type="int8")]},
        {"registers": [one(type="bit")]},
        {"registers": [one(order="abdc")]},
        {"registers": [one(unit="furlong")]},
        {"registers": [one(scale=0)]},
        {"registers": [one(colour=1)]},
        {"registers": [{"name": "x", "address": 65535, "type": "int32"}]},
        {"registers": [one(address=-1)]},
        {"registers": [one(unit_register=2)]},
        {"reads": [{"start": 0, "count": 126}]},
        {"reads": [{"start": 65535, "count": 2}]},
        {"start": -1},
        {"unit_codes": {"a": "kPa"}},
        {"framing": "ascii"},
        {"baud": 9600},
        {"unit": "1"},
    ],
)
def test_a_setting_without_meaning_is_refused_in_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(RegistryError) as caught:
        CODEC.check(settings)
    assert "\n" not in str(caught.value)
    assert "not taken" in str(caught.value)


def test_an_unknown_model_is_refused_with_what_to_set() -> None:
    assert "pressure-a, pressure-b or the setting registers" in str(refusal(answer(1), context("PT-100")))
    assert CODEC.decode(answer(1), context("PT-100", registers=[one()]))


WHOLE = {"int16": (-(2**15), 2**15), "uint16": (0, 2**16), "int32": (-(2**31), 2**31), "uint32": (0, 2**32)}
WHOLE |= {"bcd16": (0, 10**4), "bcd32": (0, 10**8), "bcd48": (0, 10**12)}


@given(
    kind=st.sampled_from(sorted(WHOLE)),
    order=st.sampled_from(("abcd", "cdab", "badc", "dcba")),
    number=st.integers(),
    ask=st.booleans(),
)
def test_what_is_encoded_decodes_to_the_same_number(kind: str, order: str, number: int, *, ask: bool) -> None:
    low, high = WHOLE[kind]
    value = (low + number % (high - low)) / 10
    sender = context(registers=[one(type=kind, order=order, scale=0.1, unit="kPa")], with_request=ask)
    sample = Sample("", NOW, {"x": value}, units={"x": "kPa"})
    assert CODEC.decode(CODEC.encode([sample], sender), sender) == (sample,)


@given(st.floats(-1e15, 1e15), st.sampled_from(("abcd", "cdab", "badc", "dcba")))
def test_floats_come_back_to_the_last_bit(value: float, order: str) -> None:
    sender = context(registers=[one(type="float64", order=order)])
    (sample,) = CODEC.decode(CODEC.encode([Sample("", 0, {"x": value})], sender), sender)
    assert sample.values == {"x": value}


@given(st.sampled_from([kind for kind in SIZES if kind != "bit"]), st.floats() | st.integers())
def test_a_number_is_written_whole_or_not_at_all(kind: str, value: float) -> None:
    data = write(value, kind, "cdab")
    if data is not None and not math.isnan(value) and not kind.startswith("float"):
        assert read(data, kind, "cdab") == round(value)


def poke(payload: bytes) -> None:
    for sender in (
        context(),
        context("pressure-a", unit=1),
        context("pressure-b", framing="tcp"),
        context(function=1),
    ):
        try:
            CODEC.decode(payload, sender)
        except PayloadError as error:
            place = error.offset
        else:
            place = 0
        assert -1 <= place <= len(payload)


@given(st.binary(max_size=60))
def test_any_bytes_give_samples_or_a_payload_error(payload: bytes) -> None:
    poke(payload)
    poke(sealed(payload))
    poke(sealed(b"\x01\x03" + payload))


@given(st.binary(min_size=6, max_size=6), st.integers(0, 18), st.integers(0, 255))
def test_a_changed_byte_gives_samples_or_a_payload_error(data: bytes, place: int, byte: int) -> None:
    payload = bytearray(request("rtu", 1, 3, 2, 3) + reply("rtu", 1, 3, data))
    payload[place] = byte
    poke(bytes(payload))


def test_the_longest_payload_takes_little_time() -> None:
    worst = request("rtu", 1, 3, 0, 100) * (PAYLOAD_MAX // 8)
    assert quickest(worst) < 0.05
    replies = b"".join(reply("rtu", unit % 256, 1, b"\xff" * 250) for unit in range(16))
    assert quickest(replies) < 0.05


def quickest(payload: bytes) -> float:
    """Seconds, the best of five: the machine has other work."""
    spent = []
    for _ in range(5):
        begin = time.perf_counter()
        CODEC.decode(payload, context())
        spent.append(time.perf_counter() - begin)
    return min(spent)


@pytest.mark.parametrize(
    "sample",
    [
        Sample("", 0, {"y": 1.0}),
        Sample("", 0, {}),
        Sample("", 0, {"x": 4e4}),
        Sample("", 0, {"x": float("inf")}),
        Sample("300", 0, {"x": 1.0}),
    ],
)
def test_what_a_register_cannot_hold_is_not_encoded(sample: Sample) -> None:
    with pytest.raises(PayloadError):
        CODEC.encode([sample], context(registers=[one(type="int16")]))


def test_the_check_is_that_of_the_standard() -> None:
    assert crc16(b"123456789") == 0x4B37


def test_names_and_units_of_a_map_are_told() -> None:
    assert CODEC.fields(context("pressure-b", **UNITS)) == {"pressure": "kPa", "temperature": "degC"}
