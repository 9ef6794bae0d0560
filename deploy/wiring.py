"""Picks the adapters that the settings name and puts them together: one function per role.

Each `run_*` returns when `stop` is set. A role that raises an `UndercityError` ends with its text in the log; the
supervisor starts it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import structlog

from dashboards.errors import ConsoleError
from deploy.clock import Clock, ClockSettings
from deploy.settings import Settings
from deploy.status import StatusWriter
from deploy.storelink import StoreServer, store_socket
from devices.codecs import load as load_codecs
from devices.kinds import load as load_kinds
from ingest.decode import Refused
from ingest.journal import Journal
from ingest.timeseries.ports import Rejected, TimeSeriesStore
from ingest.timeseries.sink import StoreSink
from processors.engines.snapshots import SnapshotFolder
from processors.findings import Finding
from processors.pipeline import Pipeline

if TYPE_CHECKING:
    from sqlalchemy import Engine as Database

log = structlog.get_logger(__name__)
_IDLE_S = 0.004  # how long the processor waits for the next commit; a tenth of the alert budget
_REGISTRY_EVERY_S = 2.0
_SENDER_EVERY_S = 0.5
_HOUSEKEEPING_EVERY_S = 3600.0


def open_database(settings: Settings) -> Database:
    """The operations database, brought to the present schema."""
    from deploy.schema import upgrade  # noqa: PLC0415  alembic is slow to import, and ingest does not need it
    from devices.database import connect  # noqa: PLC0415

    settings.data.dir.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.database_url)
    upgrade(engine)
    return engine


def open_store(settings: Settings, on_rejected: Callable[[Sequence[Rejected]], None]) -> TimeSeriesStore:
    """The store for writing; the embedded one belongs to whoever opens it, until it is closed."""
    if settings.store.kind == "influx":
        from ingest.timeseries.influx import InfluxStore  # noqa: PLC0415
        from ingest.timeseries.spool import SpooledStore, SpoolSettings  # noqa: PLC0415

        spool = SpoolSettings(path=settings.data.dir / "spool.db")
        return SpooledStore(
            InfluxStore(settings.influx), spool, now=Clock(ClockSettings()), on_rejected=on_rejected
        )
    from ingest.timeseries.embedded import EmbeddedStore  # noqa: PLC0415

    return EmbeddedStore(settings.embedded)


def run_ingest(settings: Settings, index: int, stop: threading.Event) -> None:
    """Broker to journal, acknowledged after the commit."""
    from ingest.mqtt import IngestWorker  # noqa: PLC0415

    settings.data.dir.mkdir(parents=True, exist_ok=True)
    status = StatusWriter(f"ingest-{index}", settings.status_dir)
    journal = Journal(settings.journal_path, settings.journal)
    worker = IngestWorker(settings.mqtt, journal, now=Clock(settings.clock), stop=stop, index=index)
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(1.0):
            fields: dict[str, Any] = worker.stats.as_dict()
            status.update(**fields)

    reporter = threading.Thread(target=report, name="status", daemon=True)
    reporter.start()
    try:
        worker.run()
    finally:
        ended.set()
        reporter.join(2)
        journal.close()


def run_processor(settings: Settings, stop: threading.Event) -> None:
    """Journal to store, findings and alerts."""
    with ExitStack() as stack:
        processor = Processor(settings, stack)
        processor.run(stop)


class Processor:
    """The processing role, wired; closes everything through `stack`."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        from devices.catalog import SqlRegistry  # noqa: PLC0415
        from ingest.quarantine import Quarantine  # noqa: PLC0415
        from processors.alerts.book import AlertBook  # noqa: PLC0415

        self._settings = settings
        self._clock = Clock(settings.clock)
        self._rejected_points = 0
        self._kinds = load_kinds()
        database = open_database(settings)
        stack.callback(database.dispose)
        self._quarantine = Quarantine(database)
        self._book = AlertBook(database, settings.notify, now=self._clock)
        self._journal = Journal(settings.journal_path, settings.journal)
        stack.callback(self._journal.close)
        store = open_store(settings, self._rejected)
        stack.callback(store.close)
        self._sink = StoreSink(store, settings.sink, self._rejected)
        stack.callback(self._sink.close, 10.0)
        server = StoreServer(store, self._kinds, store_socket(settings.socket_path))
        stack.callback(server.close)
        self._store = store
        self.pipeline = Pipeline(
            journal=self._journal,
            kinds=self._kinds,
            codecs=load_codecs(),
            registry=SqlRegistry(database),
            snapshots=SnapshotFolder(settings.snapshot_dir),
            sink=self._sink,
            on_findings=self._findings,
            on_refused=self._refused,
            settings=settings.engine,
            stored_upto=store.cursor(),
        )
        self._status = StatusWriter("processor", settings.status_dir)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`, then save a snapshot."""
        pipeline = self.pipeline
        every = [
            _Every(self._settings.engine.snapshot_s, pipeline.save),
            _Every(_REGISTRY_EVERY_S, pipeline.refresh),
            _Every(1.0, self._report),
            _Every(_HOUSEKEEPING_EVERY_S, self._housekeeping, at_once=False),
        ]
        while not stop.is_set():
            done = pipeline.step()
            for duty in every:
                duty.run()
            if not done:
                stop.wait(_IDLE_S)
        pipeline.save(wait=True)

    def _report(self) -> None:
        stats = self.pipeline.stats
        self._status.update(
            deliveries=stats.deliveries,
            rows=stats.rows,
            duplicates=stats.duplicates,
            late=stats.late,
            refused=stats.refused,
            findings=stats.findings,
            devices=sum(map(len, self.pipeline.fleet.kinds.values())),
            offset=self.pipeline.offset,
            journal_next=self._journal.end(),
            stored_upto=self._sink.written,
            rows_written=self._sink.rows_written,
            last_received_us=stats.last_received_us,
            store_failing=bool(self._sink.failing),
            rejected=self._rejected_points,
        )

    def _findings(self, findings: Sequence[Finding], offset: int) -> None:
        self._book.apply(findings, offset)

    def _refused(self, refused: Sequence[Refused]) -> None:
        from ingest.quarantine import Held  # noqa: PLC0415

        self._quarantine.add([Held.from_refused(one) for one in refused])

    def _rejected(self, rejected: Sequence[Rejected]) -> None:
        from ingest.quarantine import Held  # noqa: PLC0415

        self._rejected_points += len(rejected)
        self._quarantine.add([Held.from_rejected(one, self._clock()) for one in rejected])

    def _housekeeping(self) -> None:
        """Forget what is past retention, beside the pipeline."""
        threading.Thread(target=self._retain, name="housekeeping", daemon=True).start()

    def _retain(self) -> None:
        journal = Journal(self._settings.journal_path, self._settings.journal)
        try:
            deleted = journal.retain(self._clock())
            log.info("journal_retained", deleted=deleted)
        finally:
            journal.close()


class _Every:
    """A duty that is due at intervals of real time."""

    def __init__(self, seconds: float, duty: Callable[[], object], *, at_once: bool = True) -> None:
        self._seconds = seconds
        self._duty = duty
        self._due = time.monotonic() + (0 if at_once else seconds)

    def run(self) -> None:
        """Do the duty if it is due."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._duty()


def run_sender(settings: Settings, stop: threading.Event) -> None:
    """Outbox to people's phones."""
    from processors.notify.sender import Sender  # noqa: PLC0415

    database = open_database(settings)
    status = StatusWriter("sender", settings.status_dir)
    sender = Sender(database, settings.notify, now=Clock(settings.clock))
    try:
        while not stop.is_set():
            sender.run_once()
            status.update()
            stop.wait(_SENDER_EVERY_S)
    finally:
        database.dispose()
        status.close()


def run_console(settings: Settings, stop: threading.Event) -> None:
    """The web console."""
    from dashboards.console.serve import ConsoleServer  # noqa: PLC0415
    from deploy.console_adapters import console_app  # noqa: PLC0415

    database = open_database(settings)
    status = StatusWriter("console", settings.status_dir)
    server = ConsoleServer(console_app(settings, database), settings.console)
    log.info("console_listening", url=server.url)
    try:
        while not stop.wait(1.0):
            if not server.alive:
                raise ConsoleError(f"console {server.url}: expected to serve until told to stop, but it ended")
            status.update()
    finally:
        server.close()
        database.dispose()
        status.close()
