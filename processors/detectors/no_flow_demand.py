"""No flow at an hour when heat is usually drawn, with a supply as warm as on days that draw it.

From: the flow, beside it power, supply and return. To: hits with the flow as observed and the supply in `extra`. A
night setback stops the flow every night, a mild afternoon stops it at a supply that follows the weather down, and in
summer the supply is cold: none of these is a fault. What is usual at an hour, and how warm the supply is then, is
learned; until an hour is known, no flow counts when it lasted `alone_s`, longer than a night. Source: our judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look
from processors.condition import UNSET, demand
from processors.detectors import Detector
from processors.local_time import hour_of

_HOURS: Final = 24
_MANY: Final = 250
_LEAST: Final = 3  # visits of an hour before it is known
_COOLS_US: Final = 24 * 3_600_000_000  # so long what was before the stop counts
_COOLED: Final = 4.0  # times `colder`: a supply that fell further was turned off
_DAYS: Final = 10.0  # that what is usual remembers


class NoFlowDemand(Beside):
    """Raise when flow stays under `low` for `hold_s` while heat is wanted; clears when it flows again.

    Reads FLOW, beside: power, supply, return; without a flow, power under `low_power` says the same. Heat is wanted
    at hours when it flowed on a share `often` of the last days, at a supply at most `colder` K under what it
    usually is then. `hot`: at hours not learned yet, a supply of at least this counts as demand, once the flow was
    away for `alone_s`, longer than a night. Clears when it flowed for `clear_s`. State: the condition, the latest
    values, for each hour the share of days with flow, the supply with it, and visits.
    """

    READS = 3
    PARAMS: ClassVar[Mapping[str, float]] = {
        "low": 0.1,
        "low_power": 0.5,
        "often": 0.8,
        "colder": 5.0,
        "hot": 45.0,
        "hold_s": 7200.0,
        "alone_s": 10 * 3600.0,
        "clear_s": 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}仅{observed}，而供水温度正常、此时段通常用热，已{lasted}",
        "{what} is only {observed} while the supply is warm and heat is usually drawn at this hour, for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Beside.COLUMNS,
        "often": ("float32", 0.0),
        "warm": ("float32", 0.0),
        "visits": ("uint8", 0),
        "still_us": ("int64", UNSET),
        "before": ("float32", np.nan),
    }
    STATE = tuple(COLUMNS)
    often: NDArray[np.float32]
    warm: NDArray[np.float32]
    visits: NDArray[np.uint8]
    still_us: Int64
    before: NDArray[np.float32]  # (n,) K by which the supply was warmer than usual when heat last flowed

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("no_flow_demand", params, often=">0", colder=">=0", hold_s=">=0", alone_s=">0", clear_s=">=0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Each hour has its own habit."""
        return (_HOURS,) if name in {"often", "warm", "visits"} else super().width(name)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back."""
        super().forget(device)
        self.still_us[device] = UNSET

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:
        """Whether heat flows, and whether it is wanted."""
        flow, power, supply, _ = values.T
        load = np.where(np.isfinite(flow), flow, power)
        low = np.where(np.isfinite(flow), self.params.of("low", device), self.params.of("low_power", device))
        still, flows = load < low, load >= low
        since = self.still_us[device]
        since = np.where(still, np.where(since == UNSET, time_us, since), np.where(flows, UNSET, since))
        self.still_us[device] = since
        hour = hour_of(time_us)
        known = self.visits[device, hour] >= _LEAST
        colder, warmer = self.params.of("colder", device), supply - self.warm[device, hour]
        # A supply that cools down because nothing flows was warm when it stopped.
        cooling = (time_us - since < _COOLS_US) & (warmer >= -_COOLED * colder)
        warm = (warmer >= -colder) | ((self.before[device] >= -colder) & cooling)
        self.before[device] = np.where(flows & (self.visits[device, hour] > 0), warmer, self.before[device])
        wanted = known & warm & (self.often[device, hour] >= self.params.of("often", device))
        # A night is shorter than that; the hold time comes on top of it.
        lasted = time_us - since + self.params.us("hold_s", device) >= self.params.us("alone_s", device)
        wanted |= ~known & (supply >= self.params.of("hot", device)) & lasted
        self._learn(device, hour, still, flows, supply)
        return Look(still & wanted, flows, load, limit=low)

    def _learn(
        self, device: Int64, hour: Int64, still: NDArray[np.bool_], flows: NDArray[np.bool_], supply: Float64
    ) -> None:
        """One reading for what is usual at `hour`."""
        visits = self.visits[device, hour]
        share = np.maximum(1.0 / (visits + 1.0), 1.0 / _DAYS)
        told = still | flows
        often = self.often[device, hour].astype(np.float64)
        warm = self.warm[device, hour].astype(np.float64)
        first = flows & (often == 0.0)
        self.often[device, hour] = np.where(told, often + share * (flows - often), often)
        away = np.where(np.isfinite(supply), supply - warm, 0.0)
        self.warm[device, hour] = warm + np.where(flows, np.where(first, 1.0, share) * away, 0.0)
        self.visits[device, hour] = np.minimum(visits + told, _MANY)


DETECTOR: Final[type[Detector]] = NoFlowDemand
