"""The faults that a demo of some minutes is too short for: covers that settle over weeks, purifiers that wear out.

From: the kinds' declared faults, less those that the live city had. To: the demo's score. Each fault gets a simulated
device of its own and weeks of its readings, judged by the same engine as live, as fast as the machine can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from deploy.demo.score import Detection, Noticed, detection
from devices.simulator.faults import AFTERMATH_S, Labelled
from devices.spec import Fault, Kind
from processors.backtest.run import Span, alerts_of, findings
from processors.backtest.simulated import ids, labels, rows

_LONG_S: Final = 86_400.0
_HEALTHY_DAYS: Final = {False: 2.0, True: 15.0}  # before a quick fault, before a long one
_AFTER_DAYS: Final = 1.3
_AFTERMATH_S: Final = 2 * _LONG_S  # what was wrong for weeks takes days to be forgotten
_COARSE_S: Final = 600.0  # what takes weeks is seen at ten minutes as well, and ten times as fast


@dataclass(slots=True)
class Slow:
    """What the faults led to, over all kinds."""

    labels: list[Labelled] = field(default_factory=list)
    noticed: list[Noticed] = field(default_factory=list)
    days: float = 0.0

    def score(self) -> Detection:
        """As the live score."""
        end_us = max((one.end_us for one in self.labels), default=0) + 2 * int(AFTERMATH_S * 1e6)
        return detection(self.labels, self.noticed, grace_s=AFTERMATH_S, end_us=end_us, aftermath_s=_AFTERMATH_S)


class Judged(NamedTuple):
    """One run: the devices of one kind, the faults they had, and the alerts; `days`: device-days."""

    kind: Kind
    labels: list[Labelled]
    spans: list[Span]
    days: float


def slow_faults(
    kinds: Mapping[str, Kind],
    live: Collection[tuple[str, str]],
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Slow:
    """Judge every declared fault that is not in `live`, as (kind, fault)."""
    found = Slow()
    for run in runs(kinds, live, seed, progress):
        found.labels += run.labels
        found.noticed += [_noticed(span, run.kind) for span in run.spans]
        found.days += run.days
    return found


def runs(
    kinds: Mapping[str, Kind],
    live: Collection[tuple[str, str]],
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Judged]:
    """The declared faults that are not in `live`, quick and long ones of each kind in a run of their own."""
    tasks = [
        (kind, chosen, long)
        for kind in kinds.values()
        for long in (False, True)
        if (chosen := [one for one in _left(kind, live) if (one.duration_s > _LONG_S) == long])
    ]
    for done, (kind, chosen, long) in enumerate(tasks):
        progress(done, len(tasks))
        yield _judged(kind, chosen, seed, long=long)
    progress(len(tasks), len(tasks))


def _left(kind: Kind, live: Collection[tuple[str, str]]) -> list[Fault]:
    return [one for one in kind.simulate.faults if (kind.name, one.name) not in live]


def _judged(kind: Kind, chosen: Sequence[Fault], seed: int, *, long: bool) -> Judged:
    if long:
        kind = replace(kind, cadence_s=max(kind.cadence_s, _COARSE_S))
    healthy = _HEALTHY_DAYS[long or kind.cadence_s >= _COARSE_S]
    days = healthy + max(one.duration_s for one in chosen) / _LONG_S + _AFTER_DAYS
    names = [f"{kind.name} {'weeks' if long else 'hours'} {name}" for name in ids(kind, len(chosen))]
    label = labels(kind, chosen, names, days=days, healthy_days=healthy, seed=seed)
    spans = alerts_of(findings(kind, rows(kind, names, label, days=days, seed=seed)))
    return Judged(kind, label, spans, days * len(names))


def _noticed(span: Span, kind: Kind) -> Noticed:
    return Noticed(span.device, kind.name, span.rule, span.start_us, span.raised_us)
