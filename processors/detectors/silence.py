"""A device that no longer reports, on its own cadence.

By our clock, which is the journal's: nothing came for `periods` of the device's own reporting period. A device that
never reported is silent from its registration on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from processors.detectors import NEVER, Hits, Step
from processors.findings import Phase


class Silence:
    """Raise when a device's deadline passes; clear at its next sign of life.

    `periods`: reporting periods without a sign of life. `min_s`: never sooner than this. State: last arrival, deadline.
    Evidence: observed is the silence in seconds, limit the seconds allowed; onset is the last arrival.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"periods": 3.0, "min_s": 0.0}
    STATE = ("last_us", "deadline_us", "onset_us", "active")

    def __init__(self, params: Mapping[str, float]) -> None:
        self._periods, self._min_s = params["periods"], params["min_s"]
        self._wait_us = np.empty(0, dtype=np.int64)
        self.last_us = np.empty(0, dtype=np.int64)
        self.deadline_us = np.empty(0, dtype=np.int64)
        self.onset_us = np.empty(0, dtype=np.int64)
        self.active = np.empty(0, dtype=np.bool_)

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:
        """Make room for `len(cadence_s)` devices; those already known keep their state."""
        known = len(self.last_us)
        self._wait_us = (np.maximum(cadence_s * self._periods, self._min_s) * 1e6).astype(np.int64)
        new = registered_us[known:]
        gone = new == NEVER
        deadline = np.where(gone, NEVER, np.where(gone, 0, new) + self._wait_us[known:])
        self.last_us = np.concatenate([self.last_us, new])
        self.deadline_us = np.concatenate([self.deadline_us, deadline])
        self.onset_us = np.concatenate([self.onset_us, np.zeros(len(new), dtype=np.int64)])
        self.active = np.concatenate([self.active, np.zeros(len(new), dtype=np.bool_)])

    def step(self, step: Step) -> list[Hits]:
        """Signs of life."""
        device, now = step.device, step.received_us
        back = np.flatnonzero(self.active[device])
        hits = [self._hits(Phase.CLEAR, back, device[back].astype(np.int64), now[back])] if len(back) else []
        self.active[device] = False
        self.last_us[device] = now
        later = np.where(self.deadline_us[device] == NEVER, 0, self.deadline_us[device])
        self.deadline_us[device] = np.maximum(later, now + self._wait_us[device])
        return hits

    def deadlines(self) -> Int64 | None:
        """(n,) when each device counts as silent, NEVER where it already does."""
        return self.deadline_us

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:  # noqa: ARG002  the deadline decides, not the caller
        """Their deadlines passed: they are silent."""
        at = self.deadline_us[device]
        self.onset_us[device] = self.last_us[device]
        self.active[device] = True
        self.deadline_us[device] = NEVER
        return [self._hits(Phase.RAISE, device, device, at)]

    def extend(self, device: Int64, until_us: Int64) -> None:
        """No deadline of `device` (m,) falls before `until_us` (m,): we were away, or their gateway was."""
        self.deadline_us[device] = np.maximum(self.deadline_us[device], until_us)

    def forget(self, device: Int64) -> None:
        """Silence goes by our clock; the device's does not matter."""

    def _hits(self, phase: Phase, row: Int64, device: Int64, at_us: Int64) -> Hits:
        onset = self.onset_us[device]
        return Hits(
            phase=phase,
            row=row,
            onset_us=onset,
            at_us=at_us,
            observed=(at_us - onset) / 1e6,
            expected=np.full(len(row), np.nan),
            limit=self._wait_us[device] / 1e6,
            start_us=onset,
        )


DETECTOR: Final = Silence
