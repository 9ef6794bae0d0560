"""All rules of one kind: order, quality and detectors over its devices.

From: decoded batches of the kind. To: `processors.engines.local`, as judged rows for the store and findings.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Batch, Bool, Int64, Quality, concat, empty
from devices.spec import Use
from ingest.decode import Timeline
from ingest.order import Arranged, Order, OrderSettings, rounds
from ingest.order import restore as restore_order
from ingest.quality import QualityGate
from processors.detectors import NEVER, Extends, GroupDetector, Hits, Step, build, restore, snapshot
from processors.engines.sources import Clock, Seen, by_tcp
from processors.engines.telling import Rule, tell
from processors.engines.traces import Traces
from processors.findings import Finding, Phase
from processors.thresholds.history import History

Arrays = dict[str, NDArray[np.generic]]


class KindRules:
    """Everything that happens to the readings of one kind."""

    def __init__(self, fleet: KindFleet, settings: OrderSettings) -> None:
        self.fleet = fleet
        self.by_tcp = by_tcp(fleet)
        self.order = Order(fleet, settings)
        self.quality = QualityGate(fleet)
        self.rules = [_rule(use, fleet) for use in fleet.kind.detectors]
        self._devicewide = [rule for rule in self.rules if rule.column < 0]
        self._on_values = [rule for rule in self.rules if rule.column >= 0 and not rule.grouped]
        self._on_groups = [rule for rule in self.rules if rule.grouped]
        watched = {0} | {c for rule in self.rules for c in (rule.column, *rule.beside.tolist()) if c >= 0}
        self.traces = Traces(np.array(sorted(watched), dtype=np.int64))
        self.traces.grow(len(fleet))

    def grow(self, fleet: KindFleet) -> None:
        """Follow a changed registry; `fleet` keeps the rows of every device known before."""
        self.fleet = fleet
        self.by_tcp = by_tcp(fleet)
        self.order.grow(fleet)
        self.quality.grow(fleet)
        self.traces.grow(len(fleet))
        for rule in self.rules:
            grow(rule, fleet)

    def tune(self, history: History, now_us: int) -> None:
        """Give every rule the numbers that hold at `now_us` for each device."""
        for rule in self.rules:
            params = rule.detector.params
            changed = list(history.values(self.fleet, rule.use.rule, params, now_us))
            for param, values in changed:
                params.put(param, values)
            if changed:
                grow(rule, self.fleet)

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

    def readings(self, arranged: Arranged, seen: Seen, findings: list[Finding]) -> list[Batch]:
        """Judge and detect; the rows to store, ready and late."""
        ready = arranged.ready
        judged = []
        for rows in rounds(ready.device):
            part = ready.take(rows)
            self._reset(part.device[arranged.reset[rows]].astype(np.int64))
            self.quality.judge(part)
            self.traces.take(part)
            self._detect(part, findings)
            judged.append(part)
        if self._on_groups and judged:
            self._detect_together(concat(judged), seen, findings)
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
            heard = part.quality <= Quality.BAD if rule.bad else usable
            there = heard[:, rule.column]
            for column in rule.beside:
                there = there | heard[:, column]
            rows = np.flatnonzero(there)
            if not len(rows):
                continue
            step = _step(part, rows, rule, usable)
            for hits in rule.detector.step(step):
                at = rows[hits.row]
                self._state(rule, hits, part.device[at], part.offset[at], findings, part.quality[at, rule.column])

    def _detect_together(self, part: Batch, seen: Seen, findings: list[Finding]) -> None:
        """Rules over groups take the segment whole, in the order of the journal, whatever its rounds were."""
        part = part.take(np.lexsort((part.time_us, part.device, part.offset, part.received_us)))
        usable = part.quality <= Quality.SUSPECT
        for rule in self._on_groups:
            rows = np.flatnonzero(usable[:, rule.column])
            if not len(rows):
                continue
            for hits in cast("GroupDetector", rule.detector).take(_step(part, rows, rule, usable)):
                self._state(rule, hits, hits.row, seen.positions(self.by_tcp[hits.row], hits.at_us), findings)

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

    def silence(self) -> list[Extends]:
        """The detectors that wait for a sign of life: our own absence, or a gateway's, must not count as theirs."""
        return [rule.detector for rule in self.rules if isinstance(rule.detector, Extends)]

    def _state(
        self,
        rule: Rule,
        hits: Hits,
        device: NDArray[np.integer],
        offset: Int64,
        findings: list[Finding],
        quality: NDArray[np.uint8] | None = None,
    ) -> None:
        findings += tell(rule, hits, device, offset, self.fleet, self.traces, quality)

    def snapshot(self) -> dict[str, Arrays]:
        """Copies of all state, by part."""
        parts: dict[str, Arrays] = {
            "order": {name: getattr(self.order, name).copy() for name in Order.STATE},
            "quality": self.quality.snapshot(),
            "traces": self.traces.snapshot(),
        }
        for rule in self.rules:
            parts[f"rule:{rule.key}"] = snapshot(rule.detector)
        return parts

    def restore(self, parts: dict[str, Arrays], rows: Int64) -> None:
        """Put state back; element i of every array belongs to device row `rows[i]`, -1 where it is gone."""
        restore_order(self.order, parts["order"], rows)
        self.quality.restore(parts["quality"], rows)
        if "traces" in parts:
            self.traces.restore(parts["traces"], rows)
        for rule in self.rules:
            arrays = parts.get(f"rule:{rule.key}")
            if arrays is not None:
                restore(rule.detector, arrays, rows)


