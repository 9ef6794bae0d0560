"""A value that no longer moves, told from an instrument that repeats itself between measurements.

From: one quantity's values in event-time order. To: hits whose onset is the first of the equal values. Analysers
measure every 40 minutes or two hours and repeat the value each minute: how long a value usually stands is learned
from the instrument itself, and only several such runs are too long. Source: the flat-line test of QARTOD, as an
alarm; the measuring cycle is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64, UInt8
from devices.spec import Text
from processors.condition import demand, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase
from processors.standing import Standing

_MANY: Final = 250
_STEP: Final = 0.05  # by how much one run moves what is usual, once many are known
_MINUTE: Final = 60e6


class CycleStuck(Standing):
    """Raise when the value stayed within `tolerance` for `cycles` of its usual runs; clear at the first change.

    Units: `tolerance` in the quantity's unit. `hold_s`: how long while fewer than `learn` runs are known; `least_s`:
    never sooner. State: the value, since when, the usual run, how many runs were seen, and whether it was raised.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "cycles": 3.0,
        "least_s": 1800.0,
        "hold_s": nan,
        "tolerance": 0.0,
        "learn": 8.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}自{since}起停在{observed}不变，已{lasted}；平时约每{usual_min:.0f}分钟变化一次",
        "{what} has stood at {observed} since {since}, for {lasted}; it usually changes every {usual_min:.0f} minutes",
    )
    LEARNING: ClassVar[Text] = Text(
        "{what}自{since}起停在{observed}不变，已{lasted}；该仪表多久变化一次尚在学习，暂按设定的{longest_min:.0f}分钟判断",
        "{what} has stood at {observed} since {since}, for {lasted}; how often it changes is still being learned, "
        "until then {longest_min:.0f} minutes are the limit set",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Standing.COLUMNS,
        "usual_us": ("float64", 0.0),
        "runs": ("uint8", 0),
    }
    STATE = tuple(COLUMNS)
    usual_us: Float64
    runs: UInt8

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("cycle_stuck", params, cycles=">0", least_s=">0", hold_s=">0", tolerance=">=0", learn=">0")
        super().__init__(params)

    def longest_us(self, device: Int64) -> Int64 | int:
        """(m,) several of the usual runs; a setting while too few of them are known."""
        learned = self.usual_us[device] * self.params.of("cycles", device)
        learned = np.maximum(learned, self.params.us("least_s", device)).astype(np.int64)
        known = self.runs[device] >= self.params.of("learn", device)
        return np.where(known, learned, self.params.us("hold_s", device))

    def over(self, device: Int64, lasted_us: Int64, rows: Int64, fell: Int64) -> None:
        """Learn from the runs that are over."""
        self._learn(device, lasted_us, rows)
        self._admit(device, lasted_us, fell)

    def _learn(self, device: Int64, lasted_us: Int64, rows: Int64) -> None:
        """A run of `device[rows]` is over: it moves what is usual, an odd one not far.

        The first runs are averaged plainly: the very first may have been cut off at any place.
        """
        device, lasted = device[rows], lasted_us[rows].astype(np.float64)
        usual, runs = self.usual_us[device], self.runs[device]
        known = (runs >= self.params.of("learn", device)) & (usual > 0)
        ratio = np.clip(lasted / np.where(known, usual, 1.0), 0.5, 2.0)
        share = np.maximum(1.0 / (runs + 1.0), _STEP)
        self.usual_us[device] = usual + share * (np.where(known, ratio * usual, lasted) - usual)
        self.runs[device] = np.minimum(runs, _MANY - 1) + 1

    def _admit(self, device: Int64, lasted_us: Int64, rows: Int64) -> None:
        """What was raised moved again soon: the instrument is slower than we thought, and is not accused twice."""
        soon = rows[lasted_us[rows] <= self.params.us("hold_s", device[rows])]
        who = device[soon]
        self.usual_us[who] = np.maximum(self.usual_us[who], lasted_us[soon] / 2)

    def told(self, phase: Phase, row: Int64, step: Step, expected: Float64 | float) -> list[Hits]:
        """Statements about `row` (m,) of the step, with the usual run in minutes once it is known."""
        device = rows_of(step.device)[row]
        known = self.runs[device] >= self.params.of("learn", device)
        usual, longest = self.usual_us[device] / _MINUTE, self.params.us("hold_s", device) / _MINUTE
        facts = ({"usual_min": usual}, {"longest_min": longest * np.ones(len(device))})
        return self.told_as_known(phase, row, step, expected, known=known, learning=self.LEARNING, facts=facts)


DETECTOR: Final[type[Detector]] = CycleStuck
