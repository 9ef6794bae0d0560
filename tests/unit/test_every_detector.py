"""What every detector keeps: cutting, stopping, neighbours and broken values change nothing."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.detectors import build, load, restore, snapshot
from processors.errors import RuleError
from processors.findings import Phase
from tests.support.detecting import CADENCE_S, RULES, SIMPLE, Told, Value, detector, feed, phases, take


def test_every_detector_has_a_rule_in_these_tests():
    alone = {name for name, made in load().items() if not getattr(made, "GROUPED", False)}
    assert set(RULES) == alone


@pytest.mark.parametrize(
    ("name", "params", "part"),
    [
        ("limit", {}, "expected high or low"),
        ("limit", {"high": 1, "low": 0, "hysteresis": 0.6}, "room for hysteresis"),
        ("limit", {"high": 1, "hold_s": -1}, "hold_s >=0, got -1"),
        ("cusum", {"limit": 5}, "slack >=0, got nan"),
        ("cusum", {"slack": 1, "limit": 5, "direction": 2}, "direction -1, 0 or 1, got 2"),
        ("step", {}, "change >0, got nan"),
        ("flatline", {}, "hold_s >0, got nan"),
        ("rate", {"per_s": 0}, "per_s >0, got 0"),
        ("silence", {"periods": 0}, "periods >0, got 0"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(name, params, part):
    with pytest.raises(RuleError, match=part):
        build(name, params)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"silence"}))
def test_what_is_not_a_number_leaves_no_trace(name):
    poison = [math.nan, math.inf, -math.inf, 1e300]
    calm = [0.0, 1, 0, 1, 0, 1, 9, 9, 9, 9, 0, 0, 0, 0, 0]
    clean, dirty = detector(name, 2, **RULES[name]), detector(name, 2, **RULES[name])
    for i, value in enumerate(calm):
        bad = Value(1, i * 60, poison[i % 4])
        assert take(dirty, [bad, Value(0, i * 60, value)]) == take(clean, [Value(0, i * 60, value)])
    for one, other in zip(snapshot(clean).values(), snapshot(dirty).values(), strict=True):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@pytest.mark.parametrize("name", SIMPLE)
def test_a_clock_set_back_keeps_what_is_raised_and_lets_it_clear_on_the_new_clock(name):
    rising = [0.0, 1, 0, 1] if name != "flatline" else [0.0]
    made = detector(name, **RULES[name])
    fault = {"flatline": [0.0] * 4, "rate": [50.0, 0, 50, 0]}.get(name, [50.0] * 4)
    first = feed(made, [*rising, *fault], from_s=1_000_000)
    assert [told.phase for told in first] == ["raise"]
    made.forget(np.array([0]))
    normal = [5.0, 9, 4] if name == "flatline" else [0.5] * 30
    (clear,) = feed(made, normal, from_s=0)[:1]
    assert (clear.phase, clear.onset_s) == ("clear", first[0].onset_s)
    assert 0 <= clear.at_s < 1_000_000


def test_a_clock_set_back_on_the_way_to_normal_starts_the_clear_delay_anew():
    high = detector("limit", high=10, clear_s=120)
    feed(high, [11, 5], from_s=1_000_000)
    high.forget(np.array([0]))
    assert phases(feed(high, [5, 5, 5])) == [("clear", 120)]


def sequences() -> st.SearchStrategy[list[list[tuple[float, float]]]]:
    value = st.sampled_from([-9.0, -6, -5, -3, -1, 0, 0, 0, 0.5, 1, 3, 5, 5.5, 6, 7, 9])
    gap = st.sampled_from([0.0, 10, 60, 60, 60, 60, 61, 179, 181, 700])
    runs = st.lists(st.tuples(gap, value, st.integers(1, 5)), max_size=12)
    one = runs.map(lambda parts: [(gap, value) for gap, value, times in parts for _ in range(times)])
    return st.lists(one, min_size=3, max_size=3)


def stream(parts: list[list[tuple[float, float]]]) -> list[list[Value]]:
    """Each device's values; a clock that stands still for ten values is set back."""
    streams = []
    for device, part in enumerate(parts):
        time_s, values = 0.0, []
        for i, (gap, value) in enumerate(part):
            back = i > 0 and i % 17 == 0
            time_s = time_s - 500 if back else time_s + gap
            values.append(Value(device, time_s, value, back))
        streams.append(values)
    return streams


