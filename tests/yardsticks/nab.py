"""The Numenta Anomaly Benchmark: series of many origins, one configuration, one threshold, no look ahead.

From: the folder `nab` of the given data: series, labelled windows, cost profiles. The rule is `adaptive` with its
defaults, over a kind made from the file's column, as `undercity backtest --scores` runs it; a row is a detection when
its score reaches 0.5. The measure is written from the benchmark's paper: Lavin and Ahmad 2015, Evaluating real-time
anomaly detection algorithms, IEEE ICMLA, 38-44. The first detection within a window counts by how early it is, every
detection outside costs, the more the later it comes after a window; a window without any costs as much as a perfect
one brings. 0 is what saying nothing reaches, 100 every window at its first row and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from devices.readings import Bool, Float64, Int64
from processors.backtest.generic import kind_of
from processors.backtest.points import Tap
from processors.backtest.run import Backtest, alerts_of, rows_of
from tests.yardsticks.table import Row, main

AIM: Final = 66.0
ALERT: Final = 0.5
PROBATION: Final = 0.15  # of a series, in which nothing counts ...
PROBATION_MOST: Final = 750  # ... at most that of 5000 rows
STEEP: Final = 5.0  # of the sigmoid, in window lengths
FAR: Final = 3.0  # window lengths after a window from which a false detection costs in full
DRAWS: Final = 20
QUICK: Final = 3  # every so manieth series
PROFILES: Final = {"standard": "standard", "reward_low_FP_rate": "low FP", "reward_low_FN_rate": "low FN"}


class Series(NamedTuple):
    """One file of n rows. `windows`: (w, 2) first and last row of each labelled window, in order of time."""

    name: str
    time_us: Int64
    value: Float64
    windows: Int64

    @property
    def group(self) -> str:
        """What kind of origin it is of."""
        return self.name.partition("/")[0]

    @property
    def probation(self) -> int:
        """Rows at the beginning that count for nothing."""
        return min(math.floor(PROBATION * len(self.value)), PROBATION_MOST)


class Costs(NamedTuple):
    """What a window found, a false detection and a window missed are worth."""

    found: float
    false: float
    missed: float


class Points(NamedTuple):
    """What one series' detections are worth, and what nothing and perfection would be."""

    raw: float
    nothing: float
    perfect: float


def read(folder: Path) -> list[Series]:
    """Every labelled series in `folder`, in the order of their names."""
    labelled = json.loads((folder / "windows.json").read_text())
    return [_series(folder / "data" / name, name, spans) for name, spans in sorted(labelled.items())]


