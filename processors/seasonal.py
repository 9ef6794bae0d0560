"""How a quantity usually moves from one half hour to the next, by time of day, on working days and on weekends.

From: detectors that must not mistake the city's daily course for a fault. To: the same, as the change to be expected
now. What is learned are moves, not levels: a holiday, a season or a new set point shifts the level of a whole day and
leaves its course alone. Each half hour counts once, however many readings it had, and by a bounded share: one wild day
changes little. A kind of day not seen yet borrows from the other; where nothing is known no change is expected. For
usual levels see `processors.day_shape`. Local time is Beijing time, weeks begin on Monday. State: 0.5 KB per device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from processors.local_time import HALF_US, SLOTS, slot_of

_WEEKS: Final = 3.0  # usual is what the last weeks did
_MANY: Final = 250

COLUMNS: Final[Mapping[str, tuple[str, float]]] = {
    "moves": ("float32", np.nan),
    "visits": ("uint8", 0),
    "half": ("int32", np.iinfo(np.int32).min),
    "half_sum": ("float64", 0.0),
    "half_count": ("int32", 0),
    "half_before": ("float64", np.nan),
}
"""State of a detector that keeps moves; widths by `width`."""


class Moving(Protocol):
    """A detector with the columns above.

    `moves`, `visits`: (n, 96), change of the mean from the half hour before, NaN unknown. `half`: (n,) the half hour
    under way, counted from 1970; `half_sum`, `half_count`: its values so far; `half_before`: mean of the one before it,
    NaN without.
    """

    moves: NDArray[np.float32]
    visits: NDArray[np.uint8]
    half: NDArray[np.int32]
    half_sum: Float64
    half_count: NDArray[np.int32]
    half_before: Float64


def width(name: str) -> tuple[int, ...]:
    """Shape of one device's element of the state column `name`."""
    return (2 * SLOTS,) if name in {"moves", "visits"} else ()


def learn(of: Moving, device: Int64, time_us: Int64, value: Float64, fine: Bool, most: Float64 | float) -> Int64:
    """Take `value` (n,) where `fine` (n,); one half hour changes what is usual by at most a share of `most`.

    Returns the rows (m,) whose device begins another half hour: what depends on `pace` is to be asked anew.
    """
    now = time_us // HALF_US
    turned = np.flatnonzero(of.half[device] != now)
    if len(turned):
        limit = most[turned] if isinstance(most, np.ndarray) else most
        _close(of, device[turned], now[turned], limit)
    of.half_sum[device] += np.where(fine, value, 0.0)
    of.half_count[device] += fine
    return turned


def pace(of: Moving, device: Int64, time_us: Int64) -> Float64:
    """(m,) usual change per microsecond at `time_us` (m,), the same for a whole half hour; 0 where unknown."""
    now = time_us // HALF_US
    into, out = of.moves[device, _slot(now)], of.moves[device, _slot(now + 1)]
    into = np.where(np.isfinite(into), into, out)
    out = np.where(np.isfinite(out), out, into)
    usual = (into.astype(np.float64) + out) * (0.5 / HALF_US)
    found: Float64 = np.where(np.isfinite(usual), usual, 0.0)
    return found


def _slot(half: Int64) -> Int64:
    """Place in the week's two kinds of day, 0 to 95, of half hours counted from 1970."""
    slot, weekend = slot_of(half)
    return slot + weekend


def _close(of: Moving, device: Int64, now: Int64, most: Float64 | float) -> None:
    """The half hour of `device` (m,) is over: learn how it moved from the one before; `now` (m,) begins."""
    half = of.half[device].astype(np.int64)
    count = of.half_count[device]
    mean = np.where(count > 0, of.half_sum[device] / np.maximum(count, 1), np.nan)
    moved = mean - of.half_before[device]
    known = np.flatnonzero(np.isfinite(moved))
    _learn(of, device[known], half[known], moved[known], most[known] if isinstance(most, np.ndarray) else most)
    of.half_before[device] = np.where(now == half + 1, mean, np.nan)
    of.half[device], of.half_sum[device], of.half_count[device] = now, 0.0, 0


def _learn(of: Moving, device: Int64, half: Int64, moved: Float64, most: Float64 | float) -> None:
    slot = _slot(half)
    old, visits = of.moves[device, slot].astype(np.float64), of.visits[device, slot]
    share = np.maximum(1.0 / (visits + 1.0), 1.0 / (_WEEKS * np.where(slot >= SLOTS, 2.0, 5.0)))
    old = np.where(np.isfinite(old), old, 0.0)
    new = old + share * np.minimum(np.maximum(moved - old, -most), most)
    of.moves[device, slot] = new
    of.visits[device, slot] = np.minimum(visits + 1, _MANY)
    twin = (slot + SLOTS) % (2 * SLOTS)
    unseen = of.visits[device, twin] == 0
    of.moves[device[unseen], twin[unseen]] = new[unseen]
