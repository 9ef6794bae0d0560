"""A cover that no longer lies as it was installed.

From: tilt and, beside it, the inclinations of three axes, in event-time order. To: hits whose observed value is the
largest angle so far between gravity as it points now and as it pointed when the cover was installed
(`processors.installed`). A vehicle's shock is over before the hold, thermal drift is smaller than any limit here.
Source: Pedley 2013, Freescale AN3461.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.condition import Moves, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.errors import RuleError
from processors.findings import Phase
from processors.installed import LEARNING, Installed


class Pose(Installed):
    """Raise when the pose was further than `high` from the installed one for `hold_s`; clear when back for `clear_s`.

    Units: degrees. `upto`: beyond it a graver rule speaks, and this one raises nothing; NaN: no such bound.
    `hysteresis`: how much nearer than `high` counts as back. `update_s`: a worse angle is told at most so often.
    `accept_s`: a condition that lasted so long is the new installed pose; 0: never. `learn`: agreeing readings that
    make the installed pose; until then it may still change. `agree`: how near readings must be to agree. `within`:
    how far from level a pose may be to be taken for an installed one; until there is one, a cover further from level
    than that is raised. `installed`: its tilt as stated by a person; NaN: learned. Reads beside the tilt: inclination
    of the x, y and z axis; where one is unknown, the tilt alone counts. State: the condition, the installed pose and
    votes for it, the worst angle.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "high": nan,
        "upto": nan,
        "hold_s": 0.0,
        "hysteresis": 0.0,
        "clear_s": 0.0,
        "update_s": 3600.0,
        "accept_s": 0.0,
        **LEARNING,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"learn"})
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Installed.COLUMNS,
        "worst": ("float32", 0.0),
        "told_worst": ("float32", 0.0),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "井盖姿态与安装时相差{observed}（限值{limit}），已持续{lasted}",
        "The cover lies {observed} away from its installed pose (limit {limit}), for {lasted}",
    )
    worst: NDArray[np.float32]
    told_worst: NDArray[np.float32]

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand(
            "pose", params, high=">0", hold_s=">=0", clear_s=">=0", update_s=">0", accept_s=">=0", hysteresis=">=0"
        )
        if params["hysteresis"] >= params["high"] or params["upto"] <= params["high"]:
            raise RuleError(
                f"detector pose: expected hysteresis < high < upto, got {params['hysteresis']:g}, "
                f"{params['high']:g} and {params['upto']:g}; the rule is not used"
            )
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Take one pose per device and say what began, worsened or ended."""
        device = rows_of(step.device)
        angle, new = self.turned(step)
        high = self.params.of("high", device)
        if new.any():  # nothing is known of how it lies: only what no road is like can be said
            high = np.where(new, np.fmax(high, self.params.of("within", device)), high)
        beyond = (angle > high) & ~(angle > self.params.of("upto", device))
        rows = self.active(device, beyond)
        return self._state(step, rows, angle[rows], beyond[rows], high) if len(rows) else []

    def _state(self, step: Step, rows: Int64, angle: Float64, beyond: Bool, high: Float64 | float) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        bound = np.broadcast_to(np.asarray(high, dtype=np.float64), step.device.shape)[rows]
        inside = angle <= bound - self.params.of("hysteresis", device)
        moves = self.follow(device, time_us, beyond=beyond, inside=inside)
        # Single precision as kept, so that nothing becomes worse by rounding.
        seen = angle.astype(np.float32)
        worst = np.where(moves.began, seen, np.maximum(self.worst[device], seen))
        self.worst[device] = worst
        worsened = moves.lasting & (worst > self.told_worst[device])
        worsened &= time_us - self.told_us[device] >= self.params.us("update_s", device)
        told = moves.rose | worsened
        self.told_worst[device[told]] = worst[told]
        self.told_us[device[told]] = time_us[told]
        accepted = self._accepted(device, time_us, moves)
        return [
            *self._hits(Phase.RAISE, moves.rose.nonzero()[0], rows, step, bound),
            *self._hits(Phase.UPDATE, (worsened & ~accepted).nonzero()[0], rows, step, bound),
            *self._hits(Phase.CLEAR, (moves.fell | accepted).nonzero()[0], rows, step, bound),
        ]

    def _accepted(self, device: Int64, time_us: Int64, moves: Moves) -> Bool:
        """Which new poses stayed so long that they are the installed ones; these are learned from scratch."""
        accept = self.params.us("accept_s", device)
        old: Bool = moves.lasting & ~moves.rose & (time_us - self.since_us[device] >= accept) & (accept > 0)
        if old.any():
            self.end(device[old])
            self.relearn(device[old])
        return old

    def _hits(self, phase: Phase, which: Int64, rows: Int64, step: Step, bound: Float64) -> list[Hits]:
        row = rows[which]
        who = rows_of(step.device)[row]
        return hits(
            phase,
            row,
            onset_us=self.since_us[who],
            at_us=step.time_us[row],
            observed=self.worst[who].astype(np.float64).round(2),
            limit=bound[which],
        )


DETECTOR: Final[type[Detector]] = Pose
