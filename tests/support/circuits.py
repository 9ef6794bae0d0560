"""One heating circuit, hour by hour: rows for a rule that reads several quantities, statements out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from processors.detectors import Detector, Step, build
from tests.support.detecting import S, Told, tell

HOUR_S = 3600.0


def circuit(name: str, devices: int = 1, **params: float) -> Detector:
    """A detector over `devices` meters that report once an hour."""
    made = build(name, params)
    made.grow(np.full(devices, HOUR_S), np.zeros(devices, dtype=np.int64))
    return made


def hours(
    made: Detector, rows: Sequence[Sequence[float]], *, from_h: float = 0.0, late_s: float = 0.0
) -> list[Told]:
    """One row an hour, the rule's quantity first; NaN is what a message does not carry."""
    found = []
    for i, row in enumerate(rows):
        time = np.array([int((from_h + i) * HOUR_S * S)], dtype=np.int64)
        step = Step(
            np.zeros(1, dtype=np.int32),
            time,
            time + int(late_s * S),
            np.array(row[:1], dtype=np.float64),
            np.zeros(1, dtype=np.uint8),
            np.array([row[1:]], dtype=np.float64),
        )
        found += [told for _, told in tell(made.step(step), [0])]
    return found


def risen(found: Sequence[Told]) -> list[float]:
    """Hours at which something was raised."""
    return [told.at_s / HOUR_S for told in found if told.phase == "raise"]
