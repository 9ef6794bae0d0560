"""Sparkplug B: what is built comes back, counts as a node does, and is never a command."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysparkplug import _protobuf as peer

from devices.codecs import Context
from devices.codecs.sparkplug import CODEC
from devices.codecs.sparkplug.payload import (
    read,
)
from devices.codecs.sparkplug.readings import NUMBER_MAX
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample
from devices.units import UNITS
from tests.support.sparkplug import (
    NODE,
    PUMP,
    T_MS,
    T_US,
    context,
    decode,
)

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
