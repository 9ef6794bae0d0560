"""Looking at what was, beside a running system: replay and what the live run stated."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.settings import Settings
from deploy.wiring import open_database
from devices.catalog import SqlRegistry
from devices.codecs import load as load_codecs
from devices.fleet import build
from devices.kinds import load as load_kinds
from ingest.journal import Journal
from processors.alerts.book import AlertBook
from processors.engines.snapshots import SnapshotFolder
from processors.findings import Finding
from processors.replay import replay
from processors.thresholds.book import ThresholdBook
from processors.thresholds.history import History


def replayed(settings: Settings, from_us: int | None, to_us: int | None) -> Iterator[Finding]:
    """The journal's findings, stated again; see `processors.replay`."""
    journal = Journal(settings.journal_path, settings.journal, read_only=True)
    database = open_database(settings)
    try:
        registry, kinds = SqlRegistry(database), load_kinds()
        yield from replay(
            journal=journal,
            fleet=build(kinds, registry.entries()),
            codecs=load_codecs(),
            settings=settings.engine,
            from_us=from_us,
            to_us=to_us,
            snapshots=SnapshotFolder(settings.snapshot_dir) if from_us is not None else None,
            rules=settings.topics.all(),
            history=History(ThresholdBook(database, kinds).changes()),
        )
    finally:
        database.dispose()
        journal.close()


def stated(settings: Settings, from_us: int | None, to_us: int | None) -> list[bytes]:
    """The findings that the live run stated about the same stretch, as their canonical lines."""
    journal = Journal(settings.journal_path, settings.journal, read_only=True)
    first = journal.offset_at(from_us) if from_us is not None else journal.start()
    last = journal.offset_at(to_us) if to_us is not None else journal.end()
    journal.close()
    database = open_database(settings)
    try:
        return [one.line() for one in AlertBook(database).findings(first, last)]
    finally:
        database.dispose()
