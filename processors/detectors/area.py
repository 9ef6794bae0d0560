"""A new leak somewhere among the pressure sensors of one zone, seen by all of them together.

From: hourly means of a zone's sensors (`processors.leaks.hours`). To: hits that name the sensor which fell furthest
below what the others let expect; those ranked behind it are the place.

What sensors do together (demand, tanks, pumps) is learnt from the past and taken out (`processors.leaks.modes`); the
means over one and over three days of what is left are compared with what noise gives. Whole days, so that what the
common modes miss of the day's shape cancels. A leak that was told is known from then on: its pattern is taken out as
well, so that the next one shows (`processors.leaks.pattern`), and its size is followed until it is repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np

from devices.readings import Bool, Float64, Int64, UInt8
from devices.spec import Text
from processors.condition import demand
from processors.detectors import Detector, Hits, Window
from processors.findings import Phase
from processors.leaks.hours import HOUR_US, SENSORS, Column, Hours
from processors.leaks.modes import MOST, Habit, absorb, habit
from processors.leaks.pattern import apart, around, excess, falls, ranked

_DAY: Final = 24
_RING: Final = 72  # hours: the longer mean, and how long a change is kept out of what is learnt
_SPANS: Final = (_DAY, _RING)
_EVENTS: Final = 4  # changes of a zone known at a time
_STEADY_DAYS: Final = 30  # how fast a sensor's own unsteadiness is learnt
_CLIP: Final = 4.0  # a day counts at most this times the usual there, so that a leak is not taken for unsteadiness
_SURE: Final = 0.2  # a pattern is known to a fifth of its size: less beside it is no second leak
_SHADOW: Final = 0.1  # the same for two weeks and more, while what is normal is changing
_OVER: Final = 0.3  # a leak is over when this share of its largest effect is left
_ALIKE: Final = 0.6  # two patterns are of one leak when their cosine is above this, opposite when below minus this
_GROWN: Final = 2.0  # times as large as told: worth telling again
_PLACES: Final = 5
_FREE, _LEAK, _OTHER = 0, 1, 2

_OWN: Final[Mapping[str, Column]] = {
    "seen": Column("int64", 0),  # hours in `mean` and `spread`
    "mean": Column("float64", 0.0),
    "before": Column("float64", np.nan),  # the hour before, to know a sensor that is stuck
    "spread": Column("float64", 0.0, (SENSORS,)),
    "ring": Column("float32", np.nan, (_RING,)),
    "ring_hour": Column("int32", -1, (_RING,)),  # -1: filled in, not measured
    "ring_expected": Column("float32", np.nan, (_RING,)),
    "sigma": Column("float64", np.nan),  # of one hour; NaN while the device is not judged
    "modes": Column("float64", 0.0, (MOST,)),
    "unsteady": Column("float64", 1.0),  # variance of a day's rest, in that of pure noise
    "pattern": Column("float64", 0.0, (_EVENTS,)),  # the quantity's unit, falls negative
    "weight": Column("float64", 0.0, (_EVENTS,)),  # sum of weight * value is blind to what sensors do together
}
_SHARED: Final[Mapping[str, Column]] = {  # the zone's own, the same in each of its devices
    "hours": Column("int64", 0),
    "event": Column("uint8", _FREE, (_EVENTS,)),
    "onset_us": Column("int64", 0, (_EVENTS,)),
    "began": Column("int64", 0, (_EVENTS,)),  # `hours` when it was found
    "told": Column("int64", 0, (_EVENTS,)),  # `hours` when it was last told
    "named": Column("int16", -1, (_EVENTS,)),  # slot of the sensor named
    "base": Column("float64", 0.0, (_EVENTS,)),
    "size": Column("float64", 0.0, (_EVENTS,)),  # as last told
    "peak": Column("float64", 0.0, (_EVENTS,)),
    "level": Column("float64", 0.0, (_EVENTS,)),  # when nothing new disturbed it
    "stood": Column("int64", 0, (_EVENTS,)),  # `hours` when it was last there
    "clearness": Column("float64", 0.0, (_EVENTS,)),  # length of what `pattern` was taken from
}


class _Seen(NamedTuple):
    """The judged sensors of a zone at one hour.

    `rows`: (s,). `usual`: what is normal. `day`, `days`: (s,) means over one and over three days. `there`: (s, 2) which
    of these were mostly measured. `end_us`: end of the hour; `now_us`: when it was judged.
    """

    rows: Int64
    usual: Habit
    day: Float64
    days: Float64
    there: Bool
    end_us: int
    now_us: int


class _Odd(NamedTuple):
    """What noise does not explain: `rest` (s,) in units of the sensor's steadiness over `span` hours."""

    score: float
    span: int
    rest: Float64


