"""A value that no longer moves.

A stuck sensor repeats itself; a healthy instrument repeats itself only within its measuring cycle, so `hold_s` must be
longer than that. Source: QARTOD flat-line test, as an alarm rather than a quality flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from processors.condition import NONE, Condition, microseconds
from processors.detectors import Hits, Step


class Flatline(Condition):
    """Raise when the value stayed within `tolerance` of one value for `hold_s`; clear at the first change.

    Units: `tolerance` in the quantity's unit. State: the value and since when. Evidence: onset and window begin where
    the value last moved.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"hold_s": 3600.0, "tolerance": 0.0, "update_s": 86400.0}
    STATE = (*Condition.STATE, "level", "level_us")
    FILL: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.FILL,
        "level": ("float64", nan),
        "level_us": ("int64", NONE),
    }
    level: Float64
    level_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        super().__init__({**params, "hold_s": 0.0})  # the flat run itself is the hold
        self._flat_us = microseconds(params["hold_s"])
        self._tolerance = params["tolerance"]

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device = step.device
        level, since = self.level[device], self.level_us[device]
        same = (since != NONE) & (np.abs(step.value - level) <= self._tolerance)
        since = np.where(same, since, step.time_us)
        self.level[device], self.level_us[device] = np.where(same, level, step.value), since
        return self.follow(
            step,
            beyond=same & (step.time_us - since >= self._flat_us),
            back=~same,
            excess=np.zeros(len(device)),
            expected=np.full(len(device), nan),
            limit=np.full(len(device), self._tolerance),
            begun_us=since,
        )

    def forget(self, device: Int64) -> None:
        """The clock was set back: begin to time the level anew."""
        super().forget(device)
        self.level_us[device] = NONE


DETECTOR: Final = Flatline
