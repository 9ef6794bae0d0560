"""JSON v1: what is well-formed comes back whole, everything else is refused with a place and a reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs.json_v1 import CODEC, NUMBER_MAX, PAYLOAD_MAX, SAMPLES_MAX
from devices.errors import PayloadError
from devices.jsontext import first_duplicate, locate
from devices.readings import Quality, Sample

T_MS = 1_767_600_000_000
NAMES = st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True)
VALUES = st.dictionaries(NAMES, st.floats(-NUMBER_MAX, NUMBER_MAX), min_size=1, max_size=6)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    values = draw(VALUES)
    flags = draw(
        st.none()
        | st.dictionaries(
            st.sampled_from(sorted(values)),
            st.sampled_from((Quality.BAD, Quality.SUSPECT, Quality.MAINTENANCE)),
            min_size=1,
        )
    )
    time_us = draw(st.integers(946_684_800_000_000, 4_102_444_799_999_999))
    return Sample(draw(NAMES), time_us, values, draw(st.integers(-1, 2**53)), flags)


def payload(m: str = '{"a":1}', t: str = str(T_MS), more: str = "", device: str = "WP-1") -> bytes:
    return f'{{"v":1,"id":"{device}","t":{t},"m":{m}{more}}}'.encode()


def refusal(body: bytes) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode(body)
    assert "\n" not in str(caught.value)
    return caught.value


def refused_within(body: bytes) -> None:
    """Decodes, or is refused at a place within `body`; anything else is a failure."""
    try:
        for sample in CODEC.decode(body):
            assert sample.device
            assert sample.values
    except PayloadError as error:
        place = error.offset
    else:
        place = 0
    assert -1 <= place <= len(body)


@given(st.lists(samples(), min_size=1, max_size=4))
def test_what_is_encoded_decodes_to_the_same_samples(batch: list[Sample]) -> None:
    body = CODEC.encode(batch)
    assert CODEC.decode(body) == tuple(batch)
    assert CODEC.decode(body) == tuple(batch)  # again, now that its names are known and the short way is taken


@given(st.binary(max_size=300))
def test_any_bytes_give_samples_or_a_payload_error(body: bytes) -> None:
    refused_within(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("v", "id", "t", "m", "seq", "q", "x"), JSON)))
def test_any_json_gives_samples_or_a_payload_error(members: dict[str, object]) -> None:
    body = {"v": 1, "id": "WP-1", "t": T_MS, "m": {"a": 1.0}, **members}
    refused_within(json.dumps([body]).encode())


@given(samples(), st.data())
def test_a_damaged_payload_gives_samples_or_a_payload_error(sample: Sample, data: st.DataObject) -> None:
    body = bytearray(CODEC.encode([sample]))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    refused_within(bytes(body[: data.draw(st.integers(0, len(body)))]))


@pytest.mark.parametrize(
    ("body", "offset", "words"),
    [
        (b"", 0, "end early"),
        (b"nul", 3, "end early"),
        (b"[]", 0, "array of 1 to 2000"),
        (payload() + b"x", 49, "trailing"),
        (b'{"v":2}', 5, "version 1"),
        (b'{"v":1,"id":"a"}', 0, "the field t"),
        (payload(device="WP 1"), 12, "characters A-Z"),
        (payload(device="x" * 65), 12, "1 to 64 characters"),
        (payload(device="x").replace(b'"x"', b'"\xff"'), 13, "UTF-8"),
        (payload(t='"2026-01-05T08:00:00"'), 23, "with its zone"),
        (payload(t="946684799999"), 23, "from 2000"),
        (payload(t="4102444800000"), 23, "to 2099"),
        (payload(t='"2100-01-01T00:00:00Z"'), 23, "to 2099"),
        (payload(t="1767600000000.5"), 23, "epoch milliseconds"),
        (payload(m="{}"), 41, "1 to 64 numbers"),
        (payload(m='{"a":NaN}'), 46, "invalid character"),
        (payload(m='{"a":Infinity}'), 46, "invalid character"),
        (payload(m='{"a":1e999}'), 46, "finite number"),
        (payload(m='{"a":1.1e15}'), 46, "finite number"),
        (payload(m='{"a":true}'), 46, "got true"),
        (payload(m='{"a":null}'), 46, "got null"),
        (payload(m='{"a":1,"b":"2"}'), 52, 'm.b: expected a finite number within 1e+15 of zero, got "2"'),
        (payload(m='{"a":1,"a":2}'), 48, "'a' again"),
        (payload(m='{"a":1,"\\u0061":2}'), 48, "'a' again"),
        (payload(m='{"b c":1}'), 41, "names of 1 to 64"),
        (payload(more=',"seq":-1'), 55, "2^53"),
        (payload(more=',"seq":true'), 55, "2^53"),
        (payload(more=',"q":{"a":"fine"}'), 58, "bad, suspect or maintenance"),
        (payload(more=',"q":{"b":"bad"}'), 53, "names that m carries"),
        (payload(more=',"id":"WP-2"'), 49, "'id' again"),
        (b"[" + payload() + b"," + payload(m='{"a":[]}') + b"]", 97, "sample 1: m.a"),
    ],
)
def test_a_refusal_says_where_and_why(body: bytes, offset: int, words: str) -> None:
    error = refusal(body)
    assert words in str(error)
    assert error.offset == offset


def test_deep_nesting_is_refused_without_harm_to_the_stack() -> None:
    refusal(b"[" * 200_000)
    refusal(b'{"v":1,"id":"a","t":1767600000000,"m":{"a":1},"x":' + b"[" * 200_000)
    refusal(b'{"v":1,"id":"a","t":1767600000000,"m":{"a":1},"x":' + b'{"a":' * 40_000)


def test_bounds_hold_for_bytes_samples_and_quantities() -> None:
    assert refusal(b" " * (PAYLOAD_MAX + 1)).offset == PAYLOAD_MAX
    one = payload()
    assert len(CODEC.decode(b"[" + b",".join([one] * SAMPLES_MAX) + b"]")) == SAMPLES_MAX
    refusal(b"[" + b",".join([one] * (SAMPLES_MAX + 1)) + b"]")
    wide = {f"q{i}": 1 for i in range(64)}
    assert len(CODEC.decode(payload(m=json.dumps(wide)))[0].values) == 64
    refusal(payload(m=json.dumps({**wide, "more": 1})))


def test_a_zoned_iso_time_is_the_same_instant_as_its_milliseconds() -> None:
    zulu, local = payload(t='"2026-01-05T08:00:00.25Z"'), payload(t='"2026-01-05T16:00:00.25+08:00"')
    assert CODEC.decode(zulu) == CODEC.decode(local) == CODEC.decode(payload(t="1767600000250"))


def test_members_of_a_later_version_are_passed_over() -> None:
    assert CODEC.decode(payload(more=',"fw":"1.2","more":{"deep":[1,{"z":2}]}')) == CODEC.decode(payload())


def test_encode_refuses_what_it_could_not_read_back() -> None:
    good = Sample("WP-1", T_MS * 1000, {"a": 1.0})
    for bad in (
        Sample("WP/1", T_MS * 1000, {"a": 1.0}),
        Sample("WP-1", T_MS * 1000, {}),
        Sample("WP-1", T_MS * 1000, {"a": float("nan")}),
        Sample("WP-1", 5, {"a": 1.0}),
    ):
        with pytest.raises(PayloadError):
            CODEC.encode([bad])
    with pytest.raises(PayloadError):
        CODEC.encode([])
    with pytest.raises(PayloadError):
        CODEC.encode([good] * (SAMPLES_MAX + 1))


def test_positions_are_found_behind_arrays_and_escapes() -> None:
    text = b'{"a":[1, {"b\\"":2}], "c":[]}'
    assert locate(text, ("a", 1, 'b"')) == (["a", 1, 'b"'], 16, b"2")
    assert locate(text, ("c",)) == (["c"], 25, b"[")
    assert locate(text, ("d",)) is None
    assert first_duplicate(text) is None
    assert first_duplicate(b'{"a":{"x":1},"b":{"x":1,"x":2}}') == ("x", 24)
