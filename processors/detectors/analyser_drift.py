"""Analysers that slowly leave their habit: one alone, or all of a house together.

From: one concentration; beside it the flow, then further concentrations. To: hits once a day, in the quantity's unit.
Each half hour is compared with the plant's own (`processors.day_shape`); the median over a day leaves slugs and
spikes out. What counts is by how much both the concentration and the load left, the smaller of the two: rain moves
one, a holiday the other, an instrument that runs away moves both; wet days say nothing. One analyser fouls: its ratio
to the others leaves. A house drifts (reagent, temperature, a sampling pump): the ratio stays and all leave. Daily
deviations beyond `slack` are added up. Sources: Page 1954, Biometrika 41:100-115 (CUSUM); van Leer 1974, J. Comput.
Phys. 14:361-370 (the smaller of two that agree in sign).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors import day_shape
from processors.condition import UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step, Window
from processors.findings import Phase
from processors.local_time import DAY_US, LOCAL_US, SLOTS, day_of

_HUGE: Final = 1e100
_BESIDE: Final = 4  # the flow and up to three further concentrations
_WIDE: Final = 1 + _BESIDE
_FLOW: Final = 1
_MOST: Final = 0.25  # one day counts at most so much
_FAR: Final = 4.0
_KEPT: Final = 28
_ALIKE: Final = 2.0


class AnalyserDrift(Condition):
    """Raise when daily deviations beyond `slack` add up to `limit`; clear after `clear_s` within `slack`.

    Beside: the flow, then up to three further concentrations; each may be absent. `together` 1: all that are there
    must leave alike, two at least, and the flow must be known; 0: this one leaves the others, or where there are
    none, flow and habit. `slack`, `limit`: shares of the usual, per day and summed. `wet`: flow further than this
    share from the usual makes a day useless. `weeks`: the habit is that of about so many weeks; `learn_days`: blind
    meanwhile. `least_slots`: half hours that make a day. State: five day shapes, today's half hours, two sums, the
    last 28 days.
    """

    FIXED: ClassVar[frozenset[str]] = frozenset({"together", "weeks"})
    PARAMS: ClassVar[Mapping[str, float]] = {
        "together": 0.0,
        "slack": 0.1,
        "limit": 0.3,
        "wet": 0.25,
        "weeks": 8.0,
        "learn_days": 14.0,
        "least_slots": 10.0,
        "clear_s": 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}近日约{observed}，通常为{expected}（{share:+.0f}%），其他仪表和流量没有同样变化，疑似仪表漂移或污染",
        "{what} is about {observed} these days where {expected} is usual, {share:+.0f} %, and neither the other "
        "analysers nor the flow moved with it: the instrument drifts or is fouled",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        **day_shape.COLUMNS,
        "today": ("float32", 0.0),
        "day": ("int32", -1),
        "days": ("int32", 0),
        "up": ("float64", 0.0),
        "down": ("float64", 0.0),
        "onset_us": ("int64", UNSET),
        "kept": ("float32", 0.0),
        "kept_day": ("int32", -1),
    }
    STATE = tuple(COLUMNS)
    shape: NDArray[np.float32]
    visits: NDArray[np.uint8]
    total: Float64
    taken: NDArray[np.int32]
    slot: NDArray[np.int16]
    today: NDArray[np.float32]
    day: NDArray[np.int32]
    days: NDArray[np.int32]
    up: Float64
    down: Float64
    onset_us: Int64
    kept: NDArray[np.float32]
    kept_day: NDArray[np.int32]

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("analyser_drift", params, together="direction", slack=">=0", limit=">0", wet=">0", weeks=">0")
        demand("analyser_drift", params, learn_days=">=0", least_slots=">0", clear_s=">=0")
        super().__init__(params)
        self._together, self._weeks = params["together"] > 0, params["weeks"]

    def width(self, name: str) -> tuple[int, ...]:
        """Day shapes of five quantities, today's half hours of each, and the days kept for the chart."""
        own = {"today": (SLOTS, _WIDE), "kept": (_KEPT,), "kept_day": (_KEPT,)}
        return own.get(name) or day_shape.width(name, _WIDE)

    def usable(self, step: Step) -> Bool:
        """(n,) rows with any of the quantities."""
        fine: Bool = np.abs(step.value) < _HUGE
        return fine | (np.abs(step.beside) < _HUGE).any(axis=1) if step.beside.shape[1] else fine

    def judge(self, step: Step) -> list[Hits]:
        """Take what a device measured; at the first reading of a new day, judge the day before."""
        device, time_us = rows_of(step.device), step.time_us
        at = day_shape.slots(time_us)
        values = np.full((len(device), _WIDE), np.nan)
        values[:, 0] = step.value
        values[:, 1 : 1 + step.beside.shape[1]] = step.beside
        fine = np.abs(values) < _HUGE
        values = np.where(fine, values, 0.0)
        over = day_shape.learn(self, device, at, values, fine, self._weeks)
        if over is None:
            return []
        known = (over.mean > 0) & (over.usual > 0)
        ratio = np.where(known, np.clip(over.mean / np.where(known, over.usual, 1.0), 1 / _FAR, _FAR), 0.0)
        self.today[over.device, over.slot % SLOTS] = ratio
        today = day_of(time_us)
        rows = np.flatnonzero(self.day[device] != today)
        if not len(rows):
            return []
        ended = rows[(self.day[device[rows]] >= 0) & (self.day[device[rows]] < today[rows])]
        found = self._close(device[ended], time_us[ended], ended) if len(ended) else []
        self.today[device[rows]] = 0.0
        self.day[device[rows]] = today[rows]
        return found

    def _close(self, device: Int64, time_us: Int64, rows: Int64) -> list[Hits]:
        """Judge the day of `device` (m,) that is over."""
        away, known = self._away(device)
        self.days[device] += 1
        known &= self.days[device] > self.params.of("learn_days", device)
        which = np.flatnonzero(known)
        if not len(which):
            return []
        device, time_us, rows, away = device[which], time_us[which], rows[which], away[which]
        self.kept[device] = np.concatenate([self.kept[device][:, 1:], away[:, None]], axis=1)
        self.kept_day[device] = np.concatenate([self.kept_day[device][:, 1:], self.day[device][:, None]], axis=1)
        slack, limit = self.params.of("slack", device), self.params.of("limit", device)
        bounded = np.clip(away, -_MOST, _MOST)
        idle = (self.up[device] <= 0) & (self.down[device] <= 0)
        up = np.clip(self.up[device] + bounded - slack, 0.0, 2 * limit)
        down = np.clip(self.down[device] - bounded - slack, 0.0, 2 * limit)
        begun = self.day[device].astype(np.int64) * DAY_US - LOCAL_US
        self.onset_us[device] = np.where(idle, begun, self.onset_us[device])
        beyond = np.maximum(up, down) > limit
        moves = self.follow(
            device, time_us, beyond=beyond, inside=np.abs(away) < slack, onset_us=self.onset_us[device]
        )
        self.up[device] = np.where(moves.fell, 0.0, up)
        self.down[device] = np.where(moves.fell, 0.0, down)
        usual = self._typical(device)
        found = []
        for phase, mask in ((Phase.RAISE, moves.rose), (Phase.CLEAR, moves.fell)):
            i = mask.nonzero()[0]
            share = np.where(away[i] >= 0, 1.0 + away[i], 1.0 / (1.0 - away[i]))
            bound = np.where(away[i] >= 0, 1.0 + slack, 1.0 / (1.0 + slack))
            one = hits(
                phase,
                rows[i],
                onset_us=self.since_us[device[i]],
                at_us=time_us[i],
                observed=usual[i] * share,
                expected=usual[i],
                limit=usual[i] * bound,
            )
            for h in one:
                h.extra = {"share": 100.0 * (share - 1.0)}
            found += one
        return found

    def _away(self, device: Int64) -> tuple[Float64, Bool]:
        """(m,) by what share the day left the habit, and whether it can be said."""
        today = self.today[device].astype(np.float64)
        flow = today[:, :, _FLOW]
        least, wet = self.params.of("least_slots", device), self.params.of("wet", device)
        flow_away, seen = _middle(_share(flow), flow > 0, least)
        dry = np.abs(flow_away) <= wet  # 0 where no flow is known
        away = np.zeros((len(device), _WIDE - 1))
        there = np.zeros((len(device), _WIDE - 1), dtype=np.bool_)
        for i, column in enumerate((0, *range(2, _WIDE))):
            own = today[:, :, column]
            thick, there[:, i] = _middle(_share(own), own > 0, least)
            load, _ = _middle(_share(own * flow), own * flow > 0, least)
            away[:, i] = np.where(seen, _smaller(thick, load), thick)
        each = np.arange(len(device))
        others = there[:, 1:].sum(axis=1)
        if self._together:
            total = near = away[:, 0]
            for i in range(1, _WIDE - 1):
                total = total + np.where(there[:, i], away[:, i], 0.0)
                near = np.where(there[:, i], _smaller(near, away[:, i]), near)
            # The mean is steadier than the least; but where one hardly moved, they did not move together.
            far = _smaller(total / (1.0 + others), _ALIKE * near)
            return far, there[:, 0] & (others > 0) & seen & dry
        ordered = np.sort(np.where(there[:, 1:], away[:, 1:], np.inf), axis=1)
        beside = (
            ordered[each, np.maximum(others - 1, 0) // 2] + ordered[each, np.minimum(others // 2, _WIDE - 3)]
        ) / 2
        far = np.where(
            others > 0, _smaller(away[:, 0], away[:, 0] - np.where(others > 0, beside, 0.0)), away[:, 0]
        )
        return far, there[:, 0] & ((others > 0) | seen) & dry

    def _typical(self, device: Int64) -> Float64:
        """(m,) the middle of the usual working day."""
        ordered = np.sort(self.shape[device, :SLOTS, 0], axis=1)
        typical: Float64 = ordered[:, SLOTS // 2].astype(np.float64)
        return typical

    def forget(self, device: Int64) -> None:
        """The clock was set back: the day begins anew."""
        super().forget(device)
        self.day[device], self.today[device] = -1, 0.0

    def window(self, device: int) -> Window | None:
        """The deviation of the last days, as values around the usual."""
        known = self.kept_day[device] >= 0
        if known.sum() < 2:
            return None
        usual = float(self._typical(np.array([device]))[0])
        away = self.kept[device][known].astype(np.float64)
        value = usual * np.where(away >= 0, 1.0 + away, 1.0 / (1.0 - away))
        noon = self.kept_day[device][known].astype(np.int64) * DAY_US - LOCAL_US + DAY_US // 2
        return Window(noon, value, np.full(len(noon), usual))


def _share(ratio: Float64) -> Float64:
    """By what share `ratio` leaves 1: twice is +1, half is -1; 0 where unknown."""
    there = ratio > 0
    return np.where(ratio >= 1.0, ratio - 1.0, np.where(there, 1.0 - 1.0 / np.where(there, ratio, 1.0), 0.0))


def _smaller(one: Float64, two: Float64) -> Float64:
    """The one nearer to 0 where both have the same sign, else 0."""
    near: Float64 = np.where(one > 0, np.maximum(np.minimum(one, two), 0.0), np.minimum(np.maximum(one, two), 0.0))
    return near


def _middle(values: Float64, known: Bool, least: Float64 | float) -> tuple[Float64, Bool]:
    """(m,) the median of the known `values` (m, slots), and whether at least `least` are known."""
    count = known.sum(axis=1)
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    middle = ordered[np.arange(len(values)), np.maximum(count - 1, 0) // 2]
    enough: Bool = count >= least
    return np.where(enough, middle, 0.0), enough


DETECTOR: Final[type[Detector]] = AnalyserDrift
