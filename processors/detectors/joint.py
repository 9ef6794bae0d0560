"""Several quantities of one device, judged together against what they did while they were learned.

From: one quantity and those beside it, in event-time order. To: hits whose observed value is the first quantity's
smoothed value and whose expected value is its usual level. Each row gives two distances from what is usual: of the
smoothed values (something moved, or no longer moves with the others) and of the smoothed scatter around them
(something became unsteady). What combinations are looked at, and how far each may go, is learned once per device
(`processors.components`); the levels then follow slowly while all is calm. Sources: Lowry, Woodall, Champ and Rigdon
1992, A multivariate exponentially weighted moving average control chart, Technometrics 34:46-53; Hotelling 1947.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np

from devices.readings import Bool, Float64, Int32, Int64
from devices.spec import Text
from processors.components import Sums, weights
from processors.condition import RAISED, UNSET, Condition, Moves, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.errors import RuleError
from processors.findings import Phase

MOST: Final = 24
"""Quantities one rule can take: its state grows with their square."""

_BLOCKS: Final = 40  # parts of the learning stretch
_CALM: Final = 0.7  # share of the limit up to which levels follow
_HUGE: Final = 1e100
_SQUARE: Final = ("cross", "block_cross", "moves", "weights")
_PLAIN: Final = ("smooth", "level", "origin", "total", "block", "before", "block_total")


class Seen(NamedTuple):
    """What n rows came to. `away`: (n, 2, k) smoothed less level. `parts`: (n, 2, k) components. `ratio`: (n, 2)."""

    away: Float64
    parts: Float64
    ratio: Float64


class Joint(Condition):
    """Raise when quantities together are further from usual than `limit`, or their scatter than `unrest`.

    Units: both limits in usual deviations. `learn`: rows with all quantities known that are learned from; nothing is
    said meanwhile. `smooth`, `follow`: rows over which values are averaged, and within which levels follow. `fresh_s`:
    how long the last value of another quantity counts, at least three reporting periods. Rows are those of the first
    quantity. Raised after `hold_s` beyond, clears after `clear_s` within the limits, or after `accept_s`: all is then
    learned anew. State per device of k quantities: 9 numbers for each and 8 for each pair; `score`: (n,) 0 to 1, from
    0.5 on exactly while raised.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "learn": 400.0,
        "smooth": 12.0,
        "limit": 6.0,
        "unrest": 9.0,
        "follow": 200.0,
        "fresh_s": 0.0,
        "hold_s": 0.0,
        "clear_s": 30.0,
        "accept_s": 86400.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"learn", "smooth"})
    BECAUSE: ClassVar[Text] = Text(
        "{what}及同一设备的其他量合起来偏离常态，达到警戒线的{ratio:.1f}倍；偏离最大的是{which}，"
        "现为{now:.4g}，平时{usual:.4g}",
        "{what} and the quantities beside it together are {ratio:.1f} times the alarm distance from usual; most of it "
        "lies in {which}, now {now:.4g}, usually {usual:.4g}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "count": ("int32", 0),
        "score": ("float64", 0.0),
        "last": ("float64", 0.0),
        "heard_us": ("int64", UNSET),
        **dict.fromkeys((*_PLAIN, *_SQUARE), ("float64", 0.0)),
    }
    STATE = tuple(COLUMNS)
    count: Int32
    score: Float64
    last: Float64
    heard_us: Int64
    smooth: Float64
    level: Float64
    origin: Float64
    total: Float64
    cross: Float64
    block: Float64
    before: Float64
    block_total: Float64
    block_cross: Float64
    moves: Float64
    weights: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("joint", params, learn=">0", smooth=">0", limit=">0", unrest=">0", follow=">0")
        demand("joint", params, fresh_s=">=0", hold_s=">=0", clear_s=">=0", accept_s=">0")
        self._learn = max(int(params["learn"]), 2)
        self._per_block = max(self._learn // _BLOCKS, 1)
        self._gain = 2.0 / (params["smooth"] + 1.0)
        self._quantities = 1
        super().__init__(params)

    def reads(self, beside: int) -> None:
        """Make room for `beside` quantities besides the first; RuleError for too many, or others than were learned."""
        if beside + 1 == self._quantities:
            return
        if beside + 1 > MOST or self.count.any():
            expected = self._quantities if self.count.any() else f"at most {MOST}"
            raise RuleError(
                f"detector joint: expected {expected} quantities, got {beside + 1}; the rule is not used"
            )
        self._quantities = beside + 1
        for name, (dtype, fill) in self.COLUMNS.items():
            if self.width(name):
                setattr(self, name, np.full((len(self.count), *self.width(name)), fill, dtype=dtype))

    def width(self, name: str) -> tuple[int, ...]:
        """Values and their scatter, for each quantity or each pair of them."""
        if name in _SQUARE:
            return (2, self._quantities, self._quantities)
        if name in _PLAIN:
            return (2, self._quantities)
        return (self._quantities,) if name in {"last", "heard_us"} else ()

    def usable(self, step: Step) -> Bool:
        """(n,) rows in which any quantity is a number."""
        self.reads(step.beside.shape[1])
        there = super().usable(step)
        return there | (np.abs(step.beside) < _HUGE).any(axis=1) if step.beside.shape[1] else there

    def judge(self, step: Step) -> list[Hits]:
        """Take what came of each device and say what began or ended."""
        device = rows_of(step.device)
        absent = self._hear(device, step)
        learning = self.count[device] < self._learn
        paced = (np.abs(step.value) < _HUGE) & ~(learning & absent.any(axis=1))
        rows = paced.nonzero()[0]
        if not len(rows):
            return []
        device, absent, learning = device[rows], absent[rows], learning[rows]
        values = self._take(device, absent)
        if learning.any():
            self._study(device[learning], values[learning])
            known = (~learning).nonzero()[0]
            rows, device, absent, values = rows[known], device[known], absent[known], values[known]
        return self._compare(step, rows, device, values, absent) if len(rows) else []

    def _hear(self, device: Int64, step: Step) -> Bool:
        """Remember what came; (n, k) which quantities are not known as of now."""
        given = step.value[:, np.newaxis]
        if step.beside.shape[1]:
            given = np.concatenate([given, step.beside], axis=1)
        there, now = np.abs(given) < _HUGE, step.time_us[:, np.newaxis]
        self.last[device] = np.where(there, given, self.last[device])
        heard = np.where(there, now, self.heard_us[device])
        self.heard_us[device] = heard
        if there.all():
            return ~there
        patience = self.patience(device, self.params.us("fresh_s", device))[:, np.newaxis]
        absent: Bool = (heard == UNSET) | (now - heard > patience)
        return absent

    def _take(self, device: Int64, absent: Bool) -> Float64:
        """Smooth the values of `device` and their scatter; (n, 2, k) both as they are now."""
        now, before, fresh = self.last[device], self.smooth[device], self.count[device] == 0
        if fresh.any():
            before[fresh, 0], before[fresh, 1] = now[fresh], 0.0
        values = np.empty_like(before)
        values[:, 0], values[:, 1] = now, np.abs(now - before[:, 0])
        step = (values - before) * self._gain
        if absent.any():
            step = np.where(absent[:, np.newaxis], 0.0, step)
        self.smooth[device] = before + step
        return values

    def _study(self, device: Int64, values: Float64) -> None:
        """Add learning rows to the sums; turn those of devices that have enough into weights."""
        count = self.count[device]
        first = device[count == 0]
        for name in (*_PLAIN[3:], *_SQUARE):
            getattr(self, name)[first] = 0.0
        self.level[first] = self.origin[first] = values[count == 0]
        follow = self.params.of("follow", device)
        share = np.maximum(1.0 / (count + 1.0), 1.0 / (follow + 1.0))[:, np.newaxis, np.newaxis]
        self.level[device] += (values - self.level[device]) * share
        moved = values - self.origin[device]
        self.total[device] += moved
        self.cross[device] += _products(moved)
        self.block[device] += moved
        self.count[device] = count + 1
        self._close_blocks(device[(count + 1) % self._per_block == 0])
        for who in device[count + 1 == self._learn]:
            self._conclude(int(who))

    def _close_blocks(self, device: Int64) -> None:
        mean = self.block[device] / self._per_block
        moved = np.where(
            (self.count[device] > self._per_block)[:, np.newaxis, np.newaxis], mean - self.before[device], 0.0
        )
        self.block_total[device] += mean
        self.block_cross[device] += _products(mean)
        self.moves[device] += _products(moved)
        self.before[device], self.block[device] = mean, 0.0

    def _conclude(self, who: int) -> None:
        """Learning is over: what is usual for the device `who`."""
        for aspect in (0, 1):
            rows = Sums(self._learn, self.total[who, aspect], self.cross[who, aspect])
            count = self._learn // self._per_block
            blocks = Sums(count, self.block_total[who, aspect], self.block_cross[who, aspect])
            share = self._gain / (2.0 - self._gain)
            self.weights[who, aspect] = weights(rows, blocks, self.moves[who, aspect], share)

    def _compare(self, step: Step, rows: Int64, device: Int64, values: Float64, absent: Bool) -> list[Hits]:
        seen = self._seen(device, absent)
        ratio = np.maximum(seen.ratio[:, 0], seen.ratio[:, 1])
        level = self.level[device]
        pace = np.where(ratio < _CALM, 1.0 / (self.params.of("follow", device) + 1.0), 0.0)[:, np.newaxis]
        if absent.any():
            pace = np.where(absent, 0.0, pace)
        self.level[device] = level + (values - level) * pace[:, np.newaxis]
        base = ratio / (ratio + 1.0)
        beyond = ratio > 1.0
        self.score[device] = np.minimum(base, 0.499)
        active = self.active(device, beyond)
        if not len(active):
            return []
        found = self._state(step, rows[active], device[active], Seen(*(part[active] for part in seen)))
        raised = active[self.phase[device[active]] == RAISED]
        self.score[device[raised]] = np.maximum(base[raised], 0.5)
        return found

    def _seen(self, device: Int64, absent: Bool) -> Seen:
        """How far from usual each device is now."""
        away, weight = self.smooth[device] - self.level[device], self.weights[device]
        parts = away[:, :, :1] * weight[:, :, 0]
        for c in range(1, self._quantities):
            parts += away[:, :, c : c + 1] * weight[:, :, c]
        if absent.any():
            for c in range(self._quantities):
                parts[(weight[:, :, c] != 0.0) & absent[:, c, np.newaxis, np.newaxis]] = 0.0
        squares = parts * parts
        total = squares[:, :, 0].copy()
        for c in range(1, self._quantities):
            total += squares[:, :, c]
        ratio = np.sqrt(total)
        ratio[:, 0] /= self.params.of("limit", device)
        ratio[:, 1] /= self.params.of("unrest", device)
        return Seen(away, parts, ratio)

    def _state(self, step: Step, rows: Int64, device: Int64, seen: Seen) -> list[Hits]:
        time_us = step.time_us[rows]
        beyond = np.maximum(seen.ratio[:, 0], seen.ratio[:, 1]) > 1.0
        moves = self.follow(device, time_us, beyond=beyond, inside=~beyond)
        fell = moves.fell | self._accepted(device, time_us, moves)
        return [
            *self._hits(Phase.RAISE, moves.rose.nonzero()[0], step, rows, seen),
            *self._hits(Phase.CLEAR, fell.nonzero()[0], step, rows, seen),
        ]

    def _accepted(self, device: Int64, time_us: Int64, moves: Moves) -> Bool:
        """Which conditions stayed so long that they are normal; these devices are learned anew."""
        old: Bool = moves.lasting & (time_us - self.told_us[device] >= self.params.us("accept_s", device))
        self.end(device[old])
        self.count[device[old]] = 0
        return old

    def _hits(self, phase: Phase, which: Int64, step: Step, rows: Int64, seen: Seen) -> list[Hits]:
        device = rows_of(step.device)[rows[which]]
        found = hits(
            phase,
            rows[which],
            onset_us=self.since_us[device],
            at_us=step.time_us[rows[which]],
            observed=self.smooth[device, 0, 0],
            expected=self.level[device, 0, 0],
            limit=np.nan,
        )
        for one in found:
            one.extra = self._most(device, Seen(*(part[which] for part in seen)))
        return found

    def _most(self, device: Int64, seen: Seen) -> dict[str, Float64]:
        """The quantity that accounts for most of the distance, counted from 1, its value now and its usual one."""
        each = np.arange(len(device))
        aspect = seen.ratio.argmax(axis=1)
        pull, weight = seen.parts[each, aspect], self.weights[device, aspect]
        blame = np.zeros((len(device), self._quantities))
        for c in range(self._quantities):
            blame += weight[:, :, c] * pull[:, c : c + 1]
        part = (blame * seen.away[each, aspect]).argmax(axis=1)
        return {
            "ratio": seen.ratio[each, aspect],
            "part": part + 1.0,
            "now": self.smooth[device, 0, part],
            "usual": self.level[device, 0, part],
        }

    def forget(self, device: Int64) -> None:
        """The clock was set back: other quantities must be heard of anew; what was learned has no time in it."""
        super().forget(device)
        self.heard_us[device] = UNSET


def _products(values: Float64) -> Float64:
    """(n, 2, k, k) of each pair of quantities of `values` (n, 2, k)."""
    return values[:, :, :, np.newaxis] * values[:, :, np.newaxis]


DETECTOR: Final[type[Detector]] = Joint
