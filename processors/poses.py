"""Poses of a housing as unit vectors along gravity, and how far two of them lie apart.

From: the inclinations of three axes, or a tilt alone. To: detectors of covers. A turn about the vertical leaves
gravity where it is and cannot be seen. Sine and arc sine come out of tables: they round alike whatever the array's
length.
"""

from __future__ import annotations

import math
from typing import Final, cast

import numpy as np

from devices.readings import Bool, Float64

_PER_DEG: Final = 10  # steps of the sine table: off by less than 0.0001 degree
_REACH: Final = 180
_SINE: Final = np.array(
    [math.sin(math.radians(i / _PER_DEG)) for i in range(-_REACH * _PER_DEG, _REACH * _PER_DEG + 2)]
)
_CHORDS: Final = 2048  # steps of the angle table over chords of 0 to 2: off by 0.001 degree below 120 degrees
_ANGLE: Final = np.array([2 * math.degrees(math.asin(min(1.0, i / _CHORDS))) for i in range(_CHORDS + 2)])
_STEEPEST: Final = (
    30.0  # of three axes at right angles one is inclined by 35 degrees at least; three flat ones are no pose
)
_TINY: Final = 1e-12
UP: Final = np.array([0.0, 0.0, 1.0])


def sine(degrees: Float64) -> Float64:
    """Of angles of -180 to 180 degrees, any shape."""
    place = (degrees + _REACH) * _PER_DEG
    low = place.astype(np.int64)
    first = _SINE[low]
    return cast("Float64", first + (place - low) * (_SINE[low + 1] - first))


def gravity(tilt: Float64, angles: Float64) -> tuple[Float64, Bool]:
    """Unit vectors (n, 3) and whether their direction is known (n,).

    `tilt`: (n,) degrees from upright, 0 to 180, NaN where absent. `angles`: (n, 3) inclination of each axis of the
    housing against the horizontal, degrees; one NaN and the tilt alone counts, as if about one axis. What is neither
    is NaN.
    """
    lean = np.where(np.abs(tilt - 90.0) <= 90.0, tilt, np.nan)
    known = _whole(angles, len(tilt))
    out = np.empty((len(tilt), 3))
    if not known.all():
        there = lean == lean  # noqa: PLR0124  NaN
        safe = np.where(there, lean, 0.0)
        blank = np.where(there, 0.0, np.nan)
        out[:, 0], out[:, 1], out[:, 2] = sine(safe) + blank, blank, sine(90.0 - safe) + blank
    if known.any():
        full = sine(np.where(known[:, np.newaxis], angles, 90.0))
        x, y, z = full[:, 0], full[:, 1], full[:, 2]
        length = np.sqrt(x * x + y * y + z * z)
        out[known] = (full / length[:, np.newaxis])[known]
    return out, known


def tells(tilt: Float64, angles: Float64) -> Bool:
    """(n,) whether `gravity` makes a pose of them."""
    lean: Bool = np.abs(tilt - 90.0) <= 90.0
    return lean | _whole(angles, len(tilt))


def _whole(angles: Float64, count: int) -> Bool:
    if not angles.shape[1]:
        return np.zeros(count, dtype=np.bool_)
    size = np.abs(angles)
    steep = np.minimum(size, _REACH - size)  # NaN stays NaN, and beyond the reach it is negative
    return np.asarray((steep >= 0.0).all(axis=1) & (steep >= _STEEPEST).any(axis=1))


def flat(vector: Float64) -> Float64:
    """(n, 3) the same tilt as `vector` (n, 3), its direction forgotten."""
    z = vector[:, 2]
    out = np.zeros_like(vector)
    out[:, 0], out[:, 2] = np.sqrt(np.maximum(1.0 - z * z, 0.0)), z
    return out


def unit(vector: Float64) -> Float64:
    """(n, 3) `vector` (n, 3) at length 1."""
    x, y, z = vector[:, 0], vector[:, 1], vector[:, 2]
    return vector / np.maximum(np.sqrt(x * x + y * y + z * z), _TINY)[:, np.newaxis]


def apart(one: Float64, other: Float64) -> Float64:
    """(n,) degrees between unit vectors `one` and `other` (n, 3): by the chord, which is exact for small angles too."""
    gap = one - other
    x, y, z = gap[:, 0], gap[:, 1], gap[:, 2]
    place = np.minimum(np.sqrt(x * x + y * y + z * z) * (_CHORDS / 2), _CHORDS)
    low = place.astype(np.int64)
    first = _ANGLE[low]
    return cast("Float64", first + (place - low) * (_ANGLE[low + 1] - first))


def between(one: Float64, known: Bool, other: Float64, other_known: Bool) -> Float64:
    """(n,) degrees between poses; where the direction of either is unknown, between their tilts."""
    both = known & other_known
    if both.all():
        return apart(one, other)
    return apart(np.where(both[:, np.newaxis], one, flat(one)), np.where(both[:, np.newaxis], other, flat(other)))