class Area(Hours):
    """Raise when the sensors of a zone deviate together by more than `limit` and one of them fell by `least`.

    `limit`: standard deviations of the sum of squares over the zone. `least`: in the quantity's unit. `learn_s`: data
    before the first judgement, and how far the past counts. `wait_s`: after an hour's end, values still count.
    `accept_s`: a leak that was not told again for so long is normal from then on. A zone needs four sensors.
    """

    GROUPED: ClassVar[bool] = True
    FIXED: ClassVar[frozenset[str]] = frozenset({"wait_s"})
    PARAMS: ClassVar[Mapping[str, float]] = {
        "limit": 12.0,
        "least": np.nan,
        "learn_s": 14 * 86400.0,
        "wait_s": 900.0,
        "accept_s": 30 * 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "{what}为{observed}，而同区其他测点表明应为{expected}；同区疑似出现新漏点，最接近的测点依次为{where}",
        "{what} is {observed} where the zone's other sensors let expect {expected}; a new leak in the zone is likely, "
        "nearest to {where}",
    )
    COLUMNS: ClassVar[Mapping[str, Column]] = {**Hours.COLUMNS, **_OWN, **_SHARED}
    STATE: tuple[str, ...] = tuple(COLUMNS)
    seen: Int64
    mean: Float64
    before: Float64
    spread: Float64
    ring: Float64
    ring_hour: Int64
    ring_expected: Float64
    sigma: Float64
    modes: Float64
    unsteady: Float64
    pattern: Float64
    weight: Float64
    hours: Int64
    event: UInt8
    onset_us: Int64
    began: Int64
    told: Int64
    named: Int64
    base: Float64
    size: Float64
    peak: Float64
    level: Float64
    stood: Int64
    clearness: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("area", params, limit=">0", least=">0", learn_s=">0", wait_s=">=0", accept_s=">0")
        super().__init__(params)
        self._position: Float64 | None = None

    def locate(self, position: Float64) -> None:
        """Say where devices are: `position` (n, 2) longitude and latitude in degrees, NaN where unknown."""
        self._position = position

    def vacate(self, rows: Int64, slots: Int64) -> None:
        """What others remember of whoever sat in `slots` is void."""
        self.spread[np.ix_(rows, slots)] = 0.0
        gone = np.isin(self.named[rows], slots) & (self.event[rows] == _LEAK)
        self.event[rows] = np.where(gone, _FREE, self.event[rows])

    def judge(self, rows: Int64, hour: int, value: Float64, now_us: int) -> list[Hits]:
        """Take one zone's `hour`; see `Hours`."""
        seats = self.seats(rows)
        self._share(rows)
        learn = int(self.params.at("learn_s", int(rows[0])) // 3600)
        there = np.isfinite(value) & ~(np.abs(value - self.before[rows]) <= 1e-9 * np.abs(value))
        self.before[rows] = np.where(np.isfinite(value), value, self.before[rows])
        at = int(self.hours[rows[0]])
        self._learn(rows, seats, at % _RING, learn)
        self._keep(rows, at % _RING, hour, np.where(there, value, np.nan))
        self.hours[rows] = at + 1
        if (at + 1) % _DAY == 0:
            self._train(rows, seats, learn)
        if at + 1 < learn:
            return []
        seen = self._view(rows, at, (hour + 1) * HOUR_US, now_us)
        return [] if seen is None else self._decide(seen)

    def _share(self, rows: Int64) -> None:
        """What is the zone's own is the same in all its devices; new ones get it from who was there longest."""
        hours = self.hours[rows]
        if (hours == hours[0]).all():
            return
        elder = rows[int(np.argmax(hours))]
        for name in _SHARED:
            getattr(self, name)[rows] = getattr(self, name)[elder]
        self.pattern[rows[hours < hours.max()]] = 0.0
        self.weight[rows[hours < hours.max()]] = 0.0

    def _learn(self, rows: Int64, seats: Int64, place: int, memory: int) -> None:
        """The hour that leaves the ring is old enough to be normal."""
        there = self.ring_hour[rows, place] >= 0
        if not there.any():
            return
        value = np.where(there, self.ring[rows, place], 0.0).astype(np.float64)
        grid = np.ix_(rows, seats)
        self.mean[rows], self.spread[grid], self.seen[rows] = absorb(
            self.mean[rows], self.spread[grid], self.seen[rows], value, there=there, memory=memory
        )

    def _keep(self, rows: Int64, place: int, hour: int, value: Float64) -> None:
        """The hour into the ring, with what the common modes expect; what is missing is filled in with that."""
        there = np.isfinite(value)
        expected, known = np.full(len(rows), np.nan), np.isfinite(self.sigma[rows])
        if known.any():
            usual = self._usual(rows[known])
            filled = usual.filled(value[known], there[known])
            expected[known] = filled - usual.rest(usual.scaled(filled)) * usual.sigma
        self.ring[rows, place] = np.where(there, value, expected)
        self.ring_expected[rows, place] = expected
        self.ring_hour[rows, place] = np.where(there, hour, -1)

    def _train(self, rows: Int64, seats: Int64, learn: int) -> None:
        """Once a day: the common modes anew, of the sensors that were seen long enough and move at all."""
        enough = (self.seen[rows] >= learn - _RING - _DAY) & (self.seen[rows] > 2 * _DAY)
        fit = enough & (self.spread[rows, seats] > 0.0)
        self.sigma[rows] = np.nan
        self.modes[rows] = 0.0
        if fit.sum() < 4:
            return
        chosen = rows[fit]
        usual = habit(self.mean[chosen], self.spread[np.ix_(chosen, seats[fit])])
        self.sigma[chosen] = usual.sigma
        self.modes[chosen, : usual.modes.shape[1]] = usual.modes

    def _usual(self, rows: Int64) -> Habit:
        modes = self.modes[rows]
        return Habit(self.mean[rows], self.sigma[rows], modes[:, (modes != 0.0).any(axis=0)])

    def _view(self, rows: Int64, at: int, end_us: int, now_us: int) -> _Seen | None:
        ring = self.ring[rows].astype(np.float64)
        good = np.isfinite(self.sigma[rows]) & np.isfinite(ring).all(axis=1)
        if good.sum() < 4:
            return None
        rows, ring = rows[good], ring[good]
        recent = (at - np.arange(_DAY)) % _RING
        measured = self.ring_hour[rows] >= 0
        there = np.column_stack([measured[:, recent].sum(axis=1) * 2 >= _DAY, measured.sum(axis=1) * 2 >= _RING])
        return _Seen(
            rows, self._usual(rows), ring[:, recent].mean(axis=1), ring.mean(axis=1), there, end_us, now_us
        )

    def _decide(self, seen: _Seen) -> list[Hits]:
        found = self._follow(seen)
        if int(self.hours[seen.rows[0]]) % _DAY == 0:
            self._steady(seen)
        odd = self._odd(seen)
        lead = int(seen.rows[0])
        if odd is not None and odd.score > self.params.at("limit", lead):
            found += self._new(seen, odd)
        return found

    def _rest(self, seen: _Seen, span: int) -> Float64:
        """(s,) what the common modes leave of the mean over `span` hours, in the noise of such a mean."""
        mean = seen.day if span == _DAY else seen.days
        rest = seen.usual.rest(seen.usual.scaled(mean)) * np.sqrt(span)
        return np.where(seen.there[:, 0 if span == _DAY else 1], rest, 0.0)

    def _steady(self, seen: _Seen) -> None:
        """How much a day's rest varies at each sensor; noise alone gives one."""
        usual = self.unsteady[seen.rows]
        rest, _ = self._beside(seen, _DAY, self._known(seen, np.ones(len(seen.rows))))
        square = np.minimum(rest * rest, _CLIP * usual)
        self.unsteady[seen.rows] = np.maximum(usual + (square - usual) / _STEADY_DAYS, 1.0)

    def _odd(self, seen: _Seen, but: int = -1) -> _Odd | None:
        """The more striking of the two means beside the events known, without `but`; None while nothing counts."""
        # While a pattern is young and unclear, only what is larger than it counts.
        sure = 1.0 if self._is_young(int(seen.rows[0])).any() else _SURE
        steady = np.sqrt(self.unsteady[seen.rows])
        known = self._known(seen, steady, but)
        dark = self._shadow(seen, but)
        best: _Odd | None = None
        for span in _SPANS:
            rest, explained = self._beside(seen, span, known, steady)
            free = int(seen.there[:, _SPANS.index(span)].sum()) - seen.usual.modes.shape[1] - known.shape[1]
            if free < 2 or rest @ rest < max(sure * sure * explained, dark):
                continue
            score = excess(rest, free)
            if best is None or score > best.score:
                best = _Odd(score, span, rest)
        return best

    def _shadow(self, seen: _Seen, but: int) -> float:
        """The square of what the largest recent event may leave beside its pattern while the modes learn it."""
        lead = int(seen.rows[0])
        busy = (self.event[lead] != _FREE) & (np.arange(_EVENTS) != but)
        recent = (self.hours[lead] - self.began[lead]) * 3600 <= self.params.at("learn_s", lead) + _RING * 3600
        return float(((busy & recent) * self.clearness[lead]).max() * _SHADOW) ** 2

    def _is_young(self, lead: int) -> Bool:
        """(e,) which events of the zone are not a day old, so that their pattern is not clear yet."""
        young: Bool = (self.event[lead] != _FREE) & (self.hours[lead] - self.began[lead] < _DAY)
        return young

    def _known(self, seen: _Seen, steady: Float64, but: int = -1) -> Float64:
        """(s, p) directions of the zone's events, except `but`."""
        busy = (self.event[seen.rows[0]] != _FREE) & (np.arange(_EVENTS) != but)
        return apart(self.pattern[seen.rows][:, busy], seen.usual, steady)

    def _beside(
        self, seen: _Seen, span: int, known: Float64, steady: Float64 | float = 1.0
    ) -> tuple[Float64, float]:
        """(s,) the rest of the mean over `span` hours beside the events `known`, and the square of what they took."""
        rest = self._rest(seen, span) / steady
        taken = known.T @ rest
        return rest - known @ taken, float(taken @ taken)

    def _new(self, seen: _Seen, odd: _Odd) -> list[Hits]:
        """A change that was not there before: a leak is told; a recovery, or more of a leak told, is remembered."""
        first = int(np.argmin(odd.rest))
        leak = self._is_leak(seen, odd)
        if falls(odd.rest) and not leak and not self._is_told(seen, int(seen.rows[first])):
            return []  # too small to matter
        event = self._room(int(seen.rows[0]))
        self._begin(seen, event, odd, leak=leak)
        return [self._hit(Phase.RAISE, seen, event)] if leak else []

    def _is_leak(self, seen: _Seen, odd: _Odd) -> bool:
        """Whether `odd` is a fall that matters, and no more of a leak that is told and not over."""
        lead, first = int(seen.rows[0]), int(np.argmin(odd.rest))
        row = int(seen.rows[first])
        drop = -odd.rest[first] * np.sqrt(self.unsteady[row] / odd.span) * seen.usual.sigma[first]
        return (
            odd.score > self.params.at("limit", lead)
            and falls(odd.rest)
            and bool(drop >= self.params.at("least", lead))
            and not self._is_told(seen, row)
        )

    def _begin(self, seen: _Seen, event: int, odd: _Odd, *, leak: bool) -> None:
        lead, first = int(seen.rows[0]), int(np.argmin(odd.rest))
        for name, value in (
            ("event", _LEAK if leak else _OTHER),
            ("onset_us", seen.end_us - odd.span * HOUR_US),
            ("began", self.hours[lead]),
            ("told", self.hours[lead]),
            ("named", self.slot[seen.rows[first]]),
        ):
            self._set(name, lead, event, value)
        self._shape(seen, event, odd.rest * np.sqrt(self.unsteady[seen.rows] * _DAY / odd.span))
        self._measure(seen, event, told=True)

    def _is_told(self, seen: _Seen, row: int) -> bool:
        """Whether `row` belongs to the place of a leak that is told and not over: then this is more of the same."""
        told = np.flatnonzero(self.event[row] == _LEAK).tolist()
        return any(
            row in self._place(seen, event)[:2] or self.slot[row] == self.named[row, event] for event in told
        )

    def _place(self, seen: _Seen, event: int) -> Int64:
        return seen.rows[ranked(self.pattern[seen.rows, event] / seen.usual.sigma, _PLACES)]

    def _room(self, lead: int) -> int:
        """The event to use next: a free one, else the oldest that is not told, else the oldest."""
        order = np.lexsort((self.began[lead], self.event[lead] == _LEAK, self.event[lead] != _FREE))
        return int(order[0])

    def _shape(self, seen: _Seen, event: int, rest: Float64) -> None:
        """Remember `rest` (s,) of a day's mean as the event's pattern, and weights that measure its size alone."""
        members = self._members[int(self._lead[seen.rows[0]])]
        length = np.sqrt(rest @ rest)
        unit = rest / length
        self.clearness[members, event] = length
        weight = unit / seen.usual.sigma
        self.pattern[members, event] = self.weight[members, event] = 0.0
        self.pattern[seen.rows, event] = unit * seen.usual.sigma
        self.weight[seen.rows, event] = weight
        self.base[members, event] = weight @ seen.usual.mean

    def _measure(self, seen: _Seen, event: int, *, told: bool = False) -> float:
        """The event's size over the last day, in units of its pattern; `told`: the size from which it may grow."""
        lead = int(seen.rows[0])
        size = float(self.weight[seen.rows, event] @ seen.day - self.base[lead, event])
        if told:
            for name in ("size", "peak", "level"):
                self._set(name, lead, event, size)
            self._set("stood", lead, event, self.hours[lead])
        return size

    def _follow(self, seen: _Seen) -> list[Hits]:
        """What became of the events known: their pattern shows more clearly, they grow, they end."""
        lead = int(seen.rows[0])
        found: list[Hits] = []
        for event in np.flatnonzero(self.event[lead] != _FREE).tolist():
            age = int(self.hours[lead] - self.began[lead, event])
            if self.event[lead, event] == _OTHER:
                found += self._other(seen, event, age)
            elif age <= _DAY:
                found += self._young(seen, event, age)
            else:
                found += self._old(seen, event)
        return found

    def _other(self, seen: _Seen, event: int, age: int) -> list[Hits]:
        """A recovery, or what seemed one while it was unclear: then it is told now. Learnt by and by, and forgotten."""
        lead = int(seen.rows[0])
        odd = self._odd(seen, event)
        if odd is not None and self._is_leak(seen, odd):
            self._begin(seen, event, odd, leak=True)
            return [self._hit(Phase.RAISE, seen, event)]
        if age <= _DAY:
            self._reshape(seen, event)
        if age == _DAY:
            self._level(seen, event)
        if age * 3600 > self.params.at("learn_s", lead) + _RING * 3600:  # the common modes know it by now
            self._set("event", lead, event, _FREE)
        return []

    def _young(self, seen: _Seen, event: int, age: int) -> list[Hits]:
        """In its first day a leak's pattern becomes clearer with every hour; at the end of it, it is told again."""
        self._reshape(seen, event)
        self._measure(seen, event, told=True)
        if age < _DAY:
            return []
        self._level(seen, event)
        return self._tell(Phase.UPDATE, seen, event)

    def _reshape(self, seen: _Seen, event: int) -> None:
        """The event's pattern anew, where it stands out more than when it was last taken."""
        rest, _ = self._beside(seen, _DAY, self._known(seen, np.ones(len(seen.rows)), event))
        length = np.sqrt(rest @ rest)
        shape = self.weight[seen.rows, event] * seen.usual.sigma
        if length > self.clearness[seen.rows[0], event] and rest @ shape > _ALIKE * length:
            self._shape(seen, event, rest)

    def _level(self, seen: _Seen, new: int) -> None:
        """Now that event `new` is clear: what it did to the size of others is not theirs, unless it is their end."""
        lead = int(seen.rows[0])
        for event in np.flatnonzero((self.event[lead] != _FREE) & ~self._is_young(lead)).tolist():
            alike = (
                self.pattern[seen.rows, event]
                / seen.usual.sigma
                @ (self.weight[seen.rows, new] * seen.usual.sigma)
            )
            if event != new and alike > -_ALIKE:
                size = self._measure(seen, event)
                self._set("base", lead, event, self.base[lead, event] + size - self.level[lead, event])

    def _old(self, seen: _Seen, event: int) -> list[Hits]:
        """A leak that is known: it grows, it stays, it is over or so old that it is normal."""
        lead = int(seen.rows[0])
        hours = self.hours[lead]
        if self._is_young(lead).any():
            self._set("stood", lead, event, hours)
            return []
        size = self._measure(seen, event)
        if size >= _OVER * self.peak[lead, event]:
            self._set("peak", lead, event, max(size, float(self.peak[lead, event])))
            self._set("level", lead, event, size)
            self._set("stood", lead, event, hours)
        if hours - self.stood[lead, event] >= _DAY or (hours - self.told[lead, event]) * 3600 > self.params.at(
            "accept_s", lead
        ):
            found = self._tell(Phase.CLEAR, seen, event)
            self._set("event", lead, event, _OTHER)
            self._set("began", lead, event, hours - _DAY)
            return found
        if size > _GROWN * self.size[lead, event]:
            self._reshape(seen, event)
            self._measure(seen, event, told=True)
            return self._tell(Phase.UPDATE, seen, event)
        return []

    def _set(self, name: str, lead: int, event: int, value: float) -> None:
        getattr(self, name)[self._members[int(self._lead[lead])], event] = value

    def _tell(self, phase: Phase, seen: _Seen, event: int) -> list[Hits]:
        self._set("told", int(seen.rows[0]), event, self.hours[seen.rows[0]])
        return [self._hit(phase, seen, event)]

    def _hit(self, phase: Phase, seen: _Seen, event: int) -> Hits:
        """One statement about the device named when it was raised; the place as known now."""
        lead = int(seen.rows[0])
        members = self._members[int(self._lead[lead])]
        row = members[self.slot[members] == self.named[lead, event]][:1]
        place = self._place(seen, event)
        here = np.flatnonzero(seen.rows == row)
        observed = float(seen.day[here[0]]) if len(here) else np.nan
        drop = float(-self.pattern[row[0], event] * self.size[lead, event])
        share = self.pattern[seen.rows, event] / seen.usual.sigma
        return Hits(
            phase,
            row,
            onset_us=self.onset_us[lead, event : event + 1].copy(),
            at_us=np.array([seen.now_us]),
            observed=np.array([observed]),
            expected=np.array([observed + drop]),
            limit=np.array([np.nan]),
            start_us=np.array([seen.end_us - _RING * HOUR_US]),
            extra={"drop": np.array([drop]), "alone": np.array([float((share * share).max() * 100.0)])},
            place=[place],
            radius_m=np.array([around(self._position, place, members)]),
        )

    def window(self, device: int) -> Window | None:
        """The last three days in hours, beside what the other sensors let expect."""
        order = np.argsort(self.ring_hour[device], kind="stable")
        order = order[self.ring_hour[device][order] >= 0]
        if not len(order):
            return None
        return Window(
            self.ring_hour[device][order].astype(np.int64) * HOUR_US,
            self.ring[device][order].astype(np.float64),
            self.ring_expected[device][order].astype(np.float64),
            most=2 * _DAY,
        )


DETECTOR: Final[type[Detector]] = Area
