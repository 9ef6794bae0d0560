"""How a leak looks across the sensors of a zone, and which of several leaks a deviation belongs to.

A pattern is a direction among the sensors: how strongly each falls, in its own noise, for one and the same leak. It
keeps its direction while the leak grows, so known leaks can be taken out of what is seen, and new ones show.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from devices.readings import Float64, Int64
from processors.leaks.modes import Habit

_FADED: Final = 0.3  # a known pattern of which the common modes explain more than the rest is no longer apart
_DEGREE_M: Final = 111_195.0  # of a great circle
_NAMED: Final = 0.5  # a sensor belongs to the place if it fell by this share of what the first one did


def apart(known: Float64, habit: Habit, steady: Float64) -> Float64:
    """(s, p) orthonormal directions of the `known` patterns (s, c) beside the common modes.

    `known` in the quantity's unit; the directions in `steady` (s,) times each sensor's noise.
    """
    if not known.shape[1]:
        return known
    scaled = known / habit.sigma[:, None]
    rest = scaled - habit.modes @ (habit.modes.T @ scaled)
    length = np.sqrt((rest * rest).sum(axis=0))
    kept = length > _FADED * np.sqrt((scaled * scaled).sum(axis=0))
    if not kept.any():
        return known[:, :0]
    directions, ratio = np.linalg.qr((rest[:, kept] / length[kept]) / steady[:, None])
    return directions[:, np.abs(np.diag(ratio)) > _FADED / 10]


def excess(rest: Float64, free: int) -> float:
    """How far the squares of `rest` (s,), each of variance one, lie above what `free` directions of noise give."""
    return float((rest @ rest - free) / np.sqrt(2.0 * free))


def falls(rest: Float64) -> bool:
    """Whether few sensors lie low and many a little high, as with a leak; the other way round something recovered."""
    return float((rest * rest * rest).sum()) < 0.0


def ranked(rest: Float64, most: int) -> Int64:
    """Sensors by how far they fell, furthest first; those that fell markedly less than the first are left out."""
    order = np.argsort(rest, kind="stable")[:most]
    kept: Int64 = order[rest[order] <= _NAMED * rest[order[0]]]
    return kept


def around(position: Float64 | None, place: Int64, members: Int64) -> float:
    """Metres around the first of `place` (p,) within which the leak lies more often than not; NaN without positions.

    A leak is nearest to the sensor that shows it most, as far as sensors can tell: the circle reaches to the second
    nearest of the zone's other `members` (s,).
    """
    if position is None or not np.isfinite(position[place[0]]).all():
        return float("nan")
    off = (position[members] - position[place[0]]) * _DEGREE_M
    off[:, 0] *= np.cos(np.radians(position[place[0], 1]))
    far = np.sort(np.sqrt((off * off).sum(axis=1)))
    far = far[np.isfinite(far)]
    return float(far[min(2, len(far) - 1)])
