"""A sudden fall that stays, beyond a point's own ups and downs.

From: one quantity's values in event-time order, such as a main's pressure. To: hits with the level before as expected
and the level now as observed. The level now is the median of the last three values. The level before moves with the
usual course of the day, as far as that is known (`processors.seasonal`), so that a morning's demand is no burst, and
follows slowly what else happens. A fall counts when it exceeds what this point does by itself: a multiple of its
usual scatter, and more than falls which happened three times within two weeks, as those of a pump that is switched.
Until a point is known, only a fall by a fixed large amount counts. Sources: Tukey 1977, running medians; Roberts
1959, exponential means; for bursts as outliers of a learned course, Mounce et al. 2010, Journal of Hydroinformatics
12(4).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64, UInt8
from devices.spec import Text
from processors import seasonal
from processors.condition import IDLE, RAISED, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase
from processors.local_time import HALF_US, SLOTS

_FULL = 3  # values that make the first level
_HABIT = 3  # falls of one size that are the network's own doing
_HABIT_US = 14 * 86_400_000_000
_BEYOND_HABIT = 1.3  # a habit's next fall is not exactly as large
_NOTED = 0.6  # of the point's own bound: smaller falls never matter
_SAMPLES = 3 * SLOTS  # scatter is that of three days
_MANY = 30_000


class Burst(Condition):
    """Raise when the level fell by more than this point's own bound and stayed there for `hold_s`.

    Units: `change`, `least` in the quantity's unit. `change`: the bound until `learn_s` of data is known. Then it is
    `scatters` times the mean distance of levels from the level before, at least `least`; always more than habitual
    falls. `window_s`: time constant of the level before. Clears when back within half the bound for `clear_s`, or
    after `accept_s`: the new level is then normal. State: the course of the day, levels, scatter, three largest
    falls.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "change": nan,
        "least": nan,
        "scatters": 8.0,
        "learn_s": 2 * 86400.0,
        "window_s": 3600.0,
        "hold_s": 0.0,
        "clear_s": 0.0,
        "accept_s": 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}从{expected}骤降至{observed}并持续，降幅{fall:.0f}，超过该点的判定界限{own:.0f}",
        "{what} fell from {expected} to {observed} and stayed there: by {fall:.0f}, where {own:.0f} is too much for"
        " this point",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        **seasonal.COLUMNS,
        "before": ("float64", 0.0),
        "last": ("float64", 0.0),
        "older": ("float64", 0.0),
        "count": ("uint8", 0),
        "seen_us": ("int64", UNSET),
        "pace": ("float64", 0.0),
        "scatter": ("float64", 0.0),
        "wander": ("float64", 0.0),
        "samples": ("int16", 0),
        "bound": ("float64", nan),
        "dip": ("float64", 0.0),
        "falls": ("float32", 0.0),
        "fell_us": ("int64", UNSET),
        "own": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    moves: NDArray[np.float32]
    visits: UInt8
    half: NDArray[np.int32]
    half_sum: Float64
    half_count: NDArray[np.int32]
    half_before: Float64
    before: Float64
    last: Float64
    older: Float64
    count: UInt8
    seen_us: Int64
    pace: Float64
    scatter: Float64
    wander: Float64
    samples: NDArray[np.int16]
    bound: Float64
    dip: Float64
    falls: NDArray[np.float32]
    fell_us: Int64
    own: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("burst", params, change=">0", least=">0", scatters=">0", learn_s=">=0", window_s=">0")
        demand("burst", params, hold_s=">=0", clear_s=">=0", accept_s=">0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Shape of one device's element of the state column `name`."""
        return (_HABIT,) if name in {"falls", "fell_us"} else seasonal.width(name)

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        last, older, seen = self.last[device], self.older[device], self.seen_us[device]
        phase, elapsed = self.phase[device], time_us - seen
        idle = phase == IDLE
        window_us = self.params.us("window_s", device)
        patience = self.patience(device, window_us)
        # What changed during a long gap did not change suddenly.
        lost = (elapsed > patience) & (phase != RAISED)
        count = np.where(lost, 0, self.count[device])
        full = count >= _FULL
        passed = np.minimum(np.maximum(elapsed, 0), patience)
        level = np.maximum(np.minimum(last, value), np.minimum(np.maximum(last, value), older))  # median of three
        before = np.where(full, self.before[device] + self.pace[device] * passed, level)
        self._turn(device, time_us, value, idle)
        bound, fallen = self.bound[device], before - level
        calm = idle & (fallen <= bound)
        # The median is a value late: two low values that are over by now are no burst.
        beyond = (fallen > bound) & (before - value > bound / 2)
        self.before[device] = before - np.where(calm, fallen * (passed / (passed + window_us)), 0.0)
        self.last[device], self.older[device], self.seen_us[device] = value, last, time_us
        self.count[device] = np.minimum(count + 1, _FULL)
        self.wander[device] += np.where(calm, np.minimum(np.abs(fallen), bound), 0.0)
        self._note(device, time_us, fallen)
        rows = self.active(device, beyond)
        if not len(rows):
            return []
        # The median is a value late: the value before this one may have been the first beyond.
        onset = np.where(before - last > bound, np.minimum(seen, time_us), time_us)[rows]
        return self._state(step, rows, beyond[rows], level[rows], before[rows], onset)

    def _turn(self, device: Int64, time_us: Int64, value: Float64, fine: Bool) -> None:
        """Where a half hour begins, learn from the one before: the course of the day, the scatter, the bound."""
        turned = np.flatnonzero(self.half[device] != time_us // HALF_US)
        if len(turned):
            self._know(device[turned])
        seasonal.learn(self, device, time_us, value, fine, 2.0 * self.params.of("least", device))
        if len(turned):
            self.pace[device[turned]] = seasonal.pace(self, device[turned], time_us[turned])
            self._bind(device[turned], time_us[turned])

    def _know(self, device: Int64) -> None:
        """Half an hour of `device` (m,) is over: its mean distance from the level before is one more sample."""
        device = device[self.half_count[device] > 0]
        samples, scatter = self.samples[device], self.scatter[device]
        size = self.wander[device] / self.half_count[device]
        self.scatter[device] = scatter + (size - scatter) / (np.minimum(samples, _SAMPLES - 1) + 1)
        self.samples[device] = np.minimum(samples + 1, _MANY)
        self.wander[device] = 0.0

    def _bind(self, device: Int64, time_us: Int64) -> None:
        """Take the bound of `device` (m,) anew."""
        known = self.samples[device] >= self.params.of("learn_s", device) * (1e6 / HALF_US)
        fallback = self.params.of("change", device)
        recent = time_us[:, np.newaxis] - self.fell_us[device] <= _HABIT_US
        habit = np.where(recent, self.falls[device], 0.0).min(axis=1) * _BEYOND_HABIT
        self.bound[device] = np.maximum(np.where(known, self._noise(device), fallback), habit)

    def _noise(self, device: Int64) -> Float64:
        """(m,) a fall that scatter alone does not make."""
        least: Float64 = np.maximum(
            self.params.of("scatters", device) * self.scatter[device], self.params.of("least", device)
        )
        return least

    def _note(self, device: Int64, time_us: Int64, fallen: Float64) -> None:
        """Keep the three largest falls of two weeks, each when it is over."""
        dip = self.dip[device]
        deep = np.maximum(dip, fallen)
        some = np.flatnonzero((dip > 0) | (fallen > _NOTED * self.params.of("least", device)))
        if not len(some):
            return
        over = fallen[some] < 0.3 * deep[some]
        self.dip[device[some]] = np.where(over, 0.0, deep[some])
        done = some[over]
        done = done[deep[done] > _NOTED * self._noise(device[done])]
        if not len(done):
            return
        who = device[done]
        falls = np.where(time_us[done, np.newaxis] - self.fell_us[who] <= _HABIT_US, self.falls[who], 0.0)
        least = falls.argmin(axis=1)
        larger = deep[done] > falls[np.arange(len(done)), least]
        self.falls[who] = falls
        self.falls[who[larger], least[larger]] = deep[done][larger]
        self.fell_us[who[larger], least[larger]] = time_us[done][larger]
        self._bind(who, time_us[done])

    def _state(
        self, step: Step, rows: Int64, beyond: Bool, level: Float64, before: Float64, onset: Int64
    ) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        fallen, bound = before - level, self.bound[device]
        moves = self.follow(device, time_us, beyond=beyond, inside=fallen <= bound / 2, onset_us=onset)
        self.own[device[moves.rose]] = bound[moves.rose]
        old = moves.lasting & (time_us - self.told_us[device] >= self.params.us("accept_s", device))
        self.end(device[old])
        self.count[device[old]] = 0
        found = []
        for phase, which in (
            (Phase.RAISE, moves.rose.nonzero()[0]),
            (Phase.CLEAR, (moves.fell | old).nonzero()[0]),
        ):
            who = device[which]
            told = hits(
                phase,
                rows[which],
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=level[which],
                expected=before[which],
                limit=before[which] - self.own[who],
            )
            for one in told:
                one.extra = {"fall": fallen[which], "own": self.own[who]}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: learn the level before anew, except where it is needed to see the end."""
        super().forget(device)
        self.seen_us[device], self.fell_us[device] = UNSET, UNSET
        self.falls[device] = 0.0
        self.count[device[self.phase[device] != RAISED]] = 0


DETECTOR: Final[type[Detector]] = Burst
