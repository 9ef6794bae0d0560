"""Alerts against what is known to have happened: labels out of a file, or the crews' verdicts.

From: spans of alerts, and labels or verdicts. To: precision, recall and delay. An alert is right when it rises between
a label's start and end, at the label's device where the label names one; one that names a place is at all its devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from processors.backtest.columns import named
from processors.backtest.files import UNKNOWN, few, read_table, times
from processors.backtest.run import Span
from processors.errors import BacktestError

if TYPE_CHECKING:
    import pandas as pd


class Label(NamedTuple):
    """Something that happened; `device` empty where it concerns all."""

    start_us: int
    end_us: int
    device: str
    name: str


@dataclass(frozen=True, slots=True)
class Measures:
    """How alerts did. `delays_s`: from each label's start to its first alert, of the labels that were found."""

    right: int
    wrong: int
    found: int
    labels: int
    delays_s: tuple[float, ...]

    @property
    def precision(self) -> float | None:
        """Share of the alerts that were right, None without alerts."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of the labels that were found, None without labels."""
        return self.found / self.labels if self.labels else None

    @property
    def f_score(self) -> float | None:
        """Harmonic mean of both, None where either is missing."""
        p, r = self.precision, self.recall
        return None if p is None or r is None else (2 * p * r / (p + r) if p + r else 0.0)

    @property
    def delay_s(self) -> float | None:
        """Median delay, None where nothing was found."""
        return median(self.delays_s) if self.delays_s else None


def read_labels(path: Path, zone: str) -> list[Label]:
    """The labels in a CSV or Parquet file with columns start, end, device and label; the last two may lack.

    BacktestError for a file without them, or with an end before its start.
    """
    table = read_table(path, zone=zone)
    columns = list(table.columns.columns)
    end = named(columns, ("end", "stop", "until", "to"))
    if end is None:
        raise BacktestError(f"{path.name}: expected columns start,end,device, got {few(columns)}; nothing was run")
    ends, _ = times(table.columns[end], table.zone, end, [])
    device, name = named(columns, ("device", "device_id", "sensor")), named(columns, ("label", "name", "fault"))
    found = []
    for i, (start_us, end_us) in enumerate(zip(table.time_us.tolist(), ends.tolist(), strict=True)):
        if UNKNOWN in (start_us, end_us) or end_us < start_us:
            raise BacktestError(
                f"{path.name}: expected a start and a later end in row {i + 2}, got something else; nothing was run"
            )
        found.append(Label(start_us, end_us, _cell(table.columns, device, i), _cell(table.columns, name, i)))
    return found


def _cell(frame: pd.DataFrame, column: str | None, row: int) -> str:
    if column is None or frame[column].isna().iloc[row]:
        return ""
    return str(frame[column].iloc[row]).strip()


def measure(spans: Sequence[Span], labels: Sequence[Label]) -> Measures:
    """`spans` against `labels`; several alerts within one label are all right, the first gives the delay."""
    first: dict[int, int] = {}
    right = 0
    for span in sorted(spans, key=lambda one: one.raised_us):
        about = {span.device, *span.place}
        mine = [
            i
            for i, label in enumerate(labels)
            if label.start_us <= span.raised_us <= label.end_us and (not label.device or label.device in about)
        ]
        right += bool(mine)
        for i in mine:
            first.setdefault(i, span.raised_us)
    delays = tuple((at - labels[i].start_us) / 1e6 for i, at in sorted(first.items()))
    return Measures(right, len(spans) - right, len(first), len(labels), delays)


class Judged(NamedTuple):
    """Alerts that crews have looked at: how many were true and false."""

    true: int
    false: int

    @property
    def precision(self) -> float | None:
        """Share of the judged alerts that were true, None without any."""
        return self.true / (self.true + self.false) if self.true + self.false else None


def by_verdicts(spans: Sequence[Span], verdicts: Mapping[str, bool]) -> Judged:
    """`spans` that crews judged when they were live: `verdicts` by the alert's id; the others say nothing."""
    said = [verdicts[span.finding.id] for span in spans if span.finding.id in verdicts]
    return Judged(sum(said), len(said) - sum(said))
