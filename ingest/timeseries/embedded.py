"""The embedded time-series store: DuckDB in one file, no server.

From: `ingest.timeseries.sink`. To: boards and the console, through its owner, for one process owns the file.

Rows newer than all of their device's are appended without a look at what is stored; the rare others are merged
with the stored row of their device and time, in the same transaction. The cursor moves in that transaction too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import duckdb
import numpy as np
import structlog

from devices.readings import Batch, Float64, Int32, Quality, UInt8
from devices.spec import Kind
from ingest.errors import StoreUnavailable
from ingest.timeseries import embedded_reads, housekeeping
from ingest.timeseries.ports import History, Latest, Rejected, Written
from ingest.timeseries.rows import Rows, admit, merged
from ingest.timeseries.settings import EmbeddedSettings
from ingest.timeseries.tables import KindTable, create_schema

log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class EmbeddedStore:
    """A `TimeSeriesStore` in one file. Writes come from one thread at a time, reads from any.

    Raises StoreUnavailable when the file cannot be opened, read or written; nothing of the write was stored then,
    and the next call opens the file again.
    """

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._writing = threading.RLock()
        self._db: duckdb.DuckDBPyConnection | None = None
        self._closed = False
        self._tables: dict[str, KindTable] = {}
        self._upto = self._written = self._unsaved = 0
        with self._translated("opened"):
            self._open()

    def _open(self) -> duckdb.DuckDBPyConnection:
        settings = self._settings
        settings.path.parent.mkdir(parents=True, exist_ok=True)
        db = duckdb.connect(
            str(settings.path),
            config={
                "memory_limit": f"{settings.memory_limit_mb}MB",
                "threads": settings.threads,
                "checkpoint_threshold": f"{settings.wal_mb}MB",
            },
        )
        try:
            create_schema(db)
            self._upto, self._written = db.execute("SELECT upto, written FROM progress").fetchone() or (0, 0)
            names = db.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'kind'").fetchall()
            self._tables = {name: KindTable.load(db, name) for (name,) in names}
        except BaseException:
            db.close()
            raise
        self._db, self._unsaved = db, 0
        return db

    def _database(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreUnavailable(f"store {self._settings.path}: it was closed; nothing was done")
        db = self._db
        if db is None:
            with self._writing:
                db = self._open() if self._db is None else self._db
        return db

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, OSError) as error:
            reason = " ".join(str(error).split())
            raise StoreUnavailable(
                f"store {self._settings.path}: {reason}; nothing was {what}; try again later"
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All or nothing; after any failure what memory holds is read back from the file."""
        with self._writing, self._translated("stored"):
            db = self._database()
            try:
                db.execute("BEGIN")
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._reopen(db)
                raise

    def _reopen(self, db: duckdb.DuckDBPyConnection) -> None:
        # A failed commit may leave DuckDB refusing everything until it is opened anew.
        with contextlib.suppress(duckdb.Error):
            db.execute("ROLLBACK")
        with contextlib.suppress(duckdb.Error):
            db.close()
        self._db = None
        try:
            self._open()
        except (duckdb.Error, OSError) as error:
            log.warning("store_reopen_failed", path=str(self._settings.path), reason=str(error))

    def write(self, batches: Sequence[Batch], upto: int) -> Written:
        """See `TimeSeriesStore.write`."""
        admitted = [admit(batch) for batch in batches]
        rejected: tuple[Rejected, ...] = sum((refused for _, refused in admitted), ())
        stored: list[_Stored] = []
        with self._transaction() as db:
            number, end = self._written + 1, max(upto, self._upto)
            for rows, _ in admitted:
                if len(rows):
                    stored.append(self._store(db, merged(rows), number))
                    # Before the commit: a second batch of the kind must find what the first one stored.
                    stored[-1].remember()
            db.execute("UPDATE progress SET upto = ?, written = ?", [end, number])
        self._upto, self._written = end, number
        count = sum(len(rows) for rows, _ in admitted)
        self._unsaved += count
        if self._unsaved >= self._settings.snapshot_rows:
            self._save_newest()
        return Written(count, rejected)

    def _store(self, db: duckdb.DuckDBPyConnection, rows: Rows, number: int) -> _Stored:
        kind = rows.fleet.kind
        names = [quantity.name for quantity in kind.quantities]
        table = self._tables.get(kind.name)
        if table is None:
            table = self._tables[kind.name] = KindTable.create(db, kind.name)
        table.widen(db, names)
        device = table.ordinals(db, rows.fleet, rows.device)
        values, quality = _arranged(table, names, rows)
        new = np.ones(len(rows), dtype=np.bool_)
        late = np.flatnonzero(rows.time_us <= table.newest.row_us[device])
        if len(late):
            some_values, some_quality = values[late], quality[late]
            new[late] = ~table.join_stored(db, device[late], rows.time_us[late], some_values, some_quality)
            values, quality = values.copy(), quality.copy()
            values[late], quality[late] = some_values, some_quality
        if new.any():
            table.append(db, device[new], rows.time_us[new], values[new], quality[new], rows.reasons[new], number)
        return _Stored(table, device, rows, values, quality)

    def _save_newest(self) -> None:
        with self._transaction() as db:
            for table in self._tables.values():
                table.save_newest(db, self._written)
        self._unsaved = 0

    def cursor(self) -> int:
        """See `TimeSeriesStore.cursor`."""
        with self._translated("read"):
            self._database()
        return int(self._upto)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._translated("read"):
            cursor = self._database().cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    def _seen(self, look: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """What `look` finds; once more where memory names a table or a column that is not committed yet."""
        with self._reading() as db:
            try:
                return look(db)
            except (duckdb.CatalogException, duckdb.BinderException):
                log.debug("store_read_waits_for_write", path=str(self._settings.path))
        with self._writing:
            pass  # the write under way has been committed or taken back
        with self._reading() as db:
            return look(db)

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """See `TimeSeriesStore.history`."""
        kind.column(quantity)

        def look(db: duckdb.DuckDBPyConnection) -> History:
            table = self._tables.get(kind.name)
            ordinal = table.ordinal.get(device) if table and quantity in table.quantities else None
            if table is None or ordinal is None:
                return embedded_reads.nothing(every_us)
            return embedded_reads.history(db, table, ordinal, quantity, (start_us, end_us), every_us)

        return self._seen(look)

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `TimeSeriesStore.latest`."""
        return self._seen(lambda db: embedded_reads.latest(db, self._tables.get(kind.name), kind, now_us))

    def retain(self, before_us: int) -> None:
        """See `TimeSeriesStore.retain`."""
        with self._transaction() as db:
            for table in self._tables.values():
                housekeeping.delete_before(db, table, before_us)
                table.save_newest(db, self._written)

    def compact(self, now_us: int) -> int:
        """Sort one piece of a closed day by device, for quick boards; the rows sorted, 0 when all are.

        Call again until it answers 0; a write waits for one piece at most.
        """
        for table in list(self._tables.values()):
            with self._transaction() as db:
                rows = housekeeping.sort_piece(db, table, now_us, self._settings.sort_rows)
                if rows:
                    table.save_newest(db, self._written)
            if rows:
                return rows
        return 0

    def size_bytes(self) -> int:
        """What the store takes on the disk: its file and the log beside it."""
        path = self._settings.path
        files = (path, path.with_name(path.name + ".wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """See `TimeSeriesStore.close`."""
        with self._writing:
            if self._closed:
                return
            try:
                if self._db is not None and self._unsaved:
                    self._save_newest()
            except StoreUnavailable as error:
                log.warning("store_closed_without_snapshot", reason=str(error), now="the next start reads more")
            self._closed = True
            if self._db is not None:
                self._db.close()
                self._db = None


@dataclass(slots=True)
class _Stored:
    """Rows as the table holds them now: values and quality in the order of its quantities."""

    table: KindTable
    device: Int32
    rows: Rows
    values: Float64
    quality: UInt8

    def remember(self) -> None:
        columns = list(range(self.values.shape[1]))
        self.table.newest.put(self.device, self.rows.time_us, self.values, self.quality, columns)


def _arranged(table: KindTable, names: list[str], rows: Rows) -> tuple[Float64, UInt8]:
    if names == table.quantities:
        return rows.values, rows.quality
    places = [table.quantities.index(name) for name in names]
    values = np.full((len(rows), len(table.quantities)), np.nan)
    quality = np.full(values.shape, Quality.MISSING, dtype=np.uint8)
    values[:, places], quality[:, places] = rows.values, rows.quality
    return values, quality
