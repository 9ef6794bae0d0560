"""The demo's score: what was published against what was stored, what went wrong against what was noticed.

Pure: lists in, numbers out. A fault counts as detected when an alert of one of its rules, on its device, is raised
between the fault's begin and `grace_s` after its end. What rises on the device until `aftermath_s` after the end is
the fault's doing too: a value that springs back is a step. An alert that no fault explains is false.

A reading is known by its device and time. One whose protocol states no time is stored under that of its receipt, so
it is known by its device and values instead: they must be there as often as sent, received after that and soon.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from devices.simulator.faults import Labelled


@dataclass(frozen=True, slots=True)
class Noticed:
    """An alert as the book has it; `raised_us` by the city's clock."""

    device: str
    kind: str
    rule: str
    onset_us: int
    raised_us: int


@dataclass(slots=True)
class Detection:
    """How the alerts compare with the schedule."""

    injected: int = 0
    detected: int = 0
    harmless: int = 0
    missed: list[Labelled] = field(default_factory=list)
    false: list[Noticed] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    by_fault: dict[str, tuple[int, int]] = field(default_factory=dict)


def detection(
    injected: Sequence[Labelled],
    noticed: Sequence[Noticed],
    *,
    grace_s: float,
    end_us: int,
    aftermath_s: float = 0.0,
) -> Detection:
    """Compare; faults that had less than `grace_s` before the run's end are not counted as missed."""
    result = Detection()
    grace_us = int(grace_s * 1e6)
    faults: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for fault in injected:
        if not fault.rules:
            result.harmless += 1
            continue
        alert = _first(noticed, fault, grace_us)
        if alert is None and min(fault.end_us, end_us) - fault.start_us < grace_us:
            continue
        result.injected += 1
        faults[fault.fault] += 1
        if alert is None:
            result.missed.append(fault)
            continue
        result.detected += 1
        hits[fault.fault] += 1
        result.delays_s.append((alert.raised_us - fault.start_us) / 1e6)
    after_us = int(max(grace_s, aftermath_s) * 1e6)
    result.false = [a for a in noticed if not _explained(a, injected, after_us)]
    result.by_fault = {name: (hits[name], count) for name, count in sorted(faults.items())}
    return result


def _first(noticed: Iterable[Noticed], fault: Labelled, grace_us: int) -> Noticed | None:
    mine = [
        a
        for a in noticed
        if a.device == fault.device
        and a.rule in fault.rules
        and fault.start_us <= a.raised_us <= fault.end_us + grace_us
    ]
    return min(mine, key=lambda a: a.raised_us, default=None)


def _explained(alert: Noticed, injected: Iterable[Labelled], grace_us: int) -> bool:
    """A fault may set off more than its own rules: a frozen value is also a flat one; that is no false alarm."""
    return any(
        fault.rules
        and fault.device == alert.device
        and fault.start_us <= alert.raised_us <= fault.end_us + grace_us
        for fault in injected
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """Readings published and acknowledged, against what the store holds; keys are (device, time us)."""

    published: int
    stored: int
    lost: int
    duplicated: int
    strange: int


def delivery(published: Iterable[tuple[str, int]], stored: Iterable[tuple[str, int]]) -> Delivery:
    """Compare acknowledged readings with stored rows."""
    sent = set(published)
    rows = Counter(stored)
    return Delivery(
        published=len(sent),
        stored=len(rows),
        lost=len(sent - rows.keys()),
        duplicated=sum(count - 1 for count in rows.values()),
        strange=len(rows.keys() - sent),
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """A reading without a time of its own, acknowledged; `at_us`: city time at which it was handed over."""

    device: str
    at_us: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """A stored row; `values`: by quantity, where it has one."""

    device: str
    time_us: int
    values: Mapping[str, float]


@dataclass(slots=True)
class Receipts:
    """Readings without a time of their own. `at_us`: (device, row's time us) -> city time of sending."""

    delivery: Delivery
    at_us: dict[tuple[str, int], int]


_Known = tuple[str, tuple[tuple[str, float], ...]]
_DIGITS: Final = 4  # finer than any quantity is shown, coarser than what converting units costs


def receipts(sent: Iterable[Sent], stored: Iterable[Row], *, within_us: int) -> Receipts:
    """Find for each reading sent the one row that it became, at most `within_us` later; a row serves once."""
    waiting: defaultdict[_Known, list[int]] = defaultdict(list)
    found: defaultdict[_Known, list[int]] = defaultdict(list)
    for one in sent:
        waiting[_known(one.device, one.values)].append(one.at_us)
    for row in stored:
        found[_known(row.device, row.values)].append(row.time_us)
    at_us: dict[tuple[str, int], int] = {}
    again = strange = 0
    for known, moments in found.items():
        pairs = _pairs(sorted(waiting[known]), sorted(moments), within_us) if known in waiting else {}
        at_us |= {(known[0], moment): at for moment, at in pairs.items()}
        again += len(moments) - len(pairs) if known in waiting else 0
        strange += 0 if known in waiting else len(moments)
    count = sum(map(len, waiting.values()))
    rows = sum(map(len, found.values()))
    return Receipts(Delivery(count, rows, count - len(at_us), again, strange), at_us)


def _known(device: str, values: Mapping[str, float]) -> _Known:
    return device, tuple(sorted((name, round(value, _DIGITS)) for name, value in values.items()))


def _pairs(sent: Sequence[int], received: Sequence[int], within_us: int) -> dict[int, int]:
    """Time received -> time sent, both rising: the earliest that can be a pair is one."""
    pairs: dict[int, int] = {}
    place = 0
    for moment in received:
        while place < len(sent) and moment > sent[place] + within_us:
            place += 1
        if place < len(sent) and sent[place] <= moment:
            pairs[moment] = sent[place]
            place += 1
    return pairs


def together(one: Delivery, other: Delivery) -> Delivery:
    """Both counts as one."""
    return Delivery(
        one.published + other.published,
        one.stored + other.stored,
        one.lost + other.lost,
        one.duplicated + other.duplicated,
        one.strange + other.strange,
    )


def percentiles(seconds: Sequence[float]) -> tuple[float, float] | None:
    """p50 and p99 of `seconds`; None without any."""
    if not seconds:
        return None
    low, high = np.percentile(np.array(seconds), [50, 99])
    return float(low), float(high)
