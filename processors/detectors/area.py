"""A new leak somewhere among the pressure sensors of one zone, seen by all of them together.

From: a zone's sensors hour by hour (`processors.leaks.sensors`). To: hits that name the sensor which fell furthest
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
from processors.detectors import Detector, Hits
from processors.findings import Phase
from processors.leaks.hours import HOUR_US, Column
from processors.leaks.pattern import apart, around, excess, falls, ranked
from processors.leaks.sensors import DAY, RING, SPANS, Seen, Sensors

_HOLD_H: Final = 12  # hours in a row beyond the limit: means of a day pass it for some hours by chance
_SURELY: Final = 2.5  # times the limit: at once
_EVENTS: Final = 4  # changes of a zone known at a time
_SURE: Final = 0.2  # a pattern is known to a fifth of its size: less beside it is no second leak
_SHADOW: Final = 0.1  # the same for two weeks and more, while what is normal is changing
_STILL: Final = 0.5  # of three days' mean, this must be there in the last day: else it is over already
_OVER: Final = 0.3  # a leak is over when this share of its largest effect is left
_CLEARER: Final = 1.4  # times as long: of two leaks at right angles, the cosine is below `_SAME` by then
_SAME: Final = 0.8
_TOP: Final = 2  # or above `_ALIKE`, when the sensor that fell most is one of these
_TOLD: Final = 3  # a new fall at one of the first so many sensors of a leak that is told is more of the same
_ALIKE: Final = 0.6  # two patterns are of one leak when their cosine is above this, opposite when below minus this
_GROWN: Final = 2.0  # times as large as told: worth telling again
_PLACES: Final = 5
_FREE, _LEAK, _OTHER = 0, 1, 2

_OWN: Final[Mapping[str, Column]] = {
    "pattern": Column("float64", 0.0, (_EVENTS,)),  # the quantity's unit, falls negative
    "weight": Column("float64", 0.0, (_EVENTS,)),  # sum of weight * value is blind to what sensors do together
}
_SHARED: Final[Mapping[str, Column]] = {
    "over": Column(
        "int64", 0
    ),  # hours in a row beyond the limit  # the zone's own, the same in each of its devices
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


class _Odd(NamedTuple):
    """What noise does not explain: `rest` (s,) in units of the sensor's steadiness over `span` hours.

    `day`: (s,) the same of the last day alone.
    """

    score: float
    span: int
    rest: Float64
    day: Float64


class Area(Sensors):
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
    COLUMNS: ClassVar[Mapping[str, Column]] = {**Sensors.COLUMNS, **_OWN, **_SHARED}
    STATE: tuple[str, ...] = tuple(COLUMNS)
    pattern: Float64
    weight: Float64
    over: Int64
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
        super().vacate(rows, slots)
        gone = np.isin(self.named[rows], slots) & (self.event[rows] == _LEAK)
        self.event[rows] = np.where(gone, _FREE, self.event[rows])

    def share(self, rows: Int64, elder: int, younger: Int64) -> None:
        """Give what is the zone's own to all its `rows`; a new device has no part in the patterns of old events."""
        super().share(rows, elder, younger)
        for name in _SHARED:
            getattr(self, name)[rows] = getattr(self, name)[elder]
        self.pattern[younger] = self.weight[younger] = 0.0

    def decide(self, seen: Seen) -> list[Hits]:
        """First what became of what is known, then what is new beside it."""
        found = self._follow(seen)
        if int(self.hours[seen.rows[0]]) % DAY == 0:
            rest, _ = self._beside(seen, DAY, self._known(seen, np.ones(len(seen.rows))))
            self.settle(seen, rest)
        odd = self._odd(seen)
        lead = int(seen.rows[0])
        limit = self.params.at("limit", lead)
        over = 0 if odd is None or odd.score <= limit else int(self.over[lead]) + 1
        self.over[self._members[int(self._lead[lead])]] = over
        if odd is not None and (over >= _HOLD_H or odd.score > _SURELY * limit):
            found += self._new(seen, odd)
        return found

    def _odd(self, seen: Seen, but: int = -1) -> _Odd | None:
        """The more striking of the two means beside the events known, without `but`; None while nothing counts."""
        # While a pattern is young and unclear, only what is larger than it counts.
        sure = 1.0 if self._is_young(int(seen.rows[0])).any() else _SURE
        steady = np.sqrt(self.unsteady[seen.rows])
        known = self._known(seen, steady, but)
        dark = self._shadow(seen, but)
        best: _Odd | None = None
        day, _ = self._beside(seen, DAY, known, steady)
        for span in SPANS:
            rest, explained = self._beside(seen, span, known, steady)
            free = int(seen.there[:, SPANS.index(span)].sum()) - seen.usual.modes.shape[1] - known.shape[1]
            if free < 2 or rest @ rest < max(sure * sure * explained, dark):
                continue
            score = excess(rest, free)
            if best is None or score > best.score:
                best = _Odd(score, span, rest, day)
        return best

    def _shadow(self, seen: Seen, but: int) -> float:
        """The square of what the largest recent event may leave beside its pattern while the modes learn it."""
        lead = int(seen.rows[0])
        busy = (self.event[lead] != _FREE) & (np.arange(_EVENTS) != but)
        recent = (self.hours[lead] - self.began[lead]) * 3600 <= self.params.at("learn_s", lead) + RING * 3600
        return float(((busy & recent) * self.clearness[lead]).max() * _SHADOW) ** 2

    def _is_young(self, lead: int) -> Bool:
        """(e,) which events of the zone are not a day old, so that their pattern is not clear yet."""
        young: Bool = (self.event[lead] != _FREE) & (self.hours[lead] - self.began[lead] < DAY)
        return young

    def _known(self, seen: Seen, steady: Float64, but: int = -1) -> Float64:
        """(s, p) directions of the zone's events, except `but`."""
        busy = (self.event[seen.rows[0]] != _FREE) & (np.arange(_EVENTS) != but)
        return apart(self.pattern[seen.rows][:, busy], seen.usual, steady)

    def _beside(
        self, seen: Seen, span: int, known: Float64, steady: Float64 | float = 1.0
    ) -> tuple[Float64, float]:
        """(s,) the rest of the mean over `span` hours beside the events `known`, and the square of what they took."""
        rest = self.rest(seen, span) / steady
        taken = known.T @ rest
        return rest - known @ taken, float(taken @ taken)

    def _new(self, seen: Seen, odd: _Odd) -> list[Hits]:
        """A change that was not there before: a leak is told; a recovery, or more of a leak told, is remembered."""
        first = int(np.argmin(odd.rest))
        leak = self._is_leak(seen, odd)
        if falls(odd.rest) and not leak and not self._is_told(seen, int(seen.rows[first])):
            return []  # too small to matter
        event = self._room(int(seen.rows[0]))
        self._begin(seen, event, odd, leak=leak)
        return [self._hit(Phase.RAISE, seen, event)] if leak else []

    def _is_leak(self, seen: Seen, odd: _Odd) -> bool:
        """Whether `odd` is a fall that matters, and no more of a leak that is told and not over."""
        lead, first = int(seen.rows[0]), int(np.argmin(odd.rest))
        row = int(seen.rows[first])
        unit = np.sqrt(self.unsteady[row]) * seen.usual.sigma[first]
        drop, today = -odd.rest[first] * unit / np.sqrt(odd.span), -odd.day[first] * unit / np.sqrt(DAY)
        return (
            odd.score > self.params.at("limit", lead)
            and falls(odd.rest)
            and bool(drop >= self.params.at("least", lead))
            and bool(today >= _STILL * drop)
            and not self._is_told(seen, row)
        )

    def _begin(self, seen: Seen, event: int, odd: _Odd, *, leak: bool) -> None:
        lead, first = int(seen.rows[0]), int(np.argmin(odd.rest))
        for name, value in (
            ("event", _LEAK if leak else _OTHER),
            ("onset_us", seen.end_us - odd.span * HOUR_US),
            ("began", self.hours[lead]),
            ("told", self.hours[lead]),
            ("named", self.slot[seen.rows[first]]),
        ):
            self._set(name, lead, event, value)
        self._shape(seen, event, odd.rest * np.sqrt(self.unsteady[seen.rows] * DAY / odd.span))
        self._measure(seen, event, told=True)

    def _is_told(self, seen: Seen, row: int) -> bool:
        """Whether `row` belongs to the place of a leak that is told and not over: then this is more of the same."""
        told = np.flatnonzero(self.event[row] == _LEAK).tolist()
        return any(
            row in self._place(seen, event)[:_TOLD] or self.slot[row] == self.named[row, event] for event in told
        )

    def _place(self, seen: Seen, event: int) -> Int64:
        unit = seen.usual.sigma * np.sqrt(self.unsteady[seen.rows])  # an unsteady sensor is not first by its noise
        return seen.rows[ranked(self.pattern[seen.rows, event] / unit, _PLACES)]

    def _room(self, lead: int) -> int:
        """The event to use next: a free one, else the oldest that is not told, else the oldest."""
        order = np.lexsort((self.began[lead], self.event[lead] == _LEAK, self.event[lead] != _FREE))
        return int(order[0])

    def _shape(self, seen: Seen, event: int, rest: Float64) -> None:
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

    def _measure(self, seen: Seen, event: int, *, told: bool = False) -> float:
        """The event's size over the last day, in units of its pattern; `told`: the size from which it may grow."""
        lead = int(seen.rows[0])
        size = float(self.weight[seen.rows, event] @ seen.day - self.base[lead, event])
        if told:
            for name in ("size", "peak", "level"):
                self._set(name, lead, event, size)
            self._set("stood", lead, event, self.hours[lead])
        return size

    def _follow(self, seen: Seen) -> list[Hits]:
        """What became of the events known: their pattern shows more clearly, they grow, they end."""
        lead = int(seen.rows[0])
        found: list[Hits] = []
        for event in np.flatnonzero(self.event[lead] != _FREE).tolist():
            age = int(self.hours[lead] - self.began[lead, event])
            if self.event[lead, event] == _OTHER:
                found += self._other(seen, event, age)
            elif age <= DAY:
                found += self._young(seen, event, age)
            else:
                found += self._old(seen, event)
        return found

    def _other(self, seen: Seen, event: int, age: int) -> list[Hits]:
        """A recovery, or what seemed one while it was unclear: then it is told now. Learnt by and by, and forgotten."""
        lead = int(seen.rows[0])
        odd = self._odd(seen, event)
        if odd is not None and self._is_leak(seen, odd):
            self._begin(seen, event, odd, leak=True)
            return [self._hit(Phase.RAISE, seen, event)]
        if age <= DAY:
            self._reshape(seen, event)
        if age == DAY:
            self._level(seen, event)
        if age * 3600 > self.params.at("learn_s", lead) + RING * 3600:  # the common modes know it by now
            self._set("event", lead, event, _FREE)
        return []

    def _young(self, seen: Seen, event: int, age: int) -> list[Hits]:
        """In its first day a leak's pattern becomes clearer with every hour; at the end of it, it is told again."""
        self._reshape(seen, event)
        self._measure(seen, event, told=True)
        if age < DAY:
            return []
        self._level(seen, event)
        return self._tell(Phase.UPDATE, seen, event)

    def _reshape(self, seen: Seen, event: int) -> None:
        """The event's pattern anew, where it stands out more than when it was last taken."""
        rest, _ = self._beside(seen, DAY, self._known(seen, np.ones(len(seen.rows)), event))
        length = np.sqrt(rest @ rest)
        shape = self.weight[seen.rows, event] * seen.usual.sigma
        # The same leak, grown: another one nearby would turn the pattern, and must not slip into it hour by hour.
        alike = rest @ shape / length
        same = alike > _SAME or (alike > _ALIKE and int(np.argmin(rest)) in np.argsort(shape)[:_TOP])
        if length > _CLEARER * self.clearness[seen.rows[0], event] and same:
            self._shape(seen, event, rest)

    def _level(self, seen: Seen, new: int) -> None:
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

    def _old(self, seen: Seen, event: int) -> list[Hits]:
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
        if hours - self.stood[lead, event] >= DAY or (hours - self.told[lead, event]) * 3600 > self.params.at(
            "accept_s", lead
        ):
            found = self._tell(Phase.CLEAR, seen, event)
            self._set("event", lead, event, _OTHER)
            self._set("began", lead, event, hours - DAY)
            return found
        if size > _GROWN * self.size[lead, event] > 0.0:
            self._reshape(seen, event)
            self._measure(seen, event, told=True)
            return self._tell(Phase.UPDATE, seen, event)
        return []

    def _set(self, name: str, lead: int, event: int, value: float) -> None:
        getattr(self, name)[self._members[int(self._lead[lead])], event] = value

    def _tell(self, phase: Phase, seen: Seen, event: int) -> list[Hits]:
        self._set("told", int(seen.rows[0]), event, self.hours[seen.rows[0]])
        return [self._hit(phase, seen, event)]

    def _hit(self, phase: Phase, seen: Seen, event: int) -> Hits:
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
            start_us=np.array([seen.end_us - RING * HOUR_US]),
            extra={"drop": np.array([drop]), "alone": np.array([float((share * share).max() * 100.0)])},
            place=[place],
            radius_m=np.array([around(self._position, place, members)]),
        )


DETECTOR: Final[type[Detector]] = Area
