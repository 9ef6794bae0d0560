"""A value that stays low while the machine it belongs to runs: a purifier left off, a probe that smells nothing.

From: one quantity and, beside it, the current of the machine that leads, in event-time order. To: hits whose limit is
what counts as low and whose expected value is the device's usual one while the machine runs. The two may come in
separate messages. Source: interlock supervision by current, as platforms for cooking fume do it; Roberts 1959,
exponential means.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64, UInt8
from devices.spec import Text
from processors.condition import UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase

_HUGE: Final = 1e30  # single precision holds it
_USUAL: Final = 200  # readings that make the usual value


class Linked(Condition):
    """Raise when the value was at most `low`, or `share` of its usual one, for `hold_s` while the machine ran.

    Units: `low` in the quantity's unit. `running`: the machine runs from this on, in the unit of the quantity beside.
    `share`: 0: `low` alone counts. Clears after `clear_s` in which the value was higher or the machine stood still.
    Reads beside: the machine's current. State: the condition, the machine's last current and its time, the usual
    value and its readings.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {
        "running": nan,
        "low": nan,
        "share": 0.0,
        "hold_s": 0.0,
        "clear_s": 0.0,
    }
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "lead": ("float32", 0.0),
        "lead_us": ("int64", UNSET),
        "usual": ("float32", 0.0),
        "count": ("uint8", 0),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "设备运行中（{lead:.1f} A），{what}只有{observed}（限值{limit}），已持续{lasted}",
        "While the machine runs ({lead:.1f} A), {what} is only {observed} (limit {limit}), for {lasted}",
    )
    lead: NDArray[np.float32]
    lead_us: Int64
    usual: NDArray[np.float32]
    count: UInt8

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("linked", params, running=">0", low=">=0", share=">=0", hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def usable(self, step: Step) -> Bool:
        """(n,) rows with either quantity."""
        there: Bool = np.abs(step.value) < _HUGE
        return there | (np.abs(step.beside) < _HUGE).any(axis=1) if step.beside.shape[1] else there

    def judge(self, step: Step) -> list[Hits]:
        """Take one pair per device, or half of one, and say what began or ended."""
        device, time_us = rows_of(step.device), step.time_us
        lead = self._lead(device, time_us, step.beside)
        running = lead >= self.params.of("running", device)
        value = step.value
        there = np.abs(value) < _HUGE
        low = self.params.of("low", device)
        usual, count = self.usual[device].astype(np.float64), self.count[device]
        bound = np.where(count == _USUAL, np.maximum(low, self.params.of("share", device) * usual), low)
        beyond = there & running & (value <= bound)
        normal = there & running & (value > bound)
        if normal.any():
            share = np.where(normal, 1.0 / np.minimum(count + 1.0, _USUAL), 0.0)
            self.usual[device] = usual + share * (np.where(there, value, usual) - usual)
            self.count[device] = np.where(normal, np.minimum(count, _USUAL - 1) + 1, count)
        # Half a pair alone says nothing new.
        rows = np.flatnonzero((beyond | (self.phase[device] != 0)) & (there | ~running))
        return self._state(step, rows, beyond[rows], bound, lead) if len(rows) else []

    def _lead(self, device: Int64, time_us: Int64, beside: Float64) -> Float64:
        """(n,) the machine's current now, or lately; 0 where it is not known."""
        told = np.abs(beside[:, 0]) < _HUGE if beside.shape[1] else np.zeros(len(device), dtype=np.bool_)
        if told.all():
            self.lead[device], self.lead_us[device] = beside[:, 0], time_us
            return beside[:, 0]
        kept, age = self.lead[device].astype(np.float64), time_us - self.lead_us[device]
        lately = (age >= 0) & (age <= self._gap_us[device])
        if not told.any():
            return np.where(lately, kept, 0.0)
        self.lead[device] = np.where(told, beside[:, 0], kept)
        self.lead_us[device] = np.where(told, time_us, self.lead_us[device])
        return np.where(told, beside[:, 0], np.where(lately, kept, 0.0))

    def _state(self, step: Step, rows: Int64, beyond: Bool, bound: Float64, lead: Float64) -> list[Hits]:
        device, time_us = rows_of(step.device)[rows], step.time_us[rows]
        moves = self.follow(device, time_us, beyond=beyond, inside=~beyond)
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            row, who = rows[which], device[which]
            told = hits(
                phase,
                row,
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=step.value[row],
                expected=np.where(self.count[who] == _USUAL, self.usual[who].astype(np.float64).round(3), np.nan),
                limit=bound[row].round(3),
            )
            for one in told:
                one.extra = {"lead": lead[row]}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: when the machine was last heard of is not known any more."""
        super().forget(device)
        self.lead_us[device] = UNSET


DETECTOR: Final[type[Detector]] = Linked
