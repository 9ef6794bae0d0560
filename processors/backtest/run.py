"""The real engine over rows that are already there.

From: files, the store, or the simulator, as `Rows`. To: findings, in the order a live run would have stated them,
and alerts as spans of time. The engine's clock is the data's: every reading arrives the moment it was taken, and a
pause in the data is silence of the devices, never absence of ours. Nothing is stored and nobody is woken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from devices.fleet import Entry, Fleet, KindFleet, build
from devices.readings import Batch, Float64, Int32, Int64, Quality
from devices.spec import Kind
from ingest.decode import Decoded, Timeline
from processors.engines.local import Engine, EngineSettings
from processors.errors import BacktestError
from processors.findings import Finding, Phase, micros
from processors.thresholds.history import History

_FOREVER_S: Final = 1e12  # 30,000 years: no pause in the data is ours
_SEGMENT_ROWS: Final = 4096
_ZONE: Final = "all"


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings of one kind, sorted by arrival; n rows, q quantities of the kind.

    `device`: ids. `row`: (n,) index into `device`. `time_us`: (n,) UTC microseconds, never falling unless devices'
    clocks are wrong. `values`: (n, q), NaN where absent. `received_us`: (n,) by our clock, never falling; None where
    each arrived the moment it was taken.
    """

    device: list[str]
    row: Int32
    time_us: Int64
    values: Float64
    received_us: Int64 | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def arrival_us(self) -> Int64:
        """(n,) when each arrived."""
        return self.time_us if self.received_us is None else self.received_us


class Span(NamedTuple):
    """One alert's life, UTC microseconds.

    `start_us`: onset of the condition. `raised_us`: when the alert rose. `end_us`: None while it stands at the data's
    end. `place`: devices of a group, most concerned first. `finding`: the one that raised it.
    """

    start_us: int
    end_us: int | None
    raised_us: int
    device: str
    rule: str
    place: tuple[str, ...]
    finding: Finding


class Backtest:
    """One run: a fleet, an engine of its own, and rows to take.

    `entries`: the devices as registered; None makes them up, each reporting at the pace its rows show. `rules`: only
    these, by rule name; None for all. `history`: of thresholds, over the declared ones. Silence of a
    gateway is not judged: its children are silent each for itself.
    BacktestError for rows that are not sorted, or whose values do not fit the kind.
    """

    def __init__(
        self,
        kind: Kind,
        rows: Rows,
        *,
        entries: Sequence[Entry] | None = None,
        rules: Collection[str] | None = None,
        settings: EngineSettings | None = None,
        history: History = History(),  # noqa: B008  frozen
    ) -> None:
        _check(kind, rows)
        self.kind = kind if rules is None else only(kind, rules)
        self.rows = rows
        known = made_up(self.kind, rows) if entries is None else [replace(one, gateway="") for one in entries]
        self.fleet: Fleet = build({self.kind.name: self.kind}, known)
        settings = settings or EngineSettings()
        self.engine = Engine(self.fleet, replace(settings, max_gap_s=_FOREVER_S))
        self.engine.follow(history)
        self._rows_at_once = min(settings.segment_rows, _SEGMENT_ROWS)

    def findings(self, progress: Callable[[int], None] | None = None) -> Iterator[Finding]:
        """What the rules say, in order; `progress` hears how many rows are done."""
        fleet = self.fleet.kinds[self.kind.name]
        device = _fleet_rows(fleet, self.rows.device)[self.rows.row]
        blank = np.zeros(self.rows.values.shape[1])
        for first in range(0, len(self.rows), self._rows_at_once):
            last = min(first + self._rows_at_once, len(self.rows))
            kept = np.flatnonzero(device[first:last] >= 0) + first
            if len(kept):
                yield from self.engine.process(_decoded(fleet, self.rows, device, kept, blank)).findings
            if progress is not None:
                progress(last)


def findings(
    kind: Kind,
    rows: Rows,
    *,
    entries: Sequence[Entry] | None = None,
    rules: Collection[str] | None = None,
    settings: EngineSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Finding]:
    """What the rules of `kind` say of `rows`, in order; see `Backtest`."""
    return Backtest(kind, rows, entries=entries, rules=rules, settings=settings).findings(progress)


def alerts_of(stated: Iterable[Finding]) -> list[Span]:
    """Each alert from its raise to its clear, in the order raised. A clear without a raise began before the data."""
    spans: dict[str, Span] = {}
    for one in stated:
        at = micros(one.at)
        if one.phase is Phase.RAISE:
            place = tuple(one.evidence.place)
            spans[one.id] = Span(micros(one.onset), None, at, one.device, one.rule, place, one)
        elif one.phase is Phase.CLEAR and one.id in spans:
            spans[one.id] = spans[one.id]._replace(end_us=at)
    return sorted(spans.values(), key=lambda span: (span.raised_us, span.device, span.rule))


