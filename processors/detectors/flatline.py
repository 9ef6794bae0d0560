"""A value that no longer moves.

From: one quantity's values in event-time order. To: hits whose onset is the first of the equal values. A healthy
instrument repeats itself only within its measuring cycle, so `hold_s` must be several of those. Source: the
flat-line test of QARTOD, as an alarm rather than a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import IDLE, RAISED, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase


class Flatline(Condition):
    """Raise when the value stayed within `tolerance` of one value for `hold_s`; clear at the first change.

    Units: `tolerance` in the quantity's unit. State: the value, since when, and whether it was raised.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"hold_s": nan, "tolerance": 0.0}
    BECAUSE: ClassVar[Text] = Text(
        "{what}自{since}起停在{observed}不变，已{lasted}",
        "{what} has stood at {observed} since {since}, for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        "phase": ("uint8", IDLE),
        "since_us": ("int64", UNSET),
        "moved_us": ("int64", UNSET),
        "level": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    level: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("flatline", params, hold_s=">0", tolerance=">=0")
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        flat_us = self.params.us("hold_s", device)
        level, since, raised = self.level[device], self.since_us[device], self.phase[device] == RAISED
        gap = time_us - self.moved_us[device] > self.patience(device, flat_us)
        moved = np.abs(value - level) > self.params.of("tolerance", device)
        fell = np.flatnonzero(raised & moved)
        cleared = self._hits(Phase.CLEAR, fell, step, level[fell])
        anew = moved | ((gap | (since == UNSET)) & ~raised)
        since = np.where(anew, time_us, since)
        rose = np.flatnonzero(~raised & (time_us - since >= flat_us))
        self.since_us[device], self.moved_us[device] = since, time_us
        self.level[device] = np.where(anew, value, level)
        self.phase[device[fell]], self.phase[device[rose]] = IDLE, RAISED
        return [*self._hits(Phase.RAISE, rose, step, nan), *cleared]

    def _hits(self, phase: Phase, row: Int64, step: Step, expected: Float64 | float) -> list[Hits]:
        return hits(
            phase,
            row,
            onset_us=self.since_us[step.device[row]],
            at_us=step.time_us[row],
            observed=step.value[row],
            expected=expected,
            limit=nan,  # the tolerance is a width, not a level
        )

    def forget(self, device: Int64) -> None:
        """The clock was set back: time the level anew; what is raised stays until the value moves."""
        self.since_us[device[self.phase[device] != RAISED]] = UNSET
        self.moved_us[device] = UNSET


DETECTOR: Final[type[Detector]] = Flatline
