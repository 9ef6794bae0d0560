"""What a heat meter says against itself: balance, register, flow that is missed, cold supply, stuck, gone, clocks."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np
import pytest

from devices.kinds import load
from devices.simulator.faults import Labelled
from processors.backtest.run import alerts_of, findings
from processors.backtest.simulated import DAY_US, START_US, rows
from tests.support.beside import step_of
from tests.support.circuits import circuit, hours, risen

DAY = [[0.0, 0.0, 60.0, 30.0]] * 7 + [[9.0, 300.0, 75.0, 45.0]] * 17  # flow, power, supply, return


def balanced(flow: float = 10.0, supply: float = 70.0, back: float = 40.0, times: float = 1.0) -> list[float]:
    """Power, flow, supply, return; water of 40 C carries 1.1518 kWh per m3 and K (tables of saturated water)."""
    return [1.1518 * 0.9993 * flow * (supply - back) * times, flow, supply, back]


@pytest.mark.parametrize("times", [0.75, 0.85, 1.15, 1.3])
def test_power_that_does_not_fit_flow_and_temperatures_is_seen_within_a_day(times):
    made = circuit("heat_balance")
    assert hours(made, [balanced()] * 48) == []
    at = risen(hours(made, [balanced(times=times)] * 36, from_h=48))
    assert len(at) == 1
    assert 52 <= at[0] <= 72


@pytest.mark.parametrize("times", [0.95, 1.05])
def test_power_within_the_meters_class_is_fine(times):
    assert hours(circuit("heat_balance"), [balanced(times=times)] * 72) == []


def test_a_small_difference_says_nothing_of_the_balance():
    assert hours(circuit("heat_balance"), [balanced(back=68.0, times=1.5)] * 72) == []


def test_a_balance_needs_what_came_together():
    rows = [[345.0, nan, nan, nan], [nan, 20.0, 70.0, 40.0]] * 24
    assert hours(circuit("heat_balance"), rows) == []


def counting(n: int, per_hour: float, start: float = 100.0, power: float = 500.0) -> list[list[float]]:
    """Energy in MWh, power in kW; no flow, no temperatures."""
    return [[round(start + per_hour * i, 1), power, nan, nan, nan] for i in range(n)]


def test_a_register_that_counts_what_flows_is_fine():
    assert hours(circuit("register"), counting(96, 0.5)) == []


def test_a_stuck_register_is_seen_within_two_windows():
    made = circuit("register")
    hours(made, counting(48, 0.5))
    at = risen(hours(made, counting(30, 0.0, start=124.0), from_h=48))
    assert len(at) == 1
    assert at[0] <= 48 + 26


def test_a_register_that_falls_is_said_at_once_and_ends_when_it_counts_again():
    made = circuit("register")
    hours(made, counting(24, 0.5))
    told = hours(made, [[90.0, 500.0, nan, nan, nan]], from_h=24)
    assert [(one.phase, one.observed) for one in told] == [("raise", pytest.approx(-21.5))]
    told = hours(made, counting(30, 0.5, start=90.5), from_h=25)
    assert [one.phase for one in told] == ["clear"]


def test_a_register_may_rest_all_summer():
    assert hours(circuit("register"), counting(24 * 60, 0.0, power=0.0)) == []


def test_what_crept_in_without_heat_is_not_held_against_the_next_window():
    made = circuit("register")
    assert hours(made, counting(100, 0.1, power=0.0)) == []
    assert hours(made, counting(48, 0.5, start=110.0), from_h=100) == []


def test_flow_and_temperatures_stand_in_for_power():
    rows = [[100.0, nan, 10.0, 70.0, 40.0]] * 40
    assert len(risen(hours(circuit("register"), rows))) == 1


def test_no_flow_by_day_is_missed_and_by_night_it_is_not():
    made = circuit("no_flow_demand")
    assert hours(made, DAY * 14) == []
    rows = np.array(DAY)
    rows[10:, :2] = 0
    assert risen(hours(made, rows, from_h=14 * 24)) == [14 * 24 + 12]


def test_a_supply_that_cools_because_nothing_flows_does_not_hide_it():
    made = circuit("no_flow_demand")
    hours(made, DAY * 14)
    rows = np.array(DAY)
    rows[10:, :2] = 0
    rows[10:, 2] -= np.arange(14) * 4
    assert len(risen(hours(made, rows, from_h=14 * 24))) == 1


def test_a_mild_afternoon_stops_the_flow_at_a_colder_supply():
    made = circuit("no_flow_demand")
    hours(made, DAY * 14)
    rows = np.array(DAY)
    rows[7:, 2] = 66
    rows[12:, :2] = 0
    assert hours(made, rows, from_h=14 * 24) == []


def test_a_season_ends_without_a_word():
    made = circuit("no_flow_demand")
    hours(made, DAY * 14)
    assert hours(made, [[0, 0, 28, 27]] * 24 * 30, from_h=14 * 24) == []


def test_power_says_it_where_there_is_no_flow():
    made = circuit("no_flow_demand")
    rows = np.array(DAY * 15)
    rows[:, 0] = nan
    rows[14 * 24 + 10 :, 1] = 0
    assert len(risen(hours(made, rows))) == 1


def test_a_cold_supply_counts_only_while_heat_flows():
    assert risen(hours(circuit("cold_supply"), [[70, 300, 9]] * 4 + [[30, 80, 9]] * 6)) == [7]
    assert hours(circuit("cold_supply"), [[30, 0, 0]] * 48) == []
    assert hours(circuit("cold_supply"), [[30, nan, nan]] * 48) == []


def test_a_flow_that_stands_while_others_move_is_stuck():
    rows = [[9.0, 300 + 10 * (i % 5), 70 + i % 3, 40] for i in range(24)]
    assert risen(hours(circuit("frozen"), rows)) == [13]


@pytest.mark.parametrize(("value", "at"), [(18.03, 5), (490.3, 5), (9.03, 13), (18.0, 13), (0.5, 13), (18.1, 13)])
def test_a_number_of_four_digits_may_stand_for_four_hours_and_a_coarser_one_for_twelve(value, at):
    rows = [[value, 300 + 10 * (i % 5), 70 + i % 3, 40] for i in range(24)]
    assert risen(hours(circuit("frozen", soon_s=4 * 3600), rows)) == [at]


def test_a_return_above_the_supply_is_exchanged_and_not_warm():
    rows = [[46.0, 70.0, 300, 9]] * 3 + [[70.0, 46.0, 300, 9]] * 12
    assert risen(hours(circuit("reversed_sensors", hold_s=7200), rows)) == [5]
    assert hours(circuit("warm_return", high=60), [row[:2] for row in rows]) == []


@pytest.mark.parametrize("supply", [75.0, nan])
def test_a_warm_return_is_said_with_the_supply_or_without(supply):
    rows = [[50.0, supply]] * 3 + [[66.0, supply]] * 6 + [[58.0, supply]] * 3 + [[50.0, supply]] * 4
    told = hours(circuit("warm_return", high=60), rows)
    assert [(one.phase, one.at_s / 3600, one.limit) for one in told] == [("raise", 7, 60), ("clear", 14, 60)]


def broken(name: str, *wrong: int) -> Iterator[tuple[int, list[str]]]:
    """What is said, hour by hour, of a meter whose columns `wrong` are good for two hours and bad from then on."""
    made = circuit(name)
    for hour in range(8):
        step = step_of([(hour * 3600.0, 40.0, 70.0, 9.0, 300.0, 1800.0)], [0])
        step.bad = np.zeros((1, 5), dtype=np.bool_)
        if hour >= 2:
            step.bad[0, list(wrong)] = True
            row = np.append(step.value, step.beside[0])
            row[list(wrong)] = nan
            step.value, step.beside = row[:1], row[np.newaxis, 1:]
        yield hour, [one.phase for one in made.step(step)]


def test_a_bad_value_needs_no_past_to_be_missed_and_all_of_them_are_one_failure():
    raised = {
        (name, wrong): [hour for hour, phases in broken(name, *wrong) if phases]
        for name in ("missing", "failed")
        for wrong in ((0,), (0, 1), (0, 1, 2, 3, 4))
    }
    assert raised == {
        ("missing", (0,)): [4],
        ("missing", (0, 1)): [4],
        ("missing", (0, 1, 2, 3, 4)): [],
        ("failed", (0,)): [],
        ("failed", (0, 1)): [],
        ("failed", (0, 1, 2, 3, 4)): [5],
    }


def test_a_sensor_that_never_measured_is_missed_from_the_first_hours_on():
    made, raised = circuit("missing"), []
    for hour in range(5):
        step = step_of([(hour * 3600.0, nan, 70.0, 9.0, 300.0, 1800.0)], [0])
        step.bad = np.array([[True, False, False, False, False]])
        raised += [hour for _ in made.step(step)]
    assert raised == [3]


def test_a_clock_that_jumps_is_seen_on_simulated_weeks_as_well():
    kind, begin_us = load()["heat_meter"], START_US + 2 * DAY_US
    label = Labelled("HM-1", kind.name, "clock_jump", begin_us, begin_us + DAY_US, ("clock_jumped",))
    told = rows(kind, ["HM-1"], [label], days=5.0, seed=1)
    assert set((told.time_us - told.arrival_us).tolist()) == {0, 7_200_000_000}
    spans = alerts_of(findings(kind, told))
    assert [(span.rule, span.raised_us < label.end_us, span.end_us is not None) for span in spans] == [
        ("clock_jumped", True, True)
    ]


@pytest.mark.parametrize("name", ["raised_return", "low_dt"])
def test_exchanged_sensors_are_neither_a_warm_return_nor_learned_as_one(name):
    made = circuit(name)
    well = [[55.0 + hour % 3, 80.0 + hour % 5, 400.0, 14.0] for hour in range(20 * 24)]
    assert hours(made, well) == []
    assert hours(made, [[supply, back, *rest] for back, supply, *rest in well[:72]], from_h=480) == []
    assert hours(made, well[:72], from_h=552) == []


def test_a_register_goes_on_from_where_it_stood_when_the_season_ended():
    kind = load()["heat_meter"]
    stop = next(fault for fault in kind.simulate.faults if fault.name == "summer_stop")
    begin_us, days = START_US + 10 * DAY_US, 30.0
    label = Labelled("HM-1", kind.name, stop.name, begin_us, begin_us + 12 * DAY_US, ())
    told = rows(kind, ["HM-1"], [label], days=days, seed=1)
    assert "register_wrong" not in {span.rule for span in alerts_of(findings(kind, told))}
    energy = told.values[:, kind.column("energy_mwh")]
    assert (np.diff(energy) >= 0).all()
    stood = (told.time_us > begin_us + 3_600_000_000) & (told.time_us < begin_us + 12 * DAY_US)
    assert len(set(energy[stood])) == 1


def test_a_circuit_at_rest_is_not_stuck():
    assert hours(circuit("frozen"), [[9.0, 300, 70, 40]] * 48) == []
    assert hours(circuit("frozen"), [[0.0, 0, 20 + i % 7, 20] for i in range(48)]) == []


def test_a_quantity_that_is_gone_while_others_come_is_missed():
    made = circuit("missing")
    assert hours(made, [[40, 70, 9, 300]] * 30) == []
    told = hours(made, [[nan, 70, 9, 300]] * 10 + [[41, 70, 9, 300]], from_h=30)
    assert [(one.phase, one.at_s / 3600, one.observed) for one in told] == [("raise", 32, 40), ("clear", 40, 41)]


def test_single_sentinels_and_quantities_never_seen_are_not_missed():
    made = circuit("missing")
    assert hours(made, ([[40, 70, 9, 300]] * 5 + [[nan, 70, 9, 300]] * 2) * 10) == []
    assert hours(circuit("missing"), [[nan, 70, 9, 300]] * 100) == []


def test_a_silent_device_misses_nothing():
    made = circuit("missing")
    hours(made, [[40, 70, 9, 300]] * 30)
    assert hours(made, [[nan, 70, 9, 300]], from_h=100) == []


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_jumps_and_stays_is_seen(jump_s):
    made = circuit("time_jump")
    assert hours(made, [[70.0]] * 30, late_s=10) == []
    at = risen(hours(made, [[70.0]] * 10, from_h=30 - jump_s / 3600 if jump_s < 0 else 30, late_s=10 + jump_s))
    assert len(at) == 1


def test_single_late_readings_are_no_jump():
    made = circuit("time_jump")
    for day in range(10):
        assert hours(made, [[70.0]] * 20, from_h=day * 24, late_s=10) == []
        assert hours(made, [[70.0]] * 2, from_h=day * 24 + 20, late_s=7200) == []
