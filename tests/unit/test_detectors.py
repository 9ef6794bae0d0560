"""What each detector sees and does not see, in numbers; and that cutting, stopping and neighbours change nothing."""

from __future__ import annotations

import random

import numpy as np

from processors.detectors import NEVER, build
from tests.support.detecting import CADENCE_S, S, Told, Value, detector, feed, phases, take, tell

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
        Told("raise", onset_s=60, at_s=240, observed=7, expected=None, limit=None),
        Told("clear", onset_s=60, at_s=360, observed=8, expected=7, limit=None),
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


def test_readings_that_waited_and_arrive_together_count_as_least_s_apart():
    def judged(**params: float) -> list[Told]:
        return feed(detector("rate", per_s=0.5, **params), [400, 425, 410], every_s=0.001)

    assert judged(least_s=60) == []
    assert phases(judged()) == [("raise", 0.001)]
    assert phases(feed(detector("rate", per_s=0.5, least_s=60), [400, 431], every_s=0.001)) == [("raise", 0.001)]


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
