"""Where a backtest's readings come from: a file, the store, or the journal; each can be judged by any rules.

From: settings and the registry. To: `deploy.backtest`. The file and the store give readings, which the engine takes at
the pace of their own times; the journal gives deliveries, replayed as they came, our own outages included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from deploy.settings import Settings
from deploy.storelink import StoreClient, store_socket
from deploy.wiring import open_database, open_store
from devices.beijing import EPOCH, MICROSECOND
from devices.catalog import SqlRegistry
from devices.codecs import load as load_codecs
from devices.fleet import Entry, build
from devices.kinds import load as load_kinds
from devices.readings import Float64, Int64, Quality
from devices.spec import Kind, Text
from ingest.journal import Journal
from ingest.timeseries.ports import TimeSeriesStore
from processors.backtest.layout import Loaded, load
from processors.backtest.points import Tap
from processors.backtest.run import Backtest, Rows, Span, alerts_of, sorted_rows
from processors.backtest.series import Asked
from processors.errors import BacktestError
from processors.replay import replay
from processors.thresholds.book import ThresholdBook
from processors.thresholds.history import History

Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True, slots=True)
class Stamp:
    """Times as a person reads them: without an offset where the source has none, so that they stand as in the file."""

    zone: ZoneInfo
    naive: bool

    def __call__(self, time_us: int | None) -> str:
        """`time_us` as text, empty for None."""
        if time_us is None:
            return ""
        local = (EPOCH + time_us * MICROSECOND).astimezone(self.zone)
        fine = "milliseconds" if time_us % 1_000_000 else "seconds"
        if self.naive:
            return local.replace(tzinfo=None).isoformat(" ", timespec=fine)
        return local.isoformat(timespec=fine)


class Source(Protocol):
    """Readings to be judged, as often as asked."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def kind(self) -> Kind:
        """The kind as declared."""
        ...

    @property
    def devices(self) -> list[str]:
        """Ids of the devices that are judged."""
        ...

    @property
    def start_us(self) -> int:
        """First time, UTC."""
        ...

    @property
    def end_us(self) -> int:
        """Last time, UTC."""
        ...

    @property
    def readings(self) -> int:
        """How many; 0 where that is not known before."""
        ...

    @property
    def notes(self) -> list[Text]:
        """What the person should know of how it was read."""
        ...

    @property
    def stamp(self) -> Stamp:
        """How its times are written."""
        ...

    @property
    def history(self) -> History:
        """What people changed in the rules, and by which moment of it the readings are judged."""
        ...

    def spans(self, kind: Kind, progress: Progress) -> list[Span]:
        """The alerts that the rules of `kind` raise."""
        ...

    def without(self, params: Collection[tuple[str, str]]) -> Source:
        """The same readings, as if nobody had ever changed `params`: pairs of rule and parameter."""
        ...


