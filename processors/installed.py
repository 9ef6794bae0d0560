"""How a cover was installed, learned from its first readings, and how far from that it lies now.

From: detectors of covers, which inherit it: tilt and, beside it, the inclinations of three axes. To: the angle
between gravity as it points now and as it pointed then: whatever axis the cover turned about, one number. The
installed pose is what most of the first readings agree on, so that a cover moved while it was being fitted does not
spoil it. Sources: Pedley 2013, Freescale AN3461, tilt from the angle between gravity vectors; Boyer and Moore 1981,
majority vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64, UInt8
from processors.condition import Condition, demand, rows_of
from processors.detectors import Step
from processors.poses import UP, apart, between, gravity, sine, tells, unit

_SETTLED = 255  # votes of a pose that is learned
LEARNING: Final[Mapping[str, float]] = {"learn": 24.0, "agree": 3.0, "within": 15.0, "installed": nan}


class Installed(Condition):
    """The part of a rule that knows the installed pose.

    `learn`: agreeing readings that make it; until then it may still change. `agree`: degrees within which readings
    agree. `within`: how far from level a pose may be to be taken for an installed one, degrees. `installed`: its tilt
    as stated by a person, NaN: learned. State: gravity as installed, the votes for it, whether its direction is known
    or the tilt alone.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "rest": ("float32", 0.0),
        "votes": ("uint8", 0),
        "whole": ("bool", 0),
    }
    rest: NDArray[np.float32]
    votes: UInt8
    whole: Bool

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("pose", params, learn=">0", agree=">0", within=">0")
        self._learn = min(int(params["learn"]), _SETTLED - 1)
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Three components of gravity."""
        return (3,) if name == "rest" else ()

    def usable(self, step: Step) -> Bool:
        """(n,) which rows tell a pose."""
        return tells(step.value, step.beside)

    def turned(self, step: Step) -> tuple[Float64, Bool]:
        """(n,) degrees from the installed pose and (n,) where there is none yet: those from level. Learns."""
        device = rows_of(step.device)
        now, whole = gravity(step.value, step.beside)
        rest, rest_whole = self._installed(device)
        angle = between(now, whole, rest, rest_whole)
        votes = self.votes[device]
        if (votes < _SETTLED).any():
            self._vote(device, now, whole, angle, votes)
        return angle, votes == 0

    def relearn(self, device: Int64) -> None:
        """What is known of how `device` (m,) were installed no longer holds."""
        self.votes[device] = 0

    def _installed(self, device: Int64) -> tuple[Float64, Bool]:
        """Gravity as installed (n, 3) and whether its direction is known (n,); level until something is."""
        rest, whole = self.rest[device].astype(np.float64), self.whole[device]
        new = self.votes[device] == 0
        if new.any():
            rest[new] = UP
        stated = np.asarray(self.params.of("installed", device), dtype=np.float64)
        if not np.isnan(stated).all():
            lean = np.broadcast_to(stated, device.shape)
            given = np.flatnonzero(np.abs(lean - 90.0) <= 90.0)
            rest[given] = np.stack((sine(lean[given]), np.zeros(len(given)), sine(90.0 - lean[given])), axis=1)
            whole[given] = False
        return rest, whole

    def _vote(self, device: Int64, now: Float64, whole: Bool, angle: Float64, votes: UInt8) -> None:
        """Let the readings of devices that are still learning say how the cover was installed.

        One that agrees adds a vote and its part of the mean, one that does not takes a vote away; of a candidate down
        to its last vote and a reading against it, the one nearer to level stands.
        """
        up = np.broadcast_to(UP, now.shape)
        level = apart(now, up)
        fits = level <= self.params.of("within", device)
        first, later = (votes == 0) & fits, (votes > 0) & (votes < _SETTLED)
        agrees = later & (angle <= self.params.of("agree", device))
        against = later & ~agrees
        held = self.rest[device].astype(np.float64)
        nearer = against & (votes == 1) & fits & (level < apart(held, up))
        afresh = first | nearer | (agrees & whole & ~self.whole[device])
        averaged = agrees & (whole == self.whole[device])
        share = 1.0 / (votes.astype(np.float64) + 1.0)
        joined = unit(held + (now - held) * share[:, np.newaxis])
        count = np.where(agrees, votes + 1, np.where(against, np.maximum(votes, 2) - 1, votes))
        count = np.where(later & (count >= self._learn), _SETTLED, count)
        self.votes[device] = np.where(first, 1, count)
        self.rest[device] = np.where(afresh[:, np.newaxis], now, np.where(averaged[:, np.newaxis], joined, held))
        self.whole[device] = np.where(afresh, whole, self.whole[device])
