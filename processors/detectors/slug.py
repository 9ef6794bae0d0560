"""A burst of pollutant at a sewage inlet, told from rain and from the daily rise.

From: one concentration, beside it the flow. To: hits with the usual value at that time as expected. The plant's own
day (`processors.day_shape`) and its own last days say what is usual. What counts is how many times the usual both the
concentration and the load (concentration x flow) are, the smaller of the two: rain lowers the concentration at an
unchanged load; a quiet hour thickens sewage without more load; a discharge raises both. Two measurements of three
must say so, and a change right after a gap or a lone spike, where somebody calibrated, counts as the instrument's
first. Sources: ATV-DVWK-A 198 (2003), dry-weather loads as the measure of an inflow; Tukey 1977, running medians of
three.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors import day_shape
from processors.condition import IDLE, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase

_HUGE: Final = 1e100
_BIG: Final = 10.0  # further from the usual than this makes no difference
_HOUR_US: Final = 3_600_000_000
_FLOW_LASTS_US: Final = _HOUR_US  # a flow reading says nothing of a value an hour later
_FLOW_SMOOTH_US: Final = 1_800_000_000
_WET: Final = 1.15  # a flow this many times the usual may be rain: the level stands still
_LEVEL_MOST: Final = 2.0
_LEVEL_STEP: Final = 0.2  # bounded share by which a reading moves the level of the last days
_PER_DAY: Final = 1.0 / 86_400e6
_SPIKE: Final = 1.6  # a lone value this many times its neighbours, or its inverse, is a mark
_QUIET: Final = 0.75
_TYPICAL_DAYS: Final = 7.0
_SPREAD_DAYS: Final = 20.0
_SPREAD_MOST: Final = 0.3
_WEEKS: Final = 3.0


class _About(NamedTuple):
    """(n,) what a statement says besides the value: in the quantity's unit, and as multiples of the usual."""

    expected: Float64
    limit: Float64
    times: Float64
    load: Float64


