"""Too large a share of the last week or month on the wrong side of a limit.

From: one quantity's values in event-time order, such as the pressure at a main's end. To: hits with the shares of
time in order over the last 7 and 30 days. It is raised as soon as the time beyond the limit exceeds what a whole week
or month allows, however the rest of it goes. Between two readings time counts half for each; a gap counts for
nothing. Source: the share of compliant time that water suppliers report, taken over a rolling window instead of a
calendar month.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int64, UInt8
from devices.spec import Text
from processors.condition import UNSET, Condition, Moves, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.errors import RuleError
from processors.findings import Phase
from processors.local_time import day_of

WEEK, MONTH = 7, 30  # days, today included
_NONE: Final = -(2**31)
_SAFE_WEEK, _SAFE_MONTH = 0.5, 0.9  # of what is allowed: safely back


class Compliance(Condition):
    """Raise when the value was below `low` for more than 1 - `share` of a week or of a month.

    Units: `low` in the quantity's unit; `share` of time, 0 to 1. Clears when the time below is less than half of what
    a week allows and nine tenths of what a month allows. State: microseconds below today, seconds below on each of 29
    days before, their sums, whether the last value was below.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"low": nan, "share": 0.97}
    BECAUSE: ClassVar[Text] = Text(
        "近7天{what}达标时间占{week:.1f}%，近30天占{month:.1f}%，要求不低于{required:.1f}%"
        "（限值{limit}，现为{observed}）",
        "{what} was in order {week:.1f}% of the last 7 days and {month:.1f}% of the last 30, at least {required:.1f}%"
        " is asked for (limit {limit}, now {observed})",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "day": ("int32", _NONE),
        "today_us": ("int64", 0),
        "past": ("int32", 0),
        "week_s": ("int32", 0),
        "month_s": ("int32", 0),
        "seen_us": ("int64", UNSET),
        "below": ("uint8", 0),
    }
    STATE = tuple(COLUMNS)
    day: NDArray[np.int32]
    today_us: Int64
    past: NDArray[np.int32]
    week_s: NDArray[np.int32]
    month_s: NDArray[np.int32]
    seen_us: Int64
    below: UInt8

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        if np.isnan(params["low"]) or not 0 < params["share"] < 1:
            raise RuleError(
                f"detector compliance: expected low and share between 0 and 1, got {params['low']:g} and "
                f"{params['share']:g}; the rule is not used"
            )
        demand("compliance", params, share=">0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Shape of one device's element of the state column `name`."""
        return (MONTH - 1,) if name == "past" else ()

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us = rows_of(step.device), step.time_us
        below = step.value < self.params.of("low", device)
        before, elapsed = self.below[device], time_us - self.seen_us[device]
        known = (elapsed > 0) & (elapsed <= self._gap_us[device])
        lost = np.where(known, elapsed * (before + below.astype(np.int64)) // 2, 0)
        day = day_of(time_us)
        self._turn(device, day)
        self.seen_us[device], self.below[device] = time_us, below
        self.today_us[device] += lost
        rows = self.active(device, lost > 0)
        return self._state(step, rows, device[rows], time_us[rows]) if len(rows) else []

    def _turn(self, device: Int64, day: Int64) -> None:
        """Where a day began: put the ones before into the register."""
        apart = day - self.day[device]
        turned = np.flatnonzero(apart != 0)
        if not len(turned):
            return
        who, apart = device[turned], np.clip(apart[turned], 0, MONTH)
        past = np.zeros((len(who), 2 * MONTH), dtype=np.int32)
        past[:, : MONTH - 1] = self.past[who]
        past[:, MONTH - 1] = self.today_us[who] // 1_000_000
        index = np.arange(MONTH - 1) + apart[:, np.newaxis]
        kept = past[np.arange(len(who))[:, np.newaxis], index]
        self.past[who], self.day[who], self.today_us[who] = kept, day[turned], 0
        self.week_s[who], self.month_s[who] = kept[:, -(WEEK - 1) :].sum(axis=1), kept.sum(axis=1)

    def _state(self, step: Step, rows: Int64, device: Int64, time_us: Int64) -> list[Hits]:
        allowed = 1.0 - self.params.of("share", device)
        today = self.today_us[device] / 1e6
        week = (self.week_s[device] + today) / (WEEK * 86400.0)
        month = (self.month_s[device] + today) / (MONTH * 86400.0)
        moves = self.follow(
            device,
            time_us,
            beyond=(week > allowed) | (month > allowed),
            inside=(week <= allowed * _SAFE_WEEK) & (month <= allowed * _SAFE_MONTH),
        )
        return self._hits(step, rows, device, moves, {"week": 100 - 100 * week, "month": 100 - 100 * month})

    def _hits(
        self, step: Step, rows: Int64, device: Int64, moves: Moves, shares: Mapping[str, Float64]
    ) -> list[Hits]:
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            who, row = device[which], rows[which]
            told = hits(
                phase,
                row,
                onset_us=self.since_us[who],
                at_us=step.time_us[row],
                observed=step.value[row],
                limit=self.params.of("low", who),
            )
            required = np.zeros(len(which)) + 100.0 * self.params.of("share", who)
            for one in told:
                one.extra = {**{name: share[which] for name, share in shares.items()}, "required": required}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: the time since the last value is not known."""
        super().forget(device)
        self.seen_us[device] = UNSET


DETECTOR: Final[type[Detector]] = Compliance
