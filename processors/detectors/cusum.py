"""A small change of the mean that lasts.

From: one quantity's values in event-time order. To: hits whose expected value is the level learned before the change
and whose limit is that level plus the slack. It adds up how far values lie beyond the limit: a lasting shift adds up
quickly, noise cancels out. Sources: Page 1954, Continuous inspection schemes, Biometrika 41:100-115; one value counts
at most half the limit, in the spirit of Lucas and Crosier 1982, Robust CUSUM.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Bool, Float64, Int32, Int64
from devices.spec import Text
from processors.condition import RAISED, UNSET, Condition, Moves, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase


class Cusum(Condition):
    """Raise when deviations beyond `slack` add up to more than `limit`; onset is where the sum left zero.

    Units: `slack` in the quantity's unit, `limit` in that unit summed over readings. `direction`: +1 up, -1 down, 0
    both. `learn`: readings that make the first level. `forget_s`: time constant with which the level follows while
    nothing is suspected. Clears after the sum was back under half the limit for `clear_s`, or when the
    condition lasted `accept_s`: the new level is then learned. State: level, count, and a sum per direction.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "direction": 0.0,
        "slack": nan,
        "limit": nan,
        "learn": 30.0,
        "forget_s": 86400.0,
        "clear_s": 0.0,
        "accept_s": 86400.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"direction", "learn"})
    BECAUSE: ClassVar[Text] = Text(
        "{what}自{since}起持续偏离惯常的{expected}，现为{observed}",
        "{what} has kept away from its usual {expected} since {since}; it is {observed} now",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "level": ("float64", 0.0),
        "count": ("int32", 0),
        "seen_us": ("int64", UNSET),
        "total": ("float64", 0.0),
        "left_us": ("int64", UNSET),
        "bound": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    level: Float64
    count: Int32
    seen_us: Int64
    total: Float64
    left_us: Int64
    bound: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("cusum", params, direction="direction", slack=">=0", limit=">0", learn=">0", forget_s=">0")
        demand("cusum", params, clear_s=">=0", accept_s=">0")
        direction = params["direction"]
        self._signs = np.array([direction] if direction else [1.0, -1.0])
        self._learn = int(params["learn"])
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """A sum, and when it left zero, for each direction watched."""
        return (len(self._signs),) if name in {"total", "left_us"} else ()

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        patience, elapsed = self.patience(device, 0), time_us - self.seen_us[device]
        level, count = self.level[device], self.count[device]
        away, learning = value - level, count < self._learn
        raised = self.phase[device] == RAISED
        limit, forget_us = self.params.of("limit", device), self.params.us("forget_s", device)
        total, left = self._sums(device, time_us, away, learning, gap=(elapsed > patience) & ~raised)
        peak = total.max(axis=1)
        quiet = (peak < limit / 2) & ~raised
        # Across a gap the level moves no further than it would have between readings.
        passed = np.minimum(np.maximum(elapsed, 0), patience)
        share = np.where(learning, 1.0 / (count + 1), np.where(quiet, passed / (passed + forget_us), 0.0))
        self.level[device] = level + away * share
        self.count[device] = np.minimum(count + 1, self._learn)
        self.seen_us[device] = time_us
        rows = self.active(device, peak > limit)
        return self._state(step, rows, device[rows], level[rows], total[rows], left[rows]) if len(rows) else []

    def _sums(
        self, device: Int64, time_us: Int64, away: Float64, learning: Bool, *, gap: Bool
    ) -> tuple[Float64, Int64]:
        """Page's sums after this value and when each left zero, (n, directions); anew after a `gap`."""
        before = self.total[device]
        before[gap] = 0.0
        slack, limit = _column(self.params.of("slack", device)), _column(self.params.of("limit", device))
        push = np.minimum(away[:, np.newaxis] * self._signs - slack, limit / 2)
        push[learning] = 0.0
        total = np.maximum(before + push, 0.0)
        left = np.where(before > 0, self.left_us[device], time_us[:, np.newaxis])
        # Never far beyond the limit: the way back to normal must not depend on how long it was not.
        self.total[device], self.left_us[device] = np.minimum(total, limit), left
        return total, left

    def _state(
        self, step: Step, rows: Int64, device: Int64, level: Float64, total: Float64, left: Int64
    ) -> list[Hits]:
        time_us, side, peak = step.time_us[rows], total.argmax(axis=1), total.max(axis=1)
        limit = self.params.of("limit", device)
        moves = self.follow(
            device,
            time_us,
            beyond=peak > limit,
            inside=peak <= limit / 2,
            onset_us=left[np.arange(len(rows)), side],
        )
        rose = moves.rose
        self.bound[device[rose]] = level[rose] + self._signs[side[rose]] * self.params.of("slack", device[rose])
        self.total[device[moves.fell]] = 0.0  # so that the next condition gets an onset of its own
        fell = moves.fell | self._accepted(device, time_us, moves)
        return [
            *self._hits(Phase.RAISE, rose.nonzero()[0], step, rows, level),
            *self._hits(Phase.CLEAR, fell.nonzero()[0], step, rows, level),
        ]

    def _accepted(self, device: Int64, time_us: Int64, moves: Moves) -> Bool:
        """Which new levels stayed so long that they are normal; these are learned from scratch."""
        old: Bool = moves.lasting & (time_us - self.told_us[device] >= self.params.us("accept_s", device))
        normal = device[old]
        self.end(normal)
        self.count[normal], self.total[normal], self.level[normal] = 0, 0.0, 0.0
        return old

    def _hits(self, phase: Phase, which: Int64, step: Step, rows: Int64, level: Float64) -> list[Hits]:
        row = rows[which]
        who = step.device[row]
        return hits(
            phase,
            row,
            onset_us=self.since_us[who],
            at_us=step.time_us[row],
            observed=step.value[row],
            expected=level[which],
            limit=self.bound[who],
        )

    def forget(self, device: Int64) -> None:
        """The clock was set back: the sums start anew unless raised; the level has no time in it and stays."""
        super().forget(device)
        self.seen_us[device] = UNSET
        self.total[device[self.phase[device] != RAISED]] = 0.0


def _column(value: Float64 | float) -> Float64 | float:
    """Beside a column per direction."""
    return value[:, np.newaxis] if isinstance(value, np.ndarray) else value


DETECTOR: Final[type[Detector]] = Cusum
