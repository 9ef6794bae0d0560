"""A return temperature above a fixed limit, where it can be one: no return is warmer than its supply.

From: the return temperature, beside it the supply's. To: hits with the limit. What stands above the supply is the
supply's own water under the wrong name, which `reversed_sensors` says; calling it a warm return as well would send
somebody to the exchanger. Where the supply is not known the limit alone counts. Source: physics; the limit is the
operator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look
from processors.condition import demand
from processors.detectors import Detector


class WarmReturn(Beside):
    """Raise when the return stays above `high` and not above the supply for `hold_s`; clear `hysteresis` below it.

    Reads RETURN, beside: supply. Units: `high`, `hysteresis` in the quantity's. Clears after `clear_s`. State: the
    condition, the latest values.
    """

    READS = 1
    PARAMS: ClassVar[Mapping[str, float]] = {
        "high": nan,
        "hysteresis": 3.0,
        "hold_s": 4 * 3600.0,
        "clear_s": 2 * 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}达{observed}，高于{limit}，自{since}起已{lasted}",
        "{what} is {observed}, above {limit}, since {since} for {lasted}",
    )

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("warm_return", params, high=">0", hysteresis=">=0", hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:  # noqa: ARG002
        """The return against its limit, unless it is above the supply."""
        back, supply = values.T
        high = self.params.of("high", device) + np.zeros(len(device))
        inside = back < high - self.params.of("hysteresis", device)
        return Look((back > high) & ~(back > supply), inside, back, limit=high)


DETECTOR: Final[type[Detector]] = WarmReturn
