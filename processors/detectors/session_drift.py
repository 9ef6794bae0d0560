"""A level that drifts over weeks, judged only while a machine runs, or only while it rests.

From: one quantity and, beside it, the current of the machine that leads and one that shows how hard it works, in
event-time order. To: once a day, hits whose observed value is the day's mean and whose expected value is the device's
own past. A purifier that fouls lets more through while cooking; a probe that fouls reads more while the kitchen
rests; one that is diluted reads less. Days are summed up after Page: one wild day is nothing, weeks of a little more
are. Sources: Page 1954, Biometrika 41:100-115; Huber 1964, Annals of Mathematical Statistics 35:73-101, bounded
influence.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int32, Int64, UInt8
from devices.spec import Text
from processors.condition import RAISED, UNSET, Condition, Moves, demand, hits, micro, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase
from processors.local_time import LOCAL_US

_HUGE: Final = 1e30
_LEVELS, _LEARNED = 2, 255
_BEST: Final = 0.3  # of the past, or one over it: no cleaning does so much at once, something else is the matter
Float32 = NDArray[np.float32]


class SessionDrift(Condition):
    """Raise when daily means, as shares of the device's own past, add up to more than `limit` beyond 1 +- `slack`.

    `direction`: 1 rises, -1 falls. `running`: the machine runs from this on, in its unit. `while_on`: 1: what is
    measured while it runs counts, 0: while it rests. `learn`: days that make the level of the past; it follows with
    `forget` days. `floor`: a lower level counts as this, in the quantity's unit. `cap`: a reading of more than so
    many times the level counts as that much. `least_s`: a day needs so much time in the state. `day_s`: length of a
    day. A level that got better for as long as it takes to raise is learned anew. Clears when the sum is back at half
    of `limit`. Reads beside: the machine's current; then, where there is one, a quantity that rises with the work:
    more work excuses as much more. State: the condition, the level of the quantity and of the work, today's sums, the
    two sums of days.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "direction": 1.0,
        "running": nan,
        "while_on": 1.0,
        "slack": 0.2,
        "limit": 1.5,
        "learn": 7.0,
        "forget": 60.0,
        "floor": 0.0,
        "cap": 5.0,
        "least_s": 3600.0,
        "day_s": 86400.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"direction", "while_on", "learn", "day_s"})
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "level": ("float32", 0.0),
        "days": ("uint8", 0),
        "total": ("float32", 0.0),
        "left_us": ("int64", UNSET),
        "day": ("int32", 0),
        "sums": ("float32", 0.0),
        "seen_us": ("int64", UNSET),
        "lead": ("float32", 0.0),
        "lead_us": ("int64", UNSET),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "{what}日均{observed}，是自身以往水平{expected}的{ratio:.1f}倍，已持续{lasted}",
        "{what}: daily mean {observed}, {ratio:.1f} times its own past of {expected}, for {lasted}",
    )
    level: Float32  # (n, 2) of the quantity and of the work
    days: UInt8
    total: Float32  # (n, 2) Page's sums: worse, better
    left_us: Int64
    day: Int32
    sums: Float32  # (n, 4) seconds, value times seconds; the same of the work
    seen_us: Int64
    lead: Float32
    lead_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("session_drift", params, direction="direction", running=">0", slack=">=0", limit=">0", learn=">0")
        demand("session_drift", params, forget=">0", floor=">=0", cap=">0", least_s=">0", day_s=">0")
        self._sign = 1.0 if params["direction"] >= 0 else -1.0
        self._on = bool(params["while_on"])
        self._learn, self._day_us = min(int(params["learn"]), _LEARNED - 1), micro(params["day_s"])
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """A level of the quantity and of the work, sums for both, two directions."""
        return {"level": (_LEVELS,), "total": (2,), "sums": (4,)}.get(name, ())

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: days without work change nothing."""
        return np.maximum(super().patience(device, least_us), 10 * self._day_us)

    def usable(self, step: Step) -> Bool:
        """(n,) rows with any of the quantities."""
        there: Bool = np.abs(step.value) < _HUGE
        return there | (np.abs(step.beside) < _HUGE).any(axis=1) if step.beside.shape[1] else there

    def judge(self, step: Step) -> list[Hits]:
        """Take one reading per device; where a day ended with it, say what began or ended."""
        device, time_us = rows_of(step.device), step.time_us
        today = ((time_us + LOCAL_US) // self._day_us).astype(np.int32)
        seen = self.seen_us[device]
        fresh = seen == UNSET
        ended = np.flatnonzero((today != self.day[device]) & ~fresh)
        found = self._close(step, ended) if len(ended) else []
        self.day[device] = today
        self._add(device, time_us, step.value, step.beside, np.where(fresh, 0, time_us - seen))
        self.seen_us[device] = time_us
        return found

    def _add(self, device: Int64, time_us: Int64, value: Float64, beside: Float64, elapsed: Int64) -> None:
        """Add to the day what was measured in the state, each reading for as long as it stands for."""
        lead = self._lead(device, time_us, beside)
        counts = (lead >= self.params.of("running", device)) == self._on
        counts &= lead >= 0
        if not counts.any():
            return
        seconds = np.minimum(np.maximum(elapsed, 0), self._gap_us[device]) / 1e6
        there = np.abs(value) < _HUGE
        level = np.maximum(self.level[device, 0].astype(np.float64), self.params.of("floor", device))
        most = np.where(self.days[device] > 0, self.params.of("cap", device) * level, _HUGE)
        sums = self.sums[device].astype(np.float64)
        lasted = np.where(counts & there, seconds, 0.0)
        sums[:, 0] += lasted
        sums[:, 1] += np.where(there, np.minimum(value, most), 0.0) * lasted
        if beside.shape[1] >= _LEVELS:
            work = beside[:, 1]
            known = np.abs(work) < _HUGE
            lasted = np.where(counts & known, seconds, 0.0)
            sums[:, 2] += lasted
            sums[:, 3] += np.where(known, work, 0.0) * lasted
        self.sums[device] = sums

    def _lead(self, device: Int64, time_us: Int64, beside: Float64) -> Float64:
        """(n,) the machine's current now, or lately; -1 where it is not known."""
        told = np.abs(beside[:, 0]) < _HUGE if beside.shape[1] else np.zeros(len(device), dtype=np.bool_)
        if told.all():
            now = np.maximum(beside[:, 0], 0.0)
            self.lead[device], self.lead_us[device] = now, time_us
            return now
        kept, age = self.lead[device].astype(np.float64), time_us - self.lead_us[device]
        lately = (age >= 0) & (age <= self._gap_us[device])
        now = np.where(told, np.maximum(beside[:, 0] if beside.shape[1] else 0.0, 0.0), kept)
        self.lead[device] = now
        self.lead_us[device] = np.where(told, time_us, self.lead_us[device])
        return np.where(told | lately, now, -1.0)

    def _close(self, step: Step, ended: Int64) -> list[Hits]:
        """The day of these rows' devices is over: its mean against their past."""
        device = rows_of(step.device)[ended]
        sums = self.sums[device].astype(np.float64)
        self.sums[device] = 0.0
        enough = sums[:, 0] >= self.params.of("least_s", device)
        rows, device, sums = ended[enough], device[enough], sums[enough]
        if not len(rows):
            return []
        mean = sums[:, 1] / sums[:, 0]
        worked = sums[:, 2] >= self.params.of("least_s", device)
        work = np.where(worked, sums[:, 3] / np.maximum(sums[:, 2], 1.0), 0.0)
        days, level = self.days[device], self.level[device].astype(np.float64)
        past = np.maximum(level[:, 0], self.params.of("floor", device))
        # More work than in the past excuses as much more; less work excuses nothing.
        busy = np.where(worked & (level[:, 1] > 0), np.maximum(work / np.maximum(level[:, 1], 1e-9), 1.0), 1.0)
        ratio = mean / np.maximum(past * (busy if self._sign > 0 else 1.0), 1e-9)
        total = self._sums(device, step.time_us[rows], ratio, days < self._learn)
        days = self.days[device]  # none again where it got better
        learning = days < self._learn
        quiet = (total.max(axis=1) < self.params.of("limit", device) / 2) & (self.phase[device] != RAISED)
        share = np.where(
            learning, 1.0 / (days + 1.0), np.where(quiet, 1.0 / self.params.of("forget", device), 0.0)
        )
        level[:, 0] += share * (mean - level[:, 0])
        level[:, 1] += np.where(worked, share, 0.0) * (work - level[:, 1])
        self.level[device] = level
        self.days[device] = np.minimum(days + 1, self._learn)
        return self._state(step, rows, mean, past, ratio, total)

    def _too_good(self, ratio: Float64) -> Bool:
        """(m,) days that are not what they seem, as with a probe that is blocked: the past is not learned from them."""
        return ratio < _BEST if self._sign > 0 else ratio > 1.0 / _BEST

    def _sums(self, device: Int64, time_us: Int64, ratio: Float64, learning: Bool) -> Float64:
        """(m, 2) Page's sums after this day: worse, better. A level that got better is learned anew."""
        limit, slack = self.params.of("limit", device), self.params.of("slack", device)
        push = np.clip(self._sign * (ratio - 1.0), -1.0, limit / 2 + slack)
        before = self.total[device].astype(np.float64)
        total = np.empty_like(before)
        total[:, 0] = np.maximum(before[:, 0] + push - slack, 0.0)
        total[:, 1] = np.where(self._too_good(ratio), before[:, 1], np.maximum(before[:, 1] - push - slack, 0.0))
        total[learning] = 0.0
        better = (total[:, 1] > limit) & (self.phase[device] != RAISED)
        self.days[device[better]] = 0
        total[better] = 0.0
        self.left_us[device] = np.where((before[:, 0] > 0) & (total[:, 0] > 0), self.left_us[device], time_us)
        self.total[device] = np.minimum(total, np.asarray(limit)[..., np.newaxis] * 1.0)
        return total

    def _state(
        self, step: Step, rows: Int64, mean: Float64, past: Float64, ratio: Float64, total: Float64
    ) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        limit = self.params.of("limit", device)
        beyond = total[:, 0] > limit
        busy = np.flatnonzero(beyond | (self.phase[device] != 0))
        if not len(busy):
            return []
        who, when = device[busy], time_us[busy]
        moves: Moves = self.follow(
            who,
            when,
            beyond=beyond[busy],
            inside=total[busy, 0] <= np.asarray(limit)[busy] / 2
            if np.ndim(limit)
            else total[busy, 0] <= limit / 2,
            onset_us=np.minimum(self.left_us[who], when),
        )
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            place = busy[which]
            bound = 1.0 + self._sign * self.params.of("slack", device[place])
            told = hits(
                phase,
                rows[place],
                onset_us=self.since_us[device[place]],
                at_us=time_us[place],
                observed=mean[place],
                expected=past[place],
                limit=past[place] * bound,
            )
            for one in told:
                one.extra = {"ratio": ratio[place]}
            found += told
        self.total[who[moves.fell]] = 0.0  # so that the next condition gets an onset of its own
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: today begins anew, and the sums too unless they are needed to see the end."""
        super().forget(device)
        self.seen_us[device], self.lead_us[device] = UNSET, UNSET
        self.sums[device] = 0.0
        self.total[device[self.phase[device] != RAISED]] = 0.0


DETECTOR: Final[type[Detector]] = SessionDrift
