"""The demo's score: what was published against what was stored, what went wrong against what was noticed.

Pure: lists in, numbers out. A fault counts as detected when an alert of one of its rules, on its device, is raised
between the fault's begin and `grace_s` after its end. What rises on the device until `aftermath_s` after the end is
the fault's doing too: a value that springs back is a step. An alert that no fault explains is false.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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


def percentiles(seconds: Sequence[float]) -> tuple[float, float] | None:
    """p50 and p99 of `seconds`; None without any."""
    if not seconds:
        return None
    low, high = np.percentile(np.array(seconds), [50, 99])
    return float(low), float(high)
