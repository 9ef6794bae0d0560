"""Which device has which fault when: a seeded schedule, and what a fault does to values.

From: the kinds' profiles. To: `devices.simulator.city`, and the score, which compares alerts with the labels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.readings import Bool, Float64, Int64
from devices.simulator.chance import gauss, keys
from devices.simulator.counters import HOUR_US, counters, paces
from devices.simulator.profiles import KindModel
from devices.spec import Change, Fault, Kind

# A value that springs back when a fault ends is a step too: an alert that rises on the device within this time
# after `Labelled.end_us` is the fault's aftermath, neither a detection nor a false alarm.
AFTERMATH_S: Final = 3600.0
_TRIES: Final = 24
_QUARTER_US: Final = 900_000_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """One fault in a run, as the score needs it. `rules`: any of them detects it; empty: harmless."""

    device: str
    kind: str
    fault: str
    start_us: int
    end_us: int
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Injected:
    """A labelled fault, resolved: row of its device, its declaration, the values at its onset (q,).

    `pace`: (2, q) what counters count too much during the fault, per hour and hour squared. `kept`: (q,) how far
    they are off for ever after its end.
    """

    label: Labelled
    row: int
    fault: Fault
    onset: Float64
    pace: Float64
    kept: Float64


def needed_s(kind: Kind, fault: Fault, cadence_s: float) -> float:
    """How long the fault must last in a run before it can be expected to be seen, in seconds.

    The slowest of its rules counts; one that must first learn a level (CUSUM) is not waited for where there are
    others. A fault that grows needs all its time.
    """
    if fault.seen_after_s is not None:
        return min(fault.duration_s, fault.seen_after_s + 4.0 * min(cadence_s, fault.report_every_s or math.inf))
    if not fault.rules or any(effect.change in {Change.RAMP, Change.GROW} for effect in fault.effects):
        return fault.duration_s
    pace = min(cadence_s, fault.report_every_s or math.inf)
    waits = []
    for use in kind.detectors:
        if use.rule in fault.rules and use.detector != "cusum":
            hold = use.params.get("hold_s", 0.0)
            if use.detector == "silence":
                hold = max(use.params.get("periods", 3.0) * cadence_s, use.params.get("min_s", 0.0))
            waits.append(hold + 4.0 * pace)
    return min(fault.duration_s, max(waits, default=math.inf))


def schedule(
    kinds: Mapping[str, Kind],
    devices: Mapping[str, Sequence[str]],
    *,
    seed: int,
    from_us: int,
    to_us: int,
    share: float = 0.1,
    cadence_s: Mapping[str, float] | None = None,
    carried: Mapping[str, AbstractSet[str]] | None = None,
) -> list[Labelled]:
    """A fault for about `share` of the devices of each kind, one per device, by start.

    A kind's faults take turns, so that each occurs where devices are many enough. A fault that cannot be seen
    before `to_us` is left out; one that outlasts the run is cut off by its end. `cadence_s`: per device. `carried`:
    device -> the quantities that its protocol carries, without it all; a device has no fault that it cannot tell of.
    """
    labels: list[Labelled] = []
    for name, kind in kinds.items():
        chance = random.Random(f"{seed}|{name}")
        ids = list(devices.get(name, ()))
        chance.shuffle(ids)
        model = KindModel(kind, seed=seed, start_us=from_us)
        faults = list(kind.simulate.faults)
        chance.shuffle(faults)
        count = min(len(ids), math.ceil(len(ids) * share)) if share > 0 else 0
        for place, device in enumerate(ids[:count]):
            pace = (cadence_s or {}).get(device, kind.cadence_s)
            told = faults if carried is None else [f for f in faults if tells(kind, f, carried[device])]
            label = _first_fit(model, told, place, device, pace, chance, from_us, to_us)
            if label is not None:
                labels.append(label)
    return sorted(labels, key=lambda label: (label.start_us, label.device))


def tells(kind: Kind, fault: Fault, carried: AbstractSet[str]) -> bool:
    """Whether a device that reports only the quantities `carried` shows `fault`: to one of its rules at least."""
    shown = {effect.quantity for effect in fault.effects} & carried
    if (fault.silent and not fault.effects) or not fault.rules:
        return fault.silent or bool(shown)
    return any(
        use.quantity is not None and not shown.isdisjoint(q.name for q in (use.quantity, *use.beside))
        for use in kind.detectors
        if use.rule in fault.rules
    )


def _first_fit(
    model: KindModel,
    faults: Sequence[Fault],
    place: int,
    device: str,
    pace: float,
    chance: random.Random,
    from_us: int,
    to_us: int,
) -> Labelled | None:
    for turn in range(len(faults)):
        fault = faults[(place + turn) % len(faults)]
        first = from_us + int(_warm_up_s(model.kind, fault, pace) * 1e6)
        last = to_us - int(needed_s(model.kind, fault, pace) * 1e6)
        for _ in range(_TRIES if last > first else 0):
            start = chance.randrange(first, last) // 1000 * 1000
            if fault.silent or model.active(start):
                end = start + int(fault.duration_s * 1e6)
                return Labelled(device, model.kind.name, fault.name, start, end, fault.rules)
    return None


def _warm_up_s(kind: Kind, fault: Fault, pace: float) -> float:
    """How long the device is healthy first: a rule that compares with the past must have seen some."""
    compares = any(use.rule in fault.rules and use.detector != "limit" for use in kind.detectors)
    return max(fault.healthy_s, 2.5 * pace if compares else min(2.5 * pace, 60.0))


def inject(model: KindModel, label: Labelled, row: int) -> Injected:
    """Resolve `label` for the device at `row`; KeyError when its kind knows no such fault."""
    faults = {fault.name: fault for fault in model.kind.simulate.faults}
    fault, kind = faults[label.fault], model.kind
    moments = np.array([label.start_us, label.start_us + HOUR_US, label.end_us], dtype=np.int64)
    onset, later, last = model.values(np.full(3, row, dtype=np.int64), moments)
    pace, columns = paces(kind, fault, later - onset), counters(kind)
    one = Injected(label, row, fault, onset, pace, np.zeros(len(onset)))
    end_us = moments[2:]
    one.kept[:] = _counted(one, end_us)[0]
    for effect in fault.effects:
        if (column := kind.column(effect.quantity)) in columns:
            now = last[column : column + 1]
            one.kept[column] += float(
                _changed(one, column, effect.change, effect.amount, now, end_us, 0)[0] - now[0]
            )
    return one


def bearing(injected: Sequence[Injected], begin: int, end: int) -> list[Injected]:
    """Those of `injected` that show in [begin, end]: present ones, and what counters keep of past ones."""
    return [one for one in injected if one.label.start_us <= end and (one.label.end_us > begin or one.kept.any())]


def apply(
    model: KindModel, active: Sequence[Injected], rows: Int64, time_us: Int64, values: Float64, *, seed: int
) -> None:
    """Change `values` (n, q) in place by what the faults `active` do to devices `rows` (n,) at `time_us` (n,)."""
    turned = np.zeros(len(rows))
    for one in active:
        mine = rows == one.row
        if one.kept.any():
            values[mine & (time_us >= one.label.end_us)] += one.kept
        hit = np.flatnonzero(mine & (time_us >= one.label.start_us) & (time_us < one.label.end_us))
        if len(hit):
            values[hit] += _counted(one, time_us[hit])
            for effect in one.fault.effects:
                if effect.change is Change.TURN:
                    turned[hit] += effect.amount
                    continue
                column = model.kind.column(effect.quantity)
                now = values[hit, column]
                values[hit, column] = _changed(one, column, effect.change, effect.amount, now, time_us[hit], seed)
    _keep_physical(model.kind, values)
    if active:
        model.pose(rows, time_us, values, turned)


def _counted(one: Injected, time_us: Int64) -> Float64:
    """(n, q) what counters have counted too much by `time_us` (n,)."""
    hours = (time_us[:, np.newaxis] - one.label.start_us) / HOUR_US
    more: Float64 = one.pace[0] * hours + one.pace[1] * hours * hours
    return more


def _changed(
    one: Injected, column: int, change: Change, amount: float, value: Float64, time_us: Int64, seed: int
) -> Float64:
    match change:
        case Change.STEP | Change.CYCLE:
            off = change is Change.CYCLE and (time_us - one.label.start_us) // _QUARTER_US % 2
            return value + np.where(off, 0.0, amount)
        case Change.SCALE | Change.GROW:
            hours = 1.0 if change is Change.SCALE else (time_us - one.label.start_us) / 3.6e9
            return value * (amount if change is Change.SCALE else 1.0 + amount * hours)
        case Change.SET | Change.FREEZE:
            return np.full(len(value), amount if change is Change.SET else one.onset[column])
        case Change.RAMP:
            return value + amount * (time_us - one.label.start_us) / 3.6e9
        case Change.NOISE:
            rows = np.full(len(value), one.row, dtype=np.int64)
            return value + amount * gauss(keys(seed, 7000 + column, rows, time_us))
        case Change.TURN:  # of a direction, which no single quantity has: `apply` sees to it
            return value


def _keep_physical(kind: Kind, values: Float64) -> None:
    """A fault moves the world, not the laws of nature: what the instrument could not show is clipped."""
    for column, quantity in enumerate(kind.quantities):
        value = values[:, column]
        blank = np.isin(value, quantity.sentinels)  # what it shows where it measures nothing
        values[:, column] = np.where(blank, value, np.clip(value, *quantity.physical))


def silenced(active: Sequence[Injected], rows: Int64, time_us: Int64) -> Bool:
    """(n,) true where a report does not happen."""
    out = np.zeros(len(rows), dtype=np.bool_)
    for one in active:
        if one.fault.silent:
            begin = one.label.start_us + int(one.fault.silent_after_s * 1e6)
            out |= (rows == one.row) & (time_us >= begin) & (time_us < one.label.end_us)
    return out


def ahead_us(active: Sequence[Injected], rows: Int64, time_us: Int64) -> Int64:
    """(n,) by how much the clocks of devices `rows` (n,) are ahead of `time_us` (n,)."""
    out = np.zeros(len(rows), dtype=np.int64)
    for one in active:
        if one.fault.clock_s:
            wrong = (rows == one.row) & (time_us >= one.label.start_us) & (time_us < one.label.end_us)
            out[wrong] += int(one.fault.clock_s * 1e6)
    return out
