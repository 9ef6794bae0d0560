"""A sudden change that stays.

From: one quantity's values in event-time order. To: hits with the level before as expected and the level now as
observed. The level now is the median of the last three values, so that one spike is nothing; the level before is
an exponential mean of those medians that stands still while the level is away from it. Drift slower than `change`
per `window_s` is followed. Sources: Tukey 1977, running medians of three; Roberts 1959, exponential means.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64, UInt8
from devices.spec import Text
from processors.condition import IDLE, RAISED, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase

_FULL = 3  # values that make the first level


class StepChange(Condition):
    """Raise when the level moved by more than `change` and stayed there for `hold_s`.

    Units: `change` in the quantity's unit. `direction`: +1 up, -1 down, 0 both. `window_s`: time constant of the level
    before. Clears when the level was back within half of `change` for `clear_s`, or after `accept_s`: the new level is
    then normal. State: the level before, the last two values, how many values there were (up to 3).
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "change": nan,
        "direction": 0.0,
        "window_s": 3600.0,
        "hold_s": 0.0,
        "clear_s": 0.0,
        "accept_s": 86400.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"direction"})
    BECAUSE: ClassVar[Text] = Text(
        "{what}从{expected}突变到{observed}并保持，超过允许变化（界限{limit}）",
        "{what} went from {expected} to {observed} at once and stayed there, beyond {limit}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "before": ("float64", 0.0),
        "last": ("float64", 0.0),
        "older": ("float64", 0.0),
        "count": ("uint8", 0),
        "seen_us": ("int64", UNSET),
        "bound": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    before: Float64
    last: Float64
    older: Float64
    count: UInt8
    seen_us: Int64
    bound: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("step", params, change=">0", direction="direction", window_s=">0")
        demand("step", params, hold_s=">=0", clear_s=">=0", accept_s=">0")
        super().__init__(params)
        self._direction = params["direction"]

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        last, older, seen = self.last[device], self.older[device], self.seen_us[device]
        phase, elapsed = self.phase[device], time_us - seen
        change, window_us = self.params.of("change", device), self.params.us("window_s", device)
        patience = self.patience(device, window_us)
        # What changed during a long gap did not change suddenly.
        count = np.where((elapsed > patience) & (phase != RAISED), 0, self.count[device])
        level = np.maximum(np.minimum(last, value), np.minimum(np.maximum(last, value), older))  # median of three
        before = np.where(count < _FULL, level, self.before[device])
        moved = self._away(level - before)
        beyond = moved > change
        follows = ~beyond & (phase == IDLE)
        passed = np.minimum(np.maximum(elapsed, 0), patience)
        self.before[device] = before + np.where(follows, (level - before) * (passed / (passed + window_us)), 0.0)
        self.last[device], self.older[device], self.seen_us[device] = value, last, time_us
        self.count[device] = np.minimum(count + 1, _FULL)
        rows = self.active(device, beyond)
        if not len(rows):
            return []
        # The median is a value late: the value before this one may have been the first beyond.
        onset = np.where(self._away(last - before) > change, np.minimum(seen, time_us), time_us)[rows]
        return self._state(step, rows, level[rows], before[rows], moved[rows], onset)

    def _away(self, moved: Float64) -> Float64:
        return moved * self._direction if self._direction else np.abs(moved)

    def _sized(self, sign: Float64, device: Int64) -> Float64:
        return sign * self.params.of("change", device)

    def _state(
        self, step: Step, rows: Int64, level: Float64, before: Float64, moved: Float64, onset: Int64
    ) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        change = self.params.of("change", device)
        moves = self.follow(device, time_us, beyond=moved > change, inside=moved <= change / 2, onset_us=onset)
        rose = moves.rose
        self.bound[device[rose]] = before[rose] + self._sized(np.sign(level[rose] - before[rose]), device[rose])
        old = moves.lasting & (time_us - self.told_us[device] >= self.params.us("accept_s", device))
        self.end(device[old])
        self.count[device[old]] = 0
        found = []
        for phase, which in ((Phase.RAISE, rose.nonzero()[0]), (Phase.CLEAR, (moves.fell | old).nonzero()[0])):
            who = device[which]
            found += hits(
                phase,
                rows[which],
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=level[which],
                expected=before[which],
                limit=self.bound[who],
            )
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: learn the level before anew, except where it is needed to see the end."""
        super().forget(device)
        self.seen_us[device] = UNSET
        self.count[device[self.phase[device] != RAISED]] = 0


DETECTOR: Final[type[Detector]] = StepChange
