"""A return that comes back warmer than supply and load explain.

From: the return temperature, beside it supply, power and flow. To: hits whose expected value is the circuit's own
course and whose observed value is the return smoothed over the time with heat. A raised return at the same supply and
load means that heat is not taken out: a bypass, a valve that does not close, a fouled exchanger, a short circuit. A
cold day raises supply, load and return together and is no fault. Source: the return as the key figure of substation
faults, Gadd and Werner 2015, Applied Energy 157:51-59; the course as in `processors.return_course`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.detectors import Detector
from processors.return_watch import ReturnWatch


class RaisedReturn(ReturnWatch):
    """Raise when the return, smoothed, is more than `limit` K above what supply, load and hour explain.

    Reads RETURN, beside: supply, power, flow; without power and flow, hours with a warm supply count.
    `unrest`: the limit is at least so many times the usual size of that excess. `least_load`, `least_supply`: heat
    flows above these, in kW (or m3/h without a power) and degrees. `smooth_h`: hours with heat that the mean
    remembers. `learn_h`: readings before anything is said. `memory`: days that the course remembers. `hold_s`,
    `clear_s`: how long beyond, and below half the limit. `accept_s`: a fault that outlasts it becomes usual. State:
    the condition, the latest values, the course, the smoothed excess and its usual size.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {**ReturnWatch.COMMON, "limit": 3.0}
    BECAUSE: ClassVar[Text] = Text(
        "{what}{observed}，按供水温度和负荷应为{expected}，已持续{lasted}",
        "{what} is {observed}; supply and load explain {expected}; for {lasted}",
    )

    def relative(self, device: Int64, supply: Float64, expected: Float64) -> Float64 | float:  # noqa: ARG002
        """Kelvins as they are."""
        return 1.0


DETECTOR: Final[type[Detector]] = RaisedReturn
