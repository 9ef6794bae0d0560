"""The pipeline: the journal's consumer that decodes, judges, detects, stores and raises alerts.

From: the journal. To: the store's sink, the alert book, quarantine. Every effect is idempotent and a snapshot is
saved only after all effects before it are durable, so a crash at any point repeats work and changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import structlog

from devices.codecs import Codec
from devices.fleet import Entry, Fleet, build
from devices.readings import Batch
from devices.spec import Kind
from ingest.decode import Decoder, Presence, Refused, segments
from ingest.errors import JournalCorrupt, JournalError
from ingest.journal import Journal
from ingest.rules import BUILT_IN, Rule
from processors.engines.local import Engine, EngineSettings, Outcome
from processors.engines.snapshots import SnapshotFolder, State, apply, capture
from processors.errors import SnapshotError
from processors.findings import Finding
from processors.thresholds.change import Change
from processors.thresholds.history import History

log = structlog.get_logger(__name__)
CURSOR = "pipeline"
_READ_BLOCKS = 256


class Registry(Protocol):
    """The devices that are known."""

    def entries(self) -> Sequence[Entry]:
        """Every registered device."""
        ...

    def revision(self) -> int:
        """A number that changes with every change of the registry."""
        ...


class Thresholds(Protocol):
    """What people changed in the rules."""

    def changes(self) -> Sequence[Change]:
        """Every change, whether it holds or not."""
        ...

    def revision(self) -> object:
        """Something that changes with every change."""
        ...


class Sink(Protocol):
    """Where readings go."""

    def put(self, batches: Sequence[Batch], upto: int) -> None:
        """Take the rows of a segment that ends before `upto`."""
        ...

    def flush(self, upto: int, timeout_s: float) -> bool:
        """Wait until everything before `upto` is durable."""
        ...


@dataclass(slots=True)
class PipelineStats:
    """Counters since start, for metrics and the demo's score."""

    deliveries: int = 0
    rows: int = 0
    duplicates: int = 0
    missing: int = 0
    late: int = 0
    refused: int = 0
    findings: int = 0
    last_received_us: int = 0
    snapshot_offset: int = 0


