"""The newest value per device and quantity of one kind, in memory.

From: the embedded store, after each commit and at open. To: `latest`, and the decision whether a row can be
appended without looking for a stored one. Safe to read from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from devices.readings import Float64, Int32, Int64, UInt8

NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class AsOf:
    """What some devices said last up to `now_us`: (m,) ascending ordinals; time, value, quality (m, q) each.

    `names`: the q quantities.
    """

    now_us: int
    names: tuple[str, ...]
    devices: Int32
    parts: tuple[Int64, Float64, UInt8]


class Newest:
    """n devices (by ordinal), q quantities (by column of the table).

    `row_us`: (n,) UTC of the newest stored row, NEVER without one. `time_us`: (n, q) UTC of the newest value,
    NEVER without one; `values`, `quality`: (n, q).
    """

    def __init__(self, devices: int, quantities: int) -> None:
        self.lock = threading.Lock()
        self.as_of: AsOf | None = None
        self._devices = devices
        self._quantities = quantities
        self._allocate(max(devices, 16))

    def _allocate(self, room: int) -> None:
        shape = (room, self._quantities)
        self._row_us = np.full(room, NEVER, dtype=np.int64)
        self._time_us = np.full(shape, NEVER, dtype=np.int64)
        self._values = np.full(shape, np.nan)
        self._quality = np.zeros(shape, dtype=np.uint8)

    @property
    def row_us(self) -> Int64:
        """(n,) view."""
        return self._row_us[: self._devices]

    @property
    def time_us(self) -> Int64:
        """(n, q) view."""
        return self._time_us[: self._devices]

    @property
    def values(self) -> Float64:
        """(n, q) view."""
        return self._values[: self._devices]

    @property
    def quality(self) -> UInt8:
        """(n, q) view."""
        return self._quality[: self._devices]

    def grow(self, devices: int, quantities: int) -> None:
        """Make place for more devices or quantities; what is known stays."""
        if devices <= len(self._row_us) and quantities == self._quantities:
            self._devices = devices
            return
        with self.lock:
            old = (self.row_us, self.time_us, self.values, self.quality)
            known, columns = self._devices, self._quantities
            self._quantities = quantities
            self._allocate(max(devices, 16, known * 3 // 2))
            self._devices = devices
            self._row_us[:known] = old[0]
            self._time_us[:known, :columns] = old[1]
            self._values[:known, :columns] = old[2]
            self._quality[:known, :columns] = old[3]

    def put(self, device: Int32, time_us: Int64, values: Float64, quality: UInt8, columns: list[int]) -> None:
        """Take stored rows, one per device and time: (n,) ordinals and times, (n, columns) values, quality."""
        order = np.argsort(time_us, kind="stable")
        device, time_us, values, quality = device[order], time_us[order], values[order], quality[order]
        with self.lock:
            # Ascending in time: of several assignments to one place the last, the newest, holds.
            fresh = time_us > self._row_us[device]
            self._row_us[device[fresh]] = time_us[fresh]
            for source, column in enumerate(columns):
                taken = ~np.isnan(values[:, source]) & (time_us >= self._time_us[device, column])
                rows = device[taken]
                self._time_us[rows, column] = time_us[taken]
                self._values[rows, column] = values[taken, source]
                self._quality[rows, column] = quality[taken, source]

    def forget(self, before_us: int) -> None:
        """Values older than `before_us` were deleted."""
        with self.lock:
            self.as_of = None
            gone = self.time_us < before_us
            self.time_us[gone], self.values[gone], self.quality[gone] = NEVER, np.nan, 0
