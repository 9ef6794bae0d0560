"""Power that does not fit flow times temperature difference.

From: the power, beside it flow, supply and return. To: hits whose observed value is the mean power of the window,
expected what flow and temperatures give. Water carries k kWh per m3 and K, its density times its specific heat: 1.160
at 20 C, 1.132 at 80 C, here by the line through the tables of saturated water (IAPWS), within 0.2 percent, at the
return, where most meters have their flow sensor. A heat meter of class 2 may be off by about 5 percent in all (EN
1434-1, calculator, sensor pair and flow sensor together); readings of one instant leave more, so the limit is wider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look
from processors.condition import UNSET, demand
from processors.detectors import Detector

_K_0: Final = 1.1697  # kWh/m3K at 0 C, and its fall per kelvin
_K_PER_C: Final = 0.00047


class HeatBalance(Beside):
    """Raise when the window's power differs from flow, temperatures and water by a share of more than `limit`.

    Reads POWER, beside: flow, supply, return. Readings count with a flow above `least_flow` and a difference above
    `least_k`, that came together. `window_h`: hours with heat that the means remember; after `ready_h` of them it
    says something, beyond for `hold_s`; it clears within 0.8 of the limit for `clear_s`. `glycol`: a factor for
    what is not water. State: the condition, the latest values, the means.
    """

    READS = 3
    PARAMS: ClassVar[Mapping[str, float]] = {
        "limit": 0.1,
        "least_flow": 0.1,
        "least_k": 3.0,
        "window_h": 8.0,
        "ready_h": 6.0,
        "glycol": 1.0,
        "hold_s": 4 * 3600.0,
        "clear_s": 4 * 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}{observed}，按流量和温差应为{expected}，偏差超过计量等级，已{lasted}",
        "{what} is {observed}, flow and temperatures give {expected}: more apart than the meter's class, for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Beside.COLUMNS,
        "said": ("float64", 0.0),
        "made": ("float64", 0.0),
        "seen_h": ("float64", 0.0),
        "seen_us": ("int64", UNSET),
    }
    STATE = tuple(COLUMNS)
    said: Float64
    made: Float64
    seen_h: Float64
    seen_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("heat_balance", params, limit=">0", least_flow=">=0", least_k=">0", window_h=">0", glycol=">0")
        demand("heat_balance", params, ready_h=">=0", hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: a night without heat changes nothing."""
        return np.maximum(super().patience(device, least_us), 36 * 3_600_000_000)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back."""
        super().forget(device)
        self.seen_us[device] = UNSET

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:
        """Add to the window; compare its means."""
        power, flow, supply, back = values.T
        made = flow * (supply - back) * (_K_0 - _K_PER_C * back) * self.params.of("glycol", device)
        counts = (flow > self.params.of("least_flow", device)) & (
            supply - back > self.params.of("least_k", device)
        )
        counts &= np.isfinite(power) & (self.latest_us[device].min(axis=1) == time_us)
        counts &= power > 0
        elapsed = time_us - self.seen_us[device]
        hours = np.where(counts, np.clip(elapsed, 0, self._gap_us[device]) / 3.6e9, 0.0)
        share = hours / (self.params.of("window_h", device) + hours)
        seen = self.seen_h[device]
        share = np.where(counts & (seen == 0.0), 1.0, share)
        said = self.said[device] + share * np.where(counts, power - self.said[device], 0.0)
        made = self.made[device] + share * np.where(counts, made - self.made[device], 0.0)
        seen = np.minimum(seen + np.where(counts, np.maximum(hours, 1e-6), 0.0), 1e6)
        self.said[device], self.made[device], self.seen_h[device] = said, made, seen
        self.seen_us[device] = np.where(counts, time_us, self.seen_us[device])
        apart = np.abs(said - made)
        limit = self.params.of("limit", device) * made
        ready = counts & (seen >= self.params.of("ready_h", device))
        return Look(ready & (apart > limit), ready & (apart < 0.8 * limit), said, made, made + limit)


DETECTOR: Final[type[Detector]] = HeatBalance
