"""A temperature difference that shrinks over days while heat flows.

From: the return temperature, beside it supply, power and flow. To: hits whose observed value is the return smoothed
over days, expected the circuit's own long course, limit the return at which the difference has lost the share `limit`.
Fouling, and flow that is set too high, take weeks; the course remembers longer than that. A difference that is small
on mild days is usual and no fault. Source: low-dT faults of substations, Gadd and Werner 2014, Applied Energy
134:176-185; the course as in `processors.return_course`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.detectors import Detector
from processors.return_watch import ReturnWatch

_LEAST_K: Final = 4.0  # a smaller difference is within what two sensors leave open


class LowDt(ReturnWatch):
    """Raise when supply and return, smoothed, lost a share `limit` of the difference that is usual at this load.

    Reads RETURN, beside: supply, power, flow; without power and flow, hours with a warm supply count.
    `unrest`: the limit is at least so many times the usual size of that excess. `least_load`, `least_supply`: heat
    flows above these, in kW (or m3/h without a power) and degrees. `smooth_h`: hours with heat that the mean
    remembers. `learn_h`: readings before anything is said. `memory`: days that the course remembers. `hold_s`,
    `clear_s`: how long beyond, and below half the limit. `accept_s`: a fault that outlasts it becomes usual. State:
    the condition, the latest values, the course, the smoothed excess and its usual size.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        **ReturnWatch.COMMON,
        "limit": 0.15,
        "smooth_h": 40.0,
        "memory": 60.0,
        "accept_s": 42 * 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "供回水温差持续偏小：{what}{observed}，按以往应为{expected}，已{lasted}",
        "supply and return have drawn together: {what} is {observed}, by its own past {expected}, for {lasted}",
    )

    def relative(self, device: Int64, supply: Float64, expected: Float64) -> Float64 | float:  # noqa: ARG002
        """The difference to be expected."""
        return np.maximum(supply - expected, _LEAST_K)


DETECTOR: Final[type[Detector]] = LowDt
