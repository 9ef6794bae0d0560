"""A device's clock that jumped against ours and stays away.

From: any quantity's readings, for their two times. To: hits whose observed value is how many hours the device's clock
is off from where it was. How long a reading usually takes to arrive is learned, so that a gateway that collects for an
hour is no jump; single late readings are not either. A clock that was wrong from the start is flagged by the quality
tests instead. Source: our judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int32, Int64
from devices.spec import Text
from processors.condition import RAISED, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase


class TimeJump(Condition):
    """Raise when readings arrive more than `jump_s` earlier or later than usual, by their own time, for `hold_s`.

    `learn`: readings that make the usual delay. Clears when it was near for `clear_s`. After `accept_s` the new
    offset is usual. State: the condition, the usual delay and how many readings made it.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "jump_s": 1800.0,
        "learn": 12.0,
        "hold_s": 4 * 3600.0,
        "clear_s": 0.0,
        "accept_s": 14 * 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "设备时钟突变{hours:+.1f}小时（正为超前），已{lasted}",
        "the device's clock jumped by {hours:+.1f} h (plus: ahead of before), for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "delay_s": ("float64", 0.0),
        "count": ("int32", 0),
    }
    STATE = tuple(COLUMNS)
    delay_s: Float64
    count: Int32

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("time_jump", params, jump_s=">0", learn=">0", hold_s=">=0", clear_s=">=0", accept_s=">0")
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Compare both clocks."""
        device = rows_of(step.device)
        delay = (step.received_us - step.time_us) / 1e6
        usual, count = self.delay_s[device], self.count[device]
        off = delay - usual
        ready = count >= self.params.of("learn", device)
        beyond = ready & (np.abs(off) > self.params.of("jump_s", device))
        # The learned delay only follows what is near it, or what has stayed for long.
        stays = self.phase[device] == RAISED
        long = beyond & stays & (step.time_us - self.since_us[device] > self.params.us("accept_s", device))
        share = np.where(~beyond | long, np.maximum(1.0 / (count + 1.0), 0.02), 0.0)
        self.delay_s[device] = usual + share * off
        self.count[device] = np.minimum(count + 1, 1000)
        rows = self.active(device, beyond)
        if not len(rows):
            return []
        moves = self.follow(device[rows], step.time_us[rows], beyond=beyond[rows], inside=~beyond[rows])
        return [
            *self._told(Phase.RAISE, rows[moves.rose], step, off),
            *self._told(Phase.CLEAR, rows[moves.fell], step, off),
        ]

    def _told(self, phase: Phase, rows: Int64, step: Step, off: Float64) -> list[Hits]:
        found = hits(
            phase,
            rows,
            onset_us=self.since_us[rows_of(step.device)[rows]],
            at_us=step.time_us[rows],
            observed=step.value[rows],
            limit=np.nan,
        )
        for one in found:
            one.extra = {"hours": -off[rows] / 3600.0}
        return found


DETECTOR: Final[type[Detector]] = TimeJump
