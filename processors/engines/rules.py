"""All rules of one kind: order, quality and detectors over its devices.

From: decoded batches of the kind. To: `processors.engines.local`, as judged rows for the store and findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Batch, Bool, Int64, Quality, empty
from devices.spec import Use
from ingest.decode import Timeline
from ingest.order import Arranged, Order, OrderSettings, rounds
from ingest.order import restore as restore_order
from ingest.quality import QualityGate
from processors.detectors import NEVER, Detector, Hits, Step, build, restore, snapshot
from processors.engines.sources import Clock, Seen, by_tcp
from processors.findings import Evidence, Finding, Phase, finding_id, iso

Arrays = dict[str, NDArray[np.generic]]


@dataclass(slots=True)
class Rule:
    """One use of a detector, alive."""

    use: Use
    column: int
    detector: Detector

    @property
    def key(self) -> str:
        """Names the rule's state in a snapshot; another version of a rule starts afresh."""
        return f"{self.use.rule}/{self.use.detector}/{self.use.version}"


class KindRules:
    """Everything that happens to the readings of one kind."""

    def __init__(self, fleet: KindFleet, settings: OrderSettings) -> None:
        self.fleet = fleet
        self.by_tcp = by_tcp(fleet)
        self.order = Order(fleet, settings)
        self.quality = QualityGate(fleet)
        self.rules = [
            Rule(
                use, fleet.kind.column(use.quantity.name) if use.quantity else -1, build(use.detector, use.params)
            )
            for use in fleet.kind.detectors
        ]
        for rule in self.rules:
            rule.detector.grow(fleet.cadence_s, fleet.registered_us)
        self._devicewide = [rule for rule in self.rules if rule.column < 0]
        self._on_values = [rule for rule in self.rules if rule.column >= 0]

    def grow(self, fleet: KindFleet) -> None:
        """Follow a changed registry; `fleet` keeps the rows of every device known before."""
        self.fleet = fleet
        self.by_tcp = by_tcp(fleet)
        self.order.grow(fleet)
        self.quality.grow(fleet)
        for rule in self.rules:
            rule.detector.grow(fleet.cadence_s, fleet.registered_us)

    def arrange(self, batch: Batch | None, timeline: Timeline, clock: Clock) -> Arranged | None:
        """Sort a segment's rows; None when nothing came and nothing waits."""
        if batch is None and not self.order.held:
            return None
        others = (self.by_tcp, clock.loggers.outage) if clock.listening else None
        return self.order.arrange(
            empty(self.fleet) if batch is None else batch, timeline, clock.broker.outage, others
        )

    def arrivals(self, arrived: Batch, seen: Seen, findings: list[Finding]) -> None:
        """Tell the device-wide rules which devices gave a sign of life."""
        for rows in rounds(arrived.device):
            device = arrived.device[rows]
            step = Step(
                device,
                arrived.time_us[rows],
                arrived.received_us[rows],
                np.zeros(len(rows)),
                np.zeros(len(rows), dtype=np.uint8),
            )
            for rule in self._devicewide:
                for hits in rule.detector.step(step):
                    offset = arrived.offset[rows][hits.row]
                    if hits.phase is Phase.RAISE:  # its deadline passed before this arrival
                        offset = seen.positions(self.by_tcp[device[hits.row]], hits.at_us)
                    self._state(rule, hits, device[hits.row], offset, findings)

    def readings(self, arranged: Arranged, findings: list[Finding]) -> list[Batch]:
        """Judge and detect; the rows to store, ready and late."""
        ready = arranged.ready
        judged = []
        for rows in rounds(ready.device):
            part = ready.take(rows)
            self._reset(part.device[arranged.reset[rows]].astype(np.int64))
            self.quality.judge(part)
            self._detect(part, findings)
            judged.append(part)
        if len(arranged.late):
            self.quality.judge(arranged.late)
            judged.append(arranged.late)
        return judged

    def _reset(self, device: Int64) -> None:
        if len(device):
            for rule in self._on_values:
                rule.detector.forget(device)

    def _detect(self, part: Batch, findings: list[Finding]) -> None:
        usable = part.quality <= Quality.SUSPECT
        for rule in self._on_values:
            good = usable[:, rule.column]
            rows = np.arange(len(part)) if good.all() else np.flatnonzero(good)
            if not len(rows):
                continue
            step = Step(
                part.device[rows],
                part.time_us[rows],
                part.received_us[rows],
                part.values[rows, rule.column],
                part.quality[rows, rule.column],
            )
            for hits in rule.detector.step(step):
                at = rows[hits.row]
                self._state(rule, hits, part.device[at], part.offset[at], findings, part.quality[at, rule.column])

    def expire(self, seen: Seen, findings: list[Finding], hush: Bool) -> None:
        """Let every deadline speak that its device's clock has passed, but for devices in `hush` (n,)."""
        clock = seen.now_us(self.by_tcp)
        for rule in self.rules:
            deadlines = rule.detector.deadlines()
            if deadlines is None or not len(deadlines):
                continue
            late = deadlines < clock
            due = np.flatnonzero(late & ~hush if rule.column < 0 else late)
            if not len(due):
                continue
            for hits in rule.detector.expire(due, clock[due]):
                self._state(rule, hits, hits.row, seen.positions(self.by_tcp[hits.row], hits.at_us), findings)

    def silence(self) -> list[Detector]:
        """The device-wide detectors that wait for a sign of life."""
        return [rule.detector for rule in self._devicewide if rule.detector.deadlines() is not None]

    def _state(
        self,
        rule: Rule,
        hits: Hits,
        device: NDArray[np.integer],
        offset: Int64,
        findings: list[Finding],
        quality: NDArray[np.uint8] | None = None,
    ) -> None:
        """Turn hits into findings."""
        use = rule.use
        for i in range(len(hits.row)):
            name = self.fleet.ids[int(device[i])]
            onset = int(hits.onset_us[i])
            findings.append(
                Finding(
                    id=finding_id(name, use.rule, onset),
                    phase=hits.phase,
                    device=name,
                    kind=self.fleet.kind.name,
                    rule=use.rule,
                    version=use.version,
                    severity=use.severity.value,
                    onset=iso(onset),
                    at=iso(int(hits.at_us[i])),
                    offset=int(offset[i]),
                    evidence=Evidence(
                        quantity=use.quantity.name if use.quantity else None,
                        unit=use.quantity.unit if use.quantity else "s",  # device-wide rules measure silence
                        observed=_number(hits.observed[i]),
                        expected=_number(hits.expected[i]),
                        limit=_number(hits.limit[i]),
                        hold_s=float(use.params.get("hold_s", 0.0)),
                        quality=Quality(int(quality[i]) if quality is not None else 0).name.lower(),
                        window=(iso(int(hits.start_us[i])), iso(int(hits.at_us[i]))),
                        params={k: float(v) for k, v in use.params.items() if np.isfinite(v)},
                    ),
                )
            )

    def snapshot(self) -> dict[str, Arrays]:
        """Copies of all state, by part."""
        parts: dict[str, Arrays] = {
            "order": {name: getattr(self.order, name).copy() for name in Order.STATE},
            "quality": self.quality.snapshot(),
        }
        for rule in self.rules:
            parts[f"rule:{rule.key}"] = snapshot(rule.detector)
        return parts

    def restore(self, parts: dict[str, Arrays], rows: Int64) -> None:
        """Put state back; element i of every array belongs to device row `rows[i]`, -1 where it is gone."""
        restore_order(self.order, parts["order"], rows)
        self.quality.restore(parts["quality"], rows)
        for rule in self.rules:
            arrays = parts.get(f"rule:{rule.key}")
            if arrays is not None:
                restore(rule.detector, arrays, rows)


def _number(value: np.float64) -> float | None:
    # Six decimals are finer than any instrument here, and keep the findings readable.
    return round(float(value), 6) if np.isfinite(value) else None


def extend_silence(rules: KindRules, device: Int64, until_us: Int64) -> None:
    """Give `device` (m,) until `until_us` (m,) before their silence counts; NEVER stops the clock for them."""
    for detector in rules.silence():
        extend = getattr(detector, "extend", None)
        if extend is not None:
            extend(device, until_us)


__all__ = ["NEVER", "Arrays", "KindRules", "Rule", "extend_silence"]
