"""A value beyond a fixed limit for long enough.

High and low bounds, hold time before it is raised, hysteresis and a delay before it is cleared: a value that jitters
at the threshold for an hour is one alarm. Source: ISA-18.2, deadband and on/off delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from processors.condition import Condition
from processors.detectors import Hits, Step


class Limit(Condition):
    """Raise when the value was above `high` or below `low` for `hold_s`; clear after `clear_s` safely inside.

    Units: `high`, `low`, `hysteresis` in the quantity's unit; NaN: no such bound. State: one condition per device.
    `update_s`: while it lasts, a worse value is told at most so often.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "high": nan,
        "low": nan,
        "hold_s": 0.0,
        "hysteresis": 0.0,
        "clear_s": 0.0,
        "update_s": 3600.0,
    }

    def __init__(self, params: Mapping[str, float]) -> None:
        super().__init__(params)
        self._high, self._low = params["high"], params["low"]
        self._inner_high, self._inner_low = self._high - params["hysteresis"], self._low + params["hysteresis"]

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended."""
        value = step.value
        above, below = value - self._high, self._low - value  # NaN without that bound
        high_side = ~(below > above) if not np.isnan(self._high) else np.zeros(len(value), dtype=np.bool_)
        return self.follow(
            step,
            beyond=(above > 0) | (below > 0),
            back=~(value > self._inner_high) & ~(value < self._inner_low),
            excess=np.fmax(above, below),
            expected=np.full(len(value), nan),
            limit=np.where(high_side, self._high, self._low),
        )


DETECTOR: Final = Limit
