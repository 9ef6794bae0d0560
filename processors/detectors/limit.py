"""A value beyond a fixed limit for long enough.

From: one quantity's values in event-time order. To: hits whose limit is the bound crossed and whose observed value is
the worst so far. A value that jitters at the threshold for an hour is one alarm: hold time, hysteresis and clear
delay. Source: ISA-18.2, on-delay, off-delay and deadband.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import Condition, Moves, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.errors import RuleError
from processors.findings import Phase


class Limit(Condition):
    """Raise when the value stayed above `high` or below `low` for `hold_s`; clear after `clear_s` safely inside.

    Units: `high`, `low`, `hysteresis` in the quantity's unit; NaN: no such bound. `update_s`: a worse value is told at
    most so often. State: the condition, the worst value, its bound, and the excess last told.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "high": nan,
        "low": nan,
        "hold_s": 0.0,
        "hysteresis": 0.0,
        "clear_s": 0.0,
        "update_s": 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}已达{observed}，{beyond}{limit}，自{since}起持续{lasted}",
        "{what} reached {observed}, {beyond} {limit}, since {since} for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "worst": ("float64", 0.0),
        "bound": ("float64", 0.0),
        "told_excess": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    worst: Float64
    bound: Float64
    told_excess: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError without a bound, for a negative delay, or where nothing lies safely between the bounds."""
        demand("limit", params, hold_s=">=0", hysteresis=">=0", clear_s=">=0", update_s=">0")
        if isnan(params["high"]) and isnan(params["low"]):
            raise RuleError("detector limit: expected high or low, got neither; the rule is not used")
        if params["low"] + params["hysteresis"] > params["high"] - params["hysteresis"]:
            raise RuleError(
                f"detector limit: expected room for hysteresis {params['hysteresis']:g} between low {params['low']:g} "
                f"and high {params['high']:g}, got none; the rule is not used"
            )
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended."""
        device = rows_of(step.device)
        # A bound that is not set is NaN, and nothing lies beyond NaN.
        beyond = (step.value > self.params.of("high", device)) | (step.value < self.params.of("low", device))
        rows = self.active(device, beyond)
        if not len(rows):
            return []
        device, time_us, value = device[rows], step.time_us[rows], step.value[rows]
        high, low, margin = (self.params.of(name, device) for name in ("high", "low", "hysteresis"))
        excess = np.fmax(value - high, low - value)
        moves = self.follow(
            device,
            time_us,
            beyond=excess > 0,
            inside=~((value > high - margin) | (value < low + margin)),
        )
        worst = self._worst(device, value, excess, moves)
        worsened = moves.lasting & (worst > self.told_excess[device])
        worsened &= time_us - self.told_us[device] >= self.params.us("update_s", device)
        told = moves.rose | worsened
        self.told_excess[device[told]] = worst[told]
        self.told_us[device[told]] = time_us[told]
        return [
            *self._hits(Phase.RAISE, moves.rose.nonzero()[0], rows, device, time_us),
            *self._hits(Phase.UPDATE, worsened.nonzero()[0], rows, device, time_us),
            *self._hits(Phase.CLEAR, moves.fell.nonzero()[0], rows, device, time_us),
        ]

    def _worst(self, device: Int64, value: Float64, excess: Float64, moves: Moves) -> Float64:
        """Remember the worst value since the condition began; (m,) how far beyond it was."""
        known = np.where(moves.began, 0.0, np.abs(self.worst[device] - self.bound[device]))
        worse = excess > known
        beaten = device[worse]
        self.worst[beaten] = value[worse]
        high, low = self.params.of("high", beaten), self.params.of("low", beaten)
        self.bound[beaten] = np.where(value[worse] > high, high, low)
        return np.maximum(known, excess)

    def _hits(self, phase: Phase, which: Int64, rows: Int64, device: Int64, time_us: Int64) -> list[Hits]:
        who = device[which]
        return hits(
            phase,
            rows[which],
            onset_us=self.since_us[who],
            at_us=time_us[which],
            observed=self.worst[who],
            limit=self.bound[who],
        )


DETECTOR: Final[type[Detector]] = Limit