class Slug(Condition):
    """Raise when value and load were both well above the usual for `hold_s`; clear after `clear_s` near it again.

    Beside: flow, any unit, may be absent. Units: `high`, `ceiling` in the quantity's unit: `high` limits a plant not
    learned yet (`learn_s`), `ceiling` every plant; NaN: none. `least`: share above the usual that counts at least,
    `alone` the same where no flow is known; `spreads`: at least so many of the plant's own mean deviations.
    `level_days`: the days that make the present level. `settle_s`: after a mark the level follows the instrument and
    only `alone` counts. `update_s`: a worse value is told at most so often. State: two day shapes (value, flow), two
    levels, spread, the last two ratios, the last flow ratio, times.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "high": nan,
        "ceiling": nan,
        "least": 0.4,
        "alone": 1.0,
        "spreads": 22.0,
        "hold_s": 1500.0,
        "clear_s": 1800.0,
        "update_s": 3600.0,
        "learn_s": 7 * 86400.0,
        "level_days": 1.0,
        "settle_s": 5400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}{observed}，这一时刻通常约{expected}；浓度为平常的{times:.1f}倍，污染负荷为{load:.1f}倍，不是雨水稀释，已{lasted}",
        "{what} {observed}, usually about {expected} at this time; the concentration is {times:.1f} times and the load "
        "{load:.1f} times the usual, which is no rain; for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        **day_shape.COLUMNS,
        "level": ("float64", 1.0),
        "spread": ("float64", 0.02),
        "value": ("float64", -_BIG),
        "held": ("float32", 1.0),
        "last": ("float64", 1.0),
        "older": ("float64", 1.0),
        "flow_ratio": ("float64", 1.0),
        "flow_us": ("int64", UNSET),
        "first_us": ("int64", UNSET),
        "seen_us": ("int64", UNSET),
        "mark_us": ("int64", UNSET),
        "typical": ("float64", 0.0),
        "worst": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    shape: NDArray[np.float32]
    visits: NDArray[np.uint8]
    total: Float64
    taken: NDArray[np.int32]
    slot: NDArray[np.int16]
    level: Float64
    spread: Float64
    value: Float64
    held: NDArray[np.float32]
    last: Float64
    older: Float64
    flow_ratio: Float64
    flow_us: Int64
    first_us: Int64
    seen_us: Int64
    mark_us: Int64
    typical: Float64
    worst: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("slug", params, least=">0", alone=">0", spreads=">=0", hold_s=">=0", clear_s=">=0", update_s=">0")
        demand("slug", params, learn_s=">=0", level_days=">0", settle_s=">=0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Day shapes and levels are kept for the value and the flow."""
        return {"level": (2,), "held": (3,)}.get(name) or day_shape.width(name, 2)

    def usable(self, step: Step) -> Bool:
        """(n,) rows with a value or a flow."""
        fine: Bool = np.abs(step.value) < _HUGE
        return fine | (np.abs(step.beside[:, 0]) < _HUGE) if step.beside.shape[1] else fine

    def judge(self, step: Step) -> list[Hits]:
        """Take one value, one flow or both per device and say what began, worsened or ended."""
        device, time_us = rows_of(step.device), step.time_us
        values = np.full((len(device), 2), np.nan)
        values[:, 0] = step.value
        if step.beside.shape[1]:
            values[:, 1] = step.beside[:, 0]
        fine = np.abs(values) < _HUGE
        values = np.where(fine, values, 0.0)
        at = day_shape.slots(time_us)
        usual = day_shape.usual(self, device, at)
        there = usual > 0
        ratio = np.clip(values / np.where(there, usual, 1.0), 0.0, _BIG)
        day_shape.learn(self, device, at, values, fine, _WEEKS)
        self._take_flow(device, time_us, ratio[:, 1], fine[:, 1] & there[:, 1])
        rows = np.flatnonzero(fine[:, 0])
        if not len(rows):
            return []
        usual = np.where(there, usual, 0.0)
        return self._judge(device[rows], time_us[rows], values[rows, 0], usual[rows, 0], ratio[rows, 0], rows)

    def _take_flow(self, device: Int64, time_us: Int64, ratio: Float64, known: Bool) -> None:
        """Keep how many times the usual the flow is, smoothed over half an hour."""
        passed, old = time_us - self.flow_us[device], self.flow_ratio[device]
        fresh = (passed >= 0) & (passed <= _FLOW_LASTS_US)
        smooth = np.where(fresh, old + (ratio - old) * (passed / (passed + _FLOW_SMOOTH_US)), ratio)
        self.flow_ratio[device] = np.where(known, smooth, old)
        self.flow_us[device] = np.where(known, time_us, self.flow_us[device])

    def _settling(self, device: Int64, time_us: Int64) -> Bool:
        since = time_us - self.mark_us[device]
        settling: Bool = (since >= 0) & (since < self.params.us("settle_s", device))
        return settling

    def _judge(
        self, device: Int64, time_us: Int64, value: Float64, usual: Float64, ratio: Float64, rows: Int64
    ) -> list[Hits]:
        known = usual > 0
        since_flow = time_us - self.flow_us[device]
        flowing = (since_flow >= 0) & (since_flow <= _FLOW_LASTS_US)
        flow = np.where(flowing, self.flow_ratio[device], 1.0)
        passed = np.clip(time_us - self.seen_us[device], 0, _HOUR_US)
        # A repeated value was measured when it first came: what was usual then counts. But the shape blurs an
        # instrument's step over half an hour: what the value is while it stands, least, is what is beyond the usual.
        again = value == self.value[device]
        held = self.held[device].astype(np.float64)
        least = np.where(again, np.minimum(held[:, 2], ratio), ratio)
        ratio = np.where(again, held[:, 0], ratio)
        flow = np.where(again, held[:, 1], flow)
        self.value[device] = value
        self.held[device] = np.stack([ratio, flow, least], axis=1)
        level = self.level[device]
        thick, load = ratio / level[:, 0], ratio * flow / level[:, 1]
        # Above the last days and above the weeks before: a fouled analyser that was cleaned is no slug.
        most = np.minimum(np.minimum(thick, ratio), np.minimum(load, ratio * flow))
        most *= least / np.where(ratio > 0, ratio, 1.0)
        times = np.where(known, most, 1.0)
        last, older = self.last[device], self.older[device]
        middle = np.maximum(np.minimum(last, times), np.minimum(np.maximum(last, times), older))
        self._mark(device, time_us, times, last, older)
        settling = self._settling(device, time_us)
        self._follow_level(device, passed, thick, load, known & (flow < _WET), flowing, settling)
        self.last[device], self.older[device], self.seen_us[device] = times, last, time_us
        self.first_us[device] = np.minimum(self.first_us[device], time_us)
        learned = known & (time_us - self.first_us[device] >= self.params.us("learn_s", device))
        alone, spread = self.params.of("alone", device), self.spread[device]
        limit = np.where(flowing, self.params.of("least", device), alone)
        limit = np.maximum(limit, spread * self.params.of("spreads", device))
        limit = np.where(settling, np.maximum(limit, alone), limit)
        # In the small hours little is needed to double little: what counts is measured by an ordinary hour as well.
        typical = self.typical[device]
        limit = limit * np.maximum(_QUIET * typical / np.where(known, usual, 1.0), 1.0)
        week = np.where(typical > 0, passed * (_PER_DAY / _TYPICAL_DAYS), 1.0)
        self.typical[device] = typical + np.where(known, (usual - typical) * np.minimum(week, 1.0), 0.0)
        excess = np.where(learned, middle - 1.0 - limit, -1.0)
        calm = known & (self.phase[device] == IDLE)
        above = np.clip(middle - 1.0, 0.0, _SPREAD_MOST)
        share = passed * (_PER_DAY / _SPREAD_DAYS)
        self.spread[device] = spread + np.where(calm, (above - spread) * (share / (1.0 + share)), 0.0)
        high = np.where(learned, np.inf, self.params.of("high", device))
        ceiling = self.params.of("ceiling", device)
        over = (value > high) | (value > ceiling)
        beyond = over | (excess > 0)
        which = self.active(device, beyond)
        if not len(which):
            return []
        near = ~over & (~learned | (middle - 1.0 <= limit / 2))
        expected = np.where(known, usual * level[:, 0], nan)
        bound = np.where(learned, expected * (1.0 + limit), np.fmin(high, ceiling))
        about = _About(expected, bound, thick, np.where(flowing, load, nan))
        return self._say(which, rows, device, time_us, value, beyond, near, about)

    def _follow_level(
        self, device: Int64, passed: Int64, thick: Float64, load: Float64, dry: Bool, flowing: Bool, settling: Bool
    ) -> None:
        """The last dry days' level of concentration and load, which season, holidays and slow drift move."""
        days = np.where(
            settling, self.params.of("settle_s", device) / (3 * 86400.0), self.params.of("level_days", device)
        )
        share = passed * _PER_DAY / days
        share = share / (1.0 + share)
        for column, now, there in ((0, thick, dry), (1, load, dry & flowing)):
            moved = 1.0 + np.clip(now - 1.0, -_LEVEL_STEP, _LEVEL_STEP) * share
            level = self.level[device, column] * np.where(there, moved, 1.0)
            self.level[device, column] = np.clip(level, 1.0 / _LEVEL_MOST, _LEVEL_MOST)

    def _mark(self, device: Int64, time_us: Int64, times: Float64, last: Float64, older: Float64) -> None:
        """A gap in the value alone, or a lone spike, is where somebody calibrated."""
        spike = (last > _SPIKE * np.maximum(times, older)) | (last * _SPIKE < np.minimum(times, older))
        gap = time_us - self.seen_us[device] > self._gap_us[device]
        self.mark_us[device] = np.where(spike | gap, time_us, self.mark_us[device])

    def _say(
        self,
        which: Int64,
        rows: Int64,
        device: Int64,
        time_us: Int64,
        value: Float64,
        beyond: Bool,
        near: Bool,
        about: _About,
    ) -> list[Hits]:
        """Move the conditions of the rows `which` and tell."""
        device, time_us, value = device[which], time_us[which], value[which]
        moves = self.follow(device, time_us, beyond=beyond[which], inside=near[which])
        worst = np.where(moves.began, value, np.maximum(self.worst[device], value))
        worsened = moves.lasting & (worst > self.worst[device])
        worsened &= time_us - self.told_us[device] >= self.params.us("update_s", device)
        self.worst[device] = np.where(moves.lasting & ~worsened, self.worst[device], worst)
        self.told_us[device[worsened]] = time_us[worsened]
        found = []
        for phase, mask in ((Phase.RAISE, moves.rose), (Phase.UPDATE, worsened), (Phase.CLEAR, moves.fell)):
            i = mask.nonzero()[0]
            who, at = device[i], which[i]
            told = hits(
                phase,
                rows[at],
                onset_us=self.since_us[who],
                at_us=time_us[i],
                observed=self.worst[who],
                expected=about.expected[at],
                limit=about.limit[at],
            )
            for one in told:
                one.extra = {"times": about.times[at], "load": about.load[at]}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: what was timed starts anew; the day shapes stay."""
        super().forget(device)
        for column in (self.flow_us, self.seen_us, self.mark_us):
            column[device] = UNSET


DETECTOR: Final[type[Detector]] = Slug
