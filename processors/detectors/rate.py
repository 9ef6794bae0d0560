"""A value that moves faster than it can.

From: one quantity's values in event-time order. To: hits with the value before as expected and the furthest believable
value as limit. One episode is one alert: a spike goes up and down and counts once. Source: the rate-of-change test of
QARTOD, as an alarm rather than a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase


class Rate(Condition):
    """Raise when the value changes by more than `per_s` a second; clear after `clear_s` of believable pace.

    Units: `per_s` in the quantity's unit per second. `direction`: +1 rises, -1 falls, 0 both. `least_s`: readings
    closer than this count as so far apart: without a clock of their own, those that waited for us arrive as one.
    State: the last value.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"per_s": nan, "direction": 0.0, "clear_s": 600.0, "least_s": 0.0}
    FIXED: ClassVar[frozenset[str]] = frozenset({"direction"})
    BECAUSE: ClassVar[Text] = Text(
        "{what}从{expected}变到{observed}，快于可信的变化（最多到{limit}）",
        "{what} went from {expected} to {observed}, faster than believable (at most to {limit})",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "last": ("float64", 0.0),
        "seen_us": ("int64", UNSET),
    }
    STATE = tuple(COLUMNS)
    last: Float64
    seen_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("rate", params, per_s=">0", direction="direction", clear_s=">=0", least_s=">=0")
        super().__init__(params)
        self._direction = params["direction"]

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        last, seen = self.last[device], self.seen_us[device]
        elapsed, change = time_us - seen, value - last
        pace = change * self._direction if self._direction else np.abs(change)
        allowed = np.maximum(elapsed / 1e6, self.params.of("least_s", device)) * self.params.of("per_s", device)
        beyond = (pace > allowed) & (elapsed > 0)
        self.last[device], self.seen_us[device] = value, time_us
        rows = self.active(device, beyond)
        if not len(rows):
            return []
        device, time_us = device[rows], time_us[rows]
        moves = self.follow(device, time_us, beyond=beyond[rows], inside=~beyond[rows])
        furthest = (last + np.sign(change) * allowed)[rows]
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            row = rows[which]
            found += hits(
                phase,
                row,
                onset_us=self.since_us[device[which]],
                at_us=time_us[which],
                observed=value[row],
                expected=last[row],
                limit=furthest[which],
                start_us=np.minimum(seen[row], time_us[which]),
            )
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: the last value says nothing about pace any more."""
        super().forget(device)
        self.seen_us[device] = UNSET


DETECTOR: Final[type[Detector]] = Rate