def _rule(use: Use, fleet: KindFleet) -> Rule:
    column = fleet.kind.column(use.quantity.name) if use.quantity else -1
    beside = np.array([fleet.kind.column(quantity.name) for quantity in use.beside], dtype=np.int64)
    rule = Rule(use, column, beside, build(use.detector, use.params))
    reads = getattr(rule.detector, "reads", None)
    if reads is not None:  # its state has room for each of the quantities
        reads(len(beside))
    grow(rule, fleet)
    return rule


def grow(rule: Rule, fleet: KindFleet) -> None:
    """Follow the registry: more devices, other cadences, other zones."""
    rule.detector.grow(fleet.cadence_s, fleet.registered_us)
    if rule.grouped:
        detector = cast("GroupDetector", rule.detector)
        detector.locate(fleet.position)
        detector.group(zones(fleet))


def _step(part: Batch, rows: Int64, rule: Rule, usable: Bool) -> Step:
    """`rows` of `part` as the rule reads them; what is not good enough is not there."""
    whole = len(rows) == len(part)
    value = part.values[:, rule.column] if whole else part.values[rows, rule.column]
    beside = np.empty((0, 0))
    if len(rule.beside) or rule.bad:
        value = np.where(usable[rows, rule.column], value, np.nan)
    if len(rule.beside):
        places = np.ix_(rows, rule.beside)
        beside = np.where(usable[places], part.values[places], np.nan)
    if rule.bad:
        bad = part.quality[np.ix_(rows, rule.columns)] == Quality.BAD
        where = (part.device[rows], part.time_us[rows], part.received_us[rows])
        return Step(*where, value, part.quality[rows, rule.column], beside, bad)
    if whole:
        return Step(part.device, part.time_us, part.received_us, value, part.quality[:, rule.column], beside)
    return Step(
        part.device[rows],
        part.time_us[rows],
        part.received_us[rows],
        value,
        part.quality[rows, rule.column],
        beside,
    )


def zones(fleet: KindFleet) -> Int64:
    """(n,) a number per device, the same for devices of one zone: their setting `zone`, else their district.

    Devices without either are in no group: -1.
    """
    known: dict[str, int] = {}
    found = np.full(len(fleet), -1, dtype=np.int64)
    for row, (settings, district) in enumerate(zip(fleet.settings, fleet.district, strict=True)):
        zone = str((settings or {}).get("zone", "")) or district
        if zone:
            found[row] = known.setdefault(zone, len(known))
    return found


def extend_silence(rules: KindRules, device: Int64, until_us: Int64) -> None:
    """Give `device` (m,) until `until_us` (m,) before their silence counts; NEVER stops the clock for them."""
    for detector in rules.silence():
        detector.extend(device, until_us)


__all__ = ["NEVER", "Arrays", "KindRules", "Rule", "extend_silence"]
