"""A device that no longer reports, on its own cadence.

From: signs of life and deadlines, both by our clock, which is the journal's. To: hits in seconds: observed is how long
nothing came, limit how long that may be. A device that never reported is silent from its registration on. What is said
depends on arrivals and deadlines alone, never on when somebody looked. Source: the heartbeat watchdog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import demand, hits, rows_of
from processors.detectors import NEVER, Detector, Hits, Step, Window
from processors.findings import Phase
from processors.parameters import Parameters

_CAME: Final = 10  # arrivals kept for the chart


class Silence:
    """Raise when nothing came for `periods` of the device's cadence, at least `min_s`; clear at its next sign of life.

    State: last arrival (onset while silent), deadline, whether silent, the last arrivals for the chart. Onset of a
    device that never reported: its
    registration. A device that left the registry has no deadline.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"periods": 3.0, "min_s": 0.0}
    FIXED: ClassVar[frozenset[str]] = frozenset()
    BECAUSE: ClassVar[Text] = Text(
        "自{since}起没有任何数据，已{lasted}，允许的间隔为{limit}",
        "nothing has come since {since}, for {lasted}; {limit} are allowed",
    )
    STATE: tuple[str, ...] = ("last_us", "deadline_us", "silent", "came_us", "count")

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("silence", params, periods=">0", min_s=">=0")
        self.params = Parameters(params)
        self._wait_us = np.empty(0, dtype=np.int64)
        self._gone = np.empty(0, dtype=np.bool_)
        self.last_us = np.empty(0, dtype=np.int64)
        self.deadline_us = np.empty(0, dtype=np.int64)
        self.silent = np.empty(0, dtype=np.bool_)
        self.came_us = np.empty((0, _CAME), dtype=np.int64)
        self.count = np.empty(0, dtype=np.int32)

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:
        """Make room for `len(cadence_s)` devices; a changed cadence moves the deadlines of those known."""
        known, gone = len(self.last_us), registered_us == NEVER
        self.params.grow(len(cadence_s))
        every = np.arange(len(cadence_s))
        periods, least_s = self.params.of("periods", every), self.params.of("min_s", every)
        wait = (np.maximum(cadence_s * periods, least_s) * 1e6).astype(np.int64)
        running = ~self.silent & (self.deadline_us != NEVER)
        self.deadline_us[running] += (wait[:known] - self._wait_us)[running]
        self.last_us = np.concatenate([self.last_us, registered_us[known:]])
        self.deadline_us = np.concatenate([self.deadline_us, np.full(len(wait) - known, NEVER)])
        self.silent = np.concatenate([self.silent, np.zeros(len(wait) - known, dtype=np.bool_)])
        self.came_us = np.concatenate([self.came_us, np.zeros((len(wait) - known, _CAME), dtype=np.int64)])
        self.count = np.concatenate([self.count, np.zeros(len(wait) - known, dtype=np.int32)])
        arrived = ~gone & ~self.silent  # new here, or back in the registry
        arrived[:known] &= self._gone
        self.last_us[arrived] = registered_us[arrived]
        self.deadline_us[arrived] = registered_us[arrived] + wait[arrived]
        self.deadline_us[gone] = NEVER
        self._wait_us, self._gone = wait, gone

    def step(self, step: Step) -> list[Hits]:
        """Signs of life; a deadline that passed before them speaks first."""
        device, now = rows_of(step.device), step.received_us
        overdue = self.deadline_us[device] < now
        found = []
        if overdue.any():
            row = np.flatnonzero(overdue)
            found += self._fall_silent(device[row], row)
        back = np.flatnonzero(self.silent[device])
        if len(back):
            found += self._hits(Phase.CLEAR, back, device[back], now[back])
            self.silent[device[back]] = False
        next_us = now + self._wait_us[device]
        planned = self.deadline_us[device]  # may lie further ahead, after `extend`
        self.deadline_us[device] = np.where(planned == NEVER, next_us, np.maximum(planned, next_us))
        self.last_us[device] = now
        count = self.count[device]
        self.came_us[device, count % _CAME] = now
        self.count[device] = count + 1
        return found

    def deadlines(self) -> Int64 | None:
        """(n,) our clock, UTC microseconds, when each device counts as silent; NEVER where it already does."""
        return self.deadline_us

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:
        """Those of `device` (m,) whose deadline lies before `now_us` (m,) are silent, as of their deadline."""
        due = device[self.deadline_us[device] < now_us]
        return self._fall_silent(due, due)

    def extend(self, device: Int64, until_us: Int64) -> None:
        """No deadline of `device` (m,) falls before `until_us` (m,): we were away, or their gateway was."""
        self.deadline_us[device] = np.maximum(self.deadline_us[device], until_us)

    def forget(self, device: Int64) -> None:
        """Nothing: silence goes by our clock, not by the device's."""

    def window(self, device: int) -> Window | None:
        """How long each of the last signs of life had been waited for, in seconds."""
        count = int(self.count[device])
        came = self.came_us[device, np.arange(max(0, count - _CAME), count) % _CAME]
        waited = np.diff(came) / 1e6
        allowed = np.full(len(waited), self._wait_us[device] / 1e6)
        # One less than there are: the arrival that ends a silence must not push out what its beginning showed.
        return Window(came[1:], waited, limit=allowed, most=_CAME - 2)

    def _fall_silent(self, device: Int64, row: Int64) -> list[Hits]:
        found = self._hits(Phase.RAISE, row, device, self.deadline_us[device])
        self.silent[device] = True
        self.deadline_us[device] = NEVER
        return found

    def _hits(self, phase: Phase, row: Int64, device: Int64, at_us: Int64) -> list[Hits]:
        onset = self.last_us[device]
        return hits(
            phase,
            row,
            onset_us=onset,
            at_us=at_us,
            observed=(at_us - onset) / 1e6,
            limit=self._wait_us[device] / 1e6,
        )


DETECTOR: Final[type[Detector]] = Silence
