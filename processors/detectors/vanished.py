"""A cover that was open and then fell silent: gone, and its sensor with it.

From: tilt and, beside it, the inclinations of three axes, in event-time order; deadlines by our clock. To: hits whose
observed value is the last angle from the installed pose (`processors.installed`). A cover that falls silent where it
belongs is the matter of `silence`; one that is open and goes on reporting, of `pose`. Source: the heartbeat watchdog,
common practice.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import IDLE, RAISED, UNSET, demand, hits, rows_of
from processors.detectors import NEVER, Detector, Hits, Step
from processors.findings import Phase
from processors.installed import LEARNING, Installed


class Vanished(Installed):
    """Raise when nothing came for `periods` of the device's cadence, at least `min_s`, after a pose beyond `high`.

    Units: degrees from the installed pose. Clears at the next reading. `learn`: agreeing readings that make the
    installed pose. `agree`: how near readings must be to agree. `within`: how far from level a pose may be to be
    taken for an installed one. `installed`: its tilt as stated by a person; NaN: learned. Reads beside the tilt:
    inclination of the x, y and z axis. State: the condition, the installed pose and votes for it, the last angle, the
    deadline by our clock.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"high": nan, "periods": 1.5, "min_s": 0.0, **LEARNING}
    FIXED: ClassVar[frozenset[str]] = frozenset({"learn"})
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Installed.COLUMNS,
        "angle": ("float32", 0.0),
        "deadline_us": ("int64", NEVER),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "井盖打开（{observed}）后失去信号，可能已丢失，已{lasted}",
        "The cover was open ({observed}) and then fell silent: it may be gone, since {lasted}",
    )
    angle: NDArray[np.float32]
    deadline_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("vanished", params, high=">0", periods=">0", min_s=">=0")
        self._cadence_s = np.empty(0)
        super().__init__(params)

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:
        """Make room for `len(cadence_s)` devices; the state of those already known stays."""
        super().grow(cadence_s, registered_us)
        self._cadence_s = cadence_s

    def judge(self, step: Step) -> list[Hits]:
        """Take one pose per device: it sets or lifts a deadline; a device that speaks again is back."""
        device = rows_of(step.device)
        angle, _ = self.turned(step)
        found: list[Hits] = []
        overdue = np.flatnonzero(self.deadline_us[device] < step.received_us)
        if len(overdue):  # its deadline passed before this reading
            found += self._raise(device[overdue], overdue)
        beyond = angle > self.params.of("high", device)
        back = np.flatnonzero(self.phase[device] == RAISED)
        if len(back):
            found += self._hits(Phase.CLEAR, back, device[back], step.received_us[back])
            self.phase[device[back]] = IDLE
        deadline = self.deadline_us[device]
        if not beyond.any() and (deadline == NEVER).all():
            return found
        self.angle[device] = angle
        self.since_us[device] = np.where(beyond & (deadline == NEVER), step.time_us, self.since_us[device])
        wait = np.maximum(
            self._cadence_s[device] * self.params.of("periods", device), self.params.of("min_s", device)
        )
        due = step.received_us + (wait * 1e6).astype(np.int64)
        self.deadline_us[device] = np.where(beyond, due, NEVER)
        return found

    def deadlines(self) -> Int64 | None:
        """(n,) our clock, UTC microseconds, when an open cover counts as gone; NEVER for all others."""
        return self.deadline_us

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:
        """Those of `device` (m,) whose deadline lies before `now_us` (m,) are gone, as of their deadline."""
        due = device[self.deadline_us[device] < now_us]
        return self._raise(due, due) if len(due) else []

    def extend(self, device: Int64, until_us: Int64) -> None:
        """No deadline of `device` (m,) falls before `until_us` (m,): we were away, or their gateway was."""
        due = self.deadline_us[device]
        self.deadline_us[device] = np.where(due == NEVER, due, np.maximum(due, until_us))

    def _raise(self, device: Int64, row: Int64) -> list[Hits]:
        found = self._hits(Phase.RAISE, row, device, self.deadline_us[device])
        self.phase[device] = RAISED
        self.deadline_us[device] = NEVER
        return found

    def _hits(self, phase: Phase, row: Int64, device: Int64, at_us: Int64) -> list[Hits]:
        onset = np.where(self.since_us[device] == UNSET, at_us, self.since_us[device])
        return hits(
            phase,
            row,
            onset_us=onset,
            at_us=at_us,
            observed=self.angle[device].astype(np.float64).round(2),
            limit=np.broadcast_to(
                np.asarray(self.params.of("high", device), dtype=np.float64), device.shape
            ).copy(),
        )


DETECTOR: Final[type[Detector]] = Vanished