@dataclass(slots=True)
class RowsSource:
    """Readings that are in memory. `entries`: the devices as registered, None where nobody registered them."""

    name: str
    kind: Kind
    rows: Rows
    stamp: Stamp
    entries: list[Entry] | None = None
    notes: list[Text] = field(default_factory=list)
    loaded: Loaded | None = None
    history: History = field(default_factory=History)

    @property
    def devices(self) -> list[str]:
        """Ids of the devices that report."""
        return self.rows.device

    @property
    def start_us(self) -> int:
        """The first reading's time."""
        return int(self.rows.time_us[0])

    @property
    def end_us(self) -> int:
        """The last reading's time."""
        return int(self.rows.time_us[-1])

    @property
    def readings(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def spans(self, kind: Kind, progress: Progress) -> list[Span]:
        """See `Source.spans`."""
        run = Backtest(kind, self.rows, entries=self.entries, history=self.history)
        return alerts_of(run.findings(lambda done: progress(done, len(self.rows))))

    def without(self, params: Collection[tuple[str, str]]) -> RowsSource:
        """See `Source.without`."""
        return replace(self, history=self.history.without(params))

    def scored(self, kind: Kind, progress: Progress) -> tuple[list[Span], Float64]:
        """The alerts, and a score for each row of the file; BacktestError for more than one device."""
        if self.loaded is None or len(self.rows.device) != 1:
            raise BacktestError(
                f"--scores: expected a file with one series, got {len(self.rows.device)} devices; nothing was run"
            )
        run = Backtest(kind, self.rows, entries=self.entries, history=self.history)
        tap = Tap(run)
        spans = alerts_of(run.findings(lambda done: progress(done, len(self.rows))))
        return spans, tap.scores(self.loaded.table.time_us, spans)


def file_source(path: Path, kind: Kind | None, asked: Asked) -> RowsSource:
    """The readings in a file; BacktestError for one that cannot be used."""
    loaded = load(path, kind, asked)
    stamp = Stamp(loaded.table.zone, loaded.table.naive)
    if not len(loaded.rows):
        raise BacktestError(f"{path.name}: expected numbers beside the times, got none; nothing was run")
    return RowsSource(path.name, loaded.kind, loaded.rows, stamp, None, loaded.notes, loaded)


def store_source(
    settings: Settings, kind: Kind, span_us: tuple[int, int], zone: ZoneInfo, progress: Progress
) -> RowsSource:
    """What the store holds of the registered devices of `kind`; BacktestError where that is nothing."""
    entries = _entries(settings, kind)
    device: list[str] = []
    rows, times, values = [], [], []
    with _store(settings) as store:
        for done, entry in enumerate(entries):
            at, block = _history(store, kind, entry.id, span_us)
            if len(at):
                rows.append(np.full(len(at), len(device), dtype=np.int32))
                device.append(entry.id)
                times.append(at)
                values.append(block)
            progress(done + 1, len(entries))
    if not device:
        raise BacktestError(
            f"store: expected readings of {kind.name} between --from and --to, got none; nothing was run"
        )
    made = sorted_rows(device, np.concatenate(rows), np.concatenate(times), np.concatenate(values))
    known = [replace(one, registered_us=max(one.registered_us, int(made.time_us[0]))) for one in entries]
    notes = [
        Text(
            "库中读数按自身时间排列，当时迟到而未判断的在此也会判断",
            "the store holds readings by their own time: what came too late to be judged is judged here",
        )
    ]
    return RowsSource("store", kind, made, Stamp(zone, naive=False), known, notes, history=todays_rules(settings))


def todays_rules(settings: Settings) -> History:
    """What people changed in the rules, judging everything by what holds now."""
    database = open_database(settings)
    try:
        return History(ThresholdBook(database, load_kinds()).changes()).at(time.time_ns() // 1000)
    finally:
        database.dispose()


@contextmanager
def _store(settings: Settings) -> Iterator[TimeSeriesStore | StoreClient]:
    """The store to read: of the process that has it open, else our own."""
    socket = store_socket(settings.socket_path)
    if settings.store.kind != "influx" and socket.exists():
        client = StoreClient(socket, timeout_s=60.0)
        try:
            yield client
        finally:
            client.close()
        return
    if settings.store.kind != "influx" and not settings.embedded.path.exists():
        raise BacktestError(f"store {settings.embedded.path}: expected a file, got none; nothing was run")
    store = open_store(settings, lambda _: None)
    try:
        yield store
    finally:
        store.close()


def _history(
    store: TimeSeriesStore | StoreClient, kind: Kind, device: str, span_us: tuple[int, int]
) -> tuple[Int64, Float64]:
    """(n,) times and (n, q) values of one device; what was flagged by its instrument or in maintenance is absent."""
    found = [store.history(kind, device, quantity.name, *span_us) for quantity in kind.quantities]
    at = np.unique(np.concatenate([one.time_us for one in found]))
    values = np.full((len(at), len(kind.quantities)), np.nan)
    for column, one in enumerate(found):
        usable = np.where(one.quality <= Quality.SUSPECT, one.value, np.nan)
        values[np.searchsorted(at, one.time_us), column] = usable
    return at, values


def _entries(settings: Settings, kind: Kind) -> list[Entry]:
    database = open_database(settings)
    try:
        return [one for one in SqlRegistry(database).entries() if one.kind == kind.name]
    finally:
        database.dispose()


@dataclass(slots=True)
class JournalSource:
    """Deliveries as they came, replayed; alerts raised before `start_us` warm the rules up and are not counted."""

    settings: Settings
    kind: Kind
    start_us: int
    end_us: int
    stamp: Stamp
    devices: list[str]
    name: str = "journal"
    readings: int = 0
    notes: list[Text] = field(default_factory=list)
    history: History = field(default_factory=History)

    def spans(self, kind: Kind, progress: Progress) -> list[Span]:
        """See `Source.spans`. The journal is read from its beginning: both runs of a comparison start alike."""
        with ExitStack() as opened:
            journal = Journal(self.settings.journal_path, self.settings.journal, read_only=True)
            opened.callback(journal.close)
            database = open_database(self.settings)
            opened.callback(database.dispose)
            # The other kinds' readings show that a gateway is there; their rules have nothing to say here.
            kinds = {name: replace(one, detectors=()) for name, one in load_kinds().items()} | {kind.name: kind}
            start, end = journal.start(), max(journal.end(), 1)
            stated = replay(
                journal=journal,
                fleet=build(kinds, SqlRegistry(database).entries()),
                codecs=load_codecs(),
                settings=self.settings.engine,
                to_us=self.end_us,
                rules=self.settings.topics.all(),
                history=self.history,
                progress=lambda offset: progress(offset - start, end - start),
            )
            mine = alerts_of(one for one in stated if one.kind == kind.name)
        return [span for span in mine if span.raised_us >= self.start_us]

    def without(self, params: Collection[tuple[str, str]]) -> JournalSource:
        """See `Source.without`."""
        return replace(self, history=self.history.without(params))


def journal_source(
    settings: Settings, kind: Kind, span_us: tuple[int | None, int | None], zone: ZoneInfo
) -> JournalSource:
    """The journal's deliveries; BacktestError where there are none in the span."""
    journal = Journal(settings.journal_path, settings.journal, read_only=True)
    try:
        known = journal.stats()
    finally:
        journal.close()
    if known.from_us is None or known.to_us is None:
        raise BacktestError(f"journal {settings.journal_path}: expected deliveries, got none; nothing was run")
    start, end = max(span_us[0] or 0, known.from_us), min(span_us[1] or known.to_us + 1, known.to_us + 1)
    if end <= start:
        raise BacktestError(
            f"journal {settings.journal_path}: expected deliveries in the span, got none; nothing was run"
        )
    devices = [one.id for one in _entries(settings, kind)]
    if not devices:
        raise BacktestError(f"registry: expected devices of {kind.name}, got none; nothing was run")
    return JournalSource(
        settings, kind, start, end, Stamp(zone, naive=False), devices, history=todays_rules(settings)
    )
