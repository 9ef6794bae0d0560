"""One quantity that a device no longer measures while its others go on: a broken sensor, a sentinel such as -39.9.

From: one quantity, beside it the others. What an instrument reports as no measurement, or what no instrument can
report, is marked bad before any rule sees it: here it is not there, and proves that it should be. To: hits whose
observed value is the last one that was good. A device that is silent altogether says nothing here: that is the rule
for silence; one that measures nothing at all is the rule `failed`. Source: our judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int32, Int64
from devices.spec import Text
from processors.beside import Beside, Look
from processors.condition import UNSET, demand
from processors.detectors import Detector, Step


class Missing(Beside):
    """Raise when the value was absent or bad while messages carry others; clears when back.

    Only a device that has shown the quantity `learn` times can miss it, or one that reports it now and it is bad. It
    counts as missing when it was away for more than three of the device's reporting periods, or `away_s` where that
    is longer; `hold_s` comes on top; clears after `clear_s`. State: the condition, the latest values, the last good
    value and its time, the last message's time.
    """

    BAD: ClassVar[bool] = True
    READS = 4
    PARAMS: ClassVar[Mapping[str, float]] = {"learn": 2.0, "away_s": 0.0, "hold_s": 0.0, "clear_s": 0.0}
    BECAUSE: ClassVar[Text] = Text(
        "{what}已无有效读数，其他读数正常，最后有效值{observed}，疑似传感器故障",
        "{what} is no longer measured while other readings come; last good value {observed}: sensor broken?",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Beside.COLUMNS,
        "good": ("float64", np.nan),
        "good_us": ("int64", UNSET),
        "heard_us": ("int64", UNSET),
        "count": ("int32", 0),
    }
    STATE = tuple(COLUMNS)
    good: Float64
    good_us: Int64
    heard_us: Int64
    count: Int32

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("missing", params, learn=">0", away_s=">=0", hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back: a value that is due is timed anew."""
        super().forget(device)
        self.good_us[device] = UNSET
        self.heard_us[device] = UNSET

    def read(self, device: Int64, step: Step, values: Float64) -> Look:
        """Whether the value came with this message, and how long ago it last did."""
        time_us = step.time_us
        here = self.latest_us[device, 0] == time_us
        since = self.good_us[device]
        # After a silence of everything, the value has as long again to come.
        apart = time_us - self.heard_us[device] > self._gap_us[device]
        since = np.where(here | apart | (since == UNSET), time_us, since)
        self.heard_us[device] = time_us
        silent = ~(self.latest_us[device, 1:] == time_us[:, np.newaxis]).any(axis=1)  # nothing good came with it
        away = np.maximum(self._gap_us[device], self.params.us("away_s", device))
        known = self.count[device] >= self.params.of("learn", device)
        if step.bad.shape[1]:
            known |= step.bad[:, 0]
        gone = known & ~here & ~silent & (time_us - since >= away)
        self.good[device] = np.where(here, values[:, 0], self.good[device])
        self.good_us[device] = since
        self.count[device] = np.minimum(self.count[device] + here, 1_000_000)
        return Look(gone, here, self.good[device])


DETECTOR: Final[type[Detector]] = Missing
