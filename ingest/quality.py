"""Quality: how far each value may be trusted, judged per device in event-time order.

From: ordered rows of one kind, calibrated. To: the same rows with `quality` and `reasons` filled in. Tests after
QARTOD: physical range, plausible range, rate of change, flat line; then the clocks, and the instrument's own flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Batch, Bool, Float64, Int64, Quality, Reason
from ingest.errors import IngestError

_NO_TIME: int = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """`future_s`: how far a device's clock may be ahead. `stale_s`: how far behind, beside two of its cadences."""

    future_s: float = 300.0
    stale_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.future_s <= 0 or self.stale_s <= 0:
            raise IngestError(
                f"quality: expected future_s and stale_s above 0, got {self.future_s} and {self.stale_s}"
            )


class QualityGate:
    """Per-device, per-quantity memory for one kind; n devices, q quantities.

    State: the last trusted value and its time (rate of change), and since when the value has not moved (flat line).
    """

    STATE = ("last_value", "last_time", "flat_since")

    def __init__(self, fleet: KindFleet, settings: QualitySettings | None = None) -> None:
        self._settings = settings or QualitySettings()
        quantities = fleet.kind.quantities
        count = len(quantities)
        self._physical = np.array([q.physical for q in quantities]).reshape(count, 2)
        self._plausible = np.array([q.plausible for q in quantities]).reshape(count, 2)
        self._rate = np.array([np.inf if q.max_rate_per_s is None else q.max_rate_per_s for q in quantities])
        self._flat_us = np.array([np.inf if q.flat_after_s is None else q.flat_after_s * 1e6 for q in quantities])
        self.last_value = np.empty((0, count))
        self.last_time = np.empty((0, count), dtype=np.int64)
        self.flat_since = np.empty((0, count), dtype=np.int64)
        self._stale_us = np.empty(0, dtype=np.int64)
        self.grow(fleet)

    def grow(self, fleet: KindFleet) -> None:
        """Make room for every device of `fleet`; those known keep their state."""
        more = len(fleet) - len(self.last_value)
        count = self.last_value.shape[1]
        self.last_value = np.concatenate([self.last_value, np.full((more, count), np.nan)])
        self.last_time = np.concatenate([self.last_time, np.full((more, count), _NO_TIME)])
        self.flat_since = np.concatenate([self.flat_since, np.full((more, count), _NO_TIME)])
        self._stale_us = (fleet.cadence_s * 2e6 + self._settings.stale_s * 1e6).astype(np.int64)

    def judge(self, batch: Batch) -> None:
        """Fill in `batch.quality` and `batch.reasons`; each device at most once, unless the rows are late.

        Late rows are judged by range and clock alone and leave no trace in the memory.
        """
        if not len(batch):
            return
        values, present = batch.values, ~np.isnan(batch.values)
        bad = present & ((values < self._physical[:, 0]) | (values > self._physical[:, 1]))
        odd = present & ~bad & ((values < self._plausible[:, 0]) | (values > self._plausible[:, 1]))
        self._mark(batch, bad, Quality.BAD, Reason.PHYSICAL_RANGE)
        self._mark(batch, odd, Quality.SUSPECT, Reason.PLAUSIBLE_RANGE)
        self._clocks(batch, present)
        live = ~batch.late
        if live.any():
            self._against_memory(batch, present & ~bad & live[:, np.newaxis])
        batch.quality[~present] = Quality.MISSING

    def _clocks(self, batch: Batch, present: Bool) -> None:
        lag = batch.received_us - batch.time_us
        ahead = (lag < -int(self._settings.future_s * 1e6))[:, np.newaxis]
        behind = (lag > self._stale_us[batch.device])[:, np.newaxis] & ~batch.late[:, np.newaxis]
        self._mark(batch, present & ahead, Quality.SUSPECT, Reason.FUTURE_CLOCK)
        self._mark(batch, present & behind, Quality.SUSPECT, Reason.STALE_CLOCK)

    def _against_memory(self, batch: Batch, usable: Bool) -> None:
        device, values = batch.device, batch.values
        time_us = np.broadcast_to(batch.time_us[:, np.newaxis], values.shape)
        last, last_time, since = self.last_value[device], self.last_time[device], self.flat_since[device]
        known = usable & (last_time != _NO_TIME) & (time_us > last_time)
        self._mark(batch, self._leap(values, last, time_us, last_time, known), Quality.SUSPECT, Reason.RATE)
        same = known & (values == last)
        # A clock put back makes the memory meaningless: begin again.
        begin = usable & ~same
        since = np.where(begin, time_us, since)
        stuck = same & ((time_us - since) > self._flat_us)
        self._mark(batch, stuck, Quality.SUSPECT, Reason.FLAT)
        self.flat_since[device] = since
        self.last_value[device] = np.where(usable, values, last)
        self.last_time[device] = np.where(usable, time_us, last_time)

    def _leap(self, values: Float64, last: Float64, time_us: Int64, last_time: Int64, known: Bool) -> Bool:
        seconds = np.where(known, time_us - np.where(known, last_time, time_us), 1) / 1e6
        change = np.abs(np.where(known, values - last, 0.0))
        leap: Bool = known & (change > self._rate * seconds)
        return leap

    @staticmethod
    def _mark(batch: Batch, where: Bool, quality: Quality, reason: Reason) -> None:
        if where.any():
            batch.quality[where] = np.maximum(batch.quality[where], quality)
            batch.reasons[where] |= np.uint16(reason)

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the state arrays, by name."""
        return {name: getattr(self, name).copy() for name in self.STATE}

    def restore(self, arrays: Mapping[str, NDArray[np.generic]], rows: Int64) -> None:
        """Put state back; element i belongs to device row `rows[i]`, -1 where the device is gone."""
        kept = rows >= 0
        for name in self.STATE:
            getattr(self, name)[rows[kept]] = arrays[name][kept]
