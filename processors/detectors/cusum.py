"""A small change of the mean that lasts.

Adds up how far values lie beyond a learned level plus a slack; a lasting shift adds up quickly, noise cancels. Source:
Page 1954, Continuous inspection schemes, Biometrika 41:100-115.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Bool, Float64, Int64
from processors.condition import NONE, Condition, microseconds
from processors.detectors import Hits, Step


class Cusum(Condition):
    """Raise when the sum of deviations beyond `slack` exceeds `limit`.

    Units: `slack`, `limit` in the quantity's unit (`limit` summed over readings). `direction`: +1 up, -1 down, 0 both.
    `learn`: readings to learn the level from. `forget_s`: time constant with which the level follows while nothing is
    suspected. `accept_s`: a level that stayed so long is the new normal. State: level, count, two sums.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "direction": 0.0,
        "slack": 1.0,
        "limit": 10.0,
        "learn": 30.0,
        "forget_s": 86400.0,
        "clear_s": 0.0,
        "accept_s": 86400.0,
        "update_s": 3600.0,
    }
    STATE = (*Condition.STATE, "level", "recent", "count", "up", "down", "rising_us", "last_us")
    FILL: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.FILL,
        "level": ("float64", nan),
        "recent": ("float64", nan),
        "count": ("int64", 0),
        "up": ("float64", 0.0),
        "down": ("float64", 0.0),
        "rising_us": ("int64", NONE),
        "last_us": ("int64", NONE),
    }
    level: Float64
    recent: Float64
    count: Int64
    up: Float64
    down: Float64
    rising_us: Int64
    last_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        super().__init__(params)
        self._direction, self._slack, self._limit = params["direction"], params["slack"], params["limit"]
        self._learn_count = int(params["learn"])
        self._forget_us, self._accept_us = microseconds(params["forget_s"]), microseconds(params["accept_s"])

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended."""
        device, value = step.device, step.value
        count = self.count[device]
        level = np.where(count == 0, value, self.level[device])
        onset = self.onset_us[device]
        accepted = self.active[device] & (
            step.time_us - np.where(onset == NONE, step.time_us, onset) > self._accept_us
        )
        level = np.where(accepted, self.recent[device], level)
        learned = count >= self._learn_count
        up, down = self._sums(step, level, learned & ~accepted)
        total = np.maximum(up, down)
        started = self.rising_us[device]
        started = np.where(total > 0, np.where(started == NONE, step.time_us, started), NONE)
        self.rising_us[device] = started
        self._follow_level(step, level, learned, quiet=(total <= self._limit / 2) & ~self.active[device])
        self.count[device] = np.minimum(count + 1, self._learn_count)
        sign = np.where(up >= down, 1.0, -1.0)
        return self.follow(
            step,
            beyond=total > self._limit,
            back=total <= self._limit / 2,
            excess=np.abs(value - level),
            expected=level,
            limit=level + sign * self._slack,
            begun_us=np.where(started == NONE, step.time_us, started),
        )

    def _sums(self, step: Step, level: Float64, counting: Bool) -> tuple[Float64, Float64]:
        """Both sums; bounded, so that the way back is no longer than the way there."""
        device, away = step.device, step.value - level
        top = 2 * self._limit
        nothing = np.zeros(len(device))
        up = np.minimum(np.maximum(self.up[device] + away - self._slack, 0.0), top)
        down = np.minimum(np.maximum(self.down[device] - away - self._slack, 0.0), top)
        up = np.where(counting & (self._direction >= 0), up, nothing)
        down = np.where(counting & (self._direction <= 0), down, nothing)
        self.up[device], self.down[device] = up, down
        return up, down

    def _follow_level(self, step: Step, level: Float64, learned: Bool, *, quiet: Bool) -> None:
        device, value = step.device, step.value
        seen = self.last_us[device]
        elapsed = np.maximum(
            np.where(seen == NONE, 0, step.time_us - np.where(seen == NONE, step.time_us, seen)), 0
        )
        pace = elapsed / (elapsed + self._forget_us)
        share = np.where(learned, np.where(quiet, pace, 0.0), 1.0 / (self.count[device] + 1))
        self.level[device] = level + (value - level) * share
        recent = np.where(np.isnan(self.recent[device]), value, self.recent[device])
        # A tenth of the long memory: the level of late, for when a change has to be accepted.
        self.recent[device] = recent + (value - recent) * (elapsed / (elapsed + self._forget_us / 10))
        self.last_us[device] = step.time_us

    def forget(self, device: Int64) -> None:
        """The clock was set back: the level stays, the sums start anew."""
        super().forget(device)
        self.up[device] = 0.0
        self.down[device] = 0.0
        self.rising_us[device] = NONE
        self.last_us[device] = NONE


DETECTOR: Final = Cusum
