"""The engine over rows that are already there: what it says, and what cutting and pauses do not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from devices.kinds import load
from processors.backtest.run import Backtest, Rows, alerts_of, findings, made_up, rows_of
from processors.engines.local import EngineSettings
from processors.engines.rules import zones
from processors.errors import BacktestError

PRESSURE = load()["water_pressure"]
S = 1_000_000
FIVE_MIN = 300 * S
START = 1_767_225_600 * S  # 2026-01-01


def series(levels, *, devices=("A", "B"), at=None):
    """Each device at `levels`, told apart by a little, every five minutes."""
    times = START + np.arange(len(levels), dtype=np.int64) * FIVE_MIN if at is None else at
    noise = np.random.default_rng(1).normal(0, 2, len(levels))
    return {device: (times, np.asarray(levels, dtype=float) + noise + i) for i, device in enumerate(devices)}


def test_a_fall_below_the_limit_is_one_alert_with_its_times():
    data = series([300.0] * 6 + [120.0] * 6 + [300.0] * 6, devices=("A",))
    (span,) = alerts_of(findings(PRESSURE, rows_of(PRESSURE, data), rules=["pressure_low"]))
    assert (span.device, span.rule) == ("A", "pressure_low")
    assert [(t - START) // FIVE_MIN for t in (span.start_us, span.raised_us, span.end_us)] == [6, 7, 14]


def test_an_alert_that_stands_at_the_end_has_no_end():
    data = series([300.0] * 6 + [120.0] * 6, devices=("A",))
    (span,) = alerts_of(findings(PRESSURE, rows_of(PRESSURE, data), rules=["pressure_low"]))
    assert span.end_us is None


def test_a_device_that_stops_reporting_is_silent_while_the_other_goes_on():
    data = series([300.0] * 20)
    data["B"] = tuple(part[:10] for part in data["B"])
    (span,) = alerts_of(findings(PRESSURE, rows_of(PRESSURE, data), rules=["silent"]))
    assert (span.device, span.end_us) == ("B", None)
    assert (span.raised_us - START) // FIVE_MIN == 9 + 3


def test_a_pause_of_all_devices_is_their_silence_and_not_our_absence():
    times = START + np.array([0, 1, 2, 3, 30, 31, 32], dtype=np.int64) * FIVE_MIN
    spans = alerts_of(findings(PRESSURE, rows_of(PRESSURE, series([300.0] * 7, at=times)), rules=["silent"]))
    assert [(one.device, (one.end_us - START) // FIVE_MIN) for one in spans] == [("A", 30), ("B", 30)]


def test_an_hourly_file_is_not_silent_by_the_cadence_of_its_kind():
    times = START + np.arange(30, dtype=np.int64) * 12 * FIVE_MIN
    rows = rows_of(PRESSURE, series([300.0] * 30, at=times))
    assert [one.cadence_s for one in made_up(PRESSURE, rows)] == [3600.0, 3600.0]
    assert list(findings(PRESSURE, rows, rules=["silent"])) == []


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_segments_of_any_size_give_the_same_findings(at_once):
    chance = np.random.default_rng(3)
    data = series(chance.choice([300.0, 120.0], 80, p=[0.8, 0.2]).tolist(), devices=("A", "B", "C"))
    kept = np.flatnonzero(chance.random(80) < 0.7)
    data["C"] = tuple(part[kept] for part in data["C"])
    rows = rows_of(PRESSURE, data)
    small = EngineSettings(segment_rows=at_once)
    said = [one.line() for one in findings(PRESSURE, rows)]
    assert said
    assert sorted(one.line() for one in findings(PRESSURE, rows, settings=small)) == sorted(said)


def test_devices_that_are_not_registered_are_nobodys():
    rows = rows_of(PRESSURE, series([300.0] * 6 + [120.0] * 6))
    known = made_up(PRESSURE, rows)[:1]
    assert {one.device for one in findings(PRESSURE, rows, entries=known)} == {"A"}


def test_rows_out_of_order_are_refused():
    rows = Rows(["A"], np.zeros(2, np.int32), np.array([2, 1]), np.ones((2, len(PRESSURE.quantities))))
    with pytest.raises(BacktestError, match="in order of time"):
        Backtest(PRESSURE, rows)


def test_a_rule_that_does_not_exist_is_refused_with_those_that_do():
    rows = rows_of(PRESSURE, series([300.0] * 2))
    with pytest.raises(BacktestError, match="no rule bursts; it has pressure_low"):
        Backtest(PRESSURE, rows, rules=["bursts"])


def test_another_parameter_of_a_rule_changes_what_it_says():
    rows = rows_of(PRESSURE, series([300.0] * 6 + [120.0] * 6))
    calm = tuple(replace(use, params={**use.params, "low": 100.0}) if use.rule == "pressure_low" else use
                 for use in PRESSURE.detectors)  # fmt: skip
    assert alerts_of(findings(replace(PRESSURE, detectors=calm), rows, rules=["pressure_low"])) == []


def test_the_devices_of_one_file_are_one_zone():
    rows = rows_of(PRESSURE, series([300.0] * 3))
    fleet = Backtest(PRESSURE, rows).fleet.kinds["water_pressure"]
    assert zones(fleet).tolist() == [0, 0]
