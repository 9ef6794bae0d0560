"""The SKAB testbed: eight quantities of a water circuit each second, with valves closed and faults made on purpose.

From: folders `skab*` of the given data, one file per experiment. The rule is `joint` with its defaults, over a kind
made from the file's columns, as `undercity backtest` makes it for any file. The first 400 rows are for learning;
of all later rows of all files together: false alarms among the rows without a fault, missed among those with one. A
row is alarmed from the reading that raised an alert until the one that cleared it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from devices.readings import Bool, Float64, Int64
from processors.backtest.generic import kind_of
from processors.backtest.run import alerts_of, findings, rows_of
from tests.yardsticks.table import Row, main

LEARN: Final = 400
LABELS: Final = ("anomaly", "changepoint")
AIM: Final = 70.0
FAR_MOST: Final = 15.0
SHIFTS: Final = 200  # draws of the chance level
QUICK: Final = 4


class Experiment(NamedTuple):
    """One file: `columns` k, `time_us` (n,), `values` (n, k), `fault` (n,)."""

    name: str
    columns: list[str]
    time_us: Int64
    values: Float64
    fault: Bool


class Rates(NamedTuple):
    """Percent of the rows without a fault that were alarmed, and of those with one that were not."""

    false: float
    missed: float

    @property
    def j(self) -> float:
        """The yardstick's measure; chance gives 0, perfection 100."""
        return 100.0 - self.false - self.missed


def read(path: Path) -> Experiment:
    """One experiment of the testbed."""
    table = pd.read_csv(path, sep=";", parse_dates=["datetime"])
    columns = [name for name in table.columns if name not in {"datetime", *LABELS}]
    time_us = table["datetime"].to_numpy().astype("datetime64[us]").astype(np.int64)
    values = table[columns].to_numpy(dtype=np.float64)
    return Experiment(path.stem, columns, time_us, values, table["anomaly"].to_numpy() > 0)


def alarmed(one: Experiment) -> Bool:
    """(n,) the rows during which an alert stood, by the code that judges live readings."""
    kind = kind_of(one.columns)
    stated = findings(kind, rows_of(kind, {one.name: (one.time_us, one.values)}))
    found = np.zeros(len(one.time_us), dtype=np.bool_)
    for span in alerts_of(stated):
        found |= (one.time_us >= span.raised_us) & ((span.end_us is None) | (one.time_us < (span.end_us or 0)))
    return found


def three_sigma(one: Experiment) -> Bool:
    """(n,) the rows in which any quantity is beyond three standard deviations of its learning rows."""
    known = one.values[:LEARN]
    beyond: Bool = (np.abs(one.values - known.mean(axis=0)) > 3 * known.std(axis=0)).any(axis=1)
    return beyond


def rates(experiments: Sequence[Experiment], found: Sequence[Bool]) -> Rates:
    """Over all rows after the learning of all `experiments`, pooled."""
    fault = np.concatenate([one.fault[LEARN:] for one in experiments])
    alarm = np.concatenate([one[LEARN:] for one in found])
    return Rates(100.0 * float(alarm[~fault].mean()), 100.0 * float(1.0 - alarm[fault].mean()))


def by_chance(experiments: Sequence[Experiment], found: Sequence[Bool]) -> float:
    """Mean J when the same alarms stand at random places of the files they were raised in."""
    chance = np.random.default_rng(1)
    drawn = []
    for _ in range(SHIFTS):
        moved = [one.copy() for one in found]
        for one in moved:
            one[LEARN:] = np.roll(one[LEARN:], chance.integers(len(one) - LEARN))
        drawn.append(rates(experiments, moved).j)
    return float(np.mean(drawn))


def measure(folder: Path, *, quick: bool) -> Row:
    """The figure of one folder of experiments."""
    paths = sorted(folder.glob("*.csv"), key=lambda path: (len(path.stem), path.stem))
    experiments = [read(path) for path in paths[: QUICK if quick else None]]
    found = [alarmed(one) for one in experiments]
    ours, plain = rates(experiments, found), rates(experiments, [three_sigma(one) for one in experiments])
    halves = [rates(experiments[half::2], found[half::2]).j for half in (0, 1)] if len(experiments) > 1 else []
    return Row(
        folder.name,
        f"J of {len(experiments)} files, rows pooled",
        f"{ours.j:.1f} (false {ours.false:.1f} %, missed {ours.missed:.1f} %)",
        f">= {AIM:g}, false <= {FAR_MOST:g} %",
        ours.j >= AIM and ours.false <= FAR_MOST,
        f"{by_chance(experiments, found):.1f}",
        f"{plain.j:.1f} (any quantity beyond 3 sigma: false {plain.false:.1f} %, missed {plain.missed:.1f} %)",
        "every other file, from the first and from the second: J "
        + " and ".join(f"{half:.1f}" for half in halves),
    )


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """One row for each folder of the testbed in `data`; none without."""
    if data is None:
        return []
    return [measure(folder, quick=quick) for folder in sorted(data.glob("skab*")) if any(folder.glob("*.csv"))]


if __name__ == "__main__":
    main(run)
