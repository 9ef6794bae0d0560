"""A high value that stands still: the instrument is at the end of its range, the truth is somewhere above.

From: one quantity's values in event-time order. To: hits with the value it stands at. Where that end lies differs
between makers and is not asked: smoke moves, a number that repeats up there does not. Source: the flat-line test of
QARTOD (IOOS).
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


class Clipped(Condition):
    """Raise when a value of at least `least` stayed within `tolerance` of itself for `hold_s`.

    Units: the quantity's. `tolerance`: what does not count as a change. Clears after `clear_s` of other values.
    State: the condition, the value that repeats and since when.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"least": nan, "tolerance": 0.0, "hold_s": nan, "clear_s": 0.0}
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "same": ("float64", 0.0),
        "same_us": ("int64", UNSET),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "{what}停在{observed}不变，已持续{lasted}，探头可能已到量程上限",
        "{what} stands still at {observed} for {lasted}: the probe is at the end of its range",
    )
    same: Float64
    same_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("clipped", params, least=">0", hold_s=">0", tolerance=">=0", clear_s=">=0")
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device = rows_of(step.device)
        rows = self.active(device, step.value >= self.params.of("least", device))
        if not len(rows):
            return []
        device, time_us, value = device[rows], step.time_us[rows], step.value[rows]
        high = value >= self.params.of("least", device)
        idle = self.phase[device] == 0
        repeats = np.abs(value - self.same[device]) <= self.params.of("tolerance", device)
        beyond = high & (repeats | idle)
        self.same[device] = np.where(repeats & ~idle, self.same[device], value)
        moves = self.follow(device, time_us, beyond=beyond, inside=~beyond)
        # Another high value may be the first of its kind.
        first = high & ~beyond & ~moves.lasting & ~moves.fell
        if first.any():
            self.follow(device[first], time_us[first], beyond=high[first], inside=~high[first])
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            found += hits(
                phase,
                rows[which],
                onset_us=self.since_us[device[which]],
                at_us=time_us[which],
                observed=value[which],
                limit=self.params.of("least", device[which]),
            )
        return found


DETECTOR: Final[type[Detector]] = Clipped
