"""A return temperature against its own course, smoothed over the time with heat: what two rules have in common.

From: supply, return and load of a circuit. To: `raised_return`, which looks at kelvins over half a day, and `low_dt`,
which looks at the share of the temperature difference that is lost over days. Learning stops while the return is
raised, so that a fault does not become usual by itself, and begins again when the fault outlasted `accept_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64
from processors.beside import Beside, Look, heating
from processors.condition import RAISED, UNSET, demand
from processors.local_time import DAY_US, hour_of
from processors.return_course import COLUMNS as COURSE
from processors.return_course import expect, learn
from processors.return_course import width as course_width

_BOUND: Final = 4.0  # limits: a wilder reading counts as this
_DEV_MEMORY: Final = 20.0  # days that the usual unrest remembers
_TRUST: Final = 0.2  # of a reading that is halfway to the limit
_LEVEL_K: Final = 3.0  # hours that differ by less are alike
_EXCHANGED_K: Final = 1.0  # a return that much above its supply is none


class ReturnWatch(Beside):
    """Raise when the smoothed excess of the return is beyond max(`limit`, `unrest` times its usual size) for `hold_s`.

    Reads RETURN, beside: supply, power, flow. Only readings with heat count: power above `least_load`, or flow
    where power is not known, or where neither is, those at hours with a warm supply; and a supply of `least_supply`
    at least. `smooth_h`: hours with heat that the mean remembers. `learn_h`: readings before anything is said.
    `memory`: days that the course remembers.
    """

    READS = 3
    COMMON: ClassVar[Mapping[str, float]] = {
        "unrest": 2.5,
        "smooth_h": 8.0,
        "least_load": 0.0,
        "least_supply": 25.0,
        "learn_h": 150.0,
        "memory": 30.0,
        "hold_s": 6 * 3600.0,
        "clear_s": 6 * 3600.0,
        "accept_s": 21 * 86400.0,
    }
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Beside.COLUMNS,
        **COURSE,
        "excess": ("float64", 0.0),
        "usual": ("float64", 0.0),
        "judged_us": ("int64", UNSET),
    }
    STATE = tuple(COLUMNS)
    FIXED: ClassVar[frozenset[str]] = frozenset({"memory"})
    means: NDArray[np.float32]
    visits: NDArray[np.uint16]
    moments: NDArray[np.float32]
    pairs: NDArray[np.uint16]
    excess: Float64
    usual: Float64
    judged_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand(type(self).__name__, params, limit=">0", unrest=">=0", smooth_h=">0", learn_h=">=0", memory=">0")
        demand(type(self).__name__, params, hold_s=">=0", clear_s=">=0", accept_s=">0")
        self._memory = params["memory"]
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """The course has a mean for each hour."""
        return course_width(name) or super().width(name)

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: a night without heat changes nothing."""
        return np.maximum(super().patience(device, least_us), 3 * DAY_US)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back: the smoothed excess is of another time."""
        super().forget(device)
        self.judged_us[device] = UNSET

    def relative(self, device: Int64, supply: Float64, expected: Float64) -> Float64 | float:
        """What the excess is divided by: 1 for kelvins; each detector's own part."""
        raise NotImplementedError

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:
        """Smooth the excess of the return over its course, and learn the course."""
        back, supply, power, flow = values.T
        load = np.where(np.isfinite(power), power, flow)
        counts = np.isfinite(back) & (supply > self.params.of("least_supply", device))
        counts &= heating(load, self.params.of("least_load", device)) | ~np.isfinite(load)
        counts &= self.latest_us[device, 0] == time_us  # a return that came now, once
        counts &= (
            back <= supply + _EXCHANGED_K
        )  # beyond, it is the supply's water: nothing to learn or to say here
        rows = np.flatnonzero(counts)
        nothing = np.zeros(len(device), dtype=np.bool_)
        look = Look(nothing, nothing.copy(), back, np.full(len(device), np.nan), np.full(len(device), np.nan))
        if len(rows):
            self._take(device[rows], time_us[rows], values[rows], load[rows], look, rows)
        return look

    def _take(
        self, device: Int64, time_us: Int64, values: Float64, load: Float64, look: Look, rows: Int64
    ) -> None:
        back, supply, hour = values[:, 0], values[:, 1], hour_of(time_us)
        expected, known = expect(self, device, hour, supply, load)
        limit = np.maximum(self.params.of("limit", device), self.params.of("unrest", device) * self.usual[device])
        base = self.relative(device, supply, expected)
        away = np.minimum(np.maximum((back - expected) / base, -_BOUND * limit), _BOUND * limit)
        ready = known & (self.pairs[device] >= self.params.of("learn_h", device))
        ready &= np.isfinite(load) | self._by_day(device, hour)
        excess = self._smooth(device, time_us, away, limit, ready)
        share = self._share(device, time_us, np.abs(excess), limit)
        taken = np.where(known, expected + away * base, back)
        learn(self, device, hour, np.column_stack([supply, taken, load]), share, self._memory)
        look.beyond[rows], look.inside[rows] = ready & (excess > limit), ready & (excess < 0.5 * limit)
        look.observed[rows], look.expected[rows] = expected + excess * base, expected  # type: ignore[index]
        look.limit[rows] = expected + limit * base  # type: ignore[index]

    def _by_day(self, device: Int64, hour: Int64) -> Bool:
        """(m,) hours whose supply is usually in the warmer half of the day: heat flows then, if ever it does.

        A cold night on which heating goes on would otherwise be warmer than nights without it.
        """
        course = self.means[device, :, 0]
        middle = (course.min(axis=1) + course.max(axis=1)) / 2.0
        warm: Bool = self.means[device, hour, 0] >= middle - _LEVEL_K
        return warm

    def _smooth(self, device: Int64, time_us: Int64, away: Float64, limit: Float64, ready: Bool) -> Float64:
        """(m,) the mean excess after these readings; its usual size is remembered beside it."""
        elapsed = time_us - self.judged_us[device]
        lasted = np.minimum(
            np.maximum(elapsed, 0), self._gap_us[device] / 3.0
        )  # the first after a night is one reading
        lasted = np.where(ready, lasted, 0.0)
        smooth = self.params.of("smooth_h", device) * 3.6e9
        # After a summer, nothing is known of the days before.
        old = np.where(elapsed > self.patience(device, 0), 0.0, self.excess[device])
        excess = old + lasted / (smooth + lasted) * (away - old)
        size = np.minimum(np.abs(excess), limit)
        self.usual[device] += lasted / (_DEV_MEMORY * DAY_US) * (size - self.usual[device])
        self.excess[device] = excess
        self.judged_us[device] = np.where(ready, time_us, self.judged_us[device])
        return excess

    def _share(self, device: Int64, time_us: Int64, size: Float64, limit: Float64) -> Float64:
        """(m,) how far readings may change what is usual: not while raised, unless that outlasted `accept_s`."""
        share = np.where(size < 0.5 * limit, 1.0, np.where(size < limit, _TRUST, 0.0))
        old = self.phase[device] == RAISED
        accepted = old & (time_us - self.since_us[device] > self.params.us("accept_s", device))
        return np.where(accepted, 1.0, np.where(old, 0.0, share))
