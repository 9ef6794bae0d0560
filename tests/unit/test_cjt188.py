"""CJ/T 188: every published reply reads as its source says; everything else is refused by name and place."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import Context
from devices.codecs.cjt188 import CODEC
from devices.codecs.cjt188.frames import PAYLOAD_MAX
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "cjt188.json").read_text("utf-8")
)
READINGS = [v for v in VECTORS if v["crc_verified"] and v["expected"] is not None]
HEAT, UNIT_FIRST, WATER = READINGS[0], READINGS[4], READINGS[-2]
BEIJING = timezone(timedelta(hours=8))
RECEIVED_US = 1_767_600_000_000_000  # 2026-01-05 08:00 UTC
NAMES = {
    "settle_heat_kWh": ("settlement_energy", "kWh"),
    "settle_heat_MWh": ("settlement_energy", "MWh"),
    "heat_kWh": ("energy", "kWh"),
    "heat_MWh": ("energy", "MWh"),
    "power_kW": ("power", "kW"),
    "flow_m3h": ("flow", "m3/h"),
    "volume_m3": ("volume", "m3"),
    "total_L": ("volume", "L"),
    "t_supply": ("supply_temperature", "degC"),
    "t_return": ("return_temperature", "degC"),
    "hours": ("hours", "h"),
}


def decode(payload: bytes, **dialect: str) -> tuple[Sample, ...]:
    return CODEC.decode(payload, Context(received_us=RECEIVED_US, settings=dialect))


def raw(vector: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"])


def refusal(payload: bytes, **dialect: str) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        decode(payload, **dialect)
    assert "\n" not in str(caught.value)
    return caught.value


def reply(data: str, *, kind: int = 0x20, control: int = 0x81, address: str = "78563412005942") -> bytes:
    """A frame around `data`, its checksum right."""
    body = bytes.fromhex(data)
    frame = bytes((0x68, kind)) + bytes.fromhex(address) + bytes((control, len(body))) + body
    return frame + bytes((sum(frame) & 0xFF, 0x16))


def heat(
    energy: str = "1234560005",
    power: str = "0000000017",
    supply: str = "164900",
    clock: str = "20111131101120",
    status: str = "0000",
) -> str:
    return f"901f000000000005{energy}{power}00000000350000 00002c{supply}581700150000{clock}{status}"


@pytest.mark.parametrize("vector", READINGS, ids=lambda v: v["hex"][:40])
def test_a_published_reply_reads_as_its_source_says(vector: dict[str, Any]) -> None:
    (sample,) = decode(raw(vector))
    expected = vector["expected"]
    for name, number in expected.items():
        if name in NAMES:
            ours, unit = NAMES[name]
            assert (sample.values[ours], (sample.units or {})[ours]) == (number, unit)
    if "addr" in expected:
        assert sample.device.endswith(expected["addr"])
    if "time" in expected:
        moment = datetime.fromtimestamp(sample.time_us / 1e6, BEIJING)
        assert moment.strftime("%Y-%m-%d %H:%M:%S") == expected["time"][:19]
    if "st" in expected and expected["st"] != "0000":
        assert (sample.states or {})["status"] == expected["st"]
    for name in ("flow", "volume"):
        if f"{name}_unit" in expected:
            assert (sample.units or {})[name] == expected[f"{name}_unit"].split()[1]


def test_a_checksum_that_is_wrong_is_refused_with_both_numbers() -> None:
    (vector,) = [v for v in VECTORS if v["crc_verified"] is False]
    error = refusal(raw(vector))
    assert "expected checksum 6F, got 6D" in str(error)
    assert error.offset == len(raw(vector)) - 2


@pytest.mark.parametrize("layout", ["read request", "broadcast read request", "broadcast read address"])
def test_a_request_is_well_formed_and_carries_no_reading(layout: str) -> None:
    (vector,) = [v for v in VECTORS if v["layout"] == layout]
    assert decode(raw(vector)) == ()


def test_a_valve_frame_is_refused_by_what_it_is() -> None:
    (vector,) = [v for v in VECTORS if v["layout"] == "valve open (write)"]
    payload = raw(vector)
    error = refusal(payload)
    assert "a control frame (valve), which monitoring neither sends nor reads" in str(error)
    assert error.offset == payload.index(0x68) + 9


@pytest.mark.parametrize("control", [0x04, 0x15, 0x16, 0x84, 0x95])
def test_a_write_is_refused_even_between_readings(control: int) -> None:
    error = refusal(raw(HEAT) + reply("a0180101", control=control) + raw(HEAT))
    assert "control frame" in str(error)


def test_the_echo_of_a_request_is_passed_over_where_its_reply_follows() -> None:
    (request,) = [raw(v) for v in VECTORS if v["layout"] == "read request"]
    assert decode(request + raw(WATER)) == decode(raw(WATER))


def test_replies_one_after_another_each_give_a_sample() -> None:
    samples = decode(b"\xfe" * 40 + raw(HEAT) + raw(UNIT_FIRST) + raw(WATER))
    assert [s.device for s in samples] == [decode(raw(v))[0].device for v in (HEAT, UNIT_FIRST, WATER)]
    assert samples[1].values["flow"] == 0.45


def test_the_maker_with_control_a1_reads_with_its_unknown_tail_as_words() -> None:
    (vector,) = [v for v in VECTORS if "control A1" in v["layout"]]
    (sample,) = decode(raw(vector))
    assert sample.values == {"volume": 0.0, "settlement_volume": 0.0, "flow": 0.0}
    assert sample.states == {"status": "40210002"}
    assert datetime.fromtimestamp(sample.time_us / 1e6, BEIJING) == datetime(
        2019, 12, 16, 14, 20, 41, tzinfo=BEIJING
    )


@pytest.mark.parametrize(
    ("noisy", "offset"),
    [
        (b"\x00" + raw(HEAT), 0),
        (raw(HEAT) + b"\x00", len(raw(HEAT))),
        (raw(HEAT) + b"\xfe\xfe", len(raw(HEAT)) + 2),
    ],
)
def test_noise_around_a_frame_is_refused_where_it_stands(noisy: bytes, offset: int) -> None:
    assert refusal(noisy).offset == offset


@pytest.mark.parametrize("payload", [b"", b"\xfe" * 9, raw(HEAT)[:-1], b"\xfe" * (PAYLOAD_MAX + 1)])
def test_bytes_without_a_whole_frame_are_refused(payload: bytes) -> None:
    refusal(payload)


@pytest.mark.parametrize("kind", [0x00, 0x1A, 0x2A, 0x3A, 0x40, 0xFF])
def test_other_meters_are_refused(kind: int) -> None:
    assert refusal(reply(heat(), kind=kind)).offset == 1


def test_units_come_as_the_meter_codes_them() -> None:
    (sample,) = decode(reply(heat(energy="1234560013", power="000100001a")))
    assert (sample.values["energy"], (sample.units or {})["energy"]) == (563412.0, "GJ")  # 5634.12 x 100
    assert (sample.values["power"], (sample.units or {})["power"]) == (1.0, "MW")


@pytest.mark.parametrize("sentinel", ["eeeeeeee17", "ffffffff17", "0000000000", "ffffffffff"])
def test_digits_that_are_none_leave_the_value_absent(sentinel: str) -> None:
    (sample,) = decode(reply(heat(power=sentinel)))
    assert "power" not in sample.values
    assert "power" not in (sample.units or {})
    assert (sample.states or {})["absent"] == "power"
    assert sample.values["energy"] == 5634.12


def test_a_reply_of_sentinels_only_is_refused() -> None:
    data = "901f00" + ("ffffffff05" * 2 + "ffffffff17ffffffff35ffffffff2c") + "ff" * 9 + "20111131101120" + "0000"
    assert "decimal digits" in str(refusal(reply(data)))


@pytest.mark.parametrize(
    ("status", "valve", "battery", "words"),
    [
        ("0000", 0.0, 0.0, None),
        ("0100", 1.0, 0.0, {"valve": "closed"}),
        ("0300", 3.0, 0.0, {"valve": "fault"}),
        ("0400", 0.0, 1.0, None),
        ("00ff", 0.0, 0.0, {"status": "00FF"}),
        ("0800", 0.0, 0.0, {"status": "0800"}),
        ("0200", None, 0.0, {"valve": "undefined"}),
        ("ff00", None, None, {"status": "FF00"}),
    ],
)
def test_status_bits_become_valve_battery_and_words(
    status: str, valve: float | None, battery: float | None, words: dict[str, str] | None
) -> None:
    (sample,) = decode(reply(heat(status=status)))
    assert (sample.values.get("valve"), sample.values.get("battery_low")) == (valve, battery)
    assert sample.states == words


def test_a_low_battery_makes_what_was_measured_suspect() -> None:
    (sample,) = decode(reply(heat(status="0400")))
    assert (sample.flags or {})["energy"] is Quality.SUSPECT
    assert "battery_low" not in (sample.flags or {})


@pytest.mark.parametrize("clock", ["00000000000000", "eeeeeeeeeeeeee", "20111132131120", "20111131100000"])
def test_a_clock_that_is_not_set_gives_way_to_our_receipt(clock: str) -> None:
    (sample,) = decode(reply(heat(clock=clock)))
    assert sample.time_us == RECEIVED_US
    assert sample.states == {"clock": "not set"}


def test_a_clock_that_reads_both_ways_is_the_one_of_today() -> None:
    # High byte first 2026-01-05 08:20:20, our receipt's day; low byte first 2020-08-05 01:26:20.
    (sample,) = decode(reply(heat(clock="20260105082020")))
    assert datetime.fromtimestamp(sample.time_us / 1e6, BEIJING).date().isoformat() == "2026-01-05"


BIG = "901f0000123456050012345705000002391700004500350045678 92c".replace(" ", "") + "004916" + "001758" + "000015"


def test_high_byte_first_is_found_by_temperatures_and_clock() -> None:
    (sample,) = decode(reply(BIG + "20111031111120" + "0000"))
    assert sample.values["energy"] == 1234.57
    assert sample.values["flow"] == 0.45
    assert (sample.values["supply_temperature"], sample.values["hours"]) == (49.16, 15.0)
    assert datetime.fromtimestamp(sample.time_us / 1e6, BEIJING).isoformat() == "2011-10-31T11:11:20+08:00"


def test_a_setting_decides_the_layout() -> None:
    frame = reply(heat(clock="20111131101120"))
    assert decode(frame, layout="value_unit")[0].values["energy"] == 5634.12
    assert decode(frame, layout="big_endian")[0].values["energy"] == 123456.0
    assert "layout unit_value" in str(refusal(frame, layout="unit_value"))
    assert decode(raw(UNIT_FIRST), layout="unit_value") == decode(raw(UNIT_FIRST))


def test_unit_codes_in_both_places_are_refused_until_a_setting_decides() -> None:
    frame = reply("901f0029000012292900000029310122110515200000", kind=0x10)  # 29: litres, and a digit pair
    assert "`layout`" in str(refusal(frame))
    assert decode(frame, layout="value_unit")[0].values["volume"] == 120000.29


def test_codes_that_no_layout_allows_are_refused_with_what_stood_there() -> None:
    error = refusal(reply(heat(power="0000000005")))
    assert "05 05 05 35 2C behind the values" in str(error)
    assert error.offset == 14


def test_a_unit_code_of_zero_stands_only_for_a_value_that_is_zero_as_a_whole() -> None:
    assert "05 05 00 35 2C behind the values" in str(refusal(reply(heat(power="3902000000"))))


def test_a_frame_that_does_not_end_with_16_is_refused() -> None:
    assert refusal(raw(HEAT)[:-1] + b"\x17").offset == len(raw(HEAT)) - 1


@pytest.mark.parametrize("di", ["d120", "20d1", "d12b", "2bd1"])
def test_a_past_month_is_no_present_reading(di: str) -> None:
    error = refusal(reply(di + "00" + "0000000005"))
    assert "past month" in str(error)
    assert error.offset == 11


def test_other_lengths_and_identifiers_are_refused() -> None:
    assert "46 bytes" in str(refusal(reply(heat() + "00")))
    assert "DI 901F" in str(refusal(reply("a017" + heat()[4:])))
    assert "no data" in str(refusal(reply("")))


def test_settings_other_than_the_layout_are_not_taken() -> None:
    CODEC.check({"layout": "unit_value", "clock": "received"})
    for wrong in ({"layout": "sideways"}, {"layout": 3}, {"byteorder": "big"}):
        with pytest.raises(RegistryError):
            CODEC.check(wrong)


DIGITS = {"energy": 2, "settlement_energy": 2, "power": 2, "flow": 3, "volume": 2}
VALUES = st.fixed_dictionaries(
    {},
    optional={name: st.integers(0, 9_999_999).map((10.0**-digits).__mul__) for name, digits in DIGITS.items()}
    | {
        name: st.integers(0, 19_999).map(lambda n: n / 100)
        for name in ("supply_temperature", "return_temperature")
    }
    | {"hours": st.integers(0, 999_999).map(float)},
).filter(bool)
STATUS = st.fixed_dictionaries(
    {"valve": st.sampled_from((0.0, 1.0, 3.0)), "battery_low": st.sampled_from((0.0, 1.0))}
)
SAMPLES = st.builds(
    lambda device, second, values, status: Sample(device, second * 1_000_000, values | status),
    st.integers(0, 10**14 - 1).map("{:014d}".format),
    st.integers(946_700_000, 4_102_000_000),
    VALUES,
    st.just({}) | STATUS,
)


@given(st.lists(SAMPLES, min_size=1, max_size=3), st.sampled_from(("value_unit", "unit_value", "big_endian")))
def test_what_is_built_reads_back(samples: list[Sample], layout: str) -> None:
    dialect = Context(received_us=RECEIVED_US, settings={"layout": layout})
    for sample, back in zip(samples, CODEC.decode(CODEC.encode(samples, dialect), dialect), strict=True):
        assert back.device == sample.device
        assert dict(back.values) == pytest.approx(dict(sample.values))
        assert set(back.units or {}) == set(back.values)
        assert abs(back.time_us - sample.time_us) == 0 or layout != "value_unit"


@given(SAMPLES.filter(lambda s: "supply_temperature" in s.values), st.sampled_from(("value_unit", "unit_value")))
def test_a_layout_is_found_by_itself_or_refused_never_misread(sample: Sample, layout: str) -> None:
    payload = CODEC.encode([sample], Context(settings={"layout": layout}))
    try:
        (back,) = decode(payload)
    except PayloadError as error:
        assert "`layout`" in str(error)  # noqa: PT017  either outcome is right
    else:
        assert back.values == CODEC.decode(payload, Context(settings={"layout": layout}))[0].values


@given(
    st.text(max_size=14),
    st.integers(-(2**62), 2**62),
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from((*CODEC.fields(Context()), "valve")), st.floats(), max_size=4
    ),
    st.sampled_from(("auto", "value_unit", "unit_value", "big_endian")),
)
def test_no_write_and_no_valve_command_can_be_built(
    device: str, time_us: int, values: dict[str, float], layout: str
) -> None:
    try:
        payload = CODEC.encode([Sample(device, time_us, values)], Context(settings={"layout": layout}))
    except PayloadError:
        return
    frame = payload.lstrip(b"\xfe")
    assert frame[9] == 0x81
    assert frame[11:13] == b"\x90\x1f"


def test_a_device_of_the_registry_stands_in_for_a_sample_without_one() -> None:
    payload = CODEC.encode([Sample("", RECEIVED_US, {"energy": 1.0})], Context(device="45678"))
    assert decode(payload)[0].device == "00000000045678"


def test_units_of_a_sample_are_converted_and_large_energies_change_their_unit() -> None:
    sample = Sample("1", RECEIVED_US, {"energy": 54_321.0, "flow": 1.0}, units={"energy": "MWh", "flow": "L/s"})
    (back,) = decode(CODEC.encode([sample], Context()))
    assert (back.values["energy"], (back.units or {})["energy"]) == (54_321.0, "MWh")
    assert back.values["flow"] == 3.6


@pytest.mark.parametrize(
    "sample",
    [
        Sample("xyz", RECEIVED_US, {"energy": 1.0}),
        Sample("1" * 15, RECEIVED_US, {"energy": 1.0}),
        Sample("1", -1, {"energy": 1.0}),
        Sample("1", RECEIVED_US, {"colour": 1.0}),
        Sample("1", RECEIVED_US, {"supply_temperature": -0.5}),
        Sample("1", RECEIVED_US, {"supply_temperature": float("nan")}),
        Sample("1", RECEIVED_US, {"flow": 10_000.0}),
        Sample("1", RECEIVED_US, {"valve": 7.0}),
        Sample("1", RECEIVED_US, {"energy": 1.0}, units={"energy": "kPa"}),
    ],
)
def test_what_the_form_cannot_carry_is_not_built(sample: Sample) -> None:
    with pytest.raises(PayloadError):
        CODEC.encode([sample], Context())


def outcome_is_samples_or_a_refusal(payload: bytes) -> None:
    try:
        for sample in decode(payload):
            assert re.fullmatch("[0-9A-F]{14}", sample.device)
            assert all(0 <= value < 1e15 for value in sample.values.values())
            assert sample.values.keys() == (sample.units or {}).keys()
    except PayloadError as error:
        assert -1 <= error.offset <= len(payload)  # noqa: PT017


@given(st.binary(max_size=200))
def test_any_bytes_give_samples_or_a_refusal(payload: bytes) -> None:
    outcome_is_samples_or_a_refusal(payload)


@settings(max_examples=300)
@given(
    st.sampled_from(READINGS),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=4),
    st.booleans(),
)
def test_a_mutated_reply_gives_samples_or_a_refusal(
    vector: dict[str, Any],
    changes: list[tuple[int, int]],
    summed: bool,  # noqa: FBT001  drawn by Hypothesis
) -> None:
    frame = bytearray(raw(vector).lstrip(b"\xfe"))
    for place, byte in changes:
        frame[place % len(frame)] = byte
    if summed:
        frame[-2] = sum(frame[:-2]) & 0xFF
    outcome_is_samples_or_a_refusal(bytes(frame))


@pytest.mark.parametrize(
    "frame",
    [
        raw(HEAT).lstrip(b"\xfe"),
        raw(WATER),
        reply(heat(power="ffffffffff", supply="001700", clock="20260105082020")),
        reply(""),
        b"\xfe" * 63 + b"\x68",
    ],
)
def test_the_largest_payload_is_read_or_refused_within_its_time(frame: bytes) -> None:
    payload = frame * (PAYLOAD_MAX // len(frame))
    best = 1.0
    for _ in range(3):
        started = time.thread_time()
        outcome_is_samples_or_a_refusal(payload)
        best = min(best, time.thread_time() - started)
    assert best < 0.05
