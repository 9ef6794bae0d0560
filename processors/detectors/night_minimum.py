"""A level at night that is lower than the nights of the last weeks: a slow leak.

From: one quantity's values in event-time order, such as a main's pressure. To: hits with the usual night as expected
and the better of the last two nights as observed. At night nearly nobody draws water, so what is left to move the
pressure is the network itself. The last two nights are compared with the nights of the weeks before, without the few
that lie between, in which the leak may have grown. Both must lie below the lower quarter of those nights by a margin:
nights after a holiday fall back to where nights were before it, and a season moves the margin's base along. Sources:
night flow analysis, e.g. Lambert 1994, J. IWEM 8(5); quartiles and their distance as robust base and spread, Tukey
1977.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import IDLE, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step, Window
from processors.findings import Phase
from processors.local_time import DAY_US, HOUR_US, LOCAL_US

NIGHTS: Final = 28
_GUARD: Final = 5  # nights before the last two that count for nothing: a leak grows in them
_FEW: Final = 5  # nights with which a comparison begins
_LOWEST: Final = 1  # so many nights may have been lower still
_ENOUGH: Final = 12  # nights that tell how much nights differ; with fewer, twice the margin
_NONE: Final = -(2**31)
_CLOSE_DAYS: Final = 3  # two nights farther apart say nothing together


class NightMinimum(Condition):
    """Raise when two nights in a row lie below the nights of the last weeks by more than the margin.

    Units: `change` in the quantity's unit. The margin is `change`, or `spreads` times the distance between the
    quartiles of those nights if that is more. A night is the mean of the values from `from_h` to `to_h`, local time.
    Clears after two nights within half the margin, or after `accept_s`: the new nights are then learned from scratch.
    State: the night under way, the one before, and a shift register of 28 nights that stands still while raised.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "change": nan,
        "spreads": 2.0,
        "from_h": 2.0,
        "to_h": 4.0,
        "accept_s": 30 * 86400.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "夜间{what}为{observed}，低于近几周夜间水平{expected}，已连续两夜超出界限{limit}",
        "{what} at night is {observed}, where nights of the last weeks had {expected}: two nights below {limit}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "day": ("int32", _NONE),
        "total": ("float64", 0.0),
        "count": ("int32", 0),
        "ended_us": ("int64", UNSET),
        "nights": ("float32", nan),
        "days": ("int32", _NONE),
        "previous": ("float64", nan),
        "previous_us": ("int64", UNSET),
        "usual": ("float64", nan),
        "bound": ("float64", nan),
        "margin": ("float64", nan),
    }
    STATE = tuple(COLUMNS)
    day: NDArray[np.int32]
    total: Float64
    count: NDArray[np.int32]
    ended_us: Int64
    nights: NDArray[np.float32]
    days: NDArray[np.int32]
    previous: Float64
    previous_us: Int64
    usual: Float64
    bound: Float64
    margin: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("night_minimum", params, change=">0", spreads=">=0", from_h=">=0", accept_s=">0")
        demand(
            "night_minimum",
            {"to_h after from_h": params["to_h"] - params["from_h"]},
            **{"to_h after from_h": ">0"},
        )
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Shape of one device's element of the state column `name`."""
        return (NIGHTS,) if name in {"nights", "days"} else ()

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device; where that ends a night, say what it means."""
        device, local = rows_of(step.device), step.time_us + LOCAL_US
        day = local // DAY_US
        hour = (local - day * DAY_US) / HOUR_US
        night = (hour >= self.params.of("from_h", device)) & (hour < self.params.of("to_h", device))
        under_way = self.count[device] > 0
        found: list[Hits] = []
        ended = np.flatnonzero(under_way & (~night | (self.day[device] != day)))
        if len(ended):
            found = self._close(device[ended], ended, step.time_us[ended])
        now = np.flatnonzero(night)
        if len(now):
            who = device[now]
            self.day[who] = day[now]
            self.total[who] += step.value[now]
            self.count[who] += 1
            self.ended_us[who] = step.time_us[now]
        return found

    def _close(self, device: Int64, rows: Int64, time_us: Int64) -> list[Hits]:
        """The night of `device` (m,) is over."""
        length_us = (self.params.of("to_h", device) - self.params.of("from_h", device)) * HOUR_US
        enough = self.count[device] * (self._gap_us[device] / 3) >= length_us / 4
        level, ended = self.total[device] / self.count[device], self.ended_us[device]
        self.total[device], self.count[device] = 0.0, 0
        device, rows, time_us = device[enough], rows[enough], time_us[enough]
        if not len(device):
            return []
        return self._compare(device, rows, time_us, level[enough], ended[enough])

    def _compare(self, device: Int64, rows: Int64, time_us: Int64, level: Float64, ended: Int64) -> list[Hits]:
        previous, previous_us = self.previous[device], self.previous_us[device]
        self.previous[device], self.previous_us[device] = level, ended
        pair = np.abs(ended - previous_us) < _CLOSE_DAYS * DAY_US
        idle = self.phase[device] == IDLE
        self._base(device[idle])
        self._keep(device[idle], level[idle])
        bound, margin = self.bound[device], self.margin[device]
        moves = self.follow(
            device,
            time_us,
            beyond=pair & (np.maximum(level, previous) < bound),
            inside=pair & (np.minimum(level, previous) >= bound + margin / 2),
            onset_us=np.minimum(previous_us, ended),
        )
        old = moves.lasting & (time_us - self.told_us[device] >= self.params.us("accept_s", device))
        self.end(device[old])
        self.nights[device[old]], self.days[device[old]] = nan, _NONE
        found = []
        for phase, which in (
            (Phase.RAISE, moves.rose.nonzero()[0]),
            (Phase.CLEAR, (moves.fell | old).nonzero()[0]),
        ):
            who = device[which]
            found += hits(
                phase,
                rows[which],
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=np.fmax(level, previous)[which],
                expected=self.usual[who],
                limit=bound[which],
            )
        return found

    def _base(self, device: Int64) -> None:
        """Take median, lower bound and margin of the weeks before for `device` (m,); NaN while nights are too few."""
        # One night of the two is in the register already.
        nights = np.sort(self.nights[device, : NIGHTS - _GUARD - 1].astype(np.float64), axis=1)
        count = np.isfinite(nights).sum(axis=1)
        last, each = np.maximum(count - 1, 0), np.arange(len(device))
        low, middle, high = (nights[each, last * quarter // 4] for quarter in (1, 2, 3))
        least, spreads = self.params.of("change", device), self.params.of("spreads", device)
        margin = np.maximum(spreads * (high - low), np.where(count < _ENOUGH, 2.0 * least, least))
        few = count < _FEW
        self.usual[device] = np.where(few, nan, middle)
        self.margin[device] = np.where(few, nan, margin)
        # Pumps rest on some nights, a season sinks a little every day: lower than those as well.
        lowest = nights[:, _LOWEST] - least / 2
        self.bound[device] = np.where(few, nan, np.minimum(low - margin, lowest))

    def _keep(self, device: Int64, level: Float64) -> None:
        self.nights[device, :-1], self.days[device, :-1] = self.nights[device, 1:], self.days[device, 1:]
        self.nights[device, -1], self.days[device, -1] = level, self.day[device]

    def window(self, device: int) -> Window | None:
        """The nights it compared, each at its end."""
        known = self.days[device] != _NONE
        if known.sum() < 2:
            return None
        end_us = int(self.params.at("to_h", device) * HOUR_US) - LOCAL_US
        time_us = self.days[device][known].astype(np.int64) * DAY_US + end_us
        value = self.nights[device][known].astype(np.float64)
        shape = len(value)
        return Window(time_us, value, np.full(shape, self.usual[device]), np.full(shape, self.bound[device]))

    def forget(self, device: Int64) -> None:
        """The clock was set back: the night under way and the one before count no more."""
        super().forget(device)
        self.total[device], self.count[device] = 0.0, 0
        self.previous[device], self.previous_us[device] = nan, UNSET


DETECTOR: Final[type[Detector]] = NightMinimum
