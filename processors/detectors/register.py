"""An energy register that does not count what the meter measures: stuck, wrong, or running backwards.

From: the register, beside it power, flow, supply and return. To: hits whose observed value is the register's rise over
the window and whose expected value is the heat that flowed, by power, else by flow and temperatures. A new meter
begins at another number: a fall raises at once, and the window begins anew. Source: physics; water as in
`processors.detectors.heat_balance`.
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

_K_0: Final = 1.1697  # kWh/m3K, see heat_balance
_K_PER_C: Final = 0.00047
_HOUR_US: Final = 3_600_000_000


class Register(Beside):
    """Raise when, over at least `window_h` and a heat of `least` units, the rise is off by more than a share `limit`.

    Reads ENERGY, beside: power, flow, supply, return. `kwh`: kWh in a unit of the register. `least` is some ten
    steps of the register, so that its resolution does not matter. The window begins anew when it was judged. A rise
    is not compared across gaps. `fall`: units by which it may jitter back. `hold_s`, `clear_s` count from the first
    window that is off, or right. State: the condition, the latest values, the window's begin and the heat since.
    """

    READS = 4
    PARAMS: ClassVar[Mapping[str, float]] = {
        "limit": 0.5,
        "kwh": 1000.0,
        "least": 1.0,
        "window_h": 12.0,
        "fall": 0.05,
        "hold_s": 0.0,
        "clear_s": 0.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}读数变化{observed}，而同期实际热量为{expected}，自{since}起",
        "{what} moved by {observed} while {expected} of heat flowed, since {since}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Beside.COLUMNS,
        "first": ("float64", 0.0),
        "first_us": ("int64", UNSET),
        "last": ("float64", 0.0),
        "last_us": ("int64", UNSET),
        "heat": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    first: Float64
    first_us: Int64
    last: Float64
    last_us: Int64
    heat: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("register", params, limit=">0", kwh=">0", least=">0", window_h=">0", fall=">=0")
        demand("register", params, hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: a window is judged at its end only."""
        return np.maximum(super().patience(device, least_us), 400 * _HOUR_US)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back: the window begins anew."""
        super().forget(device)
        self.first_us[device] = UNSET
        self.last_us[device] = UNSET

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:
        """Add the heat since the last reading; judge the window when there is enough of it."""
        energy, power, flow, supply, back = values.T
        fresh = self.latest_us[device, 0] == time_us
        by_flow = flow * (supply - back) * (_K_0 - _K_PER_C * back)
        rate = np.where(np.isfinite(power), power, by_flow)
        elapsed = time_us - self.last_us[device]
        known = fresh & (self.first_us[device] != UNSET) & (elapsed >= 0) & (elapsed <= self._gap_us[device])
        known &= np.isfinite(rate)
        added = np.where(known, np.maximum(rate, 0.0) * (elapsed / _HOUR_US) / self.params.of("kwh", device), 0.0)
        heat = self.heat[device] + added
        fell = fresh & (self.first_us[device] != UNSET)
        fell &= energy < self.last[device] - self.params.of("fall", device)
        risen = np.where(fell, energy - self.last[device], energy - self.first[device])
        long = (time_us - self.first_us[device]) / _HOUR_US >= self.params.of("window_h", device)
        full = known & long & (heat >= self.params.of("least", device))
        off = np.abs(risen - heat) > self.params.of("limit", device) * heat
        anew = fresh & (~known | full | fell | (heat == 0.0))  # a window begins with heat
        self.first[device] = np.where(anew, energy, self.first[device])
        self.first_us[device] = np.where(anew, time_us, self.first_us[device])
        self.heat[device] = np.where(anew, 0.0, heat)
        self.last[device] = np.where(fresh, energy, self.last[device])
        self.last_us[device] = np.where(fresh, time_us, self.last_us[device])
        return Look(fell | (full & off), full & ~off & ~fell, risen, heat, heat)


DETECTOR: Final[type[Detector]] = Register
