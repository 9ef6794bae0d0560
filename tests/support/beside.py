"""Drive one detector that reads several quantities: rows of one device in, statements with readable numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from processors.detectors import Detector, Step
from tests.support.detecting import S, Told, tell

Row = tuple[float, ...]  # time in seconds, the rule's own value, those beside it


def step_of(rows: Sequence[Row], devices: Sequence[int]) -> Step:
    """One step; each row of another device."""
    times = np.array([int(row[0] * S) for row in rows], dtype=np.int64)
    return Step(
        np.array(devices, dtype=np.int32),
        times,
        times,
        np.array([row[1] for row in rows], dtype=np.float64),
        np.zeros(len(rows), dtype=np.uint8),
        np.array([row[2:] for row in rows], dtype=np.float64) if len(rows[0]) > 2 else np.empty((0, 0)),
    )


def feed_rows(made: Detector, rows: Iterable[Row]) -> list[Told]:
    """Rows of device 0, one a step."""
    found = []
    for row in rows:
        step = step_of([row], [0])
        found += [told for _, told in tell(made.step(step), [0])]
    return found


def angles(tilt: float, towards: float = 0.0) -> tuple[float, float, float]:
    """Inclinations of the x, y and z axis of a housing that leans by `tilt` degrees in the direction `towards`."""
    lean, way = math.radians(tilt), math.radians(towards)
    parts = (math.sin(lean) * math.cos(way), math.sin(lean) * math.sin(way), math.cos(lean))
    x, y, z = (math.degrees(math.asin(part)) for part in parts)
    return x, y, z
