"""The processing role, wired: journal to store, findings, alerts and quarantine, and the housekeeping beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import structlog

from deploy.clock import Clock
from deploy.places import Places
from deploy.settings import Settings
from deploy.status import StatusWriter
from deploy.storelink import StoreServer, store_socket
from deploy.wiring import open_database, open_store
from devices.catalog import SqlRegistry
from devices.codecs import load as load_codecs
from devices.errors import UndercityError
from devices.kinds import load as load_kinds
from devices.spec import Severity
from ingest.decode import Refused
from ingest.errors import StoreError
from ingest.journal import Journal
from ingest.quarantine import Held, Quarantine
from ingest.timeseries.ports import Annotates, Rejected, TimeSeriesStore
from ingest.timeseries.sink import StoreSink
from processors.alerts.book import AlertBook
from processors.alerts.marks import marks
from processors.engines.snapshots import SnapshotFolder
from processors.findings import Finding
from processors.pipeline import Pipeline
from processors.presence import PresenceBook
from processors.thresholds.book import ThresholdBook

log = structlog.get_logger(__name__)
_IDLE_S = 0.004  # how long the processor waits for the next commit; a tenth of the alert budget
_REGISTRY_EVERY_S = 2.0
_COUNT_EVERY_S = 5.0
_CLOSE_S = 10.0
_DAY_US = 86_400_000_000


class Processor:
    """One process's work; closes everything through `stack`."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._clock = Clock(settings.clock)
        self._rejected_points = 0
        self._last_delivery_s = 0.0
        kinds = self._kinds = load_kinds()
        database = open_database(settings)
        stack.callback(database.dispose)
        registry = SqlRegistry(database)
        self._quarantine = Quarantine(database)
        self._book = AlertBook(database, settings.notify, now=self._clock, where=Places(registry))
        self._journal = Journal(settings.journal_path, settings.journal)
        stack.callback(self._journal.close)
        store = open_store(settings, self._rejected)
        stack.callback(store.close)
        self._annotates = store if isinstance(store, Annotates) else None
        self._sink = StoreSink(store, settings.sink, self._rejected)
        stack.callback(self._sink.close, _CLOSE_S)
        server = StoreServer(store, kinds, store_socket(settings.socket_path))
        stack.callback(server.close)
        self._housekeeper = Housekeeper(settings, store, self._clock)
        stack.callback(self._housekeeper.close)
        self.pipeline = Pipeline(
            journal=self._journal,
            kinds=kinds,
            codecs=load_codecs(),
            registry=registry,
            snapshots=SnapshotFolder(settings.snapshot_dir),
            sink=self._sink,
            on_findings=self._findings,
            on_refused=self._refused,
            settings=settings.engine,
            stored_upto=store.cursor(),
            rules=settings.topics.all(),
            on_presence=PresenceBook(database).note,
            thresholds=ThresholdBook(database, kinds),
        )
        self._status = StatusWriter("processor", settings.status_dir)
        stack.callback(self._status.close)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`, then save a snapshot."""
        pipeline = self.pipeline
        self._housekeeper.start()
        duties = [
            _Duty(self._settings.engine.snapshot_s, pipeline.save),
            _Duty(_REGISTRY_EVERY_S, pipeline.refresh),
            _Duty(_COUNT_EVERY_S, self._count),
            _Duty(1.0, self._report),
        ]
        while not stop.is_set():
            done = self._step()
            for duty in duties:
                duty.run()
            if not done:
                stop.wait(_IDLE_S)
        pipeline.save(wait=True)

    def _step(self) -> int:
        before = self.pipeline.stats.deliveries
        done = self.pipeline.step()
        if self.pipeline.stats.deliveries != before:
            self._last_delivery_s = time.time()
        return done

    def _report(self) -> None:
        stats, pipeline = self.pipeline.stats, self.pipeline
        self._status.update(
            deliveries=stats.deliveries,
            rows=stats.rows,
            duplicates=stats.duplicates,
            missing=stats.missing,
            late=stats.late,
            refused=stats.refused,
            findings=stats.findings,
            devices=sum(map(len, pipeline.fleet.kinds.values())),
            offset=pipeline.offset,
            journal_next=self._journal.end(),
            stored_upto=self._sink.written,
            rows_written=self._sink.rows_written,
            last_rows_s=self._sink.last_rows_s,
            last_received_us=stats.last_received_us,
            last_delivery_s=self._last_delivery_s,
            store_failing=bool(self._sink.failing),
            rejected=self._rejected_points,
        )

    def _count(self) -> None:
        counts = self._book.counts()
        fields: dict[str, Any] = {f"alerts_{one.value}": counts.get(one.value, 0) for one in Severity}
        self._status.update(**fields)

    def _findings(self, findings: Sequence[Finding], offset: int) -> None:
        changes = self._book.apply(findings, offset)
        if self._annotates is None or not findings:
            return
        try:
            self._annotates.annotate(marks(findings, changes, self._kinds))
        except StoreError as error:
            # The alerts are in the book and on their way to people: the boards' marks may be missing.
            log.warning("alert_marks_lost", reason=str(error), marks=len(findings), now="the pipeline goes on")

    def _refused(self, refused: Sequence[Refused]) -> None:
        self._quarantine.add([Held.from_refused(one) for one in refused])

    def _rejected(self, rejected: Sequence[Rejected]) -> None:
        self._rejected_points += len(rejected)
        self._quarantine.add([Held.from_rejected(one, self._clock()) for one in rejected])


class _Duty:
    """Something that is due at intervals of real time."""

    def __init__(self, seconds: float, work: Callable[[], object]) -> None:
        self._seconds = seconds
        self._work = work
        self._due = 0.0

    def run(self) -> None:
        """Do it if it is due."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._work()


class Housekeeper:
    """Forgets what is past retention and sorts closed days, beside the pipeline."""

    def __init__(self, settings: Settings, store: TimeSeriesStore, clock: Callable[[], int]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin; the first round comes after one interval, so that a start is quick."""
        self._thread.start()

    def close(self) -> None:
        """End after the piece of work under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.store.housekeeping_s):
            try:
                self.round()
            except UndercityError as error:
                log.warning("housekeeping_failed", reason=str(error), now="the next round tries again")

    def round(self) -> None:
        """One round over journal and store."""
        now = self._clock()
        # SQLite connections belong to their thread.
        journal = Journal(self._settings.journal_path, self._settings.journal)
        try:
            deleted = journal.retain(now)
        finally:
            journal.close()
        self._store.retain(now - int(self._settings.store.retention_days * _DAY_US))
        compact = getattr(self._store, "compact", None)
        while compact is not None and not self._stop.is_set() and compact(now):
            continue
        log.info("housekeeping_done", deliveries_forgotten=deleted)
