"""A value that moves faster than it can.

Compares each value with the one before. One episode is one alert: it ends after `clear_s` of believable pace.
Source: QARTOD rate-of-change test, as an alarm rather than a quality flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from processors.condition import NONE, Condition
from processors.detectors import Hits, Step


class Rate(Condition):
    """Raise when the value changes by more than `per_s` per second.

    Units: `per_s` in the quantity's unit per second. `direction`: +1 rises, -1 falls, 0 both. State: the last value.
    Evidence: observed is the value, expected the one before, limit the value that the limit rate would have reached.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"per_s": 1.0, "direction": 0.0, "clear_s": 600.0, "update_s": 3600.0}
    STATE = (*Condition.STATE, "last", "last_us")
    FILL: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.FILL,
        "last": ("float64", nan),
        "last_us": ("int64", NONE),
    }
    last: Float64
    last_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        super().__init__(params)
        self._per_s, self._direction = params["per_s"], params["direction"]

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended."""
        device = step.device
        before, before_us = self.last[device], self.last_us[device]
        self.last[device], self.last_us[device] = step.value, step.time_us
        known = (before_us != NONE) & (step.time_us > before_us)
        seconds = np.where(known, step.time_us - np.where(known, before_us, step.time_us), 1) / 1e6
        change = np.where(known, step.value - np.where(known, before, 0.0), 0.0)
        directed = change * self._direction if self._direction else np.abs(change)
        allowed = self._per_s * seconds
        beyond = known & (directed > allowed)
        return self.follow(
            step,
            beyond=beyond,
            back=~beyond,
            excess=directed - allowed,
            expected=before,
            limit=np.where(known, before + np.sign(change) * allowed, nan),
        )

    def forget(self, device: Int64) -> None:
        """The clock was set back: the last value says nothing about pace any more."""
        super().forget(device)
        self.last_us[device] = NONE


DETECTOR: Final = Rate
