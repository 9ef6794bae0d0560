"""What each detector sees and does not see, in numbers; and that cutting, stopping and neighbours change nothing."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.detectors import NEVER, build, load, restore, snapshot
from processors.errors import RuleError
from processors.findings import Phase
from tests.support.detecting import CADENCE_S, S, Told, Value, detector, feed, phases, take, tell

# One rule per detector, with bounds that the small numbers of `SEQUENCES` cross often.
RULES = {
    "limit": {"high": 5, "low": -5, "hold_s": 60, "hysteresis": 2, "clear_s": 60, "update_s": 120},
    "cusum": {"slack": 1, "limit": 6, "learn": 2, "forget_s": 600, "clear_s": 30, "accept_s": 600},
    "step": {"change": 3, "window_s": 120, "hold_s": 60, "clear_s": 60, "accept_s": 600},
    "flatline": {"hold_s": 120, "tolerance": 1},
    "rate": {"per_s": 0.1, "clear_s": 60},
    "silence": {"periods": 2, "min_s": 90},
}


# limit


def test_a_value_beyond_for_the_hold_time_is_raised_with_its_onset_and_worst_value():
    high = detector("limit", high=10, hold_s=120)
    (raised,) = feed(high, [1, 11, 14, 12])
    assert raised == Told("raise", onset_s=60, at_s=180, observed=14, expected=None, limit=10)


def test_without_a_hold_the_first_value_beyond_is_raised_at_once():
    assert phases(feed(detector("limit", high=10), [1, 11])) == [("raise", 60)]


def test_a_value_that_came_back_starts_the_hold_anew():
    assert phases(feed(detector("limit", high=10, hold_s=120), [11, 11, 9, 11, 11, 11])) == [("raise", 300)]


def test_a_value_exactly_at_the_limit_is_not_beyond():
    assert feed(detector("limit", high=10, low=2), [10, 2]) == []


def test_a_condition_clears_after_staying_safely_inside():
    low = detector("limit", low=10, hysteresis=2, clear_s=120)
    # 11 is back inside, but not by the hysteresis; 12 is; the third 12 in a row is 120 s of it.
    found = feed(low, [9, 11, 12, 11, 12, 12, 12])
    assert phases(found) == [("raise", 0), ("clear", 360)]
    assert found[0].onset_s == found[1].onset_s == 0
    assert (found[1].observed, found[1].limit) == (9, 10)


def test_a_value_that_jitters_at_the_threshold_for_an_hour_is_one_alarm():
    chance = random.Random(4)
    jitter = [10 + chance.uniform(-0.9, 0.9) for _ in range(720)]
    high = detector("limit", high=10, hysteresis=1, hold_s=10, clear_s=60)
    found = feed(high, [*jitter, *[5.0] * 20], every_s=5)
    assert [told.phase for told in found if told.phase != "update"] == ["raise", "clear"]
    assert found[-1].at_s == 3600 + 60


def test_a_gap_in_the_data_starts_the_hold_anew():
    high = detector("limit", high=10, hold_s=120)
    assert phases([*feed(high, [11, 11]), *feed(high, [11, 11, 11], from_s=60 + 181)]) == [("raise", 241 + 120)]


def test_a_short_gap_in_the_data_does_not():
    high = detector("limit", high=10, hold_s=120)
    assert phases([*feed(high, [11, 11]), *feed(high, [11], from_s=60 + 180)]) == [("raise", 240)]


def test_a_worse_value_is_told_at_most_every_update_s_and_only_when_it_is_worse():
    high = detector("limit", high=10, update_s=180)
    found = feed(high, [11, 13, 12, 12, 12, 12, 12, 12, 14])
    assert [(t.phase, t.at_s, t.observed) for t in found] == [
        ("raise", 0, 11),
        ("update", 180, 13),
        ("update", 480, 14),
    ]


def test_a_value_that_falls_from_too_high_to_too_low_is_still_one_condition():
    both = detector("limit", high=10, low=0, update_s=60)
    found = feed(both, [11, -5])
    assert [(t.phase, t.onset_s, t.observed, t.limit) for t in found] == [
        ("raise", 0, 11, 10),
        ("update", 0, -5, 0),
    ]


# cusum


def test_burst_is_seen_on_the_third_low_sample():
    leak = detector("cusum", direction=-1, slack=4, limit=60, learn=5)
    # 40 below less the slack of 4, of which half the limit counts: 30, 60, 90 > 60.
    found = feed(leak, [410] * 10 + [370, 370, 370])
    assert found == [Told("raise", onset_s=600, at_s=720, observed=370, expected=410, limit=406)]


def test_a_small_shift_in_noise_is_seen_that_no_limit_could_see():
    chance = random.Random(1)
    leak = detector("cusum", direction=-1, slack=2, limit=30, learn=30)
    calm = [410 + chance.gauss(0, 3) for _ in range(500)]
    shifted = [405 + chance.gauss(0, 3) for _ in range(30)]
    assert feed(leak, calm) == []
    assert [told.phase for told in feed(leak, shifted, from_s=500 * 60)] == ["raise"]


def test_one_or_two_wild_values_are_no_change_of_the_mean():
    assert feed(detector("cusum", slack=1, limit=10, learn=3), [5] * 5 + [900, 900] + [5] * 50) == []


def test_the_level_does_not_learn_the_fault_and_knows_normal_when_it_returns():
    leak = detector("cusum", slack=1, limit=10, learn=3, forget_s=300, clear_s=120)
    # Back at 50, the sum of 10 loses the slack of 1 at each value: 9, 8, 7, 6, 5, half the limit after 240 s.
    found = feed(leak, [50.0] * 5 + [40.0] * 60 + [50.0] * 20)
    assert phases(found) == [("raise", 420), ("clear", 65 * 60 + 240 + 120)]
    assert found[1].expected == 50


def test_a_gap_in_the_data_starts_the_sums_anew():
    leak = detector("cusum", slack=4, limit=60, learn=5)
    # Without the gap the third 370 would raise; after it, three more are needed.
    found = [*feed(leak, [410] * 10 + [370, 370]), *feed(leak, [370, 370, 370], from_s=660 + 181)]
    assert phases(found) == [("raise", 841 + 120)]


def test_a_level_that_stays_is_accepted_and_learned():
    leak = detector("cusum", slack=1, limit=10, learn=3, accept_s=3600)
    assert phases(feed(leak, [50.0] * 5 + [40.0] * 200)) == [("raise", 420), ("clear", 420 + 3600)]


def test_after_a_clear_the_same_fault_again_is_another_condition():
    leak = detector("cusum", slack=1, limit=10, learn=3)
    found = feed(leak, ([50.0] * 5 + [40.0] * 5) * 2)
    assert [told.phase for told in found] == ["raise", "clear", "raise"]
    assert found[2].onset_s > found[1].at_s


def test_a_direction_that_is_not_watched_is_not_seen():
    assert feed(detector("cusum", direction=1, slack=1, limit=10, learn=3), [50] * 5 + [20] * 50) == []


# step


def test_a_step_is_raised_at_its_second_value_with_the_first_as_onset():
    step = detector("step", change=10, direction=-1)
    assert feed(step, [50, 50, 50, 38, 38]) == [
        Told("raise", onset_s=180, at_s=240, observed=38, expected=50, limit=40)
    ]


def test_one_spike_is_not_a_step():
    assert feed(detector("step", change=10), [50, 50, 50, 900, 50, 50, 50, -900, 50, 50]) == []


def test_a_spike_as_the_very_first_value_is_not_a_step():
    assert feed(detector("step", change=10), [900, 50, 50, 50, 50, 50]) == []


def test_a_step_must_hold_and_clears_when_the_level_returns():
    step = detector("step", change=10, hold_s=120, clear_s=120)
    assert phases(feed(step, [50] * 3 + [30] * 6 + [50] * 6)) == [("raise", 360), ("clear", 720)]


def test_slow_drift_is_followed_and_is_not_a_step():
    # 6 units an hour against a change of 10 in about half an hour.
    assert feed(detector("step", change=10, window_s=1800), [50 + 0.1 * i for i in range(600)]) == []


def test_a_change_across_a_long_gap_is_not_sudden():
    step = detector("step", change=10, window_s=600)
    assert [*feed(step, [50] * 5), *feed(step, [30] * 5, from_s=240 + 601)] == []


def test_a_new_level_is_normal_after_accept_s():
    step = detector("step", change=10, accept_s=1800)
    assert phases(feed(step, [50] * 3 + [30] * 60)) == [("raise", 240), ("clear", 240 + 1800)]


# flatline


def test_a_value_that_stands_still_is_raised_when_it_becomes_true_and_cleared_by_the_first_change():
    stuck = detector("flatline", hold_s=180, tolerance=0.1)
    assert feed(stuck, [1, 7, 7, 7.1, 7, 7, 8]) == [
        Told("raise", onset_s=60, at_s=240, observed=7, expected=None, limit=0.1),
        Told("clear", onset_s=60, at_s=360, observed=8, expected=7, limit=0.1),
    ]


def test_drift_within_the_tolerance_adds_up_to_a_change():
    assert feed(detector("flatline", hold_s=180, tolerance=0.1), [7 + 0.06 * i for i in range(60)]) == []


def test_equal_values_on_both_sides_of_a_long_gap_are_not_a_flat_line():
    stuck = detector("flatline", hold_s=240)
    assert [*feed(stuck, [7, 7]), *feed(stuck, [7, 7], from_s=60 + 241)] == []


# rate


def test_a_change_faster_than_believable_is_one_alert_per_episode():
    surge = detector("rate", per_s=0.5, clear_s=120)
    # 60 s at 0.5/s allow 30.
    assert feed(surge, [400, 430, 480, 400, 405, 405, 405]) == [
        Told("raise", onset_s=120, at_s=120, observed=480, expected=430, limit=460),
        Told("clear", onset_s=120, at_s=360, observed=405, expected=405, limit=405),
    ]


def test_only_the_watched_direction_counts():
    assert feed(detector("rate", per_s=0.5, direction=1), [400, 100, 90]) == []


def test_after_a_gap_more_change_is_believable():
    surge = detector("rate", per_s=0.5)
    assert [*feed(surge, [400]), *feed(surge, [700], from_s=600)] == []


def test_two_values_at_one_instant_have_no_pace():
    surge = detector("rate", per_s=0.5)
    assert [*feed(surge, [400]), *feed(surge, [700])] == []


# silence


def due(made, now_s: float) -> list[tuple[int, Told]]:
    device = np.flatnonzero(made.deadlines() < now_s * S)
    return tell(made.expire(device, np.full(len(device), int(now_s * S))), range(len(made.deadlines())))


def test_a_device_is_silent_after_three_of_its_own_periods_whenever_somebody_looks():
    for looked_at in (341, 100_000):
        silent = detector("silence")
        feed(silent, [0, 0, 0], every_s=80)
        assert due(silent, 340) == [], "160 s + 3 x 60 s is in time"
        assert due(silent, looked_at) == [(0, Told("raise", 160, 340, observed=180, expected=None, limit=180))]
        assert due(silent, looked_at + 1) == [], "once"
        (clear,) = feed(silent, [0], from_s=400)
        assert (clear.phase, clear.onset_s, clear.at_s, clear.observed) == ("clear", 160, 400, 240)


def test_a_sign_of_life_after_the_deadline_says_both_even_if_nobody_looked():
    silent = detector("silence")
    assert phases(feed(silent, [0, 0], every_s=200)) == [("raise", 180), ("clear", 200)]


def test_a_device_that_never_reported_is_silent_since_its_registration():
    silent = build("silence", {"periods": 3, "min_s": 600})
    silent.grow(np.array([60.0]), np.array([1000 * S]))
    assert due(silent, 1601) == [(0, Told("raise", 1000, 1600, observed=600, expected=None, limit=600))]


def test_after_our_own_outage_no_deadline_falls_before_the_given_time():
    silent = detector("silence", devices=2)
    due(silent, 181)
    take(silent, [Value(1, 200, 0)])
    silent.extend(np.array([0, 1]), np.array([5000 * S, 5000 * S]))
    take(silent, [Value(1, 210, 0)])
    assert silent.deadlines().tolist() == [NEVER, 5000 * S], "the one already silent stays so"


def test_a_device_that_left_the_registry_is_not_missed_until_it_returns():
    silent = detector("silence", devices=2)
    silent.grow(np.full(2, CADENCE_S), np.array([NEVER, 0]))
    assert silent.deadlines().tolist() == [NEVER, 180 * S]
    silent.grow(np.full(2, CADENCE_S), np.array([7000 * S, 0]))
    assert silent.deadlines().tolist() == [7180 * S, 180 * S]


def test_a_changed_cadence_moves_the_deadline():
    silent = detector("silence")
    feed(silent, [0], from_s=100)
    silent.grow(np.array([3600.0]), np.array([0]))
    assert silent.deadlines().tolist() == [(100 + 3 * 3600) * S]


# all of them


def test_every_detector_has_a_rule_in_these_tests():
    assert set(RULES) == set(load())


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
    for array in snapshot(dirty).values():
        assert np.isfinite(array).all()
    assert all((a == b).all() for a, b in zip(snapshot(clean).values(), snapshot(dirty).values(), strict=True))


@pytest.mark.parametrize("name", sorted(set(RULES) - {"silence"}))
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
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=60, deadline=None)
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


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_manual_names_every_parameter_with_its_default(name):
    section = MANUAL.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", section, re.MULTILINE)
    defaults = {key: math.nan if text in {"required", "none"} else float(text) for key, text in rows}
    assert defaults == pytest.approx(dict(load()[name].PARAMS), nan_ok=True)
    assert "Cannot see:" in section
    assert "Source:" in section
