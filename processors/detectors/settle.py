"""A cover that leans a little more every day: its frame settles, or the road around it.

From: tilt and, beside it, the inclinations of three axes and the temperature, in event-time order. To: hits whose
observed value is how far the pose moved along a straight line through its daily means, the tilt itself or a direction
in space. Warmth moves a pose by far more within a day than settling does: a daily mean takes out the sun, and what a
warm week does is taken out by the pose's own change per kelvin, learned from the course of each day. Source: Draper
and Smith 1998, Applied Regression Analysis, chapters 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int32, Int64
from devices.spec import Text
from processors.condition import RAISED, UNSET, Condition, demand, hits, micro, rows_of
from processors.day_line import Line, line
from processors.detectors import Detector, Hits, Step, Window
from processors.findings import Phase
from processors.local_time import LOCAL_US
from processors.poses import gravity, tells

_DEG: Final = 57.29577951308232
_PARTS: Final = 4  # of a daily mean: three of gravity, the temperature
_COVERED: Final = 0.5  # of a day, for a mean
_HALF: Final = 0.5  # of a day: what changes more slowly is no daily course
_PATIENCE: Final = 0.25  # of a day that a pose may be away before it is a new one
_FADE: Final = 1.0 / 14.0  # of what is known of the warmth's effect, a day
_RIDGE_K2: Final = 0.05  # in days and square kelvins: less says nothing of the warmth's effect
_NONE: Final = -1e9  # no mean, no temperature: state holds numbers only
Float32 = NDArray[np.float32]


class Settle(Condition):
    """Raise when the pose moves by more than `per_day` and has moved by more than `least`, evenly, over `least_days`.

    Units: degrees, days. `days`: length of the line; the newer half of it is looked at by itself too. `fit`: share of
    the scatter that it must explain; a jump explains 0.75 at most. `away`: degrees from the recent pose that are a
    shock or an open cover, and left out; what stays there begins anew. `blind`: so many times `least` and
    `least_days` where the temperature is not known. `day_s`: length of a day. Clears when the line is half as steep,
    and learns anew. Reads beside the tilt: inclination of the x, y and z axis, and temperature. State: the condition,
    the daily means, today's sums, the recent pose and temperature, and what the warmth does.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "per_day": 0.03,
        "least": 0.6,
        "days": 21.0,
        "least_days": 7.0,
        "fit": 0.85,
        "away": 2.0,
        "blind": 2.0,
        "day_s": 86400.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"days", "day_s"})
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "means": ("float32", _NONE),
        "day": ("int32", 0),
        "sums": ("float32", 0.0),
        "seen_us": ("int64", UNSET),
        "recent": ("float32", 0.0),
        "warmth": ("float32", 0.0),
        "away_us": ("int64", 0),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "井盖姿态持续缓慢变化：{lasted}内累计{observed}，平均每天{per_day:.2f}°（已扣除温度影响），可能在沉降",
        "The pose creeps: {observed} within {lasted}, {per_day:.2f} degrees a day, warmth taken out; may be settling",
    )
    means: Float32  # (n, days, 4) gravity and temperature, newest last
    day: Int32  # (n,) local day of the sums
    sums: Float32  # (n, 6) days covered; with a temperature; gravity times days; temperature times days
    seen_us: Int64
    recent: Float32  # (n, 4) gravity and temperature, exponential means over half a day
    warmth: Float32  # (n, 4) sums of temperature's swing times gravity's, and times itself
    away_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand(
            "settle",
            params,
            per_day=">0",
            least=">0",
            days=">0",
            least_days=">0",
            fit=">=0",
            away=">0",
            day_s=">0",
        )
        self._days, self._day_us = int(params["days"]), micro(params["day_s"])
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """Daily means, and their parts."""
        return {"means": (self._days, _PARTS), "sums": (6,), "recent": (_PARTS,), "warmth": (_PARTS,)}.get(
            name, ()
        )

    def usable(self, step: Step) -> Bool:
        """(n,) which rows tell a pose."""
        return tells(step.value, step.beside[:, :3])

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: a day without a mean changes nothing."""
        return np.maximum(super().patience(device, least_us), 5 * self._day_us)

    def judge(self, step: Step) -> list[Hits]:
        """Take one pose per device; where a day ended with it, say what began or ended."""
        device, time_us = rows_of(step.device), step.time_us
        pose, _ = gravity(step.value, step.beside[:, :3])
        now = np.empty((len(device), _PARTS))
        now[:, :3] = pose
        now[:, 3] = step.beside[:, 3] if step.beside.shape[1] > 3 else np.nan
        today = ((time_us + LOCAL_US) // self._day_us).astype(np.int32)
        seen = self.seen_us[device]
        fresh = seen == UNSET
        rows = np.flatnonzero((today != self.day[device]) & ~fresh)
        if len(rows):
            self._close(device[rows], today[rows])
        self._open(device, now, today, fresh)
        found = self._state(step, rows) if len(rows) else []
        self._learn(device, now, np.where(fresh, 0, time_us - seen))
        self.seen_us[device] = time_us
        return found

    def _open(self, device: Int64, now: Float64, today: Int32, fresh: Bool) -> None:
        """Devices heard of for the first time, or anew."""
        self.day[device] = today
        if fresh.any():
            new = device[fresh]
            self.recent[new] = _kept(now[fresh])
            self.sums[new] = 0.0
            self.away_us[new] = 0

    def _learn(self, device: Int64, now: Float64, elapsed: Int64) -> None:
        """Add what was seen to the day, each reading for as long as it stands for."""
        lasted = np.minimum(np.maximum(elapsed, 0), self._gap_us[device])
        part = lasted / self._day_us
        recent = _real(self.recent[device])
        swing = now - recent
        off = swing[:, 0] * swing[:, 0] + swing[:, 1] * swing[:, 1] + swing[:, 2] * swing[:, 2]
        bound = self.params.of("away", device) / _DEG
        away = off > bound * bound
        if away.any():
            self._stray(device, now, lasted, away)
            part = np.where(away, 0.0, part)
            swing = np.where(away[:, np.newaxis], 0.0, swing)
        else:
            self.away_us[device] = 0
        kelvin = np.where(np.isnan(swing[:, 3]), 0.0, swing[:, 3])
        swing[:, 3] = kelvin
        after = recent + swing * (part / (part + _HALF))[:, np.newaxis]
        # The first temperature is taken as it is.
        after[:, 3] = np.where(np.isnan(recent[:, 3]) & ~away, now[:, 3], after[:, 3])
        self.recent[device] = np.where(away[:, np.newaxis], self.recent[device], _kept(after))
        keep = np.maximum(1.0 - part * _FADE, 0.0)[:, np.newaxis]
        gain = np.empty((len(device), _PARTS))
        gain[:, :3] = swing[:, :3] * kelvin[:, np.newaxis]
        gain[:, 3] = kelvin * kelvin
        self.warmth[device] = self.warmth[device] * keep + gain * part[:, np.newaxis]
        sums = self.sums[device].astype(np.float64)
        there = ~np.isnan(now[:, 3])
        sums[:, 0] += part
        sums[:, 1] += part * there
        sums[:, 2:5] += now[:, :3] * part[:, np.newaxis]
        sums[:, 5] += np.where(there, now[:, 3], 0.0) * part
        self.sums[device] = sums

    def _stray(self, device: Int64, now: Float64, lasted: Int64, away: Bool) -> None:
        """A pose far from the recent one is left out; one that stays is the recent one from now on."""
        since = np.where(away, self.away_us[device] + lasted, 0)
        stays = since > int(_PATIENCE * self._day_us)
        self.away_us[device] = np.where(stays, 0, since)
        moved = device[stays]
        self.recent[moved] = _kept(now[stays])
        self.means[moved] = _NONE
        self.sums[moved] = 0.0
        self.warmth[moved] = 0.0

    def _close(self, device: Int64, today: Int32) -> None:
        """The day of `device` (m,) is over: its mean joins the others, days without any in between."""
        sums, passed = self.sums[device].astype(np.float64), today - self.day[device]
        means = self.means[device]
        anew = (passed < 0) | (passed > self._days)
        means[anew] = _NONE
        mean = np.full((len(device), _PARTS), _NONE)
        enough = (sums[:, 0] >= _COVERED) & ~anew
        mean[enough, :3] = sums[enough, 2:5] / sums[enough, :1]
        warm = enough & (sums[:, 1] >= _COVERED)
        mean[warm, 3] = sums[warm, 5] / sums[warm, 1]
        means = np.concatenate([means[:, 1:], mean[:, np.newaxis].astype(np.float32)], axis=1)
        for late in np.unique(passed[(passed > 1) & ~anew]).tolist():
            gap = passed == late
            means[gap, : self._days - late + 1] = means[gap, late - 1 :]
            means[gap, self._days - late + 1 :] = _NONE
        self.means[device] = means
        self.sums[device] = 0.0

    def _course(self, device: Int64) -> Float64:
        """(m, days, 3) daily poses in degrees, as they would have been at one temperature."""
        means = _real(self.means[device])
        warmth = self.warmth[device].astype(np.float64)
        per_kelvin = warmth[:, :3] / (warmth[:, 3:] + _RIDGE_K2)
        kelvin = means[:, :, 3] - _real(self.recent[device])[:, np.newaxis, 3]
        kelvin = np.where(np.isnan(kelvin), 0.0, kelvin)
        return (means[:, :, :3] - per_kelvin[:, np.newaxis] * kelvin[:, :, np.newaxis]) * _DEG

    def _state(self, step: Step, rows: Int64) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        course, strict = self._course(device), self._strictness(device)
        found, recent = line(course), line(course[:, self._days // 2 :])
        # A quick creep stands out of the last days before the whole line is straight.
        beyond, quick = self._creeps(device, found, strict), self._creeps(device, recent, strict)
        inside = (found.days >= self.params.of("least_days", device)) & (
            found.size < self.params.of("per_day", device) / 2
        )
        sooner = quick & ~beyond
        found = found._replace(
            size=np.where(sooner, recent.size, found.size), span=np.where(sooner, recent.span, found.span)
        )
        beyond |= quick
        first = self._days - 1 - found.span
        onset = (self.day[device].astype(np.int64) - self._days + first.astype(np.int64)) * self._day_us - LOCAL_US
        moves = self.follow(device, time_us, beyond=beyond, inside=inside, onset_us=onset)
        told = [
            *self._hits(Phase.RAISE, moves.rose.nonzero()[0], rows, step, found),
            *self._hits(Phase.CLEAR, moves.fell.nonzero()[0], rows, step, found),
        ]
        self.means[device[moves.fell]] = _NONE
        return told

    def _creeps(self, device: Int64, found: Line, strict: Float64) -> Bool:
        """(m,) whether the line is long, steep and straight enough."""
        per_day, least = self.params.of("per_day", device), self.params.of("least", device)
        enough = (found.days >= self.params.of("least_days", device) * strict) & (found.size > per_day)
        moved = found.size * found.span > least * strict
        return np.asarray(enough & moved & (found.fit >= self.params.of("fit", device)))

    def _strictness(self, device: Int64) -> Float64:
        """(m,) 1, or `blind` where most days have no temperature: what a warm week does is then not known."""
        means = self.means[device]
        days = (means[:, :, 0] > _NONE / 2).sum(axis=1)
        warm = (means[:, :, 3] > _NONE / 2).sum(axis=1)
        return np.where(2 * warm >= days, 1.0, self.params.of("blind", device))

    def _hits(self, phase: Phase, which: Int64, rows: Int64, step: Step, found: Line) -> list[Hits]:
        row = rows[which]
        who = rows_of(step.device)[row]
        told = hits(
            phase,
            row,
            onset_us=self.since_us[who],
            at_us=step.time_us[row],
            observed=(found.size * found.span)[which],
            limit=np.broadcast_to(np.asarray(self.params.of("least", who), dtype=np.float64), who.shape).copy(),
        )
        for one in told:
            one.extra = {"per_day": found.size[which]}
        return told

    def window(self, device: int) -> Window | None:
        """The daily poses along the line, in degrees from its middle, and the line."""
        rows = np.array([device])
        course = self._course(rows)
        found = line(course)
        if found.days[0] < 2 or found.size[0] == 0:
            return None
        along = ((course[0] - found.mean[0]) * (found.slope[0] / found.size[0])).sum(axis=1)
        there = np.flatnonzero(~np.isnan(along))
        day = int(self.day[device]) - self._days + there
        noon = day * self._day_us + self._day_us // 2 - LOCAL_US
        return Window(noon, along[there], (there - found.middle[0]) * found.size[0])

    def forget(self, device: Int64) -> None:
        """The clock was set back: today begins anew, and so do the means unless they are needed to see the end."""
        super().forget(device)
        self.seen_us[device] = UNSET
        self.means[device[self.phase[device] != RAISED]] = _NONE


def _real(kept: Float32) -> Float64:
    """`kept` with NaN where nothing is known."""
    return np.where(kept > _NONE / 2, kept, np.nan).astype(np.float64)


def _kept(real: Float64) -> Float64:
    """`real` without NaN."""
    return np.where(np.isnan(real), _NONE, real)


DETECTOR: Final[type[Detector]] = Settle
