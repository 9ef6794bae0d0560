"""Sewage that is thin for a week: groundwater, river or leaking mains in the sewers.

From: one concentration, beside it the flow. To: hits once a day, with the flow-weighted mean of the last week's days
as observed. It is compared with a limit, and with the plant's own longer past; thinner than that past counts only
where the flow rose while the load stayed, which an analyser that reads low does not show. Days with a flow well above
the last fortnight's middle are rain and left out; an inflow that stays up for weeks is not. Source: flow-weighted
means as in the mass balances of ATV-DVWK-A 198 (2003); share of external water from dilution, the usual balance of
two concentrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int32, Int64
from devices.spec import Text
from processors.condition import UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step, Window
from processors.findings import Phase
from processors.local_time import DAY_US, LOCAL_US, day_of

_HUGE: Final = 1e100
_FORTNIGHT: Final = 14
_WEEK: Final = 7
_KEPT: Final = 42
_FLOW_LASTS_US: Final = 3_600_000_000
_PIECE_US: Final = 900_000_000  # readings closer than this are one reading's worth of a day
_LEAST_HOURS: Final = 16.0


class Dilution(Condition):
    """Raise when the week's mean fell below `low`, or by `drop` under the plant's past at a higher flow.

    Beside: the flow, which may be absent: then a plain mean, and `drop_alone` under the past. Units: `low`,
    `hysteresis` in the quantity's unit; `drop`, `drop_alone`, `wet` are shares. `dry_days`: days of the last seven
    that must be without rain. `past_days`: memory of the plant's past; `learn_days`: without a past meanwhile. Clears
    at the first day whose week is back. State: sums of the day, the last 42 days, the past.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "low": nan,
        "hysteresis": 0.0,
        "drop": 0.3,
        "drop_alone": 0.45,
        "wet": 0.3,
        "dry_days": 4.0,
        "past_days": 90.0,
        "learn_days": 28.0,
    }
    BECAUSE: ClassVar[Text] = Text(
        "最近一周{dry:.0f}个无雨日{what}按流量加权平均为{observed}，低于{limit}，同期流量为以往的{flow:.2f}倍，疑似外水进入管网",
        "over the last week's {dry:.0f} days without rain {what} was {observed} by flow-weighted mean, below {limit}, "
        "at {flow:.2f} times the flow of before: external water in the sewers",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "day": ("int32", -1),
        "days": ("int32", 0),
        "seen_us": ("int64", UNSET),
        "flow": ("float64", 0.0),
        "flow_us": ("int64", UNSET),
        "hours": ("float64", 0.0),
        "weight": ("float64", 0.0),
        "load": ("float64", 0.0),
        "with_flow": ("float64", 0.0),
        "day_load": ("float32", 0.0),
        "day_flow": ("float32", 0.0),
        "day_number": ("int32", -1),
        "past": ("float64", 0.0),
        "past_flow": ("float64", 0.0),
    }
    STATE = tuple(COLUMNS)
    day: Int32
    days: Int32
    seen_us: Int64
    flow: Float64
    flow_us: Int64
    hours: Float64
    weight: Float64
    load: Float64
    with_flow: Float64
    day_load: NDArray[np.float32]
    day_flow: NDArray[np.float32]
    day_number: Int32
    past: Float64
    past_flow: Float64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("dilution", params, hysteresis=">=0", drop=">0", drop_alone=">0", wet=">0", dry_days=">0")
        demand("dilution", params, past_days=">0", learn_days=">=0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """The last days are kept one by one."""
        return (_KEPT,) if name in {"day_load", "day_flow", "day_number"} else ()

    def usable(self, step: Step) -> Bool:
        """(n,) rows with a value or a flow."""
        fine: Bool = np.abs(step.value) < _HUGE
        return fine | (np.abs(step.beside[:, 0]) < _HUGE) if step.beside.shape[1] else fine

    def judge(self, step: Step) -> list[Hits]:
        """Add up the day; at the first reading of a new one, judge the week that is over."""
        device, time_us = rows_of(step.device), step.time_us
        today = day_of(time_us)
        rows = np.flatnonzero(self.day[device] != today)
        found: list[Hits] = []
        if len(rows):
            ended = rows[(self.day[device[rows]] >= 0) & (self.day[device[rows]] < today[rows])]
            if len(ended):
                found = self._close(device[ended], time_us[ended], ended)
            self.day[device[rows]] = today[rows]
            for sums in (self.hours, self.weight, self.load, self.with_flow):
                sums[device[rows]] = 0.0
        self._add(device, time_us, step)
        return found

    def _add(self, device: Int64, time_us: Int64, step: Step) -> None:
        """One reading stands for the time since the last, three cadences at most."""
        if step.beside.shape[1]:
            flow = step.beside[:, 0]
            there = (flow > 0) & (flow < _HUGE)
            self.flow[device] = np.where(there, flow, self.flow[device])
            self.flow_us[device] = np.where(there, time_us, self.flow_us[device])
        fine = np.abs(step.value) < _HUGE
        value = np.where(fine, step.value, 0.0)
        since = time_us - self.seen_us[device]
        known = (time_us - self.flow_us[device] <= _FLOW_LASTS_US) & (self.flow_us[device] <= time_us)
        hours = np.where(fine, np.clip(since, 0, np.maximum(self._gap_us[device], _PIECE_US)) / 3.6e9, 0.0)
        weight = np.where(known, self.flow[device], 1.0) * hours
        self.hours[device] += hours
        self.weight[device] += weight
        self.load[device] += weight * value
        self.with_flow[device] += np.where(known, hours, 0.0)
        self.seen_us[device] = np.where(fine, time_us, self.seen_us[device])

    def _close(self, device: Int64, time_us: Int64, rows: Int64) -> list[Hits]:
        """Put the day of `device` (m,) away and judge its last week."""
        hours, weight = self.hours[device], self.weight[device]
        full = (hours >= _LEAST_HOURS) & (weight > 0)
        device, time_us, rows = device[full], time_us[full], rows[full]
        if not len(device):
            return []
        hours, weight, load = hours[full], weight[full], self.load[device]
        flowing = self.with_flow[device] >= hours * 0.9
        self._put("day_load", device, load / weight)
        self._put("day_flow", device, np.where(flowing, weight / hours, 0.0))
        self._put("day_number", device, self.day[device])
        self.days[device] += 1
        mean, flow, dry = self._week(device)
        past, past_flow = self.past[device], self.past_flow[device]
        learned = (self.days[device] > self.params.of("learn_days", device)) & (past > 0)
        rose = np.where(past_flow > 0, flow / np.where(past_flow > 0, past_flow, 1.0), nan)
        known = rose > 0
        drop = np.where(known, self.params.of("drop", device), self.params.of("drop_alone", device))
        by_past = np.where(learned & (~known | (rose >= 1.0 + drop)), past * (1.0 - drop), -np.inf)
        limit = np.fmax(by_past, self.params.of("low", device))
        enough = dry >= self.params.of("dry_days", device)
        back = mean > np.fmax(past * (1.0 - drop / 2) * learned, self.params.of("low", device)) + self.params.of(
            "hysteresis", device
        )
        back |= (mean > self.params.of("low", device)) & known & (rose < 1.0 + drop / 4)
        beyond = enough & (mean < limit)
        self._remember(device, beyond)
        which = self.active(device, beyond)
        if not len(which):
            return []
        began = self.day[device[which]].astype(np.int64) * DAY_US - LOCAL_US - (_WEEK - 1) * DAY_US
        moves = self.follow(
            device[which],
            time_us[which],
            beyond=beyond[which],
            inside=(enough & back & ~beyond)[which],
            onset_us=began,
        )
        found = []
        for phase, mask in ((Phase.RAISE, moves.rose), (Phase.CLEAR, moves.fell)):
            i = which[mask.nonzero()[0]]
            one = hits(
                phase,
                rows[i],
                onset_us=self.since_us[device[i]],
                at_us=time_us[i],
                observed=mean[i],
                expected=np.where(learned[i], past[i], nan),
                limit=np.where(np.isfinite(limit[i]), limit[i], nan),
            )
            for h in one:
                h.extra = {"flow": rose[i], "dry": dry[i].astype(np.float64)}
            found += one
        return found

    def _put(self, name: str, device: Int64, values: NDArray[np.generic]) -> None:
        kept = getattr(self, name)
        kept[device, :-1] = kept[device, 1:]
        kept[device, -1] = values

    def _week(self, device: Int64) -> tuple[Float64, Float64, Int64]:
        """(m,) mean concentration and flow of the last week's days without rain, and how many these are."""
        number = self.day_number[device][:, -_FORTNIGHT:]
        recent = number > self.day[device][:, None] - _FORTNIGHT
        flow = np.where(recent, self.day_flow[device][:, -_FORTNIGHT:], 0.0).astype(np.float64)
        count = (flow > 0).sum(axis=1)
        ordered = np.sort(np.where(flow > 0, flow, np.inf), axis=1)
        middle = ordered[np.arange(len(device)), np.maximum(count - 1, 0) // 2]
        dry = recent & ((flow <= 0) | (flow <= middle[:, None] * (1.0 + self._wet(device))))
        dry &= number > self.day[device][:, None] - _WEEK
        total, water = np.zeros(len(device)), np.zeros(len(device))
        load = self.day_load[device][:, -_FORTNIGHT:].astype(np.float64)
        flowless = np.zeros(len(device), dtype=np.bool_)
        for i in range(_FORTNIGHT):  # one by one: sums of arrays may round by their length
            weight = np.where(dry[:, i], np.where(flow[:, i] > 0, flow[:, i], 1.0), 0.0)
            total, water = total + weight * load[:, i], water + weight
            flowless |= dry[:, i] & (flow[:, i] <= 0)
        days = dry.sum(axis=1)
        mean = np.where(water > 0, total / np.where(water > 0, water, 1.0), nan)
        return mean, np.where(flowless | (days == 0), nan, water / np.maximum(days, 1)), days

    def _wet(self, device: Int64) -> Float64 | float:
        wet = self.params.of("wet", device)
        return wet[:, None] if isinstance(wet, np.ndarray) else wet

    def _remember(self, device: Int64, beyond: Bool) -> None:
        """The past follows slowly and stands still while the week is thin."""
        days = np.minimum(self.days[device], self.params.of("past_days", device))
        for name, today in (("past", self.day_load[device][:, -1]), ("past_flow", self.day_flow[device][:, -1])):
            past = getattr(self, name)
            old, new = past[device], today.astype(np.float64)
            ratio = np.clip(new / np.where(old > 0, old, 1.0), 0.5, 2.0)
            moved = np.where(old > 0, old * (1.0 + (ratio - 1.0) / days), new)
            past[device] = np.where((new > 0) & ~beyond, moved, old)

    def forget(self, device: Int64) -> None:
        """The clock was set back: the day begins anew."""
        super().forget(device)
        self.day[device] = -1
        self.day_number[device] = -1
        self.seen_us[device] = self.flow_us[device] = UNSET

    def window(self, device: int) -> Window | None:
        """The days' flow-weighted means of the last six weeks, and the plant's past."""
        known = self.day_number[device] >= 0
        if known.sum() < 2:
            return None
        noon = self.day_number[device][known].astype(np.int64) * DAY_US - LOCAL_US + DAY_US // 2
        return Window(
            noon, self.day_load[device][known].astype(np.float64), np.full(len(noon), float(self.past[device]))
        )


DETECTOR: Final[type[Detector]] = Dilution
