"""Returns against their own course: raised, drawn together, exchanged with the supply."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from tests.support.circuits import circuit, hours, risen

DAYS = 20


def winter(days: int, seed: int = 1, cold: float = 0.0) -> np.ndarray:
    """(n, 4) return, supply, power, flow of a circuit: no heat from 15 to 21 h UTC (night), weather from day to day."""
    chance = np.random.default_rng(seed)
    weather = np.repeat(chance.normal(0, 4, days), 24) + cold
    supply = 75 + weather + chance.normal(0, 0.5, days * 24)
    back = 41 + 0.25 * weather + chance.normal(0, 0.4, days * 24)
    flow = 8 + 0.1 * weather
    night = (np.arange(days * 24) % 24 >= 15) & (np.arange(days * 24) % 24 < 22)
    back, flow = np.where(night, 30, back), np.where(night, 0, flow)
    return np.column_stack([back, supply, flow * (supply - back) * 1.15, flow])


@pytest.fixture(params=["raised_return", "low_dt"])
def learned(request):
    made = circuit(request.param)
    assert hours(made, winter(DAYS)) == []
    return made


def test_a_return_nine_kelvins_up_is_raised_within_days(learned):
    rows = winter(8, seed=2)
    rows[:, 0] += 9
    at = risen(hours(learned, rows, from_h=DAYS * 24))
    assert len(at) == 1
    assert DAYS * 24 + 6 <= at[0] < (DAYS + 6) * 24


def test_a_cold_spell_raises_supply_load_and_return_and_nothing_is_said(learned):
    assert hours(learned, winter(8, seed=3, cold=10), from_h=DAYS * 24) == []


def test_less_power_at_the_same_flow_does_not_excuse_a_warmer_return(learned):
    rows = winter(8, seed=2)
    rows[:, 0] += 9
    rows[:, 2] = rows[:, 3] * (rows[:, 1] - rows[:, 0]) * 1.15
    assert len(risen(hours(learned, rows, from_h=DAYS * 24))) == 1


def test_a_few_warm_hours_of_the_morning_are_nothing(learned):
    rows = winter(6, seed=4)
    rows[::24, 0] += 7
    rows[1::24, 0] += 4
    assert hours(learned, rows, from_h=DAYS * 24) == []


def test_heat_through_the_night_is_no_raised_return(learned):
    rows = winter(6, seed=5)
    rows[:, 0], rows[:, 2], rows[:, 3] = 41, 300, 8
    assert hours(learned, rows, from_h=DAYS * 24) == []


def test_supply_and_return_alone_are_enough():
    made = circuit("raised_return")
    rows = winter(DAYS + 8)
    rows[:, 2:] = nan
    rows[DAYS * 24 :, 0] += 6
    at = risen(hours(made, rows))
    assert len(at) == 1
    assert at[0] > DAYS * 24


def test_the_fault_becomes_usual_only_when_it_outlasted_accept():
    made = circuit("raised_return", accept_s=10 * 86400.0)
    rows = winter(70)
    rows[DAYS * 24 :, 0] += 6
    told = hours(made, rows)
    assert [one.phase for one in told] == ["raise", "clear"]
    assert told[1].at_s - told[0].onset_s > 10 * 86400


def test_fouling_over_three_weeks_is_seen():
    made = circuit("low_dt")
    rows = winter(60)
    rows[30 * 24 :, 0] += np.minimum(np.arange(30 * 24) / (21 * 24), 1.0) * 10
    at = risen(hours(made, rows))
    assert len(at) == 1
    assert 30 * 24 < at[0] < 52 * 24


def test_no_word_before_the_course_is_known():
    made = circuit("raised_return")
    rows = winter(5)
    rows[24:, 0] += 8
    assert hours(made, rows) == []


def test_exchanged_sensors_are_seen_where_heat_flows():
    rows = [[42, 70, 300, 9]] * 24 + [[70, 42, 300, 9]] * 8
    assert risen(hours(circuit("reversed_sensors"), rows)) == [28]


def test_a_return_warmer_than_a_resting_supply_is_no_exchange():
    assert hours(circuit("reversed_sensors"), [[36, 25, 0, 0]] * 48) == []


def test_without_load_an_exchange_must_outlast_a_night():
    night = [[36, 25, nan, nan]] * 10 + [[42, 70, nan, nan]] * 14
    assert hours(circuit("reversed_sensors"), night * 5) == []
    assert len(risen(hours(circuit("reversed_sensors"), [[70, 42, nan, nan]] * 24))) == 1