def alone(name: str, values: list[Value], devices: int = 3) -> list[Told]:
    """What is said of one device when each value comes by itself."""
    made = detector(name, devices, **RULES[name])
    return [told for value in values for _, told in take(made, [value])]


def key(found: list[Told]) -> list[tuple[object, ...]]:
    return [tuple(told) for told in found]


@pytest.mark.parametrize("name", sorted(RULES))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_cut_into_any_steps_beside_any_neighbours_each_device_gets_the_same(name, data):
    streams = stream(data.draw(sequences()))
    made = detector(name, 3, **RULES[name])
    found: dict[int, list[Told]] = {0: [], 1: [], 2: []}
    waiting = [list(values) for values in streams]
    while any(waiting):
        ready = [device for device in range(3) if waiting[device]]
        chosen = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
        for device, told in take(made, [waiting[device].pop(0) for device in chosen]):
            found[device].append(told)
    for device in range(3):
        assert key(found[device]) == key(alone(name, streams[device]))


@pytest.mark.parametrize("name", sorted(RULES))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_stopped_and_restored_anywhere_equals_never_stopping(name, data):
    values = [value for part in stream(data.draw(sequences())) for value in part]
    cut = data.draw(st.integers(0, len(values)))
    whole = detector(name, 3, **RULES[name])
    first, second = detector(name, 3, **RULES[name]), detector(name, 4, **RULES[name])
    expected = [(device, key([told])) for value in values for device, told in take(whole, [value])]
    got = [(device, key([told])) for value in values[:cut] for device, told in take(first, [value])]
    places = [2, 3, 0]  # the registry changed meanwhile: everybody on another row
    restore(second, snapshot(first), np.array(places))
    for value in values[cut:]:
        for row, told in take(second, [value._replace(device=places[value.device])]):
            got.append((places.index(row), key([told])))
    assert got == expected


@pytest.mark.parametrize("name", sorted(set(RULES) - {"silence"}))
@settings(max_examples=15, deadline=None)
@given(parts=sequences())
def test_a_condition_rises_once_then_clears_and_keeps_its_onset(name, parts):
    for values in stream(parts):
        onset, seen = None, set()
        for told in alone(name, values):
            if told.phase == Phase.RAISE:
                assert onset is None
                onset = told.onset_s
                if not any(value.back for value in values):
                    assert onset <= told.at_s
                    assert onset not in seen, "each condition has an identity of its own"
                seen.add(onset)
            else:
                assert told.onset_s == onset
            if told.phase == Phase.CLEAR:
                onset = None


def test_growing_keeps_what_is_known():
    made = detector("limit", high=10, hold_s=120)
    feed(made, [11, 11])
    made.grow(np.full(5, CADENCE_S), np.zeros(5, dtype=np.int64))
    assert phases(feed(made, [11], from_s=120)) == [("raise", 120)]


MANUAL = Path(__file__).parents[2] / "deploy/docs/detection.md"


@pytest.mark.parametrize("name", [*SIMPLE, "silence"])
def test_the_manual_names_every_parameter_with_its_default(name):
    section = MANUAL.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", section, re.MULTILINE)
    defaults = {key: math.nan if text in {"required", "none"} else float(text) for key, text in rows}
    assert defaults == pytest.approx(dict(load()[name].PARAMS), nan_ok=True)
    assert "Cannot see:" in section
    assert "Source:" in section
