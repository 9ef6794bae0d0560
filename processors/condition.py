"""The life of a condition, for many devices at once: it begins, holds, is raised, worsens, ends, is cleared.

From: detectors, which say per value whether it is beyond or safely back. To: hits. One place for hold time, hysteresis
and clear delay, so that every detector means the same by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from devices.readings import Bool, Float64, Int64
from processors.detectors import Hits, Step
from processors.findings import Phase

NONE: int = np.iinfo(np.int64).min


def microseconds(seconds: float) -> int:
    """`seconds` as whole microseconds."""
    return int(seconds * 1e6)


class Condition:
    """State of one rule's condition over n devices; detectors inherit it.

    `since_us`: (n,) event time at which the present excursion began, NONE while inside. `onset_us`: (n,) of the raised
    condition. `active`: (n,). `back_us`: (n,) since when safely back, NONE while not. `worst`, `excess`: (n,)
    worst value and how far it was beyond. `told_us`: (n,) last raise or update. `seen_us`: (n,) last value.
    """

    STATE: tuple[str, ...] = (
        "since_us",
        "onset_us",
        "active",
        "back_us",
        "worst",
        "excess",
        "told_us",
        "seen_us",
    )
    FILL: ClassVar[Mapping[str, tuple[str, float]]] = {
        "since_us": ("int64", NONE),
        "onset_us": ("int64", NONE),
        "active": ("bool", 0),
        "back_us": ("int64", NONE),
        "worst": ("float64", np.nan),
        "excess": ("float64", 0.0),
        "told_us": ("int64", NONE),
        "seen_us": ("int64", NONE),
    }
    since_us: Int64
    onset_us: Int64
    active: Bool
    back_us: Int64
    worst: Float64
    excess: Float64
    told_us: Int64
    seen_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        self._hold_us = microseconds(params.get("hold_s", 0.0))
        self._clear_us = microseconds(params.get("clear_s", 0.0))
        self._update_us = microseconds(params.get("update_s", 3600.0))
        self._cadence_us = np.empty(0, dtype=np.int64)
        for name in self.STATE:
            setattr(self, name, np.empty(0, dtype=self.FILL[name][0]))

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:  # noqa: ARG002
        """Make room for `len(cadence_s)` devices; the state of those already known stays."""
        self._cadence_us = (cadence_s * 1e6).astype(np.int64)
        for name in self.STATE:
            dtype, fill = self.FILL[name]
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.full(len(cadence_s) - len(old), fill, dtype=dtype)]))

    def deadlines(self) -> Int64 | None:
        """Values alone move a condition."""
        return None

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:  # noqa: ARG002
        """No deadlines, nothing to say."""
        return []

    def forget(self, device: Int64) -> None:
        """The clock was set back: whatever was being timed starts anew; what is raised stays raised."""
        self.since_us[device] = NONE
        self.back_us[device] = NONE
        self.seen_us[device] = NONE
        raised = device[self.active[device]]
        self.told_us[raised] = NONE

    def follow(
        self,
        step: Step,
        *,
        beyond: Bool,
        back: Bool,
        excess: Float64,
        expected: Float64,
        limit: Float64,
        begun_us: Int64 | None = None,
    ) -> list[Hits]:
        """Take one value per device: `beyond` the limit, safely `back`, or in between; all (n,).

        `excess` orders values by badness. `begun_us`: when the excursion began, where the detector knows better than
        the first value beyond.
        """
        device, time_us = step.device, step.time_us
        seen = self.seen_us[device]
        self.seen_us[device] = time_us
        active = self.active[device]
        if not (beyond.any() or active.any() or (self.since_us[device] != NONE).any()):
            return []
        # Across a gap in the data nothing is known to have held.
        longest = np.maximum(self._hold_us, 3 * self._cadence_us[device])
        gap = (seen != NONE) & (time_us - np.where(seen == NONE, time_us, seen) > longest)
        since = np.where(gap & ~active, NONE, self.since_us[device])
        first = beyond & (since == NONE)
        since = np.where(first, time_us if begun_us is None else np.minimum(begun_us, time_us), since)
        since = np.where(~beyond & ~active, NONE, since)
        held = beyond & (time_us - np.where(since == NONE, time_us, since) >= self._hold_us)
        rising = held & ~active
        worse = beyond & (first | (excess > self.excess[device]))
        self.worst[device] = np.where(worse, step.value, self.worst[device])
        self.excess[device] = np.where(worse, excess, self.excess[device])
        told = self.told_us[device]
        updating = (
            active
            & worse
            & ((told == NONE) | (time_us - np.where(told == NONE, time_us, told) >= self._update_us))
        )
        left = np.where(back & active, np.where(self.back_us[device] == NONE, time_us, self.back_us[device]), NONE)
        clearing = active & back & (time_us - np.where(left == NONE, time_us, left) >= self._clear_us)
        self.onset_us[device] = np.where(rising, since, self.onset_us[device])
        self.told_us[device] = np.where(rising | updating, time_us, told)
        self.active[device] = (active | rising) & ~clearing
        self.since_us[device] = np.where(clearing, NONE, since)
        self.back_us[device] = np.where(clearing, NONE, left)
        moves = ((Phase.RAISE, rising), (Phase.UPDATE, updating), (Phase.CLEAR, clearing))
        return [
            self._hits(phase, np.flatnonzero(which), step, expected, limit)
            for phase, which in moves
            if which.any()
        ]

    def _hits(self, phase: Phase, row: Int64, step: Step, expected: Float64, limit: Float64) -> Hits:
        device = step.device[row]
        onset = self.onset_us[device]
        return Hits(
            phase=phase,
            row=row,
            onset_us=onset,
            at_us=step.time_us[row],
            observed=step.value[row] if phase is Phase.CLEAR else self.worst[device],
            expected=expected[row],
            limit=limit[row],
            start_us=onset,
        )


__all__ = ["NONE", "Condition", "microseconds"]
