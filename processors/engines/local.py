"""The local engine: one process, all devices, arrays.

From: decoded journal segments. To: judged rows for the store and findings for the alert book. It has no clock: its
time is the journal's, whose ticks make the passing of time a record like any other. A gap in the
journal means that we were away, not that the city fell silent: every silence timer then starts afresh.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from devices.fleet import Fleet
from devices.readings import Batch, Bool, Int64
from ingest.decode import Decoded
from ingest.order import Arranged, OrderSettings, Outage
from processors.engines.gateways import GatewayWatch
from processors.engines.rules import KindRules, extend_silence
from processors.engines.sources import Clock, Seen, SourceClock, gap_end, see
from processors.errors import ProcessorError
from processors.findings import Finding
from processors.thresholds.history import History

_UNTUNED = -1


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


class Engine:
    """Order, quality, detectors and gateways over all kinds."""

    def __init__(self, fleet: Fleet, settings: EngineSettings) -> None:
        self.settings = settings
        self.fleet = fleet
        self.clock = Clock()
        order = OrderSettings(reorder_s=settings.reorder_s, future_s=settings.future_s)
        self.kinds = {name: KindRules(kind, order) for name, kind in fleet.kinds.items()}
        self.gateways = GatewayWatch(fleet, settings.gateway_periods)
        self._history = History()
        self.edges: list[int] = []
        self._passed = 0

    def grow(self, fleet: Fleet) -> None:
        """Follow a changed registry; `fleet` must be built from the present one."""
        self.fleet = fleet
        for name, rules in self.kinds.items():
            rules.grow(fleet.kinds[name])
        self.gateways.grow(fleet)
        self._passed = _UNTUNED if self._history.changes else 0

    def follow(self, history: History) -> None:
        """Use `history` of thresholds from now on; what holds at a moment is found when a segment begins there."""
        self._history, self.edges, self._passed = history, history.edges(), _UNTUNED

    def tune(self, now_us: int) -> None:
        """Give every rule what holds at `now_us`; quick where nothing began or ended to hold since."""
        passed = bisect_right(self.edges, now_us)
        if passed == self._passed:
            return
        self._passed = passed
        for rules in self.kinds.values():
            rules.tune(self._history, now_us)

    def process(self, decoded: Decoded) -> Outcome:
        """Take one segment; the result depends on the journal up to here, not on how it was cut."""
        seen = see(decoded, self.clock)
        self.tune(int(seen.every.clock[0]))
        self._notice_gaps(seen)
        incoming = {batch.fleet.kind.name: batch for batch in decoded.batches}
        arranged: dict[str, Arranged] = {}
        for name, rules in self.kinds.items():
            sorted_rows = rules.arrange(incoming.get(name), seen.every, self.clock)
            if sorted_rows is not None:
                arranged[name] = sorted_rows
        outcome = Outcome([], [])
        findings = outcome.findings
        self._gateways(arranged, findings)
        self.gateways.expire(seen.broker, findings)
        for name, part in arranged.items():
            rules = self.kinds[name]
            rules.arrivals(part.arrived, seen, findings)
            outcome.batches += rules.readings(part, seen, findings)
            outcome.rows += len(part.arrived)
            outcome.duplicates += part.duplicates
            outcome.missing += part.missing
            outcome.late += len(part.late)
        for rules in self.kinds.values():
            rules.expire(seen, findings, self.gateways.hush(rules.fleet.gateway))
        self._go_on(seen)
        findings.sort(key=lambda f: (f.offset, f.device, f.rule, f.onset, f.phase != "raise", f.at))
        return outcome

    def _go_on(self, seen: Seen) -> None:
        clock = self.clock
        clock.now_us = int(seen.every.clock[-1])
        clock.broker.now_us = int(seen.broker.clock[-1])
        if clock.listening:
            clock.loggers.now_us = int(seen.loggers.clock[-1])

    def _notice_gaps(self, seen: Seen) -> None:
        """A source that was away comes back: its devices were not silent, and what it kept for us is not late."""
        longest, clock = int(self.settings.max_gap_s * 1e6), self.clock
        end = gap_end(clock.broker, seen.broker, longest)
        if end is not None:
            self._outage(clock.broker, end)
            self.gateways.excuse(end)
            for rules in self.kinds.values():
                _excuse(rules, ~rules.by_tcp if clock.listening else np.ones(len(rules.fleet), np.bool_), end)
        end = gap_end(clock.loggers, seen.loggers, longest) if clock.listening else None
        if end is not None:
            self._outage(clock.loggers, end)
            for rules in self.kinds.values():
                _excuse(rules, rules.by_tcp, end)

    def _outage(self, source: SourceClock, end_us: int) -> None:
        if source.now_us:
            drain = max(int(self.settings.drain_s * 1e6), end_us - source.now_us)
            source.outage = Outage(source.now_us, end_us + drain)

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


def _excuse(rules: KindRules, which: Bool, from_us: int) -> None:
    device = np.flatnonzero(which)
    extend_silence(rules, device, _fresh(rules, device, from_us))


def _fresh(rules: KindRules, device: Int64, from_us: int) -> Int64:
    """When silence may count again for `device` (m,), had each reported at `from_us`."""
    periods = max((rule.use.params.get("periods", 3.0) for rule in rules.rules if rule.column < 0), default=3.0)
    until: Int64 = from_us + (rules.fleet.cadence_s[device] * periods * 1e6).astype(np.int64)
    return until
