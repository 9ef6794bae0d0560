"""Quality: how far each value may be trusted, judged per device in event-time order.

From: ordered rows of one kind, calibrated. To: the same rows with `quality` and `reasons` filled in; the worst quality
wins, the reasons add up. Tests: physical and plausible range, rate of change, flat line, both clocks; what the
instrument says of itself was put there by the decoder and can only get worse. Source: QARTOD manuals, IOOS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Batch, Bool, Float64, Int64, Quality, Reason
from ingest.errors import IngestError

# Looked up once: an enum's member costs more than comparing a thousand values with it.
_GOOD, _SUSPECT, _BAD, _MISSING = (
    np.uint8(q) for q in (Quality.GOOD, Quality.SUSPECT, Quality.BAD, Quality.MISSING)
)
_RATE, _FLAT = Reason.RATE, Reason.FLAT
_SAME = 1e-3  # of a value that went through a protocol's scaling
_UNSET = 2**62  # later than any real time: what elapsed since is negative and passes no test


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """Bounds of the clock tests.

    `future_s`: how far a device's clock may be ahead of ours. `stale_s`: how old a reading may be on arrival, beside
    two of its device's cadences: a logger may keep one reading back, and be slow to connect.
    """

    future_s: float = 300.0
    stale_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.future_s <= 0 or self.stale_s <= 0:
            raise IngestError(
                f"quality: expected future_s and stale_s above 0, got {self.future_s} and {self.stale_s}"
            )


class QualityGate:
    """The tests of one kind with what they remember; n devices, r quantities with a rate, f with a flat-line test.

    State: `good`, `good_us`: (n, r) last good value and its time. `flat`, `flat_us`, `seen_us`: (n, f) the value that
    repeats (single precision: instruments resolve less), since when, and when it was last seen.
    """

    STATE = ("good", "good_us", "flat", "flat_us", "seen_us")

    def __init__(self, fleet: KindFleet, settings: QualitySettings | None = None) -> None:
        settings = settings or QualitySettings()
        quantities = fleet.kind.quantities
        self._low, self._high = np.array([q.physical for q in quantities], dtype=np.float64).T
        self._least, self._most = np.array([q.plausible for q in quantities], dtype=np.float64).T
        self._sentinels = [(column, np.array(q.sentinels)) for column, q in enumerate(quantities) if q.sentinels]
        rates, flats = [q.max_rate_per_s for q in quantities], [q.flat_after_s for q in quantities]
        self._rated = np.array([i for i, rate in enumerate(rates) if rate is not None], dtype=np.int64)
        self._flatted = np.array([i for i, flat in enumerate(flats) if flat is not None], dtype=np.int64)
        self._per_us = np.array([rate for rate in rates if rate is not None]) / 1e6
        self._flat_after_us = np.array([int(flat * 1e6) for flat in flats if flat is not None], dtype=np.int64)
        self._future_us, self._late_us = int(settings.future_s * 1e6), int(settings.stale_s * 1e6)
        self._cadence_us = np.empty(0, dtype=np.int64)
        self.good = np.empty((0, len(self._rated)))
        self.good_us = np.empty((0, len(self._rated)), dtype=np.int64)
        self.flat = np.empty((0, len(self._flatted)), dtype=np.float32)
        self.flat_us = np.empty((0, len(self._flatted)), dtype=np.int64)
        self.seen_us = np.empty((0, len(self._flatted)), dtype=np.int64)
        self.grow(fleet)

    def grow(self, fleet: KindFleet) -> None:
        """Make room for every device of `fleet`; those known keep their state."""
        self._cadence_us = (fleet.cadence_s * 1e6).astype(np.int64)
        for name in self.STATE:
            old = getattr(self, name)
            fill = _UNSET if name.endswith("_us") else 0
            new = np.full((len(fleet) - len(old), old.shape[1]), fill, dtype=old.dtype)
            setattr(self, name, np.concatenate([old, new]))

    def judge(self, batch: Batch) -> None:
        """Fill in `batch.quality` and `batch.reasons`; each device at most once, unless its rows are late.

        Late rows are judged by range alone and leave no trace.
        """
        if not len(batch):
            return
        values = batch.values
        present = ~np.isnan(values)
        np.putmask(batch.quality, ~present, _MISSING)
        usable, odd = present, (values < self._least) | (values > self._most)
        if odd.any():  # plausible lies within physical, so that mostly this is all there is to look at
            blank = self._blank(values)
            outside = (values < self._low) | (values > self._high)
            bad = outside | blank
            usable = present & ~bad
            _mark(batch, blank, _BAD, Reason.INSTRUMENT)
            _mark(batch, outside & ~blank, _BAD, Reason.PHYSICAL_RANGE)
            _mark(batch, odd & ~bad, _SUSPECT, Reason.PLAUSIBLE_RANGE)
        if not batch.late.any():
            self._remembering(batch, usable)
            return
        rows = (~batch.late).nonzero()[0]
        if len(rows):
            part = batch.take(rows)
            self._remembering(part, usable[rows])
            batch.quality[rows], batch.reasons[rows] = part.quality, part.reasons

    def _blank(self, values: Float64) -> Bool:
        """(n, q) where an instrument shows that it measured nothing."""
        blank = np.zeros(values.shape, dtype=np.bool_)
        for column, sentinels in self._sentinels:
            blank[:, column] = (np.abs(values[:, column, np.newaxis] - sentinels) < _SAME).any(axis=1)
        return blank

    def _remembering(self, batch: Batch, usable: Bool) -> None:
        """The tests that need the values before, or only make sense for what is new."""
        # A clock that is wrong says nothing against the value, which may still be the last good one.
        if len(self._rated):
            self._rate(batch, usable)
        if len(self._flatted):
            self._flatline(batch, usable)
        self._clocks(batch)

    def _rate(self, batch: Batch, usable: Bool) -> None:
        """Against the last good value: one that leapt is suspect, and the longer ago, the more is believable."""
        columns, device = self._rated, batch.device.astype(np.int64)
        value, time_us = batch.values.take(columns, axis=1), batch.time_us[:, np.newaxis]
        good, good_us, usable = self.good[device], self.good_us[device], usable.take(columns, axis=1)
        elapsed = time_us - good_us
        with np.errstate(over="ignore", invalid="ignore"):  # wild values: beyond every rate, and never remembered
            leap = (np.abs(value - good) > elapsed * self._per_us) & (elapsed > 0) & usable
        _mark(batch, leap, _SUSPECT, _RATE, columns)
        keep = usable & (batch.quality.take(columns, axis=1) == _GOOD)
        if keep.all():
            self.good[device], self.good_us[device] = value, time_us
        else:
            self.good[device] = np.where(keep, value, good)
            self.good_us[device] = np.where(keep, time_us, good_us)

    def _flatline(self, batch: Batch, usable: Bool) -> None:
        columns, device = self._flatted, batch.device.astype(np.int64)
        time_us, usable = batch.time_us[:, np.newaxis], usable.take(columns, axis=1)
        with np.errstate(over="ignore"):  # beyond single precision: such values do not differ, and are not good
            value = batch.values.take(columns, axis=1).astype(np.float32)
        flat, flat_us, seen_us = self.flat[device], self.flat_us[device], self.seen_us[device]
        # Equal values on both sides of a gap say nothing of the time between, nor does a clock set back.
        patience = np.maximum(self._flat_after_us, 3 * self._cadence_us[device][:, np.newaxis])
        elapsed = time_us - seen_us
        anew = (value != flat) | (elapsed > patience) | (elapsed < 0)
        flat_us = np.where(usable & anew, time_us, flat_us)
        _mark(batch, usable & (time_us - flat_us > self._flat_after_us), _SUSPECT, _FLAT, columns)
        whole = usable.all()
        self.flat[device] = value if whole else np.where(usable, value, flat)
        self.flat_us[device] = flat_us
        self.seen_us[device] = time_us if whole else np.where(usable, time_us, seen_us)

    def _clocks(self, batch: Batch) -> None:
        age = batch.received_us - batch.time_us
        if age.min() >= -self._future_us and age.max() <= self._late_us:
            return
        ahead = age < -self._future_us
        behind = age > self._late_us + 2 * self._cadence_us[batch.device]
        for rows, reason in ((ahead, Reason.FUTURE_CLOCK), (behind, Reason.STALE_CLOCK)):
            if rows.any():
                _mark(batch, rows[:, np.newaxis] & ~np.isnan(batch.values), _SUSPECT, reason)

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the state arrays, by name."""
        return {name: getattr(self, name).copy() for name in self.STATE}

    def restore(self, arrays: Mapping[str, NDArray[np.generic]], rows: Int64) -> None:
        """Put state back; element i belongs to device row `rows[i]`, -1 where the device is gone."""
        kept = rows >= 0
        for name in self.STATE:
            getattr(self, name)[rows[kept]] = arrays[name][kept]


def _mark(batch: Batch, where: Bool, quality: np.uint8, reason: Reason, columns: Int64 | None = None) -> None:
    """Worsen the cells `where` (n, len(columns)), or (n, q) without `columns`."""
    if not where.any():
        return
    row, column = where.nonzero()
    if columns is not None:
        column = columns[column]
    batch.quality[row, column] = np.maximum(batch.quality[row, column], quality)
    batch.reasons[row, column] |= np.uint16(reason)
