"""A value that swings to and fro, again and again, wider than it ever does.

From: one quantity's values in event-time order, such as a main's pressure, every 1 to 15 minutes. To: hits with the
widest swing as observed. A swing is how far a value went one way and the next one came back, the smaller of the two.
Slow sampling shows only some of what a water hammer does, never its peak: so several swings within an hour are asked
for, each wider than a multiple of this point's usual ones. A step, a ramp or one spike is none. Source: turning
points as in rainflow counting, Matsuishi and Endo 1968; pressure transients in mains, e.g. Starczewska et al. 2014,
Procedia Engineering 70.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.condition import IDLE, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase

COUNT: Final = 4
_USUAL_US: Final = 86_400_000_000  # usual is what the last day or so did
_FIRST_US: Final = _USUAL_US // 4  # the first swings of a new device are no habit yet


class Transient(Condition):
    """Raise when four swings wider than the bound came within `window_s`; clear after `clear_s` without one.

    Units: `least` in the quantity's unit. The bound is `least`, or `times` the mean swing between readings of the
    last day if that is more. State: the last value and move, the mean swing, times of the last four wide ones, the
    widest.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"least": nan, "times": 8.0, "window_s": 3600.0, "clear_s": 3600.0}
    BECAUSE: ClassVar[Text] = Text(
        "{what}反复快速波动：{minutes:.0f}分钟内至少4次，最大摆幅{swing:.0f}，该点平常不超过{own:.0f}（现为{observed}）",
        "{what} swings to and fro: 4 times or more within {minutes:.0f} min, by up to {swing:.0f}, where this point"
        " usually stays under {own:.0f} (now {observed})",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "last": ("float64", nan),
        "move": ("float64", 0.0),
        "seen_us": ("int64", UNSET),
        "usual": ("float64", 0.0),
        "known_us": ("int64", 0),
        "wide_us": ("int64", -UNSET),
        "widest": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    last: Float64
    move: Float64
    seen_us: Int64
    usual: Float64
    known_us: Int64
    wide_us: Int64
    widest: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("transient", params, least=">0", times=">0", window_s=">0", clear_s=">=0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Shape of one device's element of the state column `name`."""
        return (COUNT,) if name == "wide_us" else ()

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        elapsed = time_us - self.seen_us[device]
        near = (elapsed >= 0) & (elapsed <= self._gap_us[device])
        move, before = np.where(near, value - self.last[device], 0.0), self.move[device]
        swing = np.where(move * before < 0, np.minimum(np.abs(move), np.abs(before)), 0.0)
        bound = np.maximum(self.params.of("times", device) * self.usual[device], self.params.of("least", device))
        wide = swing > bound
        self.last[device], self.seen_us[device] = value, time_us
        self.move[device] = move
        idle = self.phase[device] == IDLE
        self._know(device, np.minimum(swing, bound), np.where(near & idle, elapsed, 0))
        rows = self.active(device, wide)
        if not len(rows):
            return []
        return self._state(step, rows, wide[rows], swing[rows], bound[rows])

    def _know(self, device: Int64, swing: Float64, passed: Int64) -> None:
        known, usual = self.known_us[device], self.usual[device]
        self.usual[device] = usual + (swing - usual) * (passed / (np.maximum(known, _FIRST_US) + passed))
        self.known_us[device] = np.minimum(known + passed, _USUAL_US)

    def _state(self, step: Step, rows: Int64, wide: Bool, swing: Float64, bound: Float64) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        window_us = self.params.us("window_s", device)
        times = self.wide_us[device]
        fresh = wide & (time_us - times[:, -1] > window_us)
        times = np.where(
            wide[:, np.newaxis], np.concatenate([times[:, 1:], time_us[:, np.newaxis]], axis=1), times
        )
        self.wide_us[device] = times
        self.widest[device] = np.maximum(np.where(fresh, 0.0, self.widest[device]), swing)
        many = wide & (time_us - times[:, 0] <= window_us)
        moves = self.follow(device, time_us, beyond=many, inside=~wide, onset_us=times[:, 0])
        self.wide_us[device[moves.fell]] = -UNSET  # so that the next condition gets an onset of its own
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            who = device[which]
            told = hits(
                phase,
                rows[which],
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=step.value[rows[which]],
                limit=nan,
            )
            minutes = np.zeros(len(which)) + self.params.of("window_s", who) / 60.0
            for one in told:
                one.extra = {"swing": self.widest[who], "own": bound[which], "minutes": minutes}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: no move and no swing of before counts."""
        super().forget(device)
        self.seen_us[device], self.wide_us[device] = UNSET, -UNSET
        self.move[device] = 0.0


DETECTOR: Final[type[Detector]] = Transient
