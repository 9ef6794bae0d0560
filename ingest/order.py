"""Event-time order per device: what is new, what came twice, what is late, what must wait for a gap to fill.

From: decoded batches in journal order. To: the engine, which judges and detects in the order given here.

A device's own counter (`seq`) tells whether something is missing between two readings. In sequence: accepted
at once, so an alert waits for nothing. After a gap: held until the gap fills or `reorder_s` of our clock has
passed. Without a counter: taken as it comes. Older than the newest accepted: late, stored only. Everything
depends on the journal alone, never on where its segments were cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Batch, Bool, Int64, Quality, Reason, concat
from ingest.decode import Timeline
from ingest.errors import IngestError

NONE = -1
_HELD_MAX = 64  # readings of one device that wait; a counter that leaps all the time must not cost memory
_GAP_MAX = 10_000  # a counter that leaps further was set anew
_UNKNOWN_LAG: int = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSettings:
    """Bounds of the order stage.

    `reorder_s`: how long a reading waits for the one before it. `future_s`: how far a clock may be ahead.
    """

    reorder_s: float = 5.0
    future_s: float = 300.0

    def __post_init__(self) -> None:
        if self.reorder_s < 0 or self.future_s <= 0:
            raise IngestError(
                f"order: expected reorder_s >= 0 and future_s > 0, got {self.reorder_s} and {self.future_s}"
            )


@dataclass(frozen=True, slots=True)
class Outage:
    """Our own latest gap: what happened from `since_us` on and arrives before `drained_us` is not late."""

    since_us: int = 0
    drained_us: int = 0


@dataclass(slots=True)
class Arranged:
    """One segment's rows, sorted by what may be done with them.

    `ready`: rows to judge and detect, each device's in event-time order. `reset`: (len(ready),) the device's
    clock was set back just before this row. `late`: rows for the store alone. `arrived`: every row that was no
    duplicate, in journal order, as a sign of life. `duplicates`: how many rows were dropped. `missing`: how many
    readings the counters say were sent before a row that waited for them in vain.
    """

    ready: Batch
    reset: Bool
    late: Batch
    arrived: Batch
    duplicates: int
    missing: int


class Order:
    """Per-device order for one kind; n devices."""

    STATE = ("last_time", "last_seq", "last_mask", "last_lag")

    def __init__(self, fleet: KindFleet, settings: OrderSettings) -> None:
        self._reorder_us = int(settings.reorder_s * 1e6)
        self._future_us = int(settings.future_s * 1e6)
        self._redecoded_us = self._future_us  # no worker stamps so far behind another
        self._bits = np.uint64(1) << np.arange(len(fleet.kind.quantities), dtype=np.uint64)
        self.last_time = np.empty(0, dtype=np.int64)
        self.last_seq = np.empty(0, dtype=np.int64)
        self.last_mask = np.empty(0, dtype=np.uint64)
        self.last_lag = np.empty(0, dtype=np.int64)
        self.held: dict[int, list[Batch]] = {}  # device row -> single-row batches, ascending seq
        self._kind = fleet.kind
        self._lateness_us = np.empty(0, dtype=np.int64)
        self._steady_us = np.empty(0, dtype=np.int64)
        self.grow(fleet)

    def grow(self, fleet: KindFleet) -> None:
        """Make room for every device of `fleet`; those known keep their state."""
        self.last_time = _extended(self.last_time, len(fleet), NONE)
        self.last_seq = _extended(self.last_seq, len(fleet), NONE)
        self.last_mask = _extended(self.last_mask, len(fleet), 0)
        self.last_lag = _extended(self.last_lag, len(fleet), _UNKNOWN_LAG)
        # A wrong clock keeps its distance from ours; a backlog catches up by whole cadences.
        self._steady_us = np.maximum(fleet.cadence_s * 0.25e6, 2e6).astype(np.int64)
        # A logger that sends hourly means stamps them at the start of the hour: as old as its period, and news.
        slow_s = np.maximum(fleet.cadence_s - self._kind.cadence_s, 0)
        self._lateness_us = ((self._kind.lateness_s + slow_s) * 1e6).astype(np.int64)

    def arrange(
        self, batch: Batch, timeline: Timeline, outage: Outage, others: tuple[Bool, Outage] | None = None
    ) -> Arranged:
        """Sort the rows of one segment, which may be none, into ready, late and duplicate.

        `others`: devices (n,) for which another outage counts than `outage`, and that one.
        """
        work = _Work(batch)
        masks = ((batch.quality != Quality.MISSING) * self._bits).sum(axis=1, dtype=np.uint64)
        clock = timeline.clock[batch.offset - timeline.offset[0]]
        stale = self._stale(batch, clock, outage)
        if others is not None:
            stale = np.where(others[0][batch.device], self._stale(batch, clock, others[1]), stale)
        plain = self._plain(batch, masks, stale)
        if plain:
            work.ready(batch)
        for rows in () if plain else rounds(batch.device):
            clean = self._clean(batch, rows, stale)
            taken = rows[clean]
            device = batch.device[taken]
            self.last_time[device] = batch.time_us[taken]
            self.last_seq[device] = batch.seq[taken]
            self.last_mask[device] = masks[taken]
            self.last_lag[device] = batch.received_us[taken] - batch.time_us[taken]
            work.ready(batch.take(taken))
            for row in rows[~clean].tolist():
                self._one(row, batch, int(masks[row]), stale=bool(stale[row]), work=work, timeline=timeline)
        self._expire(int(timeline.clock[-1]), work, timeline)
        # What comes out of quarantine is news of a bug mended, not of a device alive.
        return work.arranged(alive=clock - batch.received_us <= self._redecoded_us)

    def _stale(self, batch: Batch, clock: Int64, outage: Outage) -> Bool:
        lateness = self._lateness_us[batch.device]
        ours = (batch.received_us < outage.drained_us) & (batch.time_us >= outage.since_us - lateness)
        return (clock - batch.time_us > lateness) & ~ours

    def _plain(self, batch: Batch, masks: NDArray[np.uint64], stale: Bool) -> bool:
        """Take a whole segment whose every row is new and next in its device's sequence; False: nothing was taken."""
        if self.held or not len(batch) or stale.any():
            return False
        order = np.argsort(batch.device, kind="stable")
        device, time_us, seq = batch.device[order], batch.time_us[order], batch.seq[order]
        change = device[1:] != device[:-1]
        first, last = np.concatenate(([True], change)), np.concatenate((change, [True]))
        before = np.concatenate((time_us[:1], time_us[:-1]))
        before[first] = self.last_time[device[first]]
        before_seq = np.concatenate((seq[:1], seq[:-1]))
        before_seq[first] = self.last_seq[device[first]]
        if not ((time_us > before) & _next(seq, before_seq)).all():
            return False
        rows, who = order[last], device[last]
        self.last_time[who], self.last_seq[who], self.last_mask[who] = time_us[last], seq[last], masks[rows]
        self.last_lag[who] = batch.received_us[rows] - time_us[last]
        return True

    def _clean(self, batch: Batch, rows: Int64, stale: Bool) -> Bool:
        """Which rows are new and next in sequence: nearly all, and all at once."""
        device, seq = batch.device[rows], batch.seq[rows]
        last_time, last_seq = self.last_time[device], self.last_seq[device]
        clean: Bool = (batch.time_us[rows] > last_time) & ~stale[rows] & _next(seq, last_seq)
        if self.held:
            clean &= ~np.isin(device, np.fromiter(self.held, dtype=np.int32, count=len(self.held)))
        return clean

    def _one(self, row: int, batch: Batch, mask: int, *, stale: bool, work: _Work, timeline: Timeline) -> None:
        """One row that is not plainly next."""
        device, time_us, seq = int(batch.device[row]), int(batch.time_us[row]), int(batch.seq[row])
        received_us = int(batch.received_us[row])
        if device in self.held:
            # The engine's clock, which no worker's stamp turns back: the same at a row as at a segment's end.
            clock_us = int(timeline.clock[int(batch.offset[row]) - int(timeline.offset[0])])
            self._overdue(device, clock_us, work, timeline)
        last_time, last_seq = int(self.last_time[device]), int(self.last_seq[device])
        if time_us == last_time:
            self._same_time(row, batch, mask, work)
        elif time_us < last_time:
            ahead = last_time > received_us + self._future_us
            if ahead and time_us <= received_us + self._future_us:
                self._accept(batch.take(np.array([row])), work, reset=True)
            else:
                work.late(row)
        elif stale and not self._steady(device, received_us - time_us):
            self.last_lag[device] = received_us - time_us
            self.last_seq[device] = max(last_seq, seq)
            work.late(row)
        elif seq > last_seq + 1 and not (last_seq < 0 and seq <= 1) and self._reorder_us:
            self._hold(row, batch, work)
        else:
            self._accept(batch.take(np.array([row])), work)
            self._drain(device, int(batch.offset[row]), work)

    def _steady(self, device: int, lag: int) -> bool:
        last = int(self.last_lag[device])
        return last != _UNKNOWN_LAG and abs(lag - last) <= int(self._steady_us[device])

    def _same_time(self, row: int, batch: Batch, mask: int, work: _Work) -> None:
        """A second delivery for one instant: what it repeats is dropped, what it adds is taken."""
        device = int(batch.device[row])
        fresh = mask & ~int(self.last_mask[device])
        if not fresh:
            work.duplicate(row)
            return
        piece = batch.take(np.array([row]))
        known = (self._bits & np.uint64(fresh)) == 0
        piece.values[0, known], piece.quality[0, known], piece.reasons[0, known] = np.nan, Quality.MISSING, 0
        self.last_mask[device] |= np.uint64(fresh)
        self.last_seq[device] = max(int(self.last_seq[device]), int(batch.seq[row]))
        work.ready(piece)

    def _hold(self, row: int, batch: Batch, work: _Work) -> None:
        device = int(batch.device[row])
        waiting = self.held.setdefault(device, [])
        if any(int(held.seq[0]) == int(batch.seq[row]) for held in waiting):
            work.duplicate(row)
            return
        waiting.append(batch.take(np.array([row])))
        waiting.sort(key=lambda held: int(held.seq[0]))
        if len(waiting) > _HELD_MAX:
            place = int(batch.offset[row])
            self._take(waiting.pop(0), place, work)
            self._drain(device, place, work)

    def _accept(self, piece: Batch, work: _Work, *, reset: bool = False) -> None:
        device = int(piece.device[0])
        gap = int(piece.seq[0]) - int(self.last_seq[device]) - 1
        if gap > 0 and int(self.last_seq[device]) >= 0:
            work.missing += min(gap, _GAP_MAX)
        self.last_time[device] = piece.time_us[0]
        self.last_seq[device] = piece.seq[0]
        self.last_lag[device] = piece.received_us[0] - piece.time_us[0]
        present = piece.quality[0] != Quality.MISSING
        self.last_mask[device] = self._bits[present].sum(dtype=np.uint64)
        work.ready(piece, reset=reset)

    def _drain(self, device: int, place: int, work: _Work) -> None:
        """Take what waited, as far as it now follows without a gap; the delivery at `place` closed it."""
        waiting = self.held.get(device)
        while waiting and int(waiting[0].seq[0]) <= int(self.last_seq[device]) + 1:
            self._take(waiting.pop(0), place, work)
        if waiting is not None and not waiting:
            del self.held[device]

    def _take(self, piece: Batch, place: int, work: _Work) -> None:
        """Let go of a row that waited; from here on it belongs to the delivery at `place`, which decided that.

        Until then nobody had it: whoever has everything before `place` does not have this row.
        """
        piece.offset[0] = max(int(piece.offset[0]), place)
        if int(piece.time_us[0]) > int(self.last_time[int(piece.device[0])]):
            self._accept(piece, work)
        else:
            work.late_piece(piece)

    def _overdue(self, device: int, clock_us: int, work: _Work, timeline: Timeline) -> None:
        """Give up waiting for what should have come before rows whose time is up, one after another."""
        while waiting := self.held.get(device):
            received = [int(held.received_us[0]) for held in waiting]
            decided = min(received) + self._reorder_us
            if decided >= clock_us:
                return
            place = timeline.position(decided)
            due = received.index(min(received)) + 1
            for piece in waiting[:due]:
                self._take(piece, place, work)
            del waiting[:due]
            self._drain(device, place, work)
        self.held.pop(device, None)

    def _expire(self, clock_us: int, work: _Work, timeline: Timeline) -> None:
        for device in sorted(self.held):
            self._overdue(device, clock_us, work, timeline)

    def rows_held(self) -> Batch | None:
        """All waiting rows, for a snapshot."""
        pieces = [piece for device in sorted(self.held) for piece in self.held[device]]
        return concat(pieces) if pieces else None

    def hold_again(self, rows: Batch | None) -> None:
        """Put waiting rows back, as `rows_held` gave them."""
        self.held = {}
        for row in range(len(rows) if rows is not None else 0):
            assert rows is not None  # noqa: S101  the range above is empty otherwise
            piece = rows.take(np.array([row]))
            self.held.setdefault(int(piece.device[0]), []).append(piece)


