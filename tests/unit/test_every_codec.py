"""Every codec: what it says of itself, what it builds it reads, and any bytes give samples or a refusal, soon."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.codecs import Codec, Context
from devices.errors import RegistryError
from devices.readings import Sample
from devices.units import UNITS, convert
from tests.support.judging import (
    LIMIT_BYTES,
    LIMIT_S,
    all_codecs,
    built,
    contexts,
    frames,
    judge,
    peak_bytes,
    seconds,
)
from tests.support.vectors import vectors

CODECS = all_codecs()
LARGE = 256 * 1024
SLACK = 3  # a machine shared with other tests
EVERY = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
PIECES = (
    b"\x68",
    b"\x16",
    b"\xfe",
    b"##",
    b"&&",
    b"\r\n",
    b"{",
    b"[",
    b'"',
    b"\\u0000",
    b"\0",
    b"\xff",
    b"9" * 20,
)


def real(codec: Codec) -> list[tuple[bytes, Context]]:
    """Frames of this codec that are well-formed, with the context of each: published ones and its own."""
    own = list(frames(codec))
    published = [(one.payload, one.context) for one in vectors() if one.codec == codec.name]
    return [*published[:20], *own[:20]]


def mutants(payload: bytes, chance: random.Random) -> Iterator[bytes]:
    """`payload` cut, doubled, reversed, and with bytes changed, put in and left out."""
    yield payload[: chance.randrange(len(payload) + 1)]
    yield payload + payload
    yield payload[::-1]
    for _ in range(12):
        mutant = payload
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(mutant) + 1)
            length = chance.choice((0, 1, 1, 4))
            put = chance.choice((b"", chance.randbytes(1), chance.randbytes(length), chance.choice(PIECES)))
            mutant = mutant[:place] + put + mutant[place + length :]
        yield mutant


@EVERY
def test_it_says_what_it_reads_in_both_languages(codec: Codec) -> None:
    assert codec.title.zh
    assert codec.title.en
    assert not codec.title.zh.isascii()
    assert codec.title.en.isascii()


@EVERY
def test_its_models_are_told_apart(codec: Codec) -> None:
    assert len({model.lower() for model in codec.models}) == len(codec.models)
    assert all(model.isprintable() and model.strip() == model for model in codec.models)


@EVERY
def test_its_fields_have_units_that_can_be_converted(codec: Codec) -> None:
    for context in contexts(codec):
        for name, unit in codec.fields(context).items():
            assert unit in UNITS, (context.model, name)


@EVERY
def test_a_setting_nobody_knows_is_refused(codec: Codec) -> None:
    codec.check({})
    codec.check({"clock": "received", "fields": {}})
    with pytest.raises(RegistryError, match=f"{codec.name}.*nonsense"):
        codec.check({"nonsense": 1})


@EVERY
def test_each_of_its_fields_comes_back_as_it_was_sent(codec: Codec) -> None:
    for context in contexts(codec):
        fields = codec.fields(context)
        for name, unit in fields.items():
            # Alone, or where a frame has no room for one alone with all the others.
            found = _sent(codec, context, [name], name) or _sent(codec, context, list(fields), name)
            assert found, (context.model, context.settings, name)
            assert _in(unit, found[-1], name) == pytest.approx(_value(unit), abs=0.006), (
                context.model,
                name,
                found,
            )


@EVERY
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_it_builds_it_reads_as_it_was_meant(codec: Codec, data: st.DataObject) -> None:
    context = data.draw(st.sampled_from(contexts(codec)))
    fields = codec.fields(context) or {"pressure": "kPa", "level": "m"}
    numbers = st.integers(0, 200).map(float)
    values = data.draw(st.dictionaries(st.sampled_from(sorted(fields)), numbers, min_size=1))
    payload = built(codec, values, context)
    if payload is None:
        return  # it said that it cannot carry them
    samples = judge(codec, payload, context) or ()
    for name, value in values.items():
        found = [one for one in samples if name in one.values]
        assert found, (name, payload)
        assert _in(fields[name], found[-1], name) == pytest.approx(value, abs=0.011), (name, found)


def _value(unit: str) -> float:
    return -51.0 if unit == "dBm" else 1.0


def _sent(codec: Codec, context: Context, names: list[str], name: str) -> list[Sample]:
    """What has `name` among the samples that arrive when `names` are sent; nothing when they cannot be."""
    fields = codec.fields(context)
    payload = built(codec, {one: _value(fields[one]) for one in names}, context)
    samples = payload and judge(codec, payload, context)
    return [one for one in samples or () if name in one.values]


def _in(unit: str, sample: Sample, name: str) -> float:
    stated = (sample.units or {}).get(name)
    return sample.values[name] if stated is None else convert(sample.values[name], stated, unit)


@EVERY
def test_no_bytes_are_no_frame(codec: Codec) -> None:
    for context in contexts(codec):
        assert not judge(codec, b"", context)


@EVERY
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes_give_samples_or_a_refusal(codec: Codec, data: st.DataObject) -> None:
    payload = data.draw(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES)).map(b"".join))
    judge(codec, payload, data.draw(st.sampled_from(contexts(codec))))


@EVERY
def test_mutated_frames_give_samples_or_a_refusal(codec: Codec) -> None:
    chance = random.Random(20260105)
    for payload, context in real(codec):
        for mutant in mutants(payload, chance):
            judge(codec, mutant, context)


@EVERY
def test_a_large_payload_takes_no_longer_than_the_limit(codec: Codec) -> None:
    own = next(iter(frames(codec)), None)
    pieces = [bytes([byte]) for byte in range(256)] + list(PIECES)
    context = contexts(codec)[0]
    if own is not None:
        context = own[1]
        pieces += [own[0], own[0][:-1], own[0] + b"\r\n"]
    for piece in pieces:
        for size in (LARGE, LARGE + 1):
            payload = (piece * (size // len(piece) + 1))[:size]
            took = seconds(codec, payload, context, limit_s=SLACK * LIMIT_S)
            assert took < SLACK * LIMIT_S, (piece[:40], size)


@EVERY
def test_a_large_payload_takes_no_more_memory_than_the_limit(codec: Codec) -> None:
    own = next(iter(frames(codec)), None)
    context = contexts(codec)[0]
    pieces = list(PIECES)
    if own is not None:
        context = own[1]
        pieces += [own[0], own[0] + b"\r\n"]
    for piece in pieces:
        payload = (piece * (LARGE // len(piece) + 1))[:LARGE]
        assert peak_bytes(codec, payload, context) < LIMIT_BYTES, piece[:40]
