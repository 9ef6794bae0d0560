"""Chance without memory: the same seed, device and moment always give the same number.

Counter-based (a mixing function over the inputs), so that any instant of any device can be computed alone: runs are
repeatable, can be resumed anywhere and do not depend on how they are cut into batches.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int64

UInt64 = NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B: Final = np.uint64(0x94D049BB133111EB)


def keys(seed: int, salt: int, rows: Int64, moments: Int64 | int = 0) -> UInt64:
    """(n,) one key per row and moment; `salt` separates uses that must not resemble each other."""
    start = np.uint64((seed * 1_000_003 + salt) & 0xFFFF_FFFF_FFFF_FFFF)
    return _mix(_mix(rows.astype(np.uint64) + start) ^ np.asarray(moments).astype(np.uint64))


def uniform(key: UInt64) -> Float64:
    """(n,) even chance in (0, 1), never 0."""
    return ((_mix(key) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def gauss(key: UInt64) -> Float64:
    """(n,) standard normal (Box and Muller)."""
    radius = np.sqrt(-2.0 * np.log(uniform(key)))
    angle: Float64 = radius * np.cos(2.0 * np.pi * uniform(key ^ _GOLDEN))
    return angle


def _mix(key: UInt64) -> UInt64:
    key = key + _GOLDEN
    key = (key ^ (key >> np.uint64(30))) * _MIX_A
    key = (key ^ (key >> np.uint64(27))) * _MIX_B
    return key ^ (key >> np.uint64(31))