class _Work:
    """What becomes of one segment's rows, collected in order."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._ready: list[Batch] = []
        self._reset: list[Bool] = []
        self._late: list[int] = []
        self._late_pieces: list[Batch] = []
        self._duplicate: list[int] = []
        self.missing = 0

    def ready(self, piece: Batch, *, reset: bool = False) -> None:
        """Accept `piece`, one row or many."""
        if len(piece):
            self._ready.append(piece)
            self._reset.append(np.full(len(piece), reset))

    def late(self, row: int) -> None:
        """Keep a row of the batch for the store alone."""
        self._late.append(row)

    def late_piece(self, piece: Batch) -> None:
        """Keep a row that had waited for the store alone."""
        self._late_pieces.append(piece)

    def duplicate(self, row: int) -> None:
        """Drop a row of the batch."""
        self._duplicate.append(row)

    def arranged(self, *, alive: Bool) -> Arranged:
        """The result; `alive` (n,): the batch's rows that may count as a sign of life."""
        batch = self._batch
        nothing = batch.take(np.empty(0, dtype=np.int64))
        late = concat([batch.take(np.array(self._late, dtype=np.int64)), *self._late_pieces])
        late.late[:] = True
        late.reasons |= np.where(late.quality != Quality.MISSING, Reason.LATE, Reason.NONE).astype(np.uint16)
        alive = alive.copy()
        alive[self._duplicate] = False
        return Arranged(
            ready=concat(self._ready) if self._ready else nothing,
            reset=np.concatenate(self._reset) if self._reset else np.empty(0, dtype=np.bool_),
            late=late,
            arrived=batch if alive.all() else batch.take(alive),
            duplicates=len(self._duplicate),
            missing=self.missing,
        )


