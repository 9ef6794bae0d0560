"""A machine that runs when nobody should be there.

From: one quantity's values, a current mostly, in event-time order. To: hits with the value seen outside the hours.
Hours are the city's, Beijing time all year. Source: common practice of building operation; the hours are the owner's
to state.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.condition import Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.errors import RuleError
from processors.findings import Phase
from processors.local_time import DAY_US, LOCAL_US

_HOURS: Final = ("from_1", "to_1", "from_2", "to_2")


class OffHours(Condition):
    """Raise when the value was at least `running` for `hold_s` outside the opening hours; clear when not for `clear_s`.

    Units: `running` in the quantity's unit. `from_1`, `to_1`, `from_2`, `to_2`: local hours of two sessions a day,
    13.5 for half past one; one that ends at or before its begin goes over midnight, one with both alike does not
    exist. `tolerance_h`: hours before and after each that count as open. State: the condition.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "running": nan,
        "from_1": 10.5,
        "to_1": 13.5,
        "from_2": 16.5,
        "to_2": 20.5,
        "tolerance_h": 1.0,
        "hold_s": 0.0,
        "clear_s": 0.0,
    }
    STATE = tuple(Condition.COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "营业时间外仍在运行：{what}{observed}，已持续{lasted}",
        "Runs outside opening hours: {what} {observed}, for {lasted}",
    )

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("off_hours", params, running=">0", tolerance_h=">=0", hold_s=">=0", clear_s=">=0")
        for name in _HOURS:
            if not 0 <= params[name] <= 24:
                raise RuleError(
                    f"detector off_hours: expected {name} of 0 to 24, got {params[name]:g}; the rule is not used"
                )
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device = rows_of(step.device)
        runs = step.value >= self.params.of("running", device)
        rows = self.active(device, runs)
        if not len(rows):
            return []
        device, time_us, value = device[rows], step.time_us[rows], step.value[rows]
        beyond = runs[rows] & ~self._open(device, time_us)
        moves = self.follow(device, time_us, beyond=beyond, inside=~beyond)
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            found += hits(
                phase,
                rows[which],
                onset_us=self.since_us[device[which]],
                at_us=time_us[which],
                observed=value[which],
                limit=self.params.of("running", device[which]),
            )
        return found

    def _open(self, device: Int64, time_us: Int64) -> Bool:
        """(m,) whether somebody may be at work."""
        hour = ((time_us + LOCAL_US) % DAY_US) / 3.6e9
        more = self.params.of("tolerance_h", device)
        inside = np.zeros(len(device), dtype=np.bool_)
        for begin, end in (("from_1", "to_1"), ("from_2", "to_2")):
            start, stop = self.params.of(begin, device), self.params.of(end, device)
            length = _wrapped(np.asarray(stop - start, dtype=np.float64))
            since = _wrapped(hour - start + more)
            inside |= (length > 0) & (since < length + 2 * more)
        return inside


def _wrapped(hours: Float64) -> Float64:
    """`hours` from -48 to 48 as 0 to before 24."""
    for day in (24.0, 24.0):
        hours = np.where(hours < 0, hours + day, hours)
    for day in (24.0, 24.0):
        hours = np.where(hours >= day, hours - day, hours)
    return hours


DETECTOR: Final[type[Detector]] = OffHours
