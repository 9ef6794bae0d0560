"""A device that goes on reporting while nothing it measures can be right: sentinels, or impossible values, everywhere.

From: several quantities of one device, and whether what came of them is bad. To: hits without a value, as there is
none. One broken sensor is the rule `missing`; here they are all gone at once, which is the instrument, its supply or
its wiring, and one finding instead of one for each. A device that reports nothing at all is silent: another rule.
Source: our judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look
from processors.condition import demand
from processors.detectors import Detector, Step


class Failed(Beside):
    """Raise when messages brought bad values and no good one for three reporting periods; clear at the next good one.

    Reads any quantity, beside: up to four others. `hold_s`: longer than three reporting periods, if set. Clears after
    `clear_s`. State: the condition, the latest values. Needs nothing of the past.
    """

    BAD: ClassVar[bool] = True
    READS = 4
    PARAMS: ClassVar[Mapping[str, float]] = {"hold_s": 0.0, "clear_s": 0.0}
    BECAUSE: ClassVar[Text] = Text(
        "设备仍在上报，但自{since}起全部测量值无效，已{lasted}，疑似传感器或供电故障",
        "messages come, but nothing in them can be right since {since}, for {lasted}: sensors or supply broken?",
    )

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("failed", params, hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def hold_us(self, device: Int64) -> Int64:
        """(m,) us: three reporting periods at least, so that single bad messages are nothing."""
        return np.maximum(self._gap_us[device], self.params.us("hold_s", device))

    def read(self, device: Int64, step: Step, values: Float64) -> Look:
        """Whether this message brought anything good."""
        good: Bool = (self.latest_us[device] == step.time_us[:, np.newaxis]).any(axis=1)
        bad = step.bad.any(axis=1) if step.bad.shape[1] else np.zeros(len(device), dtype=np.bool_)
        return Look(bad & ~good, good, values[:, 0])


DETECTOR: Final[type[Detector]] = Failed
