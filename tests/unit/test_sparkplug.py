"""Sparkplug B: what births say, data by alias, lives and deaths, and bytes that mean no good."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysparkplug import _protobuf as peer

from devices.codecs import Context
from devices.codecs.sparkplug import CODEC, wire
from devices.codecs.sparkplug.births import BirthMissing
from devices.codecs.sparkplug.payload import (
    FIELDS_MAX,
    METRICS_MAX,
    PAYLOAD_MAX,
    Metric,
    read,
    write,
    write_metric,
)
from devices.codecs.sparkplug.readings import NUMBER_MAX
from devices.codecs.sparkplug.topics import parse_topic
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample
from devices.units import UNITS

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sparkplug.json").read_text(encoding="utf-8"))
NOW_US = VECTORS["received_us"]
T_MS = 1_767_600_000_000
T_US = T_MS * 1000
NODE = "City/Edge"
PUMP = "City/Edge/Pump"


def topic(message: str) -> str:
    return f"spBv1.0/City/{message}/Edge" + ("/Pump" if message.startswith("D") else "")


def context(message: str, memory: dict[str, Any] | None = None, **more: Any) -> Context:
    return Context(topic=topic(message), memory={} if memory is None else memory, received_us=NOW_US, **more)


def decode(message: str, payload: bytes, memory: dict[str, Any] | None = None, **more: Any) -> list[Sample]:
    return list(CODEC.decode(payload, context(message, memory, **more)))


def refusal(message: str, payload: bytes, memory: dict[str, Any] | None = None) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        decode(message, payload, memory)
    assert "\n" not in str(caught.value)
    assert "nothing was used" in str(caught.value)
    return caught.value


def made(*metrics: dict[str, Any], seq: int | None = 0, time_ms: int | None = T_MS) -> bytes:
    """A payload by Google's encoder and another project's description of the format."""
    payload = peer.Payload()
    if time_ms is not None:
        payload.timestamp = time_ms
    if seq is not None:
        payload.seq = seq
    for one in metrics:
        metric = payload.metrics.add()
        for name, value in one.items():
            if name == "properties":
                for key, (field, content) in value.items():
                    metric.properties.keys.append(key)
                    setattr(metric.properties.values.add(), field, content)
            else:
                setattr(metric, name, value)
    return payload.SerializeToString()


def born(memory: dict[str, Any], bd: int = 3, *metrics: dict[str, Any]) -> None:
    """The node's birth, and the pump's with the given metrics."""
    decode("NBIRTH", made({"name": "bdSeq", "datatype": 4, "long_value": bd}), memory)
    decode("DBIRTH", made(*metrics, seq=1), memory)


PRESSURE = {
    "name": "Pressure",
    "alias": 7,
    "datatype": 10,
    "double_value": 400.0,
    "properties": {"engUnit": ("string_value", "kPa")},
}
COUNT = {"name": "Count", "alias": 8, "datatype": 1, "int_value": 5}


def test_what_other_encoders_send_is_read_as_they_meant_it():
    memories: dict[str, dict[str, Any]] = {}
    for vector in VECTORS["vectors"]:
        where = parse_topic(vector["topic"])
        assert where is not None
        memory = memories.setdefault(where.edge, {})
        got = CODEC.decode(
            bytes.fromhex(vector["hex"]), Context(topic=vector["topic"], memory=memory, received_us=NOW_US)
        )
        assert [
            {
                "device": s.device,
                "time_us": s.time_us,
                "values": dict(s.values),
                "units": dict(s.units or {}),
                "states": s.states,
            }
            for s in got
        ] == vector["expected"], vector["name"]


def test_a_birth_says_online_and_gives_values_with_their_units():
    samples = decode("DBIRTH", made(PRESSURE, COUNT))
    assert samples == [
        Sample(PUMP, T_US, {"Pressure": 400.0, "Count": 5.0}, -1, None, {"Pressure": "kPa"}, {"online": "true"})
    ]


def test_data_by_alias_take_name_type_and_unit_from_the_birth():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE, COUNT)
    (sample,) = decode(
        "DDATA", made({"alias": 7, "double_value": 401.5}, {"alias": 8, "int_value": 0xFF}, seq=2), memory
    )
    assert (sample.values, sample.units) == ({"Pressure": 401.5, "Count": -1.0}, {"Pressure": "kPa"})
    assert sample.seq == -1


def test_an_alias_means_what_the_birth_of_its_own_device_says():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    decode("NDATA", made({"name": "Load", "alias": 7, "datatype": 10, "double_value": 1.0}, seq=2), memory)
    assert "the birth is missing" in str(refusal("NDATA", made({"alias": 7, "double_value": 1.0}, seq=3), memory))


def test_data_before_their_birth_are_refused_and_decode_after_it():
    memory: dict[str, Any] = {}
    payload = made({"alias": 7, "double_value": 401.5}, seq=2)
    with pytest.raises(
        BirthMissing, match=r"^sparkplug: expected a DBIRTH .* alias 7; the birth is missing"
    ) as caught:
        decode("DDATA", payload, memory)
    assert payload[caught.value.offset :].startswith(b"\x10\x07")
    assert memory == {}
    born(memory, 3, PRESSURE)
    (sample,) = decode("DDATA", payload, memory)
    assert sample.values == {"Pressure": 401.5}


def test_an_integer_whose_type_nobody_stated_waits_for_its_birth():
    assert "no datatype of 'Count'" in str(refusal("DDATA", made({"name": "Count", "int_value": 200})))


def test_named_and_typed_data_need_no_birth():
    (sample,) = decode("DDATA", made({"name": "Count", "datatype": 1, "int_value": 200}))
    assert sample.values == {"Count": -56.0}


@pytest.mark.parametrize(
    ("datatype", "field", "raw", "value"),
    [
        (1, "int_value", 0x80, -128),
        (1, "int_value", 0xFFFFFFFF, -1),  # an encoder that stretches the sign to the field
        (2, "int_value", 0xFFFE, -2),
        (2, "int_value", 0xFFFFFFFE, -2),
        (3, "int_value", 0x80000000, -(2**31)),
        (3, "long_value", 2**64 - 5, -5),
        (4, "long_value", 2**64 - 5, -5),
        (4, "long_value", 10**15, 10**15),
        (5, "int_value", 255, 255),
        (6, "int_value", 65535, 65535),
        (7, "int_value", 2**32 - 1, 2**32 - 1),
        (7, "long_value", 2**32 - 1, 2**32 - 1),
        (8, "long_value", 10**15, 10**15),
        (9, "float_value", 0.5, 0.5),
        (10, "double_value", -1e15, -1e15),
        (11, "boolean_value", True, 1),
        (11, "boolean_value", False, 0),
    ],
)
def test_every_type_of_number_is_read(datatype, field, raw, value):
    (sample,) = decode("NDATA", made({"name": "x", "datatype": datatype, field: raw}))
    assert sample.values == {"x": value}


@pytest.mark.parametrize(
    ("datatype", "field", "raw"),
    [
        (9, "float_value", math.nan),
        (10, "double_value", math.inf),
        (10, "double_value", 1.1e15),
        (8, "long_value", 2**64 - 1),
        (4, "long_value", 2**63),
        (5, "int_value", 256),
        (1, "int_value", 300),
        (10, "int_value", 1),
        (3, "double_value", 1.0),
        (11, "int_value", 1),
        (10, "string_value", "12"),
    ],
)
def test_what_is_no_number_is_named_and_leaves_the_others_alone(datatype, field, raw):
    wrong = {"name": "x", "datatype": datatype, field: raw}
    good = {"name": "y", "datatype": 10, "double_value": 2.0}
    samples = decode("NDATA", made(good, wrong))
    assert [s.values for s in samples] == [{"y": 2.0}]
    if field != "string_value":
        assert samples[0].states == {"unusable": "x"}
        assert "within 1e+15 of zero" in str(refusal("NDATA", made(wrong)))


def test_what_is_no_reading_is_passed_over():
    metrics: tuple[dict[str, Any], ...] = (
        {"name": "bdSeq", "datatype": 4, "long_value": 1},
        {"name": "Node Control/Rebirth", "datatype": 11, "boolean_value": False},
        {"name": "Device Control/Open", "datatype": 11, "boolean_value": True},
        {"name": "null", "datatype": 10, "is_null": True},
        {"name": "typed null", "datatype": 10, "is_null": True, "double_value": 5.0},
        {"name": "transient", "datatype": 10, "is_transient": True, "double_value": 5.0},
        {"name": "bytes", "datatype": 17, "bytes_value": b"\x00"},
        {"name": "date", "datatype": 13, "long_value": T_MS},
        {"name": "array", "datatype": 22, "bytes_value": b"\x00"},
        {"name": "nothing", "datatype": 10},
    )
    assert decode("NDATA", made(*metrics)) == []
    assert [s.states for s in decode("NBIRTH", made(*metrics))] == [{"online": "true"}]


def test_texts_are_states_and_the_codec_s_own_words_cannot_be_forged():
    metrics = [{"name": n, "datatype": 12, "string_value": "offline"} for n in ("Mode", "online", "gap")]
    (sample,) = decode("NDATA", made(*metrics))
    assert (sample.values, sample.states) == ({}, {"Mode": "offline"})


def test_metrics_are_grouped_by_their_own_times_oldest_first():
    value = {"datatype": 10, "double_value": 1.0}
    samples = decode(
        "NDATA",
        made(
            {"name": "now", **value},
            {"name": "early", "timestamp": T_MS - 5000, "is_historical": True, **value},
            {"name": "also now", "timestamp": T_MS, **value},
        ),
    )
    assert [(s.time_us - T_US, list(s.values)) for s in samples] == [
        (-5_000_000, ["early"]),
        (0, ["now", "also now"]),
    ]


def test_without_any_time_it_is_the_time_of_receipt():
    (sample,) = decode("NDATA", made({"name": "x", "datatype": 10, "double_value": 1.0}, time_ms=None))
    assert sample.time_us == NOW_US


def test_a_time_that_cannot_be_is_refused_unless_our_clock_counts():
    metric = {"name": "x", "datatype": 10, "double_value": 1.0, "timestamp": 12}
    assert "2000 to 2099, got 12 ms" in str(refusal("NDATA", made(metric)))
    assert "2000 to 2099, got 3 ms" in str(refusal("NDATA", made(time_ms=3)))
    (sample,) = decode("NDATA", made(metric, time_ms=3), settings={"clock": "received"})
    assert sample.time_us == NOW_US


@pytest.mark.parametrize(
    ("written", "unit"), [("kPa", "kPa"), ("°C", "degC"), ("℃", "degC"), ("m³/h", "m3/h"), ("mg/l", "mg/L")]
)
def test_a_known_unit_is_taken_however_it_is_spelt(written, unit):
    (sample,) = decode("DBIRTH", made({**PRESSURE, "properties": {"engUnit": ("string_value", written)}}))
    assert sample.units == {"Pressure": unit}


def test_an_unknown_unit_is_said_and_not_guessed():
    (sample,) = decode("DBIRTH", made({**PRESSURE, "properties": {"engUnit": ("string_value", "furlong")}}))
    assert sample.units == {}
    assert sample.states == {"online": "true", "unknown_units": "Pressure: furlong"}


def test_the_instrument_s_own_doubt_becomes_a_flag():
    for written, flag in ((0, {"Pressure": Quality.BAD}), (500, {"Pressure": Quality.SUSPECT}), (192, None)):
        metric = {**PRESSURE, "properties": {"Low": ("double_value", 1.0), "Quality": ("int_value", written)}}
        (sample,) = decode("DDATA", made(metric))
        assert sample.flags == flag


def test_the_sequence_goes_from_255_to_0_without_a_gap():
    memory: dict[str, Any] = {}
    for seq in (*range(256), 0, 1):
        for sample in decode("NBIRTH" if not memory else "DDATA", made(PRESSURE, seq=seq), memory):
            assert "gap" not in (sample.states or {})


def test_a_gap_is_said_once():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    said = [
        (sample.states or {}).get("gap")
        for seq in (2, 3, 6, 7)
        for sample in decode("DDATA", made(PRESSURE, seq=seq), memory)
    ]
    assert said == [None, None, "expected 4, got 6", None]
    assert decode("DDATA", made(seq=9), memory)[0].states == {"gap": "expected 8, got 9"}


def test_a_message_delivered_twice_is_no_gap():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    for _ in range(2):
        (sample,) = decode("DDATA", made(PRESSURE, seq=2), memory)
        assert sample.states is None


def test_a_rebirth_begins_the_sequence_anew():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    decode("DDATA", made(PRESSURE, seq=2), memory)
    (sample,) = decode("NBIRTH", made({"name": "bdSeq", "datatype": 4, "long_value": 3}), memory)
    assert sample.states == {"online": "true"}


def test_the_node_s_death_ends_all_births_and_its_time_is_that_of_receipt():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    will = made({"name": "bdSeq", "datatype": 4, "long_value": 3}, seq=None, time_ms=T_MS - 10**6)
    assert decode("NDEATH", will, memory) == [Sample(NODE, NOW_US, {}, units={}, states={"online": "false"})]
    assert "the birth is missing" in str(refusal("DDATA", made({"alias": 7, "double_value": 1.0}, seq=2), memory))
    (sample,) = decode("DBIRTH", made(PRESSURE, seq=99), memory)
    assert sample.states == {"online": "true"}  # a new session counts from anywhere


def test_the_late_will_of_an_earlier_session_is_ignored():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    before = json.dumps(memory)
    will = made({"name": "bdSeq", "datatype": 4, "long_value": 2}, seq=None)
    assert decode("NDEATH", will, memory) == []
    assert json.dumps(memory) == before


def test_a_device_s_death_ends_its_own_birth_only():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    assert decode("DDEATH", made(seq=2), memory) == [
        Sample(PUMP, T_US, {}, units={}, states={"online": "false"}),
    ]
    assert list(memory["births"]) == [""]
    assert memory["online"] is True


def test_memory_is_json_and_bounded():
    memory: dict[str, Any] = {}
    many = [{"name": f"m{i}", "alias": i, "datatype": 10, "double_value": 1.0} for i in range(METRICS_MAX)]
    decode("NBIRTH", made(*many), memory)
    assert json.loads(json.dumps(memory)) == memory
    assert "at most 5000 metrics of an edge node" in str(refusal("DBIRTH", made(*many, seq=1), memory))


def test_an_alias_for_two_metrics_is_refused():
    assert "alias 7 for one metric" in str(refusal("DBIRTH", made(PRESSURE, {**COUNT, "alias": 7})))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("spBv1.0/City/NDATA", "expected spBv1.0/GROUP"),
        ("spBv1.0/City/NDATA/Edge/Pump", "a device behind the node for D messages only"),
        ("spBv1.0/City/DDATA/Edge", "a device behind the node for D messages only"),
        ("spBv1.0/City/XDATA/Edge", "expected a message among"),
        ("spAv1.0/City/NDATA/Edge", "expected spBv1.0/GROUP"),
        ("spBv1.0//NDATA/Edge", "printable names"),
    ],
)
def test_a_topic_that_is_none_is_refused(bad, reason):
    with pytest.raises(PayloadError, match=reason):
        CODEC.decode(made(), Context(topic=bad))


@pytest.mark.parametrize("silent", ["spBv1.0/STATE/host", "STATE/host", topic("NCMD"), topic("DCMD")])
def test_commands_and_hosts_states_carry_no_readings(silent):
    assert CODEC.decode(b'{"online":true}', Context(topic=silent)) == ()


@pytest.mark.parametrize(
    ("payload", "offset", "reason"),
    [
        (b"", 0, "got 0;"),
        (bytes(PAYLOAD_MAX + 1), PAYLOAD_MAX, "got 262145"),
        (b"{}", 0, "type of a field, got type 3"),
        (b"\x08", 1, "whole varint"),
        (b"\x08" + b"\xff" * 11, 1, "at most 10 bytes"),
        (b"\x12\x05\x0a", 2, "expected 5 bytes of a field, got 1"),
        (b"\x00\x01", 0, "numbered from 1"),
        (b"\x0a\x01a", 3, "field 1 of a payload as Sparkplug B types it"),
        (b"\x12\x02\x08\x01", 4, "field 1 of a metric as Sparkplug B types it"),
        (b"\x12\x03\x0a\x01\xff", 4, "name in UTF-8"),
        (b"\x18\x80\x02", 2, "seq 0 to 255"),
        (b"\xf8\x01\x01", 0, "got none of them"),
        (b"\x08\x01" + b"\x78\x01" * FIELDS_MAX, 2 * FIELDS_MAX, "fields in a payload"),
        (b"\x12\x00" * (METRICS_MAX + 1), 2 * METRICS_MAX + 2, "metrics in a payload"),
        (b"\x12\x05\x4a\x03\x0a\x01a", 4, "1 keys and 0 values"),
        (b"\x12\x02\x38\x00", 2, "with a name or an alias"),
    ],
)
def test_a_refusal_says_where_reading_stopped(payload, offset, reason):
    error = refusal("NDATA", payload)
    assert reason in str(error)
    assert error.offset == offset


NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20).filter(
    lambda name: name != "bdSeq" and not name.startswith(("Node Control/", "Device Control/"))
)
TIMES = st.integers(T_MS - 10**9, T_MS + 10**9).map(lambda ms: ms * 1000)


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[str, list[Sample]]]:
    """A birth and data of one device, each some samples of rising time."""
    stated = draw(st.dictionaries(NAMES, st.sampled_from([unit for unit in UNITS if unit]), max_size=4))
    names = st.sampled_from(sorted(stated)) | NAMES if stated else NAMES
    messages = []
    for message in ("NBIRTH", "DBIRTH", "DDATA", "DDATA"):
        samples = []
        for time_us in sorted(draw(st.sets(TIMES, min_size=1, max_size=3))):
            values = draw(st.dictionaries(names, st.floats(-NUMBER_MAX, NUMBER_MAX), min_size=1, max_size=4))
            units = {name: stated[name] for name in values if name in stated}
            flags = {
                n: draw(st.sampled_from([Quality.BAD, Quality.SUSPECT])) for n in values if draw(st.booleans())
            }
            device = PUMP if message.startswith("D") else NODE
            samples.append(Sample(device, time_us, values, -1, flags or None, units, None))
        messages.append((message, samples))
    return messages


@given(lives(), st.booleans())
def test_what_is_encoded_comes_back(life, aliases):
    sent: dict[str, Any] = {}
    heard: dict[str, Any] = {}
    for message, samples in life:
        payload = CODEC.encode(samples, context(message, sent, settings={"aliases": aliases}))
        got = decode(message, payload, heard)
        if message.endswith("BIRTH"):
            assert got[0].states == {"online": "true"}
            got[0] = Sample(got[0].device, got[0].time_us, got[0].values, -1, got[0].flags, got[0].units, None)
        assert got == samples


def test_aliases_shorten_what_a_birth_has_said():
    sent: dict[str, Any] = {}
    sample = Sample(PUMP, T_US, {"Pressure/Inlet of the main pump": 1.0}, units={})
    birth = CODEC.encode([sample], context("DBIRTH", sent, settings={"aliases": True}))
    data = CODEC.encode([sample], context("DDATA", sent, settings={"aliases": True}))
    assert b"Pressure/Inlet" in birth
    assert b"Pressure/Inlet" not in data


def test_states_flags_and_several_instants_can_be_sent():
    samples = [
        Sample(PUMP, T_US, {"x": 1.0}, -1, {"x": Quality.BAD}, {"x": "bar"}, {"Mode": "auto"}),
        Sample(PUMP, T_US + 60_000_000, {"x": 2.0}, -1, None, {"x": "bar"}, None),
    ]
    assert decode("DDATA", CODEC.encode(samples, context("DDATA"))) == samples


def test_the_encoder_counts_as_a_node_does_and_dies_with_its_session():
    sent: dict[str, Any] = {}
    sample = Sample(NODE, T_US, {"x": 1.0}, units={})
    seqs = [read(CODEC.encode([sample], context(m, sent))).seq for m in ("NBIRTH", *["NDATA"] * 256)]
    assert seqs == [*range(256), 0]
    death = read(CODEC.encode([], context("NDEATH", sent, settings={"bdseq": 4})))
    assert (death.seq, death.metrics[0].name, death.metrics[0].value) == (-1, "bdSeq", 4)
    assert read(CODEC.encode([sample], context("NDATA", {}))).seq == -1
    assert read(CODEC.encode([sample], context("NDATA", {}, settings={"seq": 9}))).seq == 9


def test_what_we_encode_another_decoder_reads():
    payload = peer.Payload.FromString(
        CODEC.encode([Sample(PUMP, T_US, {"x": -1.5}, units={"x": "kPa"})], context("DDATA", {}))
    )
    (metric,) = payload.metrics
    assert (payload.timestamp, metric.name, metric.datatype, metric.double_value) == (T_MS, "x", 10, -1.5)
    assert list(metric.properties.keys) == ["engUnit"]
    assert metric.properties.values[0].string_value == "kPa"


@pytest.mark.parametrize("message", ["NCMD", "DCMD"])
def test_a_command_is_never_encoded(message):
    sample = Sample(PUMP if message == "DCMD" else NODE, T_US, {"Valve": 1.0}, units={})
    with pytest.raises(PayloadError, match="nothing was encoded"):
        CODEC.encode([sample], context(message))
    with pytest.raises(PayloadError):
        CODEC.encode([sample], Context(settings={"message": message}))
    with pytest.raises(RegistryError):
        CODEC.check({"message": message})


@pytest.mark.parametrize(
    ("message", "sample", "reason"),
    [
        ("DDATA", Sample(PUMP, T_US, {"x": math.nan}, units={}), "finite number"),
        ("DDATA", Sample(PUMP, T_US, {"x": 2e15}, units={}), "finite number"),
        ("DDATA", Sample(PUMP, T_US, {"Node Control/Reboot": 1.0}, units={}), "no control"),
        ("DDATA", Sample(PUMP, T_US, {"": 1.0}, units={}), "metric's name"),
        ("DDATA", Sample(PUMP, T_US, {"\ud800": 1.0}, units={}), "metric's name"),
        ("DDATA", Sample(PUMP, T_US, {"x": 1.0}, units={"x": "furlong"}), "expected a unit"),
        ("DDATA", Sample(PUMP, T_US, {"x": 1.0}, -1, {"x": Quality.MAINTENANCE}, {}), "flag good, suspect"),
        ("DDATA", Sample("Other/Edge/Pump", T_US, {"x": 1.0}, units={}), "samples of City/Edge/Pump"),
        ("DDATA", Sample(PUMP, 5, {"x": 1.0}, units={}), "2000 to 2099"),
        ("DDEATH", Sample(PUMP, T_US, {"x": 1.0}, units={}), "no values in a DDEATH"),
        ("NDEATH", Sample(NODE, T_US, {"x": 1.0}, units={}), "no values in a NDEATH"),
    ],
)
def test_what_the_format_cannot_carry_is_not_encoded(message, sample, reason):
    with pytest.raises(PayloadError, match=reason):
        CODEC.encode([sample], context(message))


@pytest.mark.parametrize(
    "wrong", [{"message": 5}, {"seq": 256}, {"seq": "1"}, {"bdseq": -1}, {"aliases": "yes"}, {"nonsense": 1}]
)
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(RegistryError):
        CODEC.check(wrong)
    CODEC.check({"message": "DBIRTH", "seq": 255, "bdseq": 0, "aliases": True, "clock": "received"})


def test_on_the_desk_the_setting_says_which_message_it_is():
    memory: dict[str, Any] = {}
    birth = Context(memory=memory, settings={"message": "DBIRTH"}, received_us=NOW_US)
    assert CODEC.decode(made(PRESSURE), birth)[0].states == {"online": "true"}
    data = Context(memory=memory, settings={"message": "DDATA"}, received_us=NOW_US)
    (sample,) = CODEC.decode(made({"alias": 7, "double_value": 2.0}, seq=1), data)
    assert (sample.device, sample.values) == ("", {"Pressure": 2.0})


MESSAGES = st.sampled_from(["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"])


def used_or_refused(message: str, payload: bytes, memory: dict[str, Any]) -> None:
    try:
        samples = decode(message, payload, memory)
    except PayloadError as error:
        place, samples = error.offset, []
    else:
        place = 0
    assert -1 <= place <= len(payload)
    for sample in samples:
        assert all(math.isfinite(value) and abs(value) <= NUMBER_MAX for value in sample.values.values())
        assert sample.units is not None
        assert set(sample.units) <= set(sample.values)


@given(MESSAGES, st.binary(max_size=300))
def test_any_bytes_give_samples_or_a_refusal(message, payload):
    used_or_refused(message, payload, {})


@given(
    st.sampled_from(VECTORS["vectors"]),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=6),
)
@settings(max_examples=300)
def test_damaged_messages_give_samples_or_a_refusal(vector, damages):
    payload = bytearray.fromhex(vector["hex"])
    for place, byte in damages:
        payload[place % len(payload)] = byte
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    used_or_refused(vector["topic"].split("/")[2], bytes(payload), memory)
    assert json.loads(json.dumps(memory)) == memory


KEYS = b"".join(wire.block(1, b"engUnit") for _ in range(14_000)) + b"\x12\x00" * 14_000
HOSTILE = {
    "many metrics": write(
        [
            write_metric(Metric(0, f"Area/Pump{i}/Pressure", i, T_MS + i, 10, unit="kPa", form="float", value=1.5))
            for i in range(METRICS_MAX)
        ],
        time_ms=T_MS,
        seq=0,
    ),
    "unknown fields": b"\x08\x01" + b"\x78\x01" * 130_000,
    "long varints": (b"\xf8" + b"\xff" * 7 + b"\x7f" + b"\xff" * 9 + b"\x01") * 13_000,
    "empty metrics": b"\x12\x00" * 130_000,
    "properties": write([wire.block(1, b"a") + wire.block(9, KEYS)], time_ms=T_MS, seq=0),
    "deep nesting": b"\x12\xff\x7f" * 80_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_payload_costs_more_than_its_bound(name):
    spent = []
    for _ in range(3):  # the best of three: others use this machine too
        started = time.thread_time()
        used_or_refused("NBIRTH", HOSTILE[name], {})
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.05
    tracemalloc.start()
    used_or_refused("NBIRTH", HOSTILE[name], {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
