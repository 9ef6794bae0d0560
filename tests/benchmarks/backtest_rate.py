"""How long a backtest takes: a year of 33 pressure sensors at five minutes, and one series with every rule.

`python -m tests.benchmarks.backtest_rate [DAYS]`

Made-up pressures with the day's course, the sensors' own level and noise; the time of DAYS (30 by default) is scaled
to a year. Processor time of one core, reading a file not included.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from devices.kinds import load
from devices.readings import Float64, Int64
from devices.spec import Kind
from processors.backtest.run import Rows, findings, rows_of

S = 1_000_000
START_US = 1_767_196_800 * S  # 2026-01-01 in Beijing
SENSORS = 33
EVERY_S = 300
YEAR_DAYS = 365


def pressures(sensors: int, days: int) -> Rows:
    """Rows of `sensors` devices, kPa: lower in the two demand peaks, all of them together."""
    chance = np.random.default_rng(1)
    at: Int64 = START_US + np.arange(days * 86400 // EVERY_S, dtype=np.int64) * EVERY_S * S
    hour = (at // S / 3600 + 8) % 24
    course = -25 * (np.exp(-((hour - 7.5) ** 2) / 6) + np.exp(-((hour - 19) ** 2) / 8))
    common: Float64 = course * chance.normal(1, 0.05, len(at))
    series = {
        f"n{i}": (
            at,
            300 + 20 * chance.normal() + common * chance.uniform(0.5, 1.5) + chance.normal(0, 0.5, len(at)),
        )
        for i in range(sensors)
    }
    return rows_of(load()["water_pressure"], series)


def seconds(kind: Kind, rows: Rows, rules: list[str] | None = None) -> float:
    """Processor time of one run."""
    started = time.process_time()
    for _ in findings(kind, rows, rules=rules):
        pass
    return time.process_time() - started


def main() -> None:
    """Print the times."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    kind = load()["water_pressure"]
    for sensors in (SENSORS, 1):
        rows = pressures(sensors, days)
        spent = seconds(kind, rows)
        year = spent * YEAR_DAYS / days
        print(
            f"backtest of {sensors} sensors, every {EVERY_S} s, all {len(kind.detectors)} rules: "
            f"{year:.0f} s for a year, {spent / len(rows) * 1e6:.1f} us per value"
        )
    rows = pressures(SENSORS, days)
    base = seconds(kind, rows, [])
    print(f"of that order, quality and traces: {base * YEAR_DAYS / days:.0f} s")
    for use in kind.detectors:
        own = seconds(kind, rows, [use.rule]) - base
        print(f"  {use.rule:<16} {use.detector:<16} {own * YEAR_DAYS / days:5.1f} s")


if __name__ == "__main__":
    main()
