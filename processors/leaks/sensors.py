"""The sensors of a zone: what each usually reads beside the others, and what it read in the last three days.

From: hourly means of a zone's devices (`processors.leaks.hours`). To: a subclass's `decide`, with the zone as it is
seen now: means over one and three days, and the habit they are to be compared with (`processors.leaks.modes`).
An hour is learnt when it is three days old, so that what is new is not normal before it was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np

from devices.readings import Bool, Float64, Int64
from processors.detectors import Hits, Window
from processors.leaks.hours import HOUR_US, SENSORS, Column, Hours
from processors.leaks.modes import MOST, Habit, absorb, habit

DAY: Final = 24
RING: Final = 72  # hours: the longer mean, and how long a change is kept out of what is learnt
SPANS: Final = (DAY, RING)
_LEAST: Final = 4  # sensors: fewer cannot tell what they have in common from what one has alone
_STEADY_DAYS: Final = 30  # how fast a sensor's own unsteadiness is learnt
_CLIP: Final = 4.0  # a day counts at most this times the usual there, so that a leak is not taken for unsteadiness
_SOME_H: Final = 4 * DAY  # hours learned before common modes are looked for
_ENOUGH: Final = 0.7  # of the hours learned, a sensor must have been there for
_STUCK: Final = 1e-9  # relative: two hours' means this alike are one reading repeated


class Seen(NamedTuple):
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


class Sensors(Hours):
    """Zones whose sensors are learnt and kept. State per device as named below; `hours` is the zone's own.

    Parameters used: `learn_s`, data before the first judgement, and how far the past counts.
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {
        **Hours.COLUMNS,
        "hours": Column("int64", 0),  # judged of the zone, the same in each of its devices
        "learnt": Column("int64", 0),  # of these
        "seen": Column("int64", 0),  # measured hours in `mean` and `spread`
        "mean": Column("float64", 0.0),
        "before": Column("float64", np.nan),  # the hour before, to know a sensor that is stuck
        "spread": Column("float64", 0.0, (SENSORS,)),
        "ring": Column("float32", np.nan, (RING,)),
        "ring_hour": Column("int32", -1, (RING,)),  # -1: filled in, not measured
        "ring_expected": Column("float32", np.nan, (RING,)),
        "sigma": Column("float64", np.nan),  # of one hour; NaN while the device is not judged
        "modes": Column("float64", 0.0, (MOST,)),
        "unsteady": Column("float64", 1.0),  # variance of a day's rest, in that of pure noise
    }
    hours: Int64
    learnt: Int64
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

    def decide(self, seen: Seen) -> list[Hits]:
        """Say what is to be said of one zone at one hour."""
        raise NotImplementedError

    def share(self, rows: Int64, elder: int, younger: Int64) -> None:  # noqa: ARG002  a subclass's columns need it
        """Give what is the zone's own to all its `rows` from the `elder`; `younger` ones are new to it."""
        self.hours[rows] = self.hours[elder]
        self.learnt[rows] = self.learnt[elder]

    def vacate(self, rows: Int64, slots: Int64) -> None:
        """What others remember of whoever sat in `slots` is void."""
        self.spread[np.ix_(rows, slots)] = 0.0

    def judge(self, rows: Int64, hour: int, value: Float64, now_us: int) -> list[Hits]:
        """Take one zone's `hour`; see `Hours`."""
        seats = self.seats(rows)
        order = np.argsort(seats)  # so that sums end on the same last digit whatever rows the devices have
        rows, value, seats = rows[order], value[order], seats[order]
        known = self.hours[rows]
        if (known != known[0]).any():
            self.share(rows, int(rows[np.argmax(known)]), rows[known < known.max()])
        learn = int(self.params.at("learn_s", int(rows[0])) // 3600)
        there = np.isfinite(value) & ~(np.abs(value - self.before[rows]) <= _STUCK * np.abs(value))
        self.before[rows] = np.where(np.isfinite(value), value, self.before[rows])
        at = int(self.hours[rows[0]])
        self._learn(rows, seats, at % RING, learn)
        self._keep(rows, at % RING, hour, np.where(there, value, np.nan))
        self.hours[rows] = at + 1
        if (at + 1) % DAY == 0:
            self._train(rows, seats, learn)
        if at + 1 < learn:
            return []
        seen = self._view(rows, at, (hour + 1) * HOUR_US, now_us)
        return [] if seen is None else self.decide(seen)

    def _learn(self, rows: Int64, seats: Int64, place: int, memory: int) -> None:
        """The hour that leaves the ring is old enough to be normal."""
        if int(self.hours[rows[0]]) < RING:
            return
        value = self.ring[rows, place].astype(np.float64)
        measured = self.ring_hour[rows] >= 0
        there, known = measured[:, place], np.isfinite(self.sigma[rows])
        if not known.any() and (~there & (measured.sum(axis=1) * 2 >= RING)).any():
            return  # nothing to fill it in with yet: only whole hours count until there is
        filled = np.isfinite(value) & ~there & known
        count = self.learnt[rows] + 1
        self.learnt[rows] = count
        self.seen[rows] += there
        grid = np.ix_(rows, seats)
        self.mean[rows], self.spread[grid] = absorb(
            self.mean[rows],
            self.spread[grid],
            value,
            own=np.maximum(1.0 / np.maximum(self.seen[rows], 1), 1.0 / memory),
            weight=max(1.0 / int(count[0]), 1.0 / memory),
            noise=np.where(filled, self.sigma[rows] ** 2, 0.0),
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
        enough = self.seen[rows] >= max(_ENOUGH * min(int(self.learnt[rows[0]]), learn), _SOME_H)
        fit = enough & (self.spread[rows, seats] > 0.0)
        self.sigma[rows] = np.nan
        self.modes[rows] = 0.0
        if fit.sum() < _LEAST:
            return
        chosen = rows[fit]
        usual = habit(self.mean[chosen], self.spread[np.ix_(chosen, seats[fit])])
        self.sigma[chosen] = usual.sigma
        self.modes[chosen, : usual.modes.shape[1]] = usual.modes

    def _usual(self, rows: Int64) -> Habit:
        modes = self.modes[rows]
        return Habit(self.mean[rows], self.sigma[rows], modes[:, (modes != 0.0).any(axis=0)])

    def _view(self, rows: Int64, at: int, end_us: int, now_us: int) -> Seen | None:
        ring = self.ring[rows].astype(np.float64)
        good = np.isfinite(self.sigma[rows]) & np.isfinite(ring).all(axis=1)
        if good.sum() < _LEAST:
            return None
        rows, ring = rows[good], ring[good]
        recent = (at - np.arange(DAY)) % RING
        measured = self.ring_hour[rows] >= 0
        there = np.column_stack([measured[:, recent].sum(axis=1) * 2 >= DAY, measured.sum(axis=1) * 2 >= RING])
        return Seen(
            rows, self._usual(rows), ring[:, recent].mean(axis=1), ring.mean(axis=1), there, end_us, now_us
        )

    def rest(self, seen: Seen, span: int) -> Float64:
        """(s,) what the common modes leave of the mean over `span` hours, in the noise of such a mean."""
        mean = seen.day if span == DAY else seen.days
        rest = seen.usual.rest(seen.usual.scaled(mean)) * np.sqrt(span)
        return np.where(seen.there[:, 0 if span == DAY else 1], rest, 0.0)

    def settle(self, seen: Seen, rest: Float64) -> None:
        """Once a day: how much a day's `rest` (s,) varies at each sensor; noise alone gives one."""
        usual = self.unsteady[seen.rows]
        square = np.minimum(rest * rest, _CLIP * usual)
        self.unsteady[seen.rows] = np.maximum(usual + (square - usual) / _STEADY_DAYS, 1.0)

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
            most=2 * DAY,
        )
