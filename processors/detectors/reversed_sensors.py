"""A return that is warmer than the supply while heat flows: the two sensors are exchanged.

From: the return temperature, beside it supply, power and flow. To: hits with the return as observed, the supply as
expected. Without heat a circuit's return may well be the warmer one. Where neither power nor flow is known it must
last `alone_s`, longer than a night without heat. Source: physics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look, heating
from processors.condition import UNSET, demand
from processors.detectors import Detector


class ReversedSensors(Beside):
    """Raise when return is above supply by `more` K for `hold_s` with heat; clears when it is below for `clear_s`.

    Reads RETURN, beside: supply, power, flow. `least_load`: heat flows above it, in kW (or m3/h where power is not
    known). `alone_s`: so long without a word on heat. State: the condition, the latest values, since when the
    return is the warmer one.
    """

    READS = 3
    PARAMS: ClassVar[Mapping[str, float]] = {
        "more": 1.0,
        "least_load": 0.0,
        "hold_s": 4 * 3600.0,
        "clear_s": 2 * 3600.0,
        "alone_s": 14 * 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "有热量输出时{what}{observed}高于供水{expected}，已{lasted}，供回水传感器疑似接反",
        "{what} {observed} is above the supply's {expected} while heat flows, for {lasted}: sensors exchanged?",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {**Beside.COLUMNS, "warmer_us": ("int64", UNSET)}
    STATE = tuple(COLUMNS)
    warmer_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("reversed_sensors", params, more=">=0", hold_s=">=0", clear_s=">=0", alone_s=">0")
        super().__init__(params)

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: a night without heat changes nothing."""
        return np.maximum(super().patience(device, least_us), 36 * 3_600_000_000)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back."""
        super().forget(device)
        self.warmer_us[device] = UNSET

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:
        """The return against the supply, where heat flows."""
        back, supply, power, flow = values.T
        load = np.where(np.isfinite(power), power, flow)
        above = back > supply + self.params.of("more", device)
        since = self.warmer_us[device]
        since = np.where(above, np.where(since == UNSET, time_us, since), UNSET)
        self.warmer_us[device] = since
        long = ~np.isfinite(load) & (time_us - since >= self.params.us("alone_s", device))
        flows = heating(load, self.params.of("least_load", device))
        return Look(above & (flows | long), (back < supply) & (flows | ~np.isfinite(load)), back, supply)


DETECTOR: Final[type[Detector]] = ReversedSensors