def _series(path: Path, name: str, spans: Sequence[tuple[str, str]]) -> Series:
    table = pd.read_csv(path, parse_dates=["timestamp"])
    time_us = table["timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64)
    rows = []
    for start, end in spans:
        inside = np.flatnonzero((time_us >= _micros(start)) & (time_us <= _micros(end)))
        rows.append((inside[0], inside[-1]))
    windows = np.array(sorted(rows), dtype=np.int64).reshape(-1, 2)
    return Series(name, time_us, table["value"].to_numpy(dtype=np.float64), windows)


def _micros(text: str) -> int:
    return int(np.datetime64(text.replace(" ", "T"), "us").astype(np.int64))


def costs(folder: Path) -> dict[str, Costs]:
    """The benchmark's cost profiles by their name."""
    given = json.loads((folder / "profiles.json").read_text())
    matrices = {name: profile["CostMatrix"] for name, profile in given.items()}
    return {name: Costs(one["tpWeight"], one["fpWeight"], one["fnWeight"]) for name, one in matrices.items()}


def worth(place: float) -> float:
    """Of a detection at `place`, in window lengths from the window's end, before it negative: 1 to -1."""
    return -1.0 if place > FAR else 2.0 / (1.0 + math.exp(STEEP * place)) - 1.0


def points(one: Series, found: Bool, cost: Costs) -> Points:
    """Of the detections `found` (n,) in one series."""
    rows = np.flatnonzero(found)
    rows = rows[rows >= one.probation]
    windows = [(first, last) for first, last in one.windows if last >= one.probation]
    total, outside = 0.0, np.ones(len(rows), dtype=np.bool_)
    for first, last in windows:
        inside = (rows >= first) & (rows <= last)
        outside &= ~inside
        if inside.any():
            place = -(last - rows[inside][0] + 1) / (last - first + 1)
            total += cost.found * worth(place) / worth(-1.0)
        else:
            total -= cost.missed
    for row in rows[outside]:
        before = [(first, last) for first, last in windows if last < row]
        place = (row - before[-1][1]) / max(before[-1][1] - before[-1][0], 1) if before else math.inf
        total += cost.false * worth(place)
    return Points(total, -cost.missed * len(windows), cost.found * len(windows))


def score(series: Sequence[Series], found: Sequence[Bool], cost: Costs) -> float:
    """Of the detections `found` in all `series`, 0 for saying nothing to 100; nan where there are no windows."""
    each = [points(one, rows, cost) for one, rows in zip(series, found, strict=True)]
    raw, nothing, perfect = (math.fsum(column) for column in zip(*each, strict=True))
    return 100.0 * (raw - nothing) / (perfect - nothing) if perfect > nothing else math.nan


def ours(one: Series) -> Float64:
    """(n,) score of each row, by the code that judges live readings."""
    kind = kind_of(["value"], "adaptive")
    run_ = Backtest(kind, rows_of(kind, {"X-1": (one.time_us, one.value[:, np.newaxis])}))
    tap = Tap(run_)
    return tap.scores(one.time_us, alerts_of(run_.findings()))


def gaussian(one: Series, window: int = 400) -> Float64:
    """(n,) distance of each value from the mean of the `window` before it, in their standard deviations, causal."""
    total, square = (np.concatenate([[0.0], np.cumsum(one.value**power)]) for power in (1, 2))
    row = np.arange(len(one.value))
    first = np.maximum(row - window, 0)
    count = np.maximum(row - first, 1)
    mean = (total[row] - total[first]) / count
    spread = np.sqrt(np.maximum((square[row] - square[first]) / count - mean**2, 0.0))
    found: Float64 = np.abs(one.value - mean) / np.maximum(spread, 1e-6 + 1e-6 * np.abs(mean)) * (row > 10)
    return found


def seasonal(one: Series) -> Float64:
    """(n,) distance from the mean so far of the half hour of the day, in the standard deviation of such distances."""
    usual: dict[int, tuple[int, float]] = {}
    found, spread = np.zeros(len(one.value)), 0.0
    for row, (time_us, value) in enumerate(zip(one.time_us.tolist(), one.value.tolist(), strict=True)):
        count, mean = usual.get(time_us // 1_800_000_000 % 48, (0, value))
        away = value - mean
        found[row] = abs(away) / max(math.sqrt(spread), 1e-6 + 1e-6 * abs(mean)) if row else 0.0
        spread += (away * away - spread) / (row + 1)
        usual[time_us // 1_800_000_000 % 48] = (count + 1, mean + away / (count + 1))
    return found


def best(series: Sequence[Series], of: Callable[[Series], Float64], cost: Costs) -> float:
    """Score of a plain rule with the one threshold, and a rest of 80 rows after each detection, that suit it best."""
    values = [of(one) for one in series]
    bounds = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0)
    return max(score(series, [rested(one >= bound) for one in values], cost) for bound in bounds)


def rested(found: Bool, rest: int = 80) -> Bool:
    """(n,) the detections of `found` without those within `rest` rows after one that counts."""
    kept, until = np.zeros(len(found), dtype=np.bool_), 0
    for row in np.flatnonzero(found).tolist():
        if row >= until:
            kept[row], until = True, row + rest
    return kept


def chance(series: Sequence[Series], found: Sequence[Bool], cost: Costs) -> float:
    """Mean score of as many detections as `found` has in each series, at random rows after its probation."""
    draw = np.random.default_rng(1)
    scores = []
    for _ in range(DRAWS):
        drawn = [np.zeros(len(one.value), dtype=np.bool_) for one in series]
        for one, rows, mark in zip(series, found, drawn, strict=True):
            count = int(rows[one.probation :].sum())
            mark[draw.choice(np.arange(one.probation, len(mark)), count, replace=False)] = True
        scores.append(score(series, drawn, cost))
    return float(np.mean(scores))


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """One row for each cost profile; none without the data."""
    if data is None or not (data / "nab" / "windows.json").exists():
        return []
    series = read(data / "nab")[:: QUICK if quick else 1]
    found = [ours(one) >= ALERT for one in series]
    return [_row(series, found, name, cost) for name, cost in costs(data / "nab").items()]


def _row(series: Sequence[Series], found: Sequence[Bool], name: str, cost: Costs) -> Row:
    standard = name == "standard"
    figure = score(series, found, cost)
    alerts = sum(int(rows[one.probation :].sum()) for one, rows in zip(series, found, strict=True))
    plain = f"seasonal {best(series, seasonal, cost):.1f}, Gaussian {best(series, gaussian, cost):.1f}"
    return Row(
        "nab",
        f"{PROFILES.get(name, name)} score of {len(series)} series",
        f"{figure:.1f}",
        f">= {AIM:g}" if standard else "-",
        figure >= AIM if standard else None,
        f"{chance(series, found, cost):.1f}",
        plain,
        f"{alerts} alerts; by group " + _by_group(series, found, cost) if standard else "",
    )


def _by_group(series: Sequence[Series], found: Sequence[Bool], cost: Costs) -> str:
    parts = []
    for group in sorted({one.group for one in series}):
        own = [place for place, one in enumerate(series) if one.group == group]
        alerts = sum(int(found[place][series[place].probation :].sum()) for place in own)
        figure = score([series[place] for place in own], [found[place] for place in own], cost)
        parts.append(f"{group} {figure:.1f} ({alerts} alerts)")
    return ", ".join(parts)


if __name__ == "__main__":
    main(run)
