"""Rules that read several quantities of one device, which may arrive in separate messages.

From: steps with a value and what stands beside it. To: detectors that look at all of it at once. A quantity holds until
the next message that carries it, three reporting periods at most; what is older is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np

from devices.readings import Bool, Float64, Int64
from processors.condition import UNSET, Condition, Moves, hits, rows_of
from processors.detectors import Hits, Step
from processors.findings import Phase

_HUGE: Final = 1e30  # no instrument says so, and squares of it stay finite


class Look(NamedTuple):
    """What a rule makes of m rows. `beyond`, `inside`: (m,), neither where nothing can be said.

    `observed`, `expected`, `limit`: (m,) in the rule's unit.
    """

    beyond: Bool
    inside: Bool
    observed: Float64
    expected: Float64 | float = np.nan
    limit: Float64 | float = np.nan


class Beside(Condition):
    """A condition over the latest of 1 + READS quantities: the rule's own, then those beside it, in their order.

    A rule may declare fewer than READS; the others are never known. State: the condition, the latest values and
    their times.
    """

    READS: ClassVar[int]
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "latest": ("float64", np.nan),
        "latest_us": ("int64", UNSET),
    }
    STATE: tuple[str, ...] = tuple(COLUMNS)
    latest: Float64  # (n, 1 + READS)
    latest_us: Int64

    def width(self, name: str) -> tuple[int, ...]:
        """One value and one time for each quantity."""
        return (1 + self.READS,) if name in {"latest", "latest_us"} else ()

    def usable(self, step: Step) -> Bool:
        """(n,) rows with any of the quantities."""
        there: Bool = np.abs(step.value) < _HUGE
        if step.bad.shape[1]:
            there |= step.bad.any(axis=1)
        return there | (np.abs(step.beside) < _HUGE).any(axis=1) if step.beside.shape[1] else there

    def judge(self, step: Step) -> list[Hits]:
        """Look at the latest of all quantities; say what began or ended."""
        device = rows_of(step.device)
        values = self._latest(device, step)
        look = self.read(device, step, values)
        rows = self.active(device, look.beyond)
        if not len(rows):
            return []
        moves = self.follow(device[rows], step.time_us[rows], beyond=look.beyond[rows], inside=look.inside[rows])
        self.moved(device[rows], step.time_us[rows], moves)
        return [
            *self._told(Phase.RAISE, rows[moves.rose], step, look),
            *self._told(Phase.CLEAR, rows[moves.fell], step, look),
        ]

    def read(self, device: Int64, step: Step, values: Float64) -> Look:
        """Judge `values`; for a detector that needs more of the step than its time."""
        return self.look(device, step.time_us, values)

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:
        """Judge `values` (m, 1 + READS), NaN where not known; each detector's own part."""
        raise NotImplementedError

    def moved(self, device: Int64, time_us: Int64, moves: Moves) -> None:
        """Conditions of `device` (m,) moved: for detectors that remember more of them."""

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back: nothing is known of it now."""
        super().forget(device)
        self.latest_us[device] = UNSET

    def _latest(self, device: Int64, step: Step) -> Float64:
        """(m, 1 + READS) what is known now; what came with these rows is kept."""
        new = np.full((len(device), 1 + self.READS), np.nan)
        new[:, 0] = step.value
        given = min(step.beside.shape[1], self.READS)
        new[:, 1 : 1 + given] = step.beside[:, :given]
        there = np.abs(new) < _HUGE
        if there.all():
            self.latest[device], self.latest_us[device] = new, step.time_us[:, np.newaxis]
            return new
        age = step.time_us[:, np.newaxis] - self.latest_us[device]
        lately = (age >= 0) & (age <= self._gap_us[device][:, np.newaxis])
        now = np.where(there, new, np.where(lately, self.latest[device], np.nan))
        self.latest[device] = now
        self.latest_us[device] = np.where(there, step.time_us[:, np.newaxis], self.latest_us[device])
        return now

    def _told(self, phase: Phase, rows: Int64, step: Step, look: Look) -> list[Hits]:
        device = rows_of(step.device)[rows]
        expected, limit = (
            part[rows] if isinstance(part, np.ndarray) else part for part in (look.expected, look.limit)
        )
        return hits(
            phase,
            rows,
            onset_us=self.since_us[device],
            at_us=step.time_us[rows],
            observed=look.observed[rows],
            expected=expected,
            limit=limit,
        )


def heating(load: Float64, least: Float64 | float) -> Bool:
    """(m,) whether heat flows by `load` (m,), a power or a flow; False where it is not known."""
    flows: Bool = load > least
    return flows
