"""The last readings of every device, for the charts of findings.

From: rows as the rules see them. To: evidence. Two rings per device: every reading, and every tenth, so that a chart
shows the moment as well as the hours before it. Small on purpose: 100,000 devices have one each.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Batch, Float64, Int64, Quality

_RECENT: Final = 20  # readings
_SPARSE: Final = 20  # further back, one of so many:
_EACH: Final = 10
_SECOND = 1_000_000


class Traces:
    """Rings over n devices and the k columns that rules look at. Times in whole seconds, values as float32."""

    STATE = ("count", "recent_s", "recent", "sparse_s", "sparse")

    def __init__(self, columns: Int64) -> None:
        self.columns = columns
        self.count = np.zeros(0, dtype=np.int32)
        self.recent_s = np.zeros((0, _RECENT), dtype=np.int32)
        self.recent = np.zeros((0, _RECENT, len(columns)), dtype=np.float32)
        self.sparse_s = np.zeros((0, _SPARSE), dtype=np.int32)
        self.sparse = np.zeros((0, _SPARSE, len(columns)), dtype=np.float32)

    def grow(self, count: int) -> None:
        """Make room for `count` devices."""
        for name in self.STATE:
            old = getattr(self, name)
            new = np.zeros((count, *old.shape[1:]), dtype=old.dtype)  # untouched pages cost nothing
            new[: len(old)] = old
            setattr(self, name, new)

    def take(self, part: Batch) -> None:
        """Remember `part`, in which no device stands twice; what is not to be trusted leaves a gap."""
        device = part.device.astype(np.int64)
        values = part.values[:, self.columns].astype(np.float32)
        bad = part.quality[:, self.columns] > Quality.SUSPECT
        if bad.any():
            values[bad] = np.nan
        seconds = np.clip(part.time_us // _SECOND, 0, 2**31 - 1).astype(np.int32)
        count = self.count[device]
        place = count % _RECENT
        self.recent_s[device, place] = seconds
        self.recent[device, place] = values
        turn = np.flatnonzero(count % _EACH == 0)
        if len(turn):
            who, place = device[turn], count[turn] // _EACH % _SPARSE
            self.sparse_s[who, place] = seconds[turn]
            self.sparse[who, place] = values[turn]
        self.count[device] = count + 1

    def of(self, device: int) -> tuple[Int64, Float64]:
        """(p,) UTC seconds ascending and (p, k) values of one device; p at most 40."""
        count = int(self.count[device])
        recent = np.arange(max(0, count - _RECENT), count)
        older = np.arange(0, count, _EACH) // _EACH
        older = older[-_SPARSE:]
        seconds = np.concatenate([self.sparse_s[device, older % _SPARSE], self.recent_s[device, recent % _RECENT]])
        values = np.concatenate([self.sparse[device, older % _SPARSE], self.recent[device, recent % _RECENT]])
        _, first = np.unique(seconds, return_index=True)
        return seconds[first].astype(np.int64), values[first].astype(np.float64)

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the rings."""
        return {name: getattr(self, name).copy() for name in self.STATE}

    def restore(self, arrays: dict[str, NDArray[np.generic]], rows: Int64) -> None:
        """Put `arrays` back; element i belongs to device row `rows[i]`, -1 where it is gone."""
        kept = rows >= 0
        for name in self.STATE:
            if arrays[name].shape[1:] == getattr(self, name).shape[1:]:
                getattr(self, name)[rows[kept]] = arrays[name][kept]
