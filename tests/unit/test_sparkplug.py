"""Sparkplug B: what births say, data by alias, the sequence, lives and deaths."""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import Any

import pytest

from deploy.docs_tables import DOCS
from devices.codecs import Context, load
from devices.codecs.sparkplug import CODEC
from devices.codecs.sparkplug.births import BirthMissing
from devices.codecs.sparkplug.payload import (
    METRICS_MAX,
)
from devices.codecs.sparkplug.topics import parse_topic
from devices.errors import PayloadError
from devices.fleet import Entry
from devices.readings import Quality, Sample
from ingest.decode import Decoded, Decoder
from ingest.journal import Block
from tests.support.desk import desk
from tests.support.kinds import fleet_of
from tests.support.sparkplug import (
    COUNT,
    NODE,
    NOW_US,
    PRESSURE,
    PUMP,
    T_MS,
    T_US,
    VECTORS,
    born,
    decode,
    made,
    refusal,
    topic,
)


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


def test_an_old_message_out_of_quarantine_is_no_gap_and_leaves_the_sequence_alone():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    said = [
        (sample.states or {}).get("gap")
        for seq, time_ms in ((2, T_MS + 2), (200, T_MS + 1), (3, T_MS + 3))
        for sample in decode("DDATA", made(PRESSURE, seq=seq, time_ms=time_ms), memory)
    ]
    assert said == [None, None, None]


def test_a_clock_set_back_does_not_end_the_watch_over_gaps_beyond_the_next_birth():
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    decode("NBIRTH", made(seq=0, time_ms=T_MS - 3_600_000), memory)
    (sample,) = decode("DDATA", made(PRESSURE, seq=7, time_ms=T_MS - 3_599_000), memory)
    assert sample.states == {"gap": "expected 1, got 7"}


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


def test_on_the_desk_the_setting_says_which_message_it_is():
    memory: dict[str, Any] = {}
    birth = Context(memory=memory, settings={"message": "DBIRTH"}, received_us=NOW_US)
    assert CODEC.decode(made(PRESSURE), birth)[0].states == {"online": "true"}
    data = Context(memory=memory, settings={"message": "DDATA"}, received_us=NOW_US)
    (sample,) = CODEC.decode(made({"alias": 7, "double_value": 2.0}, seq=1), data)
    assert (sample.device, sample.values) == ("", {"Pressure": 2.0})


WELLS = fleet_of(
    [
        Entry(
            "WE-1", "well", codec="sparkplug", address="City/Edge/Pump", settings={"fields": {"Level": "level_m"}}
        ),
    ]
)
LEVEL = {
    "name": "Level",
    "alias": 4,
    "datatype": 9,
    "float_value": 250.0,
    "properties": {"engUnit": ("string_value", "cm")},
}


def heard(decoder: Decoder, *messages: tuple[str, bytes]) -> Decoded:
    return decoder.decode(Block(0, [t for t, _ in messages], [p for _, p in messages], [NOW_US] * len(messages)))


def test_a_registered_device_is_read_by_its_alias_in_its_own_unit():
    births = (
        (topic("NBIRTH"), made({"name": "bdSeq", "datatype": 4, "long_value": 1})),
        (topic("DBIRTH"), made(LEVEL, seq=1)),
    )
    decoder = Decoder(WELLS, load())
    first = heard(decoder, *births)
    decoder = Decoder(WELLS, load(), memory=json.loads(json.dumps(decoder.memory)))  # a restart
    second = heard(decoder, (topic("DDATA"), made({"alias": 4, "float_value": 300.0}, seq=2)))
    assert [[*batch.values[:, 0]] for decoded in (first, second) for batch in decoded.batches] == [[2.5], [3.0]]
    assert first.refused == second.refused == []
    assert [(one.sender, one.online) for one in first.presence] == [
        (NODE, True),
        (f"{NODE}/Pump", True),
    ]


def test_the_page_shows_what_the_command_prints(tmp_path):
    page = (DOCS / "protocols" / "sparkplug.md").read_text(encoding="utf-8")
    ((frame, command, refused),) = re.findall(r"```console\n\$ echo '(.*)' \| undercity (.*)\n(.*)\n```", page)
    done = desk(*shlex.split(command), stdin=frame.encode())
    assert (done.code, [f"undercity: {line}" for line in done.errors]) == (1, [refused])
    session, samples = re.findall(r"```text \w+\n(.*?)```", page, re.DOTALL)
    (tmp_path / "session").write_text(session, encoding="utf-8")
    done = desk("decode", "--codec", "sparkplug", "--lines", str(tmp_path / "session"))
    assert (done.code, done.lines) == (0, samples.splitlines())


def test_data_that_wait_for_a_birth_are_refused_with_their_reason():
    decoded = heard(Decoder(WELLS, load()), (topic("DDATA"), made({"alias": 4, "float_value": 3.0}, seq=2)))
    (refused,) = decoded.refused
    assert "the birth is missing" in refused.reason
    assert refused.codec == "sparkplug"