def rounds(device: NDArray[np.int32]) -> Iterator[Int64]:
    """Split rows so that no device stands twice in one part: its first rows, then its second, and so on."""
    count = len(device)
    if count == 0:
        return
    order = np.argsort(device, kind="stable")
    ordered = device[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.append(starts, count))
    if lengths.max() == 1:
        yield np.arange(count, dtype=np.int64)
        return
    rank = np.arange(count) - np.repeat(starts, lengths)
    by_rank = np.argsort(rank, kind="stable")
    edges = np.searchsorted(rank[by_rank], np.arange(1, int(lengths.max())))
    for part in np.split(order[by_rank], edges):
        yield np.sort(part)


def _next(seq: Int64, last_seq: Int64) -> Bool:
    """(n,) A counter that fell means that the device restarted; one that leapt means that something is missing."""
    fine: Bool = (seq < 0) | (seq <= last_seq + 1) | ((last_seq < 0) & (seq <= 1))
    return fine


_T = TypeVar("_T", np.int64, np.uint64)


def _extended(array: NDArray[_T], size: int, fill: int) -> NDArray[_T]:
    grown = np.full(size, fill, dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def restore(order: Order, arrays: Mapping[str, NDArray[np.generic]], rows: Int64) -> None:
    """Put state arrays back; element i belongs to device row `rows[i]`, -1 where the device is gone."""
    kept = rows >= 0
    for name in Order.STATE:
        getattr(order, name)[rows[kept]] = arrays[name][kept]
