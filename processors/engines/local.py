"""The local engine: one process, all devices, arrays.

From: decoded journal segments. To: judged rows for the store and findings for the alert book. It has no clock: its
time is the journal's, whose ticks make the passing of time a record like any other. A gap in the
journal means that we were away, not that the city fell silent: every silence timer then starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from devices.fleet import Fleet
from devices.readings import Batch, Int64
from ingest.decode import Decoded
from ingest.order import Arranged, OrderSettings, Outage
from processors.engines.gateways import GatewayWatch
from processors.engines.rules import KindRules, extend_silence
from processors.errors import ProcessorError
from processors.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Bounds of the engine.

    `reorder_s`: how long a reading waits for one that is missing before it. `future_s`: how far ahead a device's
    clock may be. `max_gap_s`: a longer gap in the journal means that we were away. `drain_s`: how long after
    such a gap its backlog counts as live. `gateway_periods`: reporting periods until a gateway is silent.
    `segment_s`, `segment_rows`: how much is processed at once. `snapshot_s`: how often state is saved.
    """

    reorder_s: float = 5.0
    future_s: float = 300.0
    max_gap_s: float = 10.0
    drain_s: float = 600.0
    gateway_periods: float = 2.0
    segment_s: float = 1.0
    segment_rows: int = 4096
    snapshot_s: float = 30.0

    def __post_init__(self) -> None:
        if self.max_gap_s <= self.segment_s:
            raise ProcessorError(
                f"engine.max_gap_s: expected more than segment_s = {self.segment_s}, got {self.max_gap_s}"
            )


@dataclass(slots=True)
class Outcome:
    """What one segment led to. `findings` are in the order of offset, device, rule and phase."""

    batches: list[Batch]
    findings: list[Finding]
    rows: int = 0
    duplicates: int = 0
    missing: int = 0
    late: int = 0


@dataclass(slots=True)
class Clock:
    """The engine's sense of time, part of every snapshot; UTC microseconds, 0 before the first record."""

    now_us: int = 0
    outage: Outage = field(default_factory=Outage)


class Engine:
    """Order, quality, detectors and gateways over all kinds."""

    def __init__(self, fleet: Fleet, settings: EngineSettings) -> None:
        self.settings = settings
        self.fleet = fleet
        self.clock = Clock()
        order = OrderSettings(reorder_s=settings.reorder_s, future_s=settings.future_s)
        self.kinds = {name: KindRules(kind, order) for name, kind in fleet.kinds.items()}
        self.gateways = GatewayWatch(fleet, settings.gateway_periods)

    def grow(self, fleet: Fleet) -> None:
        """Follow a changed registry; `fleet` must be built from the present one."""
        self.fleet = fleet
        for name, rules in self.kinds.items():
            rules.grow(fleet.kinds[name])
        self.gateways.grow(fleet)

    def process(self, decoded: Decoded) -> Outcome:
        """Take one segment; the result depends on the journal up to here, not on how it was cut."""
        timeline = decoded.timeline
        # Several workers stamp side by side, and redecoded deliveries keep their old stamp: time does not go back.
        np.maximum(timeline.clock, self.clock.now_us, out=timeline.clock)
        self._notice_gap(int(timeline.clock[0]))
        incoming = {batch.fleet.kind.name: batch for batch in decoded.batches}
        arranged: dict[str, Arranged] = {}
        for name, rules in self.kinds.items():
            sorted_rows = rules.arrange(incoming.get(name), timeline, self.clock.outage)
            if sorted_rows is not None:
                arranged[name] = sorted_rows
        outcome = Outcome([], [])
        findings = outcome.findings
        self._gateways(arranged, findings)
        self.gateways.expire(timeline, findings)
        for name, part in arranged.items():
            rules = self.kinds[name]
            rules.arrivals(part.arrived, timeline, findings)
            outcome.batches += rules.readings(part, findings)
            outcome.rows += len(part.arrived)
            outcome.duplicates += part.duplicates
            outcome.missing += part.missing
            outcome.late += len(part.late)
        for rules in self.kinds.values():
            rules.expire(timeline, findings, self.gateways.hush(rules.fleet.gateway))
        self.clock.now_us = int(timeline.clock[-1])
        findings.sort(key=lambda f: (f.offset, f.device, f.rule, f.onset, f.phase != "raise", f.at))
        return outcome

    def _notice_gap(self, first_us: int) -> None:
        now, longest = self.clock.now_us, int(self.settings.max_gap_s * 1e6)
        if first_us - now <= longest:
            return
        away = first_us - now if now else 0
        if now:
            drain = max(int(self.settings.drain_s * 1e6), away)
            self.clock.outage = Outage(now, first_us + drain)
        self.gateways.excuse(first_us)
        for rules in self.kinds.values():
            everyone = np.arange(len(rules.fleet), dtype=np.int64)
            extend_silence(rules, everyone, _fresh(rules, everyone, first_us))

    def _gateways(self, arranged: dict[str, Arranged], findings: list[Finding]) -> None:
        """Signs of life of gateways, out of those of their children."""
        parts = []
        for name, part in arranged.items():
            gateway = self.kinds[name].fleet.gateway[part.arrived.device]
            through = gateway >= 0
            if through.any():
                parts.append((gateway[through], part.arrived.received_us[through], part.arrived.offset[through]))
        if not parts:
            return
        gateway, received, offset = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        now = int(received.max())
        back = self.gateways.arrived(gateway.astype(np.int64), received, offset, findings)
        for rules in self.kinds.values() if len(back) else ():
            children = np.flatnonzero(np.isin(rules.fleet.gateway, back))
            extend_silence(rules, children, _fresh(rules, children, now))


def _fresh(rules: KindRules, device: Int64, from_us: int) -> Int64:
    """When silence may count again for `device` (m,), had each reported at `from_us`."""
    periods = max((rule.use.params.get("periods", 3.0) for rule in rules.rules if rule.column < 0), default=3.0)
    until: Int64 = from_us + (rules.fleet.cadence_s[device] * periods * 1e6).astype(np.int64)
    return until