def only(kind: Kind, rules: Collection[str]) -> Kind:
    """`kind` with only the rules named; BacktestError for one it does not have."""
    if unknown := set(rules) - {use.rule for use in kind.detectors}:
        have = ", ".join(use.rule for use in kind.detectors)
        raise BacktestError(f"{kind.name}: no rule {min(unknown)}; it has {have}; nothing was run")
    return replace(kind, detectors=tuple(use for use in kind.detectors if use.rule in rules))


def made_up(kind: Kind, rows: Rows) -> list[Entry]:
    """A device for each id of `rows`: registered at its first row, reporting at the median pace of its rows.

    All are in one zone: who puts sensors into one file means that they belong together.
    """
    order = np.lexsort((rows.time_us, rows.row))
    place, at = rows.row[order], rows.time_us[order]
    edges = np.searchsorted(place, np.arange(len(rows.device) + 1))
    made = []
    for index, device in enumerate(rows.device):
        times = at[edges[index] : edges[index + 1]]
        first = int(times[0]) if len(times) else np.iinfo(np.int64).max
        made.append(
            Entry(device, kind.name, cadence_s=_pace_s(times), registered_us=first, settings={"zone": _ZONE})
        )
    return made


def rows_of(kind: Kind, series: Mapping[str, tuple[Int64, Float64]]) -> Rows:
    """Rows from series by device: times (n,) UTC microseconds and values (n,) of the first quantity or (n, q)."""
    times = [np.asarray(time_us, dtype=np.int64) for time_us, _ in series.values()]
    wide = len(kind.quantities)
    values = []
    for _, value in series.values():
        column = np.asarray(value, dtype=np.float64)
        if column.ndim == 1:
            column = np.column_stack([column, np.full((len(column), wide - 1), np.nan)])
        values.append(column)
    row = np.repeat(np.arange(len(times), dtype=np.int32), [len(one) for one in times])
    return sorted_rows(list(series), row, np.concatenate(times), np.concatenate(values))


def sorted_rows(
    device: list[str], row: Int32, time_us: Int64, values: Float64, received_us: Int64 | None = None
) -> Rows:
    """Rows in order of arrival, then device; those without any value are left out, as no device sends such."""
    arrival = time_us if received_us is None else received_us
    present = np.flatnonzero(~np.isnan(values).all(axis=1))
    order = present[np.lexsort((row[present], arrival[present]))]
    received = None if received_us is None else received_us[order]
    return Rows(device, row[order].astype(np.int32), time_us[order], values[order], received)


def _pace_s(times: Int64) -> float | None:
    """Median distance of `times` (n,) UTC microseconds in seconds, None where there is none."""
    apart = np.diff(times)
    apart = apart[apart > 0]
    return max(float(np.median(apart)) / 1e6, 1e-3) if len(apart) else None


def _check(kind: Kind, rows: Rows) -> None:
    shape = (len(rows.row), len(kind.quantities))
    if rows.values.shape != shape or len(rows.time_us) != len(rows.row):
        raise BacktestError(
            f"{kind.name}: expected times of {shape[0]} rows and values of shape {shape}, got {len(rows.time_us)} and "
            f"{rows.values.shape}; nothing was run"
        )
    if len(rows.row) and (np.diff(rows.arrival_us) < 0).any():
        raise BacktestError(f"{kind.name}: expected rows in order of time, got some that are not; nothing was run")


def _fleet_rows(fleet: KindFleet, device: list[str]) -> Int32:
    """(d,) row in `fleet` of each id, -1 for one that is not registered: nobody's readings, as live."""
    return np.array([fleet.index.get(one, -1) for one in device], dtype=np.int32)


def _decoded(fleet: KindFleet, rows: Rows, device: Int32, kept: Int64, blank: Float64) -> Decoded:
    """One segment as the decoder would have given it; the row's number is its place in the journal."""
    count = len(kept)
    values = rows.values[kept]
    time_us, received_us = rows.time_us[kept], rows.arrival_us[kept]
    offset = np.arange(kept[0], kept[0] + count, dtype=np.int64)
    batch = Batch(
        fleet,
        device[kept],
        time_us,
        received_us,
        offset,
        np.full(count, -1, dtype=np.int64),
        values,
        np.where(np.isnan(values), Quality.MISSING, Quality.GOOD).astype(np.uint8),
        np.zeros((count, len(blank)), dtype=np.uint16),
        np.zeros(count, dtype=np.bool_),
    )
    nobody = np.zeros(count, dtype=np.bool_)
    timeline = Timeline(offset, received_us.copy())
    return Decoded(timeline, [batch], [], controls=0, presence=[], loggers=nobody, listener=False)
