"""Any one quantity, judged by its own habits alone: what has not been seen of this device before.

From: one quantity's values in event-time order. To: hits whose expected value is what is usual at this hour. Eight
views of the course (the value, two changes of level, three distances from the usual for the hour, two measures of
unrest) each remember how far they have ever gone, up and down, and slowly forget it. A value that leaves what was seen
counts by how far, in shares of the range seen; the views' shares add up. Records of a steady course come ever more
rarely, so the number of false alerts grows with the logarithm of time, without any threshold in the quantity's unit.
Sources: Renyi 1962, on records of independent values, Ann. Fac. Sci. Univ. Clermont-Ferrand 8:7-13; smoothed levels
after Roberts 1959, Technometrics 1:239-250. Which views, and the figures, are our judgement, checked on public series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int32, Int64
from devices.spec import Text
from processors import habits
from processors.condition import Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase

VIEWS: Final = 8
_LEVELS: Final = 5  # smoothed values, then two smoothed distances from them, then two from the habit
_SHARES: Final = np.array([1 / 4, 1 / 16, 1 / 32, 1 / 64, 1 / 512, 1 / 16, 1 / 64, 1 / 16, 1 / 64])
_MANY: Final = 2**30
_YOUNG: Final = 200.0  # rows: a range seen for less is not yet believed in full
_AT_ONCE: Final = 1.5  # one strange value shows in about so many views
_CALM: Final = 0.5  # share of the margin below which nothing is new
_LARGEST: Final = 1e30  # usual values are kept in single precision


class Adaptive(Condition):
    """Raise when the views of a value together leave what they have ever seen by more than `margin`.

    Units: `margin` in shares of the range seen, so none of the quantity's. `learn`: rows before anything is said.
    `forget`: rows within which a range shrinks to a third of what nothing confirms. `rest`, `rest_share`: after an
    alert nothing is said for so many rows, at least that share of all rows so far: one event is one alert. Clears when
    nothing new was seen for `clear_s`; a new level that lasts is normal from then on. State per device: nine smoothed
    numbers, sixteen bounds, a usual value per half hour of the day and hour of the week; under 1.5 KB. `score`: (n,)
    0 to 1, of the last value: 0.5 and more exactly where an alert may rise, less during the rest. The defaults are for
    devices that somebody watches: quiet on noise. Who searches one series takes a tenth of the margin, as
    `processors.backtest.generic` does.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "margin": 0.5,
        "learn": 600.0,
        "forget": 20000.0,
        "rest": 80.0,
        "rest_share": 0.04,
        "clear_s": 3600.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}{observed}，出现此前未见过的变化（此时段通常约{expected}）",
        "{what} {observed} is unlike anything seen of this device before; usual at this hour is about {expected}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "rows": ("int32", 0),
        "until": ("int32", 0),
        "score": ("float64", 0.0),
        "smooth": ("float64", 0.0),
        "high": ("float64", 0.0),
        "low": ("float64", 0.0),
        **habits.COLUMNS,
    }
    STATE = tuple(COLUMNS)
    rows: Int32
    until: Int32
    score: Float64
    smooth: Float64
    high: Float64
    low: Float64
    day_usual: NDArray[np.float32]
    day_visits: NDArray[np.uint8]
    week_usual: NDArray[np.float32]
    week_visits: NDArray[np.uint8]
    half: Int64
    half_rows: Int32
    hour_rows: Int32

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("adaptive", params, margin=">0", learn=">=0", forget=">0", rest=">=0", rest_share=">=0")
        demand("adaptive", params, clear_s=">=0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Shape of one device's element of the state column `name`."""
        return {"smooth": (len(_SHARES),), "high": (VIEWS,), "low": (VIEWS,)}.get(name, habits.width(name))

    def usable(self, step: Step) -> Bool:
        """(n,) which rows `judge` can take: those with a value that fits the habits."""
        return np.abs(step.value) < _LARGEST

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, value = rows_of(step.device), step.value
        count = self.rows[device]
        usual = habits.usual(self, device, step.time_us, np.where(count > 0, self.smooth[device, 4], value))
        views = self._views(device, value, count, usual)
        new = self._new(device, views, count) * (count / (count + _YOUNG))
        habits.learn(self, device, step.time_us, value)
        self.rows[device] = np.minimum(count + 1, _MANY)
        margin = self.params.of("margin", device)
        score = new / (new + margin)
        quiet = count < np.maximum(self.until[device], self.params.of("learn", device))
        self.score[device] = np.where(quiet, 0.5 * score, score)
        return self._state(step, device, new >= margin, quiet, new < _CALM * margin, usual)

    def _views(self, device: Int64, value: Float64, count: Int32, usual: Float64) -> Float64:
        """(n, VIEWS) the value as each view sees it; the smoothed numbers take it."""
        before = self.smooth[device]
        before[count == 0, :_LEVELS] = value[count == 0, np.newaxis]
        target = np.empty_like(before)
        target[:, :_LEVELS] = value[:, np.newaxis]
        target[:, 5:7] = np.abs(target[:, :2] - before[:, 1:4:2])
        away = value - usual
        target[:, 7:] = away[:, np.newaxis]
        after = before + np.maximum(_SHARES, (1.0 / (count + 1.0))[:, np.newaxis]) * (target - before)
        self.smooth[device] = after
        views = np.empty((len(value), VIEWS))
        views[:, 0], views[:, 1] = value, away
        views[:, 2] = after[:, 0] - after[:, 2]
        views[:, 3] = after[:, 3] - after[:, 4]
        views[:, 4:] = after[:, 5:]
        return views

    def _new(self, device: Int64, views: Float64, count: Int32) -> Float64:
        """(n,) by how much the views leave what they have seen, in shares of its range; the bounds take them in."""
        first = (count == 0)[:, np.newaxis]
        high, low = np.where(first, views, self.high[device]), np.where(first, views, self.low[device])
        # A quantity that never moved has no range: a millionth of its size stands for it.
        least = np.maximum(1e-6 * np.maximum(np.abs(high[:, :1]), np.abs(low[:, :1])), 1e-12)
        beyond = np.maximum(views - high, low - views) / np.maximum(high - low, least)
        share = np.minimum(np.maximum(beyond, 0.0), 1.0)
        forget = self.params.of("forget", device)
        fade = 1.0 / (forget[:, np.newaxis] if isinstance(forget, np.ndarray) else forget)
        self.high[device] = np.maximum(views, high + fade * (views - high))
        self.low[device] = np.minimum(views, low + fade * (views - low))
        # Added in a fixed order: a sum over an axis may round otherwise for another number of rows.
        four = share[:, :4] + share[:, 4:]
        two = four[:, :2] + four[:, 2:]
        total: Float64 = (two[:, 0] + two[:, 1]) * (1.0 / _AT_ONCE)
        return total

    def _state(
        self, step: Step, device: Int64, beyond: Bool, quiet: Bool,
        calm: Bool, usual: Float64,
    ) -> list[Hits]:  # fmt: skip
        rows = self.active(device, beyond & ~quiet)
        if not len(rows):
            return []
        who, time_us = device[rows], step.time_us[rows]
        moves = self.follow(who, time_us, beyond=(beyond & ~quiet)[rows], inside=calm[rows])
        rose = who[moves.rose]
        count = self.rows[rose]
        rest = np.maximum(self.params.of("rest", rose), self.params.of("rest_share", rose) * count)
        self.until[rose] = np.minimum(count - 1 + rest, _MANY)
        return [
            *self._hits(Phase.RAISE, rows[moves.rose], step, usual),
            *self._hits(Phase.CLEAR, rows[moves.fell], step, usual),
        ]

    def _hits(self, phase: Phase, row: Int64, step: Step, usual: Float64) -> list[Hits]:
        return hits(
            phase,
            row,
            onset_us=self.since_us[step.device[row]],
            at_us=step.time_us[row],
            observed=step.value[row],
            expected=usual[row],
            limit=np.nan,
        )


DETECTOR: Final[type[Detector]] = Adaptive
