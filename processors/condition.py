"""The life of a condition, for many devices at once: it begins, holds, is raised, eases, is cleared.

From: detectors, which say of each value whether it is beyond or safely back. To: hits. One place for hold time and
clear delay, so that every detector means the same by them.

            beyond            beyond for hold_s           safely back for clear_s
    IDLE ------------> PENDING ----------------> RAISED --------------------------> IDLE
      ^---------------------'  not beyond
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64, UInt8
from processors.detectors import Hits, Step, Window
from processors.errors import RuleError
from processors.findings import Phase
from processors.parameters import Parameters

IDLE, PENDING, RAISED = 0, 1, 2
UNSET = 2**62
"""A time that is not known. Later than any real one, so what elapsed since is negative and no delay is ever over."""

_HUGE = 1e100  # no instrument says so; sums and differences of smaller values stay finite
_GAP_CADENCES = 3  # fewer missing readings than this are everyday radio losses


@dataclass(frozen=True, slots=True)
class Moves:
    """What m rows did to their devices' conditions; masks are (m,).

    `began`: beyond, and was not before. `rose`, `fell`: raised, cleared at this row. `lasting`: was raised and
    still is.
    """

    began: Bool
    rose: Bool
    fell: Bool
    lasting: Bool


class Condition:
    """State of one rule's condition over n devices; detectors inherit it and add columns of their own.

    `phase`: (n,) IDLE, PENDING or RAISED. `since_us`: (n,) onset, event time. `timed_us`: (n,) from when the present
    delay runs: the hold while pending, the way back while raised. `moved_us`: (n,) last value while not idle.
    `told_us`: (n,) last raise or update.
    """

    FIXED: ClassVar[frozenset[str]] = frozenset()
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {  # name -> type, value of a device not heard of
        "phase": ("uint8", IDLE),
        "since_us": ("int64", UNSET),
        "timed_us": ("int64", UNSET),
        "moved_us": ("int64", UNSET),
        "told_us": ("int64", UNSET),
    }
    STATE: tuple[str, ...] = tuple(COLUMNS)
    phase: UInt8
    since_us: Int64
    timed_us: Int64
    moved_us: Int64
    told_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """`params`: the rule's; of them `hold_s` and `clear_s` are used here, 0 where the rule has none."""
        self.params = Parameters({"hold_s": 0.0, "clear_s": 0.0, **params})
        self._gap_us = np.empty(0, dtype=np.int64)  # three cadences
        for name, (dtype, _) in self.COLUMNS.items():
            setattr(self, name, np.empty((0, *self.width(name)), dtype=dtype))

    def width(self, name: str) -> tuple[int, ...]:  # noqa: ARG002  for detectors with more than one value per device
        """Shape of one device's element of the state column `name`."""
        return ()

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:  # noqa: ARG002  only silence asks since when
        """Make room for `len(cadence_s)` devices; the state of those already known stays."""
        self.params.grow(len(cadence_s))
        self._gap_us = (cadence_s * (_GAP_CADENCES * 1e6)).astype(np.int64)
        for name, (dtype, fill) in self.COLUMNS.items():
            old = getattr(self, name)
            new = np.full((len(cadence_s) - len(old), *self.width(name)), fill, dtype=dtype)
            setattr(self, name, np.concatenate([old, new]))

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended; what is not a number is left out."""
        usable = self.usable(step)
        if usable.all():
            return self.judge(step)
        rows = np.flatnonzero(usable)
        found = self.judge(at(step, rows))
        for hits in found:
            hits.row = rows[hits.row]
        return found

    def usable(self, step: Step) -> Bool:
        """(n,) which rows `judge` can take: by default, those with a value."""
        return np.abs(step.value) < _HUGE

    def judge(self, step: Step) -> list[Hits]:
        """Take usable rows; each detector's own part."""
        raise NotImplementedError

    def deadlines(self) -> Int64 | None:
        """None: values alone move a condition."""
        return None

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:  # noqa: ARG002  no deadlines, nothing to say
        """Nothing: there are no deadlines."""
        return []

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back: what was being timed starts anew, what is raised stays."""
        self.phase[device[self.phase[device] == PENDING]] = IDLE
        for column in (self.timed_us, self.moved_us, self.told_us):
            column[device] = UNSET

    def window(self, device: int) -> Window | None:  # noqa: ARG002  the engine's trace shows it
        """None: the last readings show what this rule saw."""
        return None

    def patience(self, device: Int64, least_us: Int64 | int) -> Int64:
        """(m,) us: after a longer gap in the data nothing is known to have held."""
        return np.maximum(self._gap_us[device], least_us)

    def hold_us(self, device: Int64) -> Int64 | int:
        """(m,) us: how long the condition of `device` (m,) must last before it is raised."""
        return self.params.us("hold_s", device)

    def active(self, device: Int64, beyond: Bool) -> Int64:
        """The rows that matter to a condition: beyond, or not idle. Mostly none, which is what makes it cheap."""
        return np.flatnonzero(beyond | (self.phase[device] != IDLE))

    def follow(
        self, device: Int64, time_us: Int64, *, beyond: Bool, inside: Bool, onset_us: Int64 | None = None
    ) -> Moves:
        """Move the conditions of `device` (m,), each once: `beyond` the limit, safely `inside`, or in between.

        `onset_us`: (m,) when it began, where the detector knows better than the first value beyond.
        """
        phase, gap = self.phase[device], time_us - self.moved_us[device]
        hold, clear = self.hold_us(device), self.params.us("clear_s", device)
        raised = phase == RAISED
        waiting = beyond & ~raised
        began = waiting & ((phase == IDLE) | (gap > self.patience(device, hold)))
        since = np.where(began, time_us if onset_us is None else onset_us, self.since_us[device])
        # The hold starts with the first value beyond, even where the onset is estimated to be earlier.
        held_from = np.where(began, time_us, self.timed_us[device])
        rose = waiting & (time_us - held_from >= hold)
        back, calm = raised & inside, self.timed_us[device]
        calm = np.where((calm == UNSET) | (gap > self.patience(device, clear)), time_us, calm)
        fell = back & (time_us - calm >= clear)
        lasting = raised & ~fell
        self.phase[device] = np.where(rose | lasting, RAISED, np.where(waiting, PENDING, IDLE))
        self.since_us[device] = since
        self.timed_us[device] = np.where(waiting & ~rose, held_from, np.where(back, calm, UNSET))
        self.moved_us[device] = time_us
        told = self.told_us[device]
        self.told_us[device] = np.where(rose | (lasting & (told == UNSET)), time_us, told)
        return Moves(began, rose, fell, lasting)

    def end(self, device: Int64) -> None:
        """Take the conditions of `device` (m,) back to idle, whatever their values."""
        self.phase[device] = IDLE


def at(step: Step, rows: Int64) -> Step:
    """The given rows of `step`."""
    return Step(
        step.device[rows],
        step.time_us[rows],
        step.received_us[rows],
        step.value[rows],
        step.quality[rows],
        step.beside[rows] if step.beside.shape[1] else step.beside,
        step.bad[rows] if step.bad.shape[1] else step.bad,
    )


def hits(
    phase: Phase,
    row: Int64,
    *,
    onset_us: Int64,
    at_us: Int64,
    observed: Float64,
    limit: Float64 | float,
    expected: Float64 | float = np.nan,
    start_us: Int64 | None = None,
) -> list[Hits]:
    """One statement about m rows, none if m is 0; plain numbers stand for all of them."""
    if not len(row):
        return []
    start = onset_us if start_us is None else start_us
    return [Hits(phase, row, onset_us, at_us, observed, _all(expected, len(row)), _all(limit, len(row)), start)]


def _all(value: Float64 | float, count: int) -> Float64:
    return value if isinstance(value, np.ndarray) else np.full(count, value)


def rows_of(device: NDArray[np.integer]) -> Int64:
    """Device rows as numpy's own index type: converted once, not at every look-up."""
    return cast("Int64", device.astype(np.int64, copy=False))


def micro(seconds: float) -> int:
    """`seconds` as whole microseconds; 100,000 years where it is longer."""
    return int(min(seconds, 3e12) * 1e6)


def demand(detector: str, params: Mapping[str, float], **rules: str) -> None:
    """Check that each parameter is `> 0`, `>= 0` or a `direction`; RuleError names the first that is not."""
    for name, rule in rules.items():
        value = params[name]
        fine = {">0": value > 0, ">=0": value >= 0, "direction": value in {-1, 0, 1}}[rule]
        if not fine:
            expected = "-1, 0 or 1" if rule == "direction" else rule
            raise RuleError(
                f"detector {detector}: expected {name} {expected}, got {value:g}; the rule is not used"
            )
