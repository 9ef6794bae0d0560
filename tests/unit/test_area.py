"""The detector `area`: leaks among the sensors of one zone. Hourly values of eight sensors, in kPa."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from processors.detectors import NEVER, Hits, Step, build, restore, snapshot
from processors.detectors.area import Area
from processors.errors import RuleError
from processors.leaks.modes import Habit, absorb, habit
from processors.leaks.pattern import around, ranked

HOUR = 3_600_000_000
DAY = 24
SENSORS = 8
NOISE = 0.15
LEAK = np.array([0, 0, -1.2, -0.5, 0, 0, -0.2, 0])  # nearest to sensor 2, then 3


def zone(days: int, seed: int = 1, sensors: int = SENSORS) -> np.ndarray:
    """(hours, sensors) pressures that share demand and the level of a tank."""
    rng = np.random.default_rng(seed)
    hour = np.arange(days * DAY)
    demand = np.sin(hour / DAY * 2 * np.pi) + 0.4 * np.sin(hour / 84 * np.pi) + rng.normal(0, 0.2, len(hour))
    level = np.sin(hour / 31 * 2 * np.pi)
    load = np.linspace(2, 6, sensors), np.linspace(3, -1, sensors)
    common = -demand[:, None] * load[0] + level[:, None] * load[1]
    return 300 + 10 * np.arange(sensors) + common + rng.normal(0, NOISE, (len(hour), sensors))


def leaking(days: int, start: float, end: float | None = None, pattern: np.ndarray = LEAK) -> np.ndarray:
    values = zone(days)
    values[int(start * DAY) : None if end is None else int(end * DAY)] += pattern
    return values


def area(devices: int = SENSORS, zones: list[int] | None = None, **params: float) -> Area:
    made = build("area", {"least": 0.1, **params})
    assert isinstance(made, Area)
    made.grow(np.full(devices, 3600.0), np.zeros(devices, dtype=np.int64))
    made.group(np.array(zones if zones is not None else [0] * devices))
    return made


def rows(values: np.ndarray, first_hour: int = 0, devices: np.ndarray | None = None) -> Step:
    """Every sensor ten minutes into each hour, received at once; NaN is left out."""
    hours, sensors = values.shape
    time_us = np.repeat((np.arange(hours) + first_hour) * HOUR, sensors) + HOUR // 6
    device = np.tile(np.arange(sensors) if devices is None else devices, hours)
    there = np.isfinite(values.ravel())
    return Step(
        device[there].astype(np.int32),
        time_us[there],
        time_us[there],
        values.ravel()[there],
        np.zeros(there.sum(), dtype=np.uint8),
    )


def part(step: Step, first: int, last: int) -> Step:
    return Step(
        *(getattr(step, name)[first:last] for name in ("device", "time_us", "received_us", "value", "quality"))
    )


def said(found: list[Hits]) -> list[tuple[object, ...]]:
    """All that hits hold, comparable to the last bit."""
    return [
        (
            one.phase.value,
            *(
                getattr(one, name).tolist()
                for name in ("row", "onset_us", "at_us", "observed", "expected", "start_us")
            ),
            {name: values.tolist() for name, values in one.extra.items()},
            [place.tolist() for place in one.place],
        )
        for one in found
    ]


def short(found: list[Hits]) -> list[tuple[str, int, float]]:
    """Phase, device named, day of the statement."""
    return [(one.phase.value, int(one.row[0]), round(float(one.at_us[0]) / HOUR / DAY, 1)) for one in found]


def test_a_new_leak_is_raised_within_a_day_and_named_by_the_sensor_it_shows_most_at():
    found = area().take(rows(leaking(20, 17)))
    assert found[0].phase.value == "raise"
    assert 17 < short(found)[0][2] <= 18
    assert found[0].row.tolist() == [2]
    assert found[0].place[0].tolist()[0] == 2
    assert all(one.place[0][0] == 2 for one in found)
    told = found[-1]
    assert told.expected[0] - told.observed[0] == pytest.approx(told.extra["drop"][0])
    assert told.extra["drop"][0] > 0.3


def test_demand_that_was_never_seen_before_is_no_leak():
    calm = zone(24)
    holiday = calm.copy()
    holiday[18 * DAY : 21 * DAY] += 1.5 * np.linspace(2, 6, SENSORS)  # everybody away: far higher everywhere
    assert area().take(rows(holiday)) == []
    assert area().take(rows(calm)) == []


def test_nothing_is_said_before_two_weeks_are_learnt():
    assert area().take(rows(leaking(14, 9))) == []


def test_a_repair_clears_the_leak_and_keeps_its_device_and_onset():
    found = area().take(rows(leaking(28, 17, 21)))
    assert [phase for phase, _, _ in short(found)][0 :: len(found) - 1] == ["raise", "clear"]
    assert {int(one.row[0]) for one in found} == {2}
    assert len({int(one.onset_us[0]) for one in found}) == 1
    assert 21 < short(found)[-1][2] <= 23.5


def test_a_sensor_that_rises_is_no_leak_at_the_others():
    assert area().take(rows(leaking(20, 17, pattern=-2 * LEAK))) == []


def test_a_second_leak_elsewhere_is_raised_while_the_first_one_stands():
    values = leaking(26, 17)
    values[22 * DAY :] += np.array([0, 0, 0, 0, -0.3, -1.2, 0, 0])
    raised = [(row, day) for phase, row, day in short(area().take(rows(values))) if phase == "raise"]
    assert [row for row, _ in raised] == [2, 5]
    assert 22 < raised[1][1] <= 23


def test_a_leak_that_grows_is_one_alarm_told_again():
    values = zone(30)
    values[17 * DAY :] += LEAK * np.linspace(0.3, 4, 13 * DAY)[:, None]
    phases = [phase for phase, _, _ in short(area().take(rows(values)))]
    assert phases.count("raise") == 1
    assert phases.count("update") >= 2


def test_a_leak_that_does_not_grow_is_normal_after_a_month():
    found = area(accept_s=6 * 86400).take(rows(leaking(30, 17)))
    assert short(found)[-1][0] == "clear"
    assert 23 < short(found)[-1][2] <= 26


def test_however_the_journal_is_cut_the_same_is_said():
    step = rows(leaking(20, 17, 18.5))
    whole = said(area().take(step))
    assert whole
    rng = np.random.default_rng(4)
    for pieces in (20, 400):
        made = area()
        cuts = [0, *sorted(rng.integers(0, len(step.value), pieces).tolist()), len(step.value)]
        found = []
        for first, last in pairwise(cuts):
            found += made.take(part(step, first, last))
            if last > first:
                found += expired(made, int(step.received_us[last - 1]) + 1)
        assert said(found) == whole


def expired(made: Area, now_us: int) -> list[Hits]:
    due = np.flatnonzero(made.deadlines() < now_us)
    return made.expire(due, np.full(len(due), now_us))


def test_a_deadline_stands_in_the_first_row_of_a_zone_only_and_passing_it_judges_the_hour():
    made = area(zones=[-1, 0, 0, 0, 0, 0, 0, 0])
    made.take(rows(zone(1)[:1]))
    assert np.flatnonzero(made.deadlines() != NEVER).tolist() == [1]
    due = int(made.deadlines()[1])
    assert due == HOUR + 960 * 1_000_000  # the hour's end, fifteen minutes of waiting and one
    assert made.expire(np.array([1]), np.array([due])) == []
    assert made.hours.tolist() == [0] + [1] * 7
    assert made.deadlines()[1] == NEVER


def test_what_reaches_us_too_late_for_its_hour_does_not_count():
    made = area()
    step = rows(zone(1)[:1])
    step.received_us[:4] = HOUR + 900 * 1_000_000
    step.received_us[4:] = HOUR + 901 * 1_000_000
    made.take(step)
    assert made.count[:, 0].tolist() == [1] * 4 + [0] * 4


def test_a_time_ahead_of_our_clock_does_not_count():
    made = area()
    step = rows(zone(1)[:1])
    step.time_us[:] += 2 * HOUR
    made.take(step)
    assert made.count.sum() == 0


@pytest.mark.parametrize("cut", [3 * DAY * SENSORS + 5, 17 * DAY * SENSORS + 99, 19 * DAY * SENSORS])
def test_stopped_and_restored_on_other_rows_equals_never_stopping(cut):
    step = rows(leaking(21, 17, 19.5))
    whole = said(area().take(step))
    first = area()
    found = said(first.take(part(step, 0, cut)))
    places = np.array([9, 3, 4, 5, 6, 7, 8, 2])  # two devices more, and everybody on another row
    second = area(10, [-1, -1, *[0] * 8])
    restore(second, snapshot(first), places)
    rest = part(step, cut, len(step.value))
    rest.device = places[rest.device].astype(np.int32)
    back = {int(row): old for old, row in enumerate(places)}
    for phase, row, *numbers, extra, place in said(second.take(rest)):
        found.append((phase, [back[row[0]]], *numbers, extra, [[back[one] for one in place[0]]]))
    assert found == whole


def test_zones_do_not_know_each_other():
    one, other = leaking(20, 17), zone(20, seed=5)
    both = np.empty((len(one), 2 * SENSORS))
    both[:, ::2], both[:, 1::2] = one, other
    found = area(2 * SENSORS, [0, 1] * SENSORS).take(rows(both))
    alone = area().take(rows(one))
    assert [(phase, row // 2, day) for phase, row, day in short(found)] == short(alone)
    assert {int(h.row[0]) % 2 for h in found} == {0}


def test_hours_missing_here_and_there_while_it_learns_make_no_leak():
    values = zone(30)
    values[np.random.default_rng(8).random(values.shape) < 0.05] = np.nan
    assert area().take(rows(values)) == []


@pytest.mark.parametrize("fault", ["stuck", "gone", "every_third", "flow"])
def test_a_sensor_that_fails_neither_raises_nor_hides_a_leak(fault):
    for values, raised in ((zone(20), []), (leaking(20, 17), [2])):
        rng = np.random.default_rng(7)
        if fault == "stuck":
            values[15 * DAY :, 6] = values[15 * DAY, 6]
        elif fault == "gone":
            values[15 * DAY :, 6] = np.nan
        elif fault == "every_third":
            values[rng.random(len(values)) < 0.3, 6] = np.nan
        else:
            values[:, 6] = 50 * rng.gamma(2.0, 1.0, len(values))  # a flow meter that nobody took out
        assert [row for phase, row, _ in short(area().take(rows(values))) if phase == "raise"] == raised


def test_a_pause_of_the_whole_zone_is_no_leak():
    step = rows(zone(24))
    kept = (step.time_us < 16 * DAY * HOUR) | (step.time_us > 19 * DAY * HOUR)
    step = Step(*(getattr(step, n)[kept] for n in ("device", "time_us", "received_us", "value", "quality")))
    assert area().take(step) == []


def test_sensors_that_share_nothing_raise_nothing():
    rng = np.random.default_rng(3)
    hour = np.arange(30 * DAY)
    day = np.sin(hour / DAY * 2 * np.pi)[:, None] * rng.uniform(10, 30, SENSORS)
    assert area().take(rows(300 + day + rng.normal(0, 4, (len(hour), SENSORS)))) == []


def test_three_sensors_cannot_tell_what_they_share_and_stay_silent():
    assert area(3).take(rows(leaking(20, 17)[:, 2:5])) == []


def test_a_sensor_that_joins_is_learnt_first_and_disturbs_nobody():
    values = leaking(20, 17)
    values[: 10 * DAY, 7] = np.nan
    found = area().take(rows(values))
    assert short(found)[0][:2] == ("raise", 2)


def test_a_device_that_changes_zones_starts_anew():
    made = area(2 * SENSORS, [0] * SENSORS + [1] * SENSORS)
    made.take(rows(np.hstack([zone(4), zone(4, seed=2)])))
    assert made.seen[0] == made.seen[1] == 22  # of 96 hours, two are not judged yet and three days not old enough
    made.group(np.array([1] + [0] * (SENSORS - 1) + [1] * SENSORS))
    assert made.seen[:2].tolist() == [0, 22]
    made.take(rows(zone(1), first_hour=4 * DAY))
    assert made.hours[0] > 0  # the zone's own it has from its new neighbours


def test_a_zone_number_may_change_while_its_devices_stay_together():
    made = area()
    made.take(rows(zone(4)))
    made.group(np.array([3] * SENSORS))
    assert made.seen.tolist() == [22] * SENSORS


def test_of_a_large_zone_the_first_64_sensors_are_judged():
    made = area(70)
    made.take(rows(zone(1, sensors=70)[:1]))
    assert (made.count[:64].sum(), made.count[64:].sum()) == (64, 0)


def test_state_stays_within_two_kilobytes_per_device():
    made = area(1)
    assert sum(getattr(made, name).nbytes for name in made.STATE) <= 2048


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({}, "least >0, got nan"),
        ({"least": 1, "limit": 0}, "limit >0, got 0"),
        ({"least": 1, "wait_s": -1}, "wait_s"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(params, part):
    with pytest.raises(RuleError, match=part):
        build("area", params)


def test_the_radius_is_unknown_without_positions_and_reaches_the_second_nearest_sensor_with():
    place, members = np.array([0, 1]), np.arange(4)
    assert np.isnan(around(None, place, members))
    east = np.column_stack([np.array([0.0, 0.001, 0.003, 0.01]), np.zeros(4)])
    assert around(east, place, members) == pytest.approx(333.6, abs=0.1)
    east[0] = np.nan
    assert np.isnan(around(east, place, members))


def test_parts_of_the_day_are_kept_for_the_chart_with_what_was_expected():
    made = area()
    made.take(rows(leaking(18, 17)))
    window = made.window(2)
    assert window is not None
    assert len(window.time_us) == 72
    assert (np.diff(window.time_us) == HOUR).all()
    assert window.expected is not None
    off = window.value - window.expected
    assert off[-12:].mean() < off[:40].mean() - 0.2


def test_common_modes_are_those_that_more_than_one_sensor_sees():
    rng = np.random.default_rng(2)
    demand = rng.normal(0, 1, 2000)
    values = demand[:, None] * np.array([1.0, 2, 3, 4]) + rng.normal(0, 0.1, (2000, 4))
    mean, spread = np.zeros(4), np.zeros((4, 4))
    for i, value in enumerate(values, start=1):
        mean, spread = absorb(mean, spread, value, own=np.full(4, 1 / i), weight=1 / i, noise=np.zeros(4))
    assert np.allclose(spread, np.cov(values.T, bias=True))
    usual = habit(mean, spread)
    assert usual.modes.shape == (4, 1)
    assert usual.sigma == pytest.approx([0.1] * 4, rel=0.5)


def test_a_missing_sensor_is_filled_in_with_what_the_others_let_expect():
    usual = Habit(np.zeros(3), np.ones(3), np.full((3, 1), 3**-0.5))
    filled = usual.filled(np.array([2.0, 2.0, np.nan]), np.array([True, True, False]))
    assert filled == pytest.approx([2, 2, 2], rel=0.01)


def test_sensors_are_ranked_by_how_far_they_fell_and_those_that_hardly_did_are_left_out():
    assert ranked(np.array([-2.0, 1, -9, -5, -0.1]), 5).tolist() == [2, 3]