class Pipeline:
    """One thread's work; `step` as often as there is something to read."""

    def __init__(
        self,
        *,
        journal: Journal,
        kinds: Mapping[str, Kind],
        codecs: Mapping[str, Codec],
        registry: Registry,
        snapshots: SnapshotFolder,
        sink: Sink,
        on_findings: Callable[[Sequence[Finding], int], None],
        on_refused: Callable[[Sequence[Refused]], None],
        settings: EngineSettings,
        stored_upto: int = 0,
        rules: Sequence[Rule] = BUILT_IN,
        on_presence: Callable[[Sequence[Presence]], None] = lambda _: None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self._journal = journal
        self._kinds = kinds
        self._codecs = codecs
        self._registry = registry
        self._snapshots = snapshots
        self._sink = sink
        self._on_findings = on_findings
        self._on_refused = on_refused
        self._on_presence = on_presence
        self._settings = settings
        self._stored_upto = stored_upto
        self._rules = rules
        self._thresholds = thresholds
        self._thresholds_revision: object = None
        self._revision = registry.revision()
        self.fleet: Fleet = build(kinds, registry.entries(), revision=self._revision)
        self.engine = Engine(self.fleet, settings)
        self._follow()
        self._decoder = Decoder(self.fleet, codecs, rules)
        self.offset = self._restore()
        self.stats = PipelineStats(snapshot_offset=self.offset)
        self._saving: threading.Thread | None = None

    def _restore(self) -> int:
        """Load the newest usable snapshot; the journal offset to go on from."""
        state, problems = self._snapshots.newest(self.fleet, not_after=self._journal.end())
        for problem in problems:
            log.warning("snapshot_passed_over", reason=problem, now="an older one is used")
        start = self._journal.start()
        if state is None:
            log.info("no_snapshot", offset=start, now="the journal is read from there")
            return start
        if state.offset < start:
            log.warning("journal_begins_after_snapshot", snapshot=state.offset, journal=start)
        apply(self.engine, state)
        self._decoder.memory.update(state.memory)
        log.info("snapshot_restored", offset=state.offset)
        return max(state.offset, start)

    def _follow(self) -> None:
        """Follow the thresholds when somebody changed one."""
        if self._thresholds is None:
            return
        revision = self._thresholds.revision()
        if revision != self._thresholds_revision:
            self._thresholds_revision = revision
            self.engine.follow(History(self._thresholds.changes()))
            log.info("thresholds_followed", revision=revision)

    def refresh(self) -> bool:
        """Follow the registry and the thresholds when they changed; whether the registry did."""
        self._follow()
        revision = self._registry.revision()
        if revision == self._revision:
            return False
        self._revision = revision
        self.fleet = build(self._kinds, self._registry.entries(), revision=revision, previous=self.fleet)
        self.engine.grow(self.fleet)
        self._decoder = Decoder(self.fleet, self._codecs, self._rules, self._decoder.memory)
        log.info("registry_refreshed", revision=revision, devices=sum(map(len, self.fleet.kinds.values())))
        return True

    def step(self) -> int:
        """Process what the journal holds now, at most a few thousand deliveries; how many there were.

        A damaged block is passed over: what it held is gone, and a city that is no longer watched would be worse.
        """
        try:
            blocks = self._journal.read(self.offset, limit=_READ_BLOCKS)
        except JournalCorrupt as error:
            log.error("journal_damaged", reason=str(error), now="going on behind it")  # noqa: TRY400
            self._sink.put([], error.next)
            gone, self.offset = error.next - self.offset, error.next
            return gone
        done = 0
        settings = self._settings
        span_us, edges = int(settings.segment_s * 1e6), self.engine.edges
        for segment in segments(blocks, span_us=span_us, rows=settings.segment_rows, edges=edges):
            decoded = self._decoder.decode(segment)
            outcome = self.engine.process(decoded)
            if decoded.refused:
                self._on_refused(decoded.refused)
            if decoded.presence:
                self._on_presence(decoded.presence)
            if outcome.findings:
                self._on_findings(outcome.findings, segment.next)
            self._sink.put([self._unstored(batch) for batch in outcome.batches], segment.next)
            self.offset = segment.next
            self._count(len(segment.topics) - decoded.controls, outcome, len(decoded.refused))
            done += len(segment.topics)
        return done

    def _unstored(self, batch: Batch) -> Batch:
        """After a restart the journal is read from the snapshot on: leave out what the store already has."""
        if self.offset >= self._stored_upto:
            return batch
        return batch.take(batch.offset >= self._stored_upto)

    def _count(self, deliveries: int, outcome: Outcome, refused: int) -> None:
        stats = self.stats
        stats.deliveries += deliveries
        stats.rows += outcome.rows
        stats.duplicates += outcome.duplicates
        stats.missing += outcome.missing
        stats.late += outcome.late
        stats.refused += refused
        stats.findings += len(outcome.findings)
        stats.last_received_us = self.engine.clock.now_us

    def save(self, *, wait: bool = False, timeout_s: float = 30.0) -> None:
        """Save a snapshot in the background once every effect before it is durable."""
        if self._saving is not None and self._saving.is_alive():
            if wait:
                self._saving.join(timeout_s)
            else:
                return
        if self.offset == self.stats.snapshot_offset:
            return
        state = capture(self.engine, self.offset, self._decoder.memory)
        self._saving = threading.Thread(target=self._save, args=(state, timeout_s), name="snapshot", daemon=True)
        self._saving.start()
        if wait:
            self._saving.join(timeout_s + 5)

    def _save(self, state: State, timeout_s: float) -> None:
        started = time.monotonic()
        if not self._sink.flush(state.offset, timeout_s):
            log.warning(
                "snapshot_postponed", offset=state.offset, reason="the store has not taken all readings yet"
            )
            return
        try:
            self._snapshots.save(state)
        except SnapshotError as error:
            log.warning("snapshot_failed", reason=str(error), now="the one before stays in use")
            return
        self.stats.snapshot_offset = state.offset
        try:
            with closing(Journal(self._journal.path, self._journal.settings)) as journal:
                journal.move_cursor(CURSOR, state.offset)
        except JournalError as error:
            log.warning("cursor_not_moved", reason=str(error), now="the journal keeps more than it must")
            return
        log.debug("snapshot_saved", offset=state.offset, seconds=round(time.monotonic() - started, 3))
