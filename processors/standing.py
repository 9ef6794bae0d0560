"""A value that stands still: the life of that condition, for rules that differ in how long it may stand.

From: one quantity's values in event-time order. To: `flatline`, for which that is a setting, and `cycle_stuck` and
`rest_stuck`, which learn it. Source: the flat-line test of QARTOD, as an alarm rather than a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar

import numpy as np

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.condition import IDLE, RAISED, UNSET, Condition, hits, rows_of
from processors.detectors import Hits, Step
from processors.findings import Phase


class Standing(Condition):
    """Raise when the value stayed within `tolerance` for as long as `longest_us` allows; clear at the first change.

    State: the value, since when, and whether it was raised. Onset is the first of the equal values.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        "phase": ("uint8", IDLE),
        "since_us": ("int64", UNSET),
        "moved_us": ("int64", UNSET),
        "level": ("float64", 0.0),
    }
    STATE: tuple[str, ...] = tuple(COLUMNS)
    level: Float64

    def longest_us(self, device: Int64) -> Int64 | int:
        """(m,) how long a value of `device` (m,) may stand."""
        return self.params.us("hold_s", device)

    def over(self, device: Int64, lasted_us: Int64, rows: Int64, fell: Int64) -> None:
        """Values moved after `lasted_us` (m,): at `rows` after a run without a gap, at `fell` it had been raised."""

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        longest_us = self.longest_us(device)
        level, since, raised = self.level[device], self.since_us[device], self.phase[device] == RAISED
        gap = time_us - self.moved_us[device] > self.patience(device, longest_us)
        moved = np.abs(value - level) > self.params.of("tolerance", device)
        cleared: list[Hits] = []
        if moved.any():
            fell = np.flatnonzero(raised & moved)
            cleared = self.told(Phase.CLEAR, fell, step, level[fell])
            self.over(device, time_us - since, np.flatnonzero(moved & ~gap & (since < time_us)), fell)
            self.phase[device[fell]] = IDLE
        anew = moved | ((gap | (since == UNSET)) & ~raised)
        since = np.where(anew, time_us, since)
        self.since_us[device], self.moved_us[device] = since, time_us
        self.level[device] = np.where(anew, value, level)
        rose = np.flatnonzero(~raised & (time_us - since >= longest_us))
        if not len(rose):
            return cleared
        self.phase[device[rose]] = RAISED
        return [*self.told(Phase.RAISE, rose, step, nan), *cleared]

    def told(self, phase: Phase, row: Int64, step: Step, expected: Float64 | float) -> list[Hits]:
        """Statements about `row` (m,) of the step."""
        return hits(
            phase,
            row,
            onset_us=self.since_us[step.device[row]],
            at_us=step.time_us[row],
            observed=step.value[row],
            expected=expected,
            limit=nan,  # the tolerance is a width, not a level
        )

    def told_as_known(
        self,
        phase: Phase,
        row: Int64,
        step: Step,
        expected: Float64 | float,
        *,
        known: Bool,
        learning: Text,
        facts: tuple[Mapping[str, Float64], Mapping[str, Float64]],
    ) -> list[Hits]:
        """As `told`, with the numbers of those that are `known` (m,) and, in the sentence `learning`, of the others.

        `facts`: (m,) numbers by name, for the ones and for the others.
        """
        expected = np.broadcast_to(np.asarray(expected), row.shape)
        found: list[Hits] = []
        for chosen, extra, because in ((known, facts[0], None), (~known, facts[1], learning)):
            which = chosen.nonzero()[0]
            for one in Standing.told(self, phase, row[which], step, expected[which]):
                one.extra = {name: numbers[which] for name, numbers in extra.items()}
                one.because = because
                found.append(one)
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: time the level anew; what is raised stays until the value moves."""
        self.since_us[device[self.phase[device] != RAISED]] = UNSET
        self.moved_us[device] = UNSET
