"""A loose cover that rocks when somebody drives over it.

From: tilt and, beside it, the inclinations of three axes, in event-time order. To: hits whose observed value is the
number of swings that count: changes of pose from one reading to the next, each forgotten with time. Differences of
neighbours do not see a slow drift, and a cover that tilts once and stays makes one. Source: von Neumann 1941, Annals
of Mathematical Statistics 12:367-395, scatter from successive differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.condition import RAISED, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase
from processors.poses import between, gravity, tells

_HALF: Final = 0.5  # of a swing left: what comes now is another beginning
_READINGS: Final = 12.0  # a device that reports seldom is given so many readings' time


class Rocking(Condition):
    """Raise when at least `swings` swings of more than `swing` degrees lie within about `window_s`.

    `most`: degrees; a larger swing is somebody's hand at work, and the count starts anew. `window_s`: a swing counts
    less and less over this time, or over twelve reporting periods where that is longer. Clears when fewer than half
    of `swings` are left for `clear_s`. Reads beside the tilt: inclination of the x, y and z axis; where one is
    unknown, the tilt alone counts. State: the condition, the last pose and its time, the swings that count, the
    largest.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "swing": nan,
        "most": 25.0,
        "swings": 6.0,
        "window_s": 1800.0,
        "clear_s": 0.0,
    }
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "last": ("float32", 0.0),
        "whole": ("bool", 0),
        "seen_us": ("int64", UNSET),
        "count": ("float32", 0.0),
        "first_us": ("int64", UNSET),
        "largest": ("float32", 0.0),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "车辆经过时井盖反复晃动：近期{swings:.0f}次，最大{largest:.1f}°，已持续{lasted}",
        "The cover rocks: {swings:.0f} recent swings of up to {largest:.1f} degrees, for {lasted}",
    )
    last: NDArray[np.float32]
    whole: Bool
    seen_us: Int64
    count: NDArray[np.float32]
    first_us: Int64
    largest: NDArray[np.float32]

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("rocking", params, swing=">0", most=">0", swings=">0", window_s=">0", clear_s=">=0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Three components of gravity."""
        return (3,) if name == "last" else ()

    def usable(self, step: Step) -> Bool:
        """(n,) which rows tell a pose."""
        return tells(step.value, step.beside[:, :3])

    def judge(self, step: Step) -> list[Hits]:
        """Take one pose per device and say what began or ended."""
        device, time_us = rows_of(step.device), step.time_us
        now, whole = gravity(step.value, step.beside[:, :3])
        elapsed = time_us - self.seen_us[device]
        swing = between(now, whole, self.last[device].astype(np.float64), self.whole[device])
        window = np.maximum(
            self.params.us("window_s", device), (self._gap_us[device] * (_READINGS / 3)).astype(np.int64)
        )
        passed = np.maximum(elapsed, 0) / window
        # Across a gap longer than the window everything is forgotten, the pose before it too.
        swung = (swing > self.params.of("swing", device)) & (elapsed >= 0) & (passed < 1.0)
        handled = swung & (swing > self.params.of("most", device))
        before = self.count[device] * np.maximum(1.0 - passed, 0.0)
        count = np.where(handled, 0.0, before + swung).astype(np.float32)
        fresh = swung & (before < _HALF)
        self.last[device], self.whole[device], self.seen_us[device] = now, whole, time_us
        self.count[device] = count
        self.first_us[device] = np.where(fresh, time_us, self.first_us[device])
        largest = np.where(fresh, 0.0, self.largest[device])
        self.largest[device] = np.where(swung, np.maximum(largest, swing), largest)
        need = self.params.of("swings", device)
        beyond = count > need - 1.0  # those fading a little still count as the whole swings they were
        rows = self.active(device, beyond)
        return self._state(step, rows, count[rows], beyond[rows]) if len(rows) else []

    def _state(self, step: Step, rows: Int64, count: NDArray[np.float32], beyond: Bool) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        need = self.params.of("swings", device)
        onset = np.minimum(self.first_us[device], time_us)
        moves = self.follow(device, time_us, beyond=beyond, inside=count < need / 2, onset_us=onset)
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            who = device[which]
            limit = np.broadcast_to(np.asarray(self.params.of("swing", who), dtype=np.float64), who.shape)
            largest: Float64 = self.largest[who].astype(np.float64).round(2)
            told = hits(
                phase,
                rows[which],
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=largest,
                limit=limit.copy(),
            )
            for one in told:
                one.extra = {"swings": np.ceil(count[which].astype(np.float64)), "largest": largest}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: the swings are forgotten, except where they are needed to see the end."""
        super().forget(device)
        self.seen_us[device] = UNSET
        self.count[device[self.phase[device] != RAISED]] = 0.0


DETECTOR: Final[type[Detector]] = Rocking
