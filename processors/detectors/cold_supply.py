"""A supply that is cold while heat is drawn: the source or the network fails.

From: the supply temperature, beside it power, flow and return. To: hits with the supply as observed. Without flow a
pipe cools down, at night and in summer, and that is no fault; where neither power nor flow is known nothing is said.
Source: physics; the limit is the operator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look, heating
from processors.condition import demand
from processors.detectors import Detector


class ColdSupply(Beside):
    """Raise when the supply stays below `low` for `hold_s` with heat; clear `hysteresis` above it, for `clear_s`.

    Reads SUPPLY, beside: power, flow. Heat flows at a power above `least_load` in kW, or a flow above `least_flow`.
    """

    READS = 2
    PARAMS: ClassVar[Mapping[str, float]] = {
        "low": 40.0,
        "hysteresis": 2.0,
        "least_load": 1.0,
        "least_flow": 0.1,
        "hold_s": 3 * 3600.0,
        "clear_s": 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "用热期间{what}仅{observed}，低于{limit}，已{lasted}",
        "{what} is only {observed}, below {limit}, while heat is drawn, for {lasted}",
    )

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("cold_supply", params, hysteresis=">=0", hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:  # noqa: ARG002
        """The supply against its limit, while heat flows."""
        supply, power, flow = values.T
        flows = heating(power, self.params.of("least_load", device)) | heating(
            flow, self.params.of("least_flow", device)
        )
        low = self.params.of("low", device)
        inside = supply > low + self.params.of("hysteresis", device)
        return Look((supply < low) & flows, inside, supply, limit=low + np.zeros(len(device)))


DETECTOR: Final[type[Detector]] = ColdSupply
