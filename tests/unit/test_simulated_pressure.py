"""What the simulated mains do: quieter Sundays, and pumps that switch."""

from __future__ import annotations

import numpy as np
import pytest

from devices.errors import SpecError
from devices.kinds.water_pressure import KIND, PRESSURE
from devices.simulator.faults import Labelled, apply, inject
from devices.simulator.profiles import KindModel
from devices.spec import Shape

MONDAY_US = 1_767_542_400_000_000  # midnight in Beijing
MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
COLUMN = KIND.column(PRESSURE.name)


def values(from_us: int, minutes: range) -> tuple[np.ndarray, np.ndarray]:
    times = from_us + np.array(minutes, dtype=np.int64) * MINUTE_US
    model = KindModel(KIND, seed=1, start_us=MONDAY_US)
    return times, model.values(np.zeros(len(times), dtype=np.int64), times)


def test_sundays_have_two_percent_more_pressure_than_mondays() -> None:
    monday, sunday = (values(MONDAY_US + day * DAY_US, range(1440))[1][:, COLUMN].mean() for day in (0, 6))
    assert 0.012 < sunday / monday - 1 < 0.02


def test_a_week_has_seven_days() -> None:
    with pytest.raises(SpecError, match="expected 7 day multipliers, got 2"):
        Shape(level=1.0, days=(1.0, 2.0))


def test_a_cycle_is_on_and_off_by_quarters_of_an_hour() -> None:
    fault = next(fault for fault in KIND.simulate.faults if fault.name == "pump_switching")
    model = KindModel(KIND, seed=1, start_us=MONDAY_US)
    label = Labelled("WP-1", KIND.name, fault.name, MONDAY_US, MONDAY_US + 60 * MINUTE_US, ())
    times, healthy = values(MONDAY_US, range(0, 75, 5))
    changed = healthy.copy()
    apply(model, [inject(model, label, 0)], np.zeros(len(times), dtype=np.int64), times, changed, seed=1)
    apart = np.round(changed[:, COLUMN] - healthy[:, COLUMN], 6)
    assert apart.tolist() == [-18.0] * 3 + [0.0] * 3 + [-18.0] * 3 + [0.0] * 6
