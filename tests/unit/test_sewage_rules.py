"""What the rules at a sewage inlet see and what they leave alone, on a plant with a day of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from processors.detectors import Detector, Step, build, restore, snapshot

S = 1_000_000
MONDAY_US = 1_767_542_400 * S  # midnight in Beijing
QUARTER_S = 900
SLOTS = 96

Plant = tuple[np.ndarray, np.ndarray, np.ndarray]  # COD, NH3-N, flow at quarters of an hour


def plant(days: int, seed: int = 1) -> Plant:
    """A day that swings by half, working days above weekends, a little noise."""
    chance = np.random.default_rng(seed)
    slot = np.arange(days * SLOTS)
    swing = 1 + 0.4 * np.sin(2 * np.pi * (slot % SLOTS) / SLOTS)
    week = np.where(slot // SLOTS % 7 >= 5, 0.9, 1.0)
    noise = chance.normal(1, 0.03, (3, len(slot)))
    return 300 * swing * week * noise[0], 25 * swing * week * noise[1], 200 * swing * week * noise[2]


def made(name: str, **params: float) -> Detector:
    detector = build(name, params)
    detector.grow(np.array([float(QUARTER_S)]), np.array([0]))
    return detector


def feed(detector: Detector, value: np.ndarray, *beside: np.ndarray, first: int = 0) -> list[tuple[str, float]]:
    """(phase, day) of what is said, one reading a quarter of an hour from slot `first` on; NaN is no reading."""
    told = []
    for i in range(first, len(value)):
        at = np.array([MONDAY_US + i * QUARTER_S * S])
        others = np.array([[column[i] for column in beside]])
        step = Step(np.zeros(1, np.int32), at, at, value[i : i + 1], np.zeros(1, np.uint8), others)
        told += [(hits.phase.value, i / SLOTS) for hits in detector.step(step)]
    return told


def raised(told: list[tuple[str, float]]) -> list[float]:
    return [day for phase, day in told if phase == "raise"]


# slug


def test_a_discharge_that_lifts_concentration_and_load_is_a_slug_within_the_hour():
    cod, _, flow = plant(16)
    cod[15 * SLOTS : 15 * SLOTS + 12] *= 2
    found = feed(made("slug"), cod, flow)
    assert [phase for phase, _ in found if phase != "update"] == ["raise", "clear"]
    assert 15 < found[0][1] <= 15 + 1 / 24


def test_rain_that_thins_the_sewage_at_an_unchanged_load_is_none():
    cod, _, flow = plant(18)
    wet = slice(15 * SLOTS, 16 * SLOTS)
    flow[wet] *= 2.5
    cod[wet] /= 2.5
    assert feed(made("slug"), cod, flow) == []


def test_a_flow_that_halves_and_thickens_the_sewage_is_none():
    cod, _, flow = plant(18)
    low = slice(15 * SLOTS, 15 * SLOTS + 24)
    flow[low] /= 2
    cod[low] *= 2
    assert feed(made("slug"), cod, flow) == []


def test_without_a_flow_it_takes_more():
    cod, _, flow = plant(16)
    cod[15 * SLOTS : 15 * SLOTS + 12] *= 1.6
    assert len(raised(feed(made("slug"), cod, flow))) == 1
    assert feed(made("slug"), cod, np.full(len(flow), math.nan)) == []


def test_without_a_flow_three_times_the_usual_is_a_slug():
    cod, _, flow = plant(16)
    cod[15 * SLOTS : 15 * SLOTS + 12] *= 3
    assert len(raised(feed(made("slug"), cod, np.full(len(flow), math.nan)))) == 1


def test_a_lone_spike_is_no_slug():
    cod, _, flow = plant(16)
    cod[15 * SLOTS] *= 5
    assert feed(made("slug"), cod, flow) == []


def test_a_step_after_a_calibration_gap_is_no_slug():
    cod, _, flow = plant(17)
    cod[15 * SLOTS - 6 : 15 * SLOTS] = math.nan
    cod[15 * SLOTS :] *= 1.3
    assert feed(made("slug"), cod, flow) == []


def test_a_stuck_value_does_not_become_a_slug_when_the_usual_falls():
    cod, _, flow = plant(17)
    peak = 15 * SLOTS + 24
    cod[peak : peak + 60] = cod[peak]
    assert feed(made("slug"), cod, flow) == []


def test_before_a_week_is_learned_the_absolute_limit_holds():
    cod, _, flow = plant(2)
    cod[SLOTS : SLOTS + 8] = 2000
    assert len(raised(feed(made("slug", high=1500), cod, flow))) == 1
    assert feed(made("slug"), cod, flow) == []


def test_a_morning_rise_measured_at_the_border_of_two_half_hours_is_no_slug():
    course = np.repeat(
        [26.0, 21, 16, 17, 41, 50, 40, 32, 29, 30, 31, 29], 8
    )  # a new value every two hours, 9:00 too
    chance = np.random.default_rng(4)
    nh3n = np.concatenate([np.roll(course, 4) * chance.normal(1, 0.01) for _ in range(30)])
    assert raised(feed(made("slug"), nh3n, np.full(len(nh3n), 500.0))) == []


# dilution


def test_thin_sewage_at_a_higher_flow_for_a_week_is_outside_water():
    cod, _, flow = plant(50)
    flow[35 * SLOTS :] *= 2
    cod[35 * SLOTS :] /= 2
    (day,) = raised(feed(made("dilution"), cod, flow))
    assert 37 <= day <= 49


def test_an_analyser_that_reads_low_at_an_unchanged_flow_is_no_outside_water():
    cod, _, flow = plant(50)
    cod[35 * SLOTS :] /= 2
    assert feed(made("dilution"), cod, flow) == []


def test_two_rainy_days_are_no_outside_water():
    cod, _, flow = plant(45)
    wet = slice(35 * SLOTS, 37 * SLOTS)
    flow[wet] *= 3
    cod[wet] /= 3
    assert feed(made("dilution", low=150), cod, flow) == []


def test_below_the_absolute_limit_no_past_is_needed():
    cod, _, flow = plant(9)
    assert len(raised(feed(made("dilution", low=400), cod, flow))) == 1


# analyser_drift


def ramp(count: int, first: int, share: float) -> np.ndarray:
    return 1 + share * np.clip((np.arange(count) - first) / (14 * SLOTS), 0, 1)


def drifting(change: Callable[[np.ndarray, np.ndarray], None], together: float) -> list[float]:
    cod, nh3n, flow = plant(52)
    change(cod, nh3n)
    absent = np.full(len(cod), math.nan)
    return raised(feed(made("analyser_drift", together=together), cod, flow, nh3n, absent, absent))


def alone(cod: np.ndarray, _nh3n: np.ndarray) -> None:
    cod *= ramp(len(cod), 30 * SLOTS, -0.35)


def both(cod: np.ndarray, nh3n: np.ndarray) -> None:
    cod *= ramp(len(cod), 30 * SLOTS, 0.45)
    nh3n *= ramp(len(nh3n), 30 * SLOTS, 0.45)


def test_one_analyser_that_fouls_leaves_the_others():
    (day,) = drifting(alone, together=0)
    assert 33 < day < 46
    assert drifting(alone, together=1) == []


def test_analysers_that_drift_alike_are_told_as_one_house():
    (day,) = drifting(both, together=1)
    assert 33 < day < 46
    assert drifting(both, together=0) == []


def test_slugs_each_day_are_no_drift():
    def slugs(cod: np.ndarray, _nh3n: np.ndarray) -> None:
        for day in range(30, 40):
            cod[day * SLOTS + 40 : day * SLOTS + 60] *= 3

    assert drifting(slugs, together=0) == []


# cycle_stuck


def minutes(values: list[float], each: int) -> np.ndarray:
    return np.repeat(np.array(values), each)


@pytest.mark.parametrize("each", [3, 8])
def test_three_usual_runs_without_a_change_are_stuck(each):
    usual = minutes([float(i) for i in range(20)], each)
    (day,) = raised(feed(made("cycle_stuck", hold_s=86400), np.concatenate([usual, np.full(200, 99.0)])))
    assert (day - len(usual) / SLOTS) * 24 == pytest.approx(each * 3 / 4, abs=0.3)


def test_one_measurement_equal_to_the_one_before_is_not_stuck():
    values = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11, 11, 12]
    assert feed(made("cycle_stuck", hold_s=86400), minutes(values, 8)) == []


def test_before_the_cycle_is_learned_the_given_time_holds():
    stuck = made("cycle_stuck", hold_s=3600)
    assert raised(feed(stuck, np.full(10, 7.0))) == [4 / SLOTS]


@pytest.mark.parametrize("known", [False, True])
def test_while_the_cycle_is_learned_nothing_usual_is_claimed(known):
    detector = made("cycle_stuck", hold_s=3600)
    if known:
        feed(detector, minutes([float(i) for i in range(20)], 3))
    quarters = [MONDAY_US + (1000 + i) * QUARTER_S * S for i in range(20)]
    zero = np.zeros(1, np.uint8)
    steps = [
        Step(zero.astype(np.int32), np.array([at]), np.array([at]), np.array([99.0]), zero) for at in quarters
    ]
    (told,) = [hits for step in steps for hits in detector.step(step)]
    assert (told.because is None, "usual_min" in told.extra) == (known, known)


# state


def test_a_plant_restored_in_the_middle_says_the_same():
    cod, _, flow = plant(12)
    cod[11 * SLOTS : 11 * SLOTS + 12] *= 2
    half = 9 * SLOTS + 7
    first, second, whole = (made("slug") for _ in range(3))
    feed(first, cod[:half], flow)
    restore(second, snapshot(first), np.array([0]))
    assert feed(second, cod, flow, first=half) == feed(whole, cod, flow)
