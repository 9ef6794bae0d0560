"""SenML: the RFC's own packs, its rules of resolution one by one, and everything else refused with a place."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.codecs import Context
from devices.codecs.senml import CODEC, NUMBER_MAX, PAYLOAD_MAX
from devices.errors import PayloadError, RegistryError
from devices.readings import Sample

NOW = 1_790_000_000_000_000
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/senml.json").read_text(encoding="utf-8"))


def decode(pack: Any) -> tuple[Sample, ...]:
    return CODEC.decode(pack if isinstance(pack, bytes) else json.dumps(pack).encode(), Context(received_us=NOW))


def refusal(pack: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        decode(pack)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["source"]))
def test_the_packs_of_the_standard_say_what_it_says(vector: dict[str, Any]) -> None:
    found = [
        [s.device, s.time_us, dict(s.values), s.units, s.states or {}] for s in decode(vector["text"].encode())
    ]
    assert found == [[device, at or NOW, *rest] for device, at, *rest in vector["samples"]]


def test_base_value_and_base_sum_are_added() -> None:
    (sample,) = decode([{"bn": "m:", "bv": 100, "bs": 3, "bu": "m3", "n": "volume", "v": 0.5, "s": 2}])
    assert sample.values == {"volume": 100.5, "volume_sum": 5.0}
    assert sample.units == {"volume": "m3"}


def test_small_times_count_from_our_receipt_and_large_ones_from_1970() -> None:
    early, late = decode([{"n": "a", "v": 1, "t": -10}, {"n": "a", "v": 2, "t": 1_790_000_001.5}])
    assert (early.time_us, late.time_us) == (NOW - 10_000_000, 1_790_000_001_500_000)


def test_a_name_without_a_base_is_split_at_its_last_separator() -> None:
    (sample,) = decode([{"n": "plant/3/level", "v": 1}])
    assert (sample.device, sample.values) == ("plant/3", {"level": 1.0})
    (sample,) = decode([{"n": "level", "v": 1}])
    assert (sample.device, sample.values) == ("", {"level": 1.0})


def test_units_become_ours_and_strange_ones_keep_their_name() -> None:
    pack = [
        {"bn": "d:", "n": str(i), "u": u, "v": 2} for i, u in enumerate(("Cel", "hPa", "ug/m3", "kPa", "lx", "g"))
    ]
    (sample,) = decode(pack)
    assert sample.units == {"0": "degC", "1": "mbar", "2": "mg/m3", "3": "kPa", "4": "lx", "5": "kg"}
    assert sample.values["2"] == pytest.approx(0.002)


def test_base_fields_alone_carry_no_reading() -> None:
    assert decode([{"bn": "d:", "bt": 1_790_000_000}]) == ()


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (b"", "JSON"),
        (b"{}", "array"),
        (b"[]", "1 to 2000 records"),
        (b"[1]", "object"),
        (b"[" * 60_000, "JSON"),
        (b'[{"n":"a","v":1,"v":2}]', "once"),
        (b'[{"n":"a","v":NaN}]', "JSON"),
        (b'[{"n":"a","v":1e999}]', "JSON"),
        (b" " * (PAYLOAD_MAX + 1), "bytes"),
        ([{"n": "a", "v": 1e16}], "finite number"),
        ([{"n": "a", "v": True}], "finite number"),
        ([{"n": "a", "v": 1, "vs": "x"}], "one value"),
        ([{"n": "a", "v": 1, "new_": 1}], "must be understood"),
        ([{"bver": 11, "n": "a", "v": 1}], "version up to 10"),
        ([{"bver": 5, "n": "a", "v": 1}, {"bver": 6}], "one version"),
        ([{"n": "-a", "v": 1}], "a name"),
        ([{"v": 1}], "a name"),
        ([{"n": "a b", "v": 1}], "a name"),
        ([{"n": "a", "v": 1, "t": 300_000_000}], "since 1970"),
        ([{"n": "a", "v": 1, "t": -300_000_000}], "seconds from now"),
        ([{"n": "a", "vb": 1}], "true or false"),
        ([{"n": 1, "v": 1}], "a text"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_one_line(pack: Any, words: str) -> None:
    assert words in str(refusal(pack))


def test_a_refusal_points_at_the_value() -> None:
    assert refusal(b'[{"n":"a","v":1},{"n":"b","v":"x"}]').offset == 30


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
DEVICES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:/._-]{0,20}[A-Za-z0-9]", fullmatch=True)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    values = draw(st.dictionaries(NAMES, st.floats(-NUMBER_MAX, NUMBER_MAX), min_size=1, max_size=5))
    units = {name: draw(st.sampled_from(("degC", "kPa", "m3/h", "", "mH2O"))) for name in values}
    words = draw(st.none() | st.just({"Event": "open"}))
    if words and "Event" in values:
        words = None
    at = draw(st.integers(946_684_800_000_000, 4_102_444_799_999_999))
    return Sample(draw(DEVICES), at, values, units=units, states=words)


@given(st.lists(samples(), min_size=1, max_size=3, unique_by=(lambda s: s.time_us,)))
def test_what_is_encoded_decodes_to_the_same_samples(batch: list[Sample]) -> None:
    batch.sort(key=lambda sample: sample.time_us)
    assert CODEC.decode(CODEC.encode(batch, Context()), Context()) == tuple(batch)


def within(body: bytes) -> None:
    try:
        decode(body)
    except PayloadError as error:
        place = error.offset
    else:
        place = 0
    assert -1 <= place <= len(body)


@given(st.binary(max_size=200))
def test_any_bytes_give_samples_or_a_payload_error(body: bytes) -> None:
    within(body)


LABELS = st.sampled_from(
    ("bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut", "x", "x_")
)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)


@given(st.lists(st.dictionaries(LABELS, ATOMS | st.lists(ATOMS, max_size=2), max_size=6), max_size=4))
def test_any_records_give_samples_or_a_payload_error(records: list[dict[str, Any]]) -> None:
    within(json.dumps(records).encode())


def test_the_worst_packs_take_little_time() -> None:
    for body in (
        b'[{"n":"a","v":1,"x":' + b"[[],[]," * 8000 + b"]",
        b"[" + b'{"n":"a","v":1},' * 4000 + b"]",
        b'[{"n":"a","v":1,' + b",".join(b'"k%d":"\\""' % i for i in range(4000)) + b"}]",
    ):
        best = min(_seconds(body) for _ in range(3))
        assert best < 0.05


def _seconds(body: bytes) -> float:
    begin = time.perf_counter()
    within(body)
    return time.perf_counter() - begin


@pytest.mark.parametrize(
    "sample",
    [
        Sample("d", NOW, {"a": float("nan")}),
        Sample("d:", NOW, {"a": 1.0}),
        Sample("", NOW, {"a/b": 1.0}),
        Sample("d", 0, {"a": 1.0}),
        Sample("d", NOW, {"a": 1.0}, units={"a": "g"}),
        Sample("d", NOW, {}),
    ],
)
def test_what_senml_cannot_carry_is_not_encoded(sample: Sample) -> None:
    with pytest.raises(PayloadError):
        CODEC.encode([sample], Context())


def test_it_has_no_dialects() -> None:
    CODEC.check({"clock": "received"})
    with pytest.raises(RegistryError):
        CODEC.check({"unit": 1})
