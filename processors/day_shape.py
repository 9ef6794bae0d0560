"""What some quantities of a device usually are at each half hour of a working day and of a weekend day.

From: detectors that compare with a plant's own day. To: the same, as the usual value between two half hours. Each
half hour counts once, however many readings it had, and moves the usual value by a bounded share: one wet or wild day
changes little. A kind of day not seen yet borrows from the other. Local time is Beijing time, weeks begin on Monday.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from processors.local_time import HALF_US, SLOTS, slot_of

_FARTHEST: Final = 1.5  # one half hour counts as at most this many times the usual, or its inverse
_MANY: Final = 250

COLUMNS: Final[Mapping[str, tuple[str, float]]] = {
    "shape": ("float32", 0.0),
    "visits": ("uint8", 0),
    "total": ("float64", 0.0),
    "taken": ("int32", 0),
    "slot": ("int16", -1),
}
"""State of a detector that keeps day shapes; widths by `width`."""


class Shaped(Protocol):
    """A detector with the columns above. `shape`, `visits`: (n, 96, k); `total`, `taken`: (n, k); `slot`: (n,)."""

    shape: NDArray[np.float32]
    visits: NDArray[np.uint8]
    total: Float64
    taken: NDArray[np.int32]
    slot: NDArray[np.int16]


class Slots(NamedTuple):
    """(n,) places in a week: `now` the half hour of a reading; it lies `part` of the way from `first` to `second`."""

    now: Int64
    first: Int64
    second: Int64
    part: Float64


def width(name: str, quantities: int) -> tuple[int, ...]:
    """Shape of one device's element of the state column `name`."""
    if name in {"shape", "visits"}:
        return (2 * SLOTS, quantities)
    return (quantities,) if name in {"total", "taken"} else ()


def slots(time_us: Int64) -> Slots:
    """Where `time_us` (n,) lies in the week; the usual value of a half hour holds at its middle."""
    now = time_us // HALF_US
    part = (time_us - now * HALF_US) * (1.0 / HALF_US) - 0.5
    slot, weekend = slot_of(now)
    later = part >= 0
    beside = (slot + np.where(later, 1, -1)) % SLOTS
    return Slots(slot + weekend, slot + weekend, beside + weekend, np.abs(part))


def usual(of: Shaped, device: Int64, at: Slots) -> Float64:
    """(n, k) usual values of `device` (n,) at those times; 0 where nothing is known."""
    first, second = of.shape[device, at.first], of.shape[device, at.second]
    second = np.where(second > 0, second, first)
    found: Float64 = np.where(first > 0, first + (second - first) * at.part[:, None], second)
    return found


class Over(NamedTuple):
    """m half hours that are over: `device`, `slot` (m,); `mean`, `usual` before it (m, k), 0 where unknown."""

    device: Int64
    slot: Int64
    mean: Float64
    usual: Float64


def learn(of: Shaped, device: Int64, at: Slots, values: Float64, fine: Bool, weeks: float) -> Over | None:
    """Take `values` (n, k) where `fine` (n, k): kept apart until their half hour is over, then part of the usual.

    `weeks`: the usual is about that of so many weeks. Says which half hours are over, None if none.
    """
    before = of.slot[device]
    left = np.flatnonzero(before != at.now)
    over = None
    if len(left):
        over = _close(of, device[left], before[left].astype(np.int64), weeks)
        of.slot[device[left]] = at.now[left]
    of.total[device] += np.where(fine, values, 0.0)
    of.taken[device] += fine
    return over


def _close(of: Shaped, device: Int64, slot: Int64, weeks: float) -> Over:
    """Put the half hour `slot` (m,) of `device` (m,) into its shape; -1: there was none."""
    taken, total = of.taken[device], of.total[device]
    of.taken[device], of.total[device] = 0, 0.0
    known = slot >= 0
    device, slot, taken, total = device[known], slot[known], taken[known], total[known]
    some = taken > 0
    mean = np.where(some, total / np.maximum(taken, 1), 0.0)
    old, visits = of.shape[device, slot].astype(np.float64), of.visits[device, slot]
    days = np.where(slot >= SLOTS, 2.0 * weeks, 5.0 * weeks)[:, None]
    share = np.maximum(1.0 / (visits + 1.0), 1.0 / days)
    ratio = np.clip(mean / np.where(old > 0, old, 1.0), 1.0 / _FARTHEST, _FARTHEST)
    new = np.where(old > 0, old * (1.0 + share * (ratio - 1.0)), mean)
    new = np.where(some, np.maximum(new, 0.0), old)
    of.shape[device, slot] = new
    of.visits[device, slot] = np.minimum(visits + some, _MANY)
    twin = (slot + SLOTS) % (2 * SLOTS)
    other = of.shape[device, twin]
    of.shape[device, twin] = np.where(other > 0, other, new)
    return Over(device, slot, mean, old)
