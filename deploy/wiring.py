"""Picks the adapters that the settings name and puts them together: one function per role.

Each `run_*` returns when `stop` is set. A role that raises an `UndercityError` ends with its text in the log; the
supervisor starts it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from dashboards.errors import ConsoleError
from deploy.clock import Clock, ClockSettings
from deploy.settings import Settings
from deploy.status import StatusWriter
from ingest.errors import BrokerError, JournalError
from ingest.journal import Journal
from ingest.mqtt_settings import MqttSettings
from ingest.timeseries.ports import Rejected, TimeSeriesStore

if TYPE_CHECKING:
    from sqlalchemy import Engine as Database

log = structlog.get_logger(__name__)
_SENDER_EVERY_S = 0.5
_COUNT_EVERY_S = 5.0


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
    clock = Clock(settings.clock)
    mqtt = _shared(settings)
    if index == 0:
        _retire(settings, mqtt, journal, clock)
    worker = IngestWorker(mqtt, journal, now=clock, stop=stop, index=index)
    ended = threading.Event()
    with ExitStack() as stack:
        stack.callback(journal.close)
        host = None
        if index == 0 and settings.sparkplug.enabled:
            from ingest.sparkplug_host import watching  # noqa: PLC0415

            host = stack.enter_context(watching(settings.sparkplug, mqtt, now=clock))

        def report() -> None:
            while not ended.wait(1.0):
                fields: dict[str, Any] = worker.stats.as_dict() | (host.stats.as_dict() if host else {})
                status.update(**fields)

        reporter = threading.Thread(target=report, name="status", daemon=True)
        reporter.start()
        try:
            worker.run()
        finally:
            ended.set()
            reporter.join(2)


def run_loggers(settings: Settings, stop: threading.Event) -> None:
    """HJ 212 loggers over TCP to journal, each packet answered after its commit."""
    from deploy.storelink import store_socket  # noqa: PLC0415  it pulls in every layer
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from ingest.tcp_loggers import Loggers  # noqa: PLC0415
    from ingest.tcp_run import run_listener  # noqa: PLC0415
    from ingest.tcp_stats import TcpStats  # noqa: PLC0415

    with ExitStack() as stack:
        database = open_database(settings)
        stack.callback(database.dispose)
        loggers = Loggers(SqlRegistry(database))
        loggers.refresh()  # before anybody connects: nobody is turned away for want of the table
        journal = Journal(settings.journal_path, settings.journal)
        stack.callback(journal.close)
        status = StatusWriter("ingest-tcp", settings.status_dir)
        stack.callback(status.close)

        def report(stats: TcpStats) -> None:
            fields: dict[str, Any] = stats.as_dict()
            status.update(**fields)

        run_listener(
            settings.tcp,
            journal,
            loggers,
            stop,
            now=Clock(settings.clock),
            desk=store_socket(settings.desk_path),
            report=report,
        )


def _shared(settings: Settings) -> MqttSettings:
    """The broker link, with the topics of every rule; several workers share one group, or each would receive all."""
    wanted = dict.fromkeys((*settings.mqtt.subscriptions, *settings.topics.filters()))
    mqtt = replace(settings.mqtt, subscriptions=tuple(wanted))
    if settings.run.ingest_workers > 1 and not mqtt.share_group:
        return replace(mqtt, share_group="undercity")
    return mqtt


def _retire(settings: Settings, mqtt: MqttSettings, journal: Journal, clock: Clock) -> None:
    """End the sessions of workers that a smaller city no longer has; the first worker sees to it."""
    from ingest.mqtt_retire import retire_surplus  # noqa: PLC0415

    if not mqtt.share_group:
        return
    try:
        retire_surplus(mqtt, journal, settings.run.ingest_workers, now=clock)
    except (BrokerError, JournalError) as error:
        log.warning("surplus_workers_not_retired", reason=str(error), now="the next start tries again")


def run_processor(settings: Settings, stop: threading.Event) -> None:
    """Journal to store, findings and alerts."""
    from deploy.processor import Processor  # noqa: PLC0415  it pulls in every layer

    with ExitStack() as stack:
        Processor(settings, stack).run(stop)


def run_sender(settings: Settings, stop: threading.Event) -> None:
    """Outbox to people's phones."""
    from deploy.places import Places  # noqa: PLC0415
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from processors.notify.outbox import MessageState, Outbox  # noqa: PLC0415
    from processors.notify.sender import Sender  # noqa: PLC0415

    database = open_database(settings)
    status = StatusWriter("sender", settings.status_dir)
    outbox = Outbox(database, settings.notify)
    places = Places(SqlRegistry(database))
    counted = 0.0
    try:
        with Sender(database, settings.notify, now=Clock(settings.clock), where=places) as sender:
            sent = 0
            while not stop.is_set():
                sent += sender.run_once()
                if time.monotonic() - counted >= _COUNT_EVERY_S:
                    counted = time.monotonic()
                    counts = outbox.counts()
                    pending = counts.get(MessageState.PENDING, 0) + counts.get(MessageState.SENDING, 0)
                    status.update(sent=sent, pending=pending, given_up=counts.get(MessageState.FAILED, 0))
                status.update(sent=sent)
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
