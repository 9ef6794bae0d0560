"""A value that no longer moves, told from a point that rests.

From: one quantity's values in event-time order. To: hits whose onset is the first of the equal values. Behind a
pressure reducer or beside a tank the pressure may stand still for hours, every night: how long a point rests and then
moves again is learned from the point itself, and only standing much longer than that is news. Source: the flat-line
test of QARTOD, as an alarm; the learned rest is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import demand, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase
from processors.standing import Standing

_GROWTH: Final = (
    2.0  # one rest makes the known one at most so many times longer: a sensor that stuck once is no rest
)
_MINUTE: Final = 60e6


class RestStuck(Standing):
    """Raise when the value stood for `hold_s` and for `rests` times the point's longest rest; clear when it moves.

    Units: `tolerance` in the quantity's unit. `forget_s`: time constant by which a rest that does not come again is
    forgotten. State: the value, since when, the longest rest, and whether it was raised.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "hold_s": nan,
        "tolerance": 0.0,
        "rests": 2.0,
        "forget_s": 45 * 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}自{since}起停在{observed}不变，已{lasted}；该点此前静止后又变化的最长时间约{rest_min:.0f}分钟",
        "{what} has stood at {observed} since {since}, for {lasted}; the longest it rested before and then moved "
        "again was about {rest_min:.0f} minutes",
    )
    LEARNING: ClassVar[Text] = Text(
        "{what}自{since}起停在{observed}不变，已{lasted}；该点通常静止多久尚在学习，暂按设定的{longest_min:.0f}分钟判断",
        "{what} has stood at {observed} since {since}, for {lasted}; how long it rests is still being learned, until "
        "then {longest_min:.0f} minutes are the limit set",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {**Standing.COLUMNS, "rest_us": ("float64", 0.0)}
    STATE = tuple(COLUMNS)
    rest_us: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("rest_stuck", params, hold_s=">0", tolerance=">=0", rests=">0", forget_s=">0")
        super().__init__(params)

    def longest_us(self, device: Int64) -> Int64 | int:
        """(m,) several of the longest rests, and never less than the setting."""
        learned = (self.rest_us[device] * self.params.of("rests", device)).astype(np.int64)
        return np.maximum(learned, self.params.us("hold_s", device))

    def over(self, device: Int64, lasted_us: Int64, rows: Int64, fell: Int64) -> None:
        """Learn from the rests that are over, raised or not; forget slowly what does not come again."""
        rows = np.union1d(rows, fell)
        who, lasted = device[rows], lasted_us[rows].astype(np.float64)
        rest = self.rest_us[who] / (1.0 + lasted / (self.params.of("forget_s", who) * 1e6))
        first = self.params.us("hold_s", who) / self.params.of("rests", who)
        self.rest_us[who] = np.maximum(rest, np.minimum(lasted, np.maximum(_GROWTH * rest, first)))

    def told(self, phase: Phase, row: Int64, step: Step, expected: Float64 | float) -> list[Hits]:
        """Statements about `row` (m,) of the step, with the longest rest in minutes once there was one."""
        device = rows_of(step.device)[row]
        rest, longest = self.rest_us[device] / _MINUTE, self.params.us("hold_s", device) / _MINUTE
        facts = ({"rest_min": rest}, {"longest_min": longest * np.ones(len(device))})
        return self.told_as_known(phase, row, step, expected, known=rest > 0, learning=self.LEARNING, facts=facts)


DETECTOR: Final[type[Detector]] = RestStuck
