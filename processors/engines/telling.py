"""Hits into findings: names, times, the sentence and the chart.

From: what a detector says about rows and devices. To: `processors.engines.rules`, which collects the findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Int64, Quality
from devices.spec import Use
from processors.detectors import Detector, Hits
from processors.engines.traces import Traces
from processors.evidence.record import from_trace, from_window
from processors.evidence.sentence import Facts, sentence
from processors.findings import Chart, Evidence, Finding, Phase, finding_id, iso


@dataclass(slots=True)
class Rule:
    """One use of a detector, alive. `column`: of its quantity, -1 for the whole device. `beside`: of the others."""

    use: Use
    column: int
    beside: Int64
    detector: Detector

    @property
    def key(self) -> str:
        """Names the rule's state in a snapshot; another version of a rule starts afresh."""
        return f"{self.use.rule}/{self.use.detector}/{self.use.version}"

    @property
    def grouped(self) -> bool:
        """Whether it looks at several devices together."""
        return bool(getattr(self.detector, "GROUPED", False))

    @property
    def bad(self) -> bool:
        """Whether it also hears of values that cannot be right."""
        return bool(getattr(self.detector, "BAD", False))

    @property
    def columns(self) -> Int64:
        """The quantity's own column, then those beside it."""
        return np.append(np.int64(self.column), self.beside)


def tell(
    rule: Rule,
    hits: Hits,
    device: NDArray[np.integer],
    offset: Int64,
    fleet: KindFleet,
    traces: Traces,
    quality: NDArray[np.uint8] | None = None,
) -> list[Finding]:
    """The findings of `hits` (m,) about rows `device` (m,), decided at journal `offset` (m,)."""
    grades = np.zeros(len(hits.row), dtype=np.uint8) if quality is None else quality
    return [
        _finding(rule, hits, i, int(device[i]), int(offset[i]), fleet, traces, int(grades[i]))
        for i in range(len(hits.row))
    ]


def _finding(
    rule: Rule, hits: Hits, i: int, device: int, offset: int, fleet: KindFleet, traces: Traces, quality: int
) -> Finding:
    use, name = rule.use, fleet.ids[device]
    onset, at = int(hits.onset_us[i]), int(hits.at_us[i])
    extra = {key: float(values[i]) for key, values in hits.extra.items()}
    place = [fleet.ids[int(row)] for row in hits.place[i]] if len(hits.place) else []
    facts = Facts(
        quantity=use.quantity,
        observed=float(hits.observed[i]),
        expected=float(hits.expected[i]),
        limit=float(hits.limit[i]),
        onset_us=onset,
        at_us=at,
        extra=extra,
        place=tuple(place),
        beside=use.beside,
        over=hits.phase is Phase.CLEAR,
    )
    return Finding(
        id=finding_id(name, use.rule, onset),
        phase=hits.phase,
        device=name,
        kind=fleet.kind.name,
        rule=use.rule,
        version=use.version,
        severity=use.severity.value,
        onset=iso(onset),
        at=iso(at),
        offset=offset,
        evidence=Evidence(
            quantity=use.quantity.name if use.quantity else None,
            unit=use.quantity.unit if use.quantity else "s",  # device-wide rules measure silence
            observed=_number(facts.observed),
            expected=_number(facts.expected),
            limit=_number(facts.limit),
            hold_s=rule.detector.params.at("hold_s", device) if "hold_s" in rule.detector.params else 0.0,
            quality=Quality(quality).name.lower(),
            window=(iso(int(hits.start_us[i])), iso(at)),
            params=_params(rule, device),
            why=sentence(use.because or hits.because or rule.detector.BECAUSE, facts),
            numbers={key: round(value, 6) for key, value in extra.items() if isfinite(value)},
            place=place,
            radius_m=_number(float(hits.radius_m[i])) if hits.radius_m is not None else None,
            chart=_chart(rule, device, at, traces, fleet),
        ),
    )


def _params(rule: Rule, device: int) -> dict[str, float]:
    """What was set for the rule, as it held for this device: the kind's numbers and those changed since."""
    params = rule.detector.params
    shown = sorted({*rule.use.params, *params.changed(device)})
    values = {name: params.at(name, device) for name in shown}
    return {name: value for name, value in values.items() if isfinite(value)}


def _chart(rule: Rule, device: int, at_us: int, traces: Traces, fleet: KindFleet) -> Chart | None:
    use = rule.use
    own = rule.detector.window(device)
    if own is not None:
        return from_window(own, use.quantity, at_us)
    if rule.grouped or use.quantity is None:
        return None  # what the traces hold at this moment may depend on how the journal was cut
    shown = (use.quantity, *use.beside)
    wanted = np.searchsorted(traces.columns, [fleet.kind.column(quantity.name) for quantity in shown])
    seconds, values = traces.of(device)
    return from_trace(seconds, values[:, wanted], shown, at_us)


def _number(value: float) -> float | None:
    # Six decimals are finer than any instrument here, and keep the findings readable.
    return round(value, 6) if isfinite(value) else None
