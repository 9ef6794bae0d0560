"""A sudden change that stays.

The level now (median of the last three values, so that one spike is nothing) against the level before (an exponential
mean that stops learning while the level is away from it). Slow drift is followed and never a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from processors.condition import NONE, Condition, microseconds
from processors.detectors import Hits, Step


class StepChange(Condition):
    """Raise when the level moved by more than `change` and stayed there for `hold_s`.

    Units: `change` in the quantity's unit. `direction`: +1 up, -1 down, 0 both. `window_s`: time constant of the level
    before. `accept_s`: a level that stayed so long is the new normal. State: the level before and two values.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "change": 1.0,
        "direction": 0.0,
        "window_s": 3600.0,
        "hold_s": 0.0,
        "clear_s": 0.0,
        "accept_s": 86400.0,
        "update_s": 3600.0,
    }
    STATE = (*Condition.STATE, "before", "last", "last_but_one", "last_us")
    FILL: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.FILL,
        "before": ("float64", nan),
        "last": ("float64", nan),
        "last_but_one": ("float64", nan),
        "last_us": ("int64", NONE),
    }
    before: Float64
    last: Float64
    last_but_one: Float64
    last_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        super().__init__(params)
        self._change, self._direction = params["change"], params["direction"]
        self._window_us, self._accept_us = microseconds(params["window_s"]), microseconds(params["accept_s"])

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended."""
        device, value = step.device, step.value
        last, older = self.last[device], self.last_but_one[device]
        a, b = np.where(np.isnan(last), value, last), np.where(np.isnan(older), value, older)
        now = np.maximum(np.minimum(a, value), np.minimum(np.maximum(a, value), b))  # median of three
        before = np.where(np.isnan(self.before[device]), value, self.before[device])
        onset = self.onset_us[device]
        old_news = self.active[device] & (
            step.time_us - np.where(onset == NONE, step.time_us, onset) > self._accept_us
        )
        before = np.where(old_news, now, before)
        moved = now - before
        directed = moved * self._direction if self._direction else np.abs(moved)
        beyond = directed > self._change
        self._learn(step, np.where(beyond | self.active[device], 0.0, moved), before)
        self.last_but_one[device], self.last[device] = last, value
        return self.follow(
            step,
            beyond=beyond,
            back=directed <= self._change / 2,
            excess=directed,
            expected=before,
            limit=before + np.sign(moved) * self._change,
        )

    def _learn(self, step: Step, moved: Float64, before: Float64) -> None:
        seen = self.last_us[step.device]
        elapsed = np.where(seen == NONE, 0, step.time_us - np.where(seen == NONE, step.time_us, seen))
        elapsed = np.maximum(elapsed, 0)
        self.before[step.device] = before + moved * (elapsed / (elapsed + self._window_us))
        self.last_us[step.device] = step.time_us

    def forget(self, device: Int64) -> None:
        """The clock was set back: the level before stays, its age does not."""
        super().forget(device)
        self.last_us[device] = NONE


DETECTOR: Final = StepChange
