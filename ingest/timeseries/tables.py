"""The embedded store's tables: one wide table per kind, made and widened as rows arrive.

    main.progress          one row: the journal offset `upto`, the number `written` of the last write
    main.device            ordinal <-> device id, per kind; an ordinal is never given twice
    main.snapshot          per kind the write that its `newest` table includes, and up to where it is sorted
    kind."<kind>"          device, time, one DOUBLE per quantity, quality, reasons, quality_<quantity>, written
    newest."<kind>"        device, row_us and per quantity its newest time, value and quality

`quality_<quantity>` and `reasons` are NULL when good, which costs next to nothing on disk. `written` is the number
of the write, 0 once sorted: what came after a snapshot is found without reading the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships none

from devices.fleet import KindFleet
from devices.readings import Bool, Float64, Int32, Int64, UInt8, UInt16
from ingest.errors import StoreError
from ingest.timeseries.newest import NEVER, Newest

_OWN = frozenset({"device", "time", "quality", "reasons", "written"})
_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS kind;
CREATE SCHEMA IF NOT EXISTS newest;
CREATE TABLE IF NOT EXISTS progress (upto BIGINT, written UINTEGER);
INSERT INTO progress SELECT 0, 0 WHERE NOT EXISTS (FROM progress);
CREATE TABLE IF NOT EXISTS device (kind VARCHAR, ordinal INTEGER, id VARCHAR);
CREATE TABLE IF NOT EXISTS snapshot (kind VARCHAR, written UINTEGER, sorted_us BIGINT);
"""


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def create_schema(db: duckdb.DuckDBPyConnection) -> None:
    """Make what every store has; nothing happens to a store that has it."""
    db.execute(_SCHEMA)


class KindTable:
    """One kind's table, its device ordinals and its newest values. Only `newest` is for any thread."""

    def __init__(self, name: str, quantities: list[str], ids: list[str]) -> None:
        self.name = name
        self.sql = f"kind.{quoted(name)}"
        self.newest_sql = f"newest.{quoted(name)}"
        self.quantities = quantities
        self.ids = ids
        self.ordinal = {device: row for row, device in enumerate(ids)}
        self.newest = Newest(len(ids), len(quantities))
        self.sorted_us = NEVER
        self._fleet: KindFleet | None = None
        self._ordinals = np.zeros(0, dtype=np.int32)

    @classmethod
    def load(cls, db: duckdb.DuckDBPyConnection, name: str) -> KindTable:
        """An existing table, with its newest values from the snapshot and from what was written after it."""
        columns = db.execute(
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'kind' AND table_name = ? "
            "AND data_type = 'DOUBLE' ORDER BY column_index",
            [name],
        ).fetchall()
        ids = db.execute("SELECT id FROM device WHERE kind = ? ORDER BY ordinal", [name]).fetchall()
        table = cls(name, [column for (column,) in columns], [device for (device,) in ids])
        table._restore(db)
        return table

    @classmethod
    def create(cls, db: duckdb.DuckDBPyConnection, name: str) -> KindTable:
        """A new table without quantities."""
        db.execute(
            f"CREATE TABLE kind.{quoted(name)} (device INTEGER, time TIMESTAMP, quality UTINYINT, "
            "reasons USMALLINT, written UINTEGER)"
        )
        db.execute("INSERT INTO snapshot VALUES (?, 0, NULL)", [name])
        return cls(name, [], [])

    def _restore(self, db: duckdb.DuckDBPyConnection) -> None:
        found = db.execute("SELECT written, sorted_us FROM snapshot WHERE kind = ?", [self.name]).fetchone()
        written, sorted_us = found or (0, None)
        self.sorted_us = NEVER if sorted_us is None else int(sorted_us)
        if written:
            self._take(db.execute(f"FROM {self.newest_sql}").fetchnumpy())
        parts = ["device", "epoch_us(max(time)) AS row_us"]
        for number, quantity in enumerate(self.quantities):
            value, quality = quoted(quantity), quoted(f"quality_{quantity}")
            parts += [
                f"epoch_us(max(time) FILTER (WHERE {value} IS NOT NULL)) AS t{number}",
                f"arg_max({value}, time) AS v{number}",
                f"arg_max(coalesce({quality}, 0), time) FILTER (WHERE {value} IS NOT NULL) AS q{number}",
            ]
        self._take(
            db.execute(
                f"SELECT {', '.join(parts)} FROM {self.sql} WHERE written > ? GROUP BY device",  # noqa: S608
                [written],
            ).fetchnumpy()
        )

    def _take(self, found: dict[str, Any]) -> None:
        device = np.ma.getdata(found["device"]).astype(np.int32)
        newest = self.newest
        newest.row_us[device] = np.maximum(newest.row_us[device], np.ma.getdata(found["row_us"]))
        for number in range(len(self.quantities)):
            if f"t{number}" not in found:
                continue
            time_us = np.ma.filled(found[f"t{number}"], NEVER)
            later = time_us >= np.where(time_us == NEVER, 0, newest.time_us[device, number])
            rows = device[later]
            newest.time_us[rows, number] = time_us[later]
            newest.values[rows, number] = np.ma.getdata(found[f"v{number}"])[later]
            newest.quality[rows, number] = np.ma.getdata(found[f"q{number}"])[later]

    def save_newest(self, db: duckdb.DuckDBPyConnection, written: int) -> None:
        """Replace the snapshot: it includes every write up to `written`."""
        newest = self.newest
        columns: dict[str, Any] = {"device": np.arange(len(self.ids), dtype=np.int32), "row_us": newest.row_us}
        for number in range(len(self.quantities)):
            columns[f"t{number}"] = newest.time_us[:, number]
            columns[f"v{number}"] = newest.values[:, number]
            columns[f"q{number}"] = newest.quality[:, number]
        with_source(db, pa.table(columns), f"CREATE OR REPLACE TABLE {self.newest_sql} AS FROM incoming")
        db.execute(
            "UPDATE snapshot SET written = ?, sorted_us = ? WHERE kind = ?",
            [written, None if self.sorted_us == NEVER else self.sorted_us, self.name],
        )

    def widen(self, db: duckdb.DuckDBPyConnection, quantities: Sequence[str]) -> None:
        """Add the columns of quantities that the table does not have; StoreError for a name it cannot take."""
        for quantity in quantities:
            if quantity in self.quantities:
                continue
            taken = _OWN | {known.lower() for known in self.quantities}
            if quantity.lower() in taken or quantity.lower().startswith("quality_"):
                raise StoreError(
                    f"kind {self.name}: expected a quantity name unlike {', '.join(sorted(taken))} or quality_*, "
                    f"got {quantity}; nothing was stored"
                )
            db.execute(f"ALTER TABLE {self.sql} ADD COLUMN {quoted(quantity)} DOUBLE")
            db.execute(f"ALTER TABLE {self.sql} ADD COLUMN {quoted('quality_' + quantity)} UTINYINT")
            self.quantities.append(quantity)
        self.newest.grow(len(self.ids), len(self.quantities))

    def ordinals(self, db: duckdb.DuckDBPyConnection, fleet: KindFleet, rows: Int32) -> Int32:
        """(n,) ordinals of the devices on `rows` of `fleet`; devices not met before get the next ones."""
        if fleet is not self._fleet:
            self._fleet = fleet
            self._ordinals = np.array([self.ordinal.get(device, -1) for device in fleet.ids], dtype=np.int32)
        found = self._ordinals[rows]
        if (found < 0).any():
            self._add(db, fleet, np.unique(rows[found < 0]))
            found = self._ordinals[rows]
        return found

    def _add(self, db: duckdb.DuckDBPyConnection, fleet: KindFleet, rows: Int32) -> None:
        first = len(self.ids)
        new = [fleet.ids[row] for row in rows]
        self._ordinals[rows] = np.arange(first, first + len(new), dtype=np.int32)
        self.ids += new
        self.ordinal.update((device, first + place) for place, device in enumerate(new))
        columns = pa.table(
            {"kind": [self.name] * len(new), "ordinal": pa.array(self._ordinals[rows]), "id": pa.array(new)}
        )
        with_source(db, columns, "INSERT INTO device BY NAME FROM incoming")
        self.newest.grow(len(self.ids), len(self.quantities))

    def append(
        self,
        db: duckdb.DuckDBPyConnection,
        device: Int32,
        time_us: Int64,
        values: Float64,
        quality: UInt8,
        reasons: UInt16,
        written: int,
    ) -> None:
        """Append rows: (n,) ordinals and times, (n, q) values and quality in the order of `quantities`."""
        absent = np.isnan(values)
        worst = np.where(absent, 0, quality).max(axis=1, initial=0).astype(np.uint8)
        columns: dict[str, Any] = {
            "device": device,
            "time": pa.array(time_us, pa.timestamp("us")),
            "quality": worst,
            "reasons": pa.array(reasons, mask=reasons == 0),
            "written": np.full(len(device), written, dtype=np.uint32),
        }
        for number, quantity in enumerate(self.quantities):
            if absent[:, number].all():
                continue
            columns[quantity] = pa.array(values[:, number], mask=absent[:, number])
            good = absent[:, number] | (quality[:, number] == 0)
            if not good.all():
                columns[f"quality_{quantity}"] = pa.array(quality[:, number], mask=good)
        with_source(db, pa.table(columns), f"INSERT INTO {self.sql} BY NAME FROM incoming")

    def join_stored(
        self, db: duckdb.DuckDBPyConnection, device: Int32, time_us: Int64, values: Float64, quality: UInt8
    ) -> Bool:
        """Complete rows in place with what is stored under their device and time, and delete that.

        All arrays as in `append`. The answer, (n,): rows that are stored already, exactly so, and left alone.
        """
        first, last = int(time_us.min()), int(time_us.max())
        columns = "".join(f", s.{quoted(q)}, s.{quoted('quality_' + q)}" for q in self.quantities)
        db.register("incoming", _keys(device, time_us))
        # The range lets DuckDB pass over everything written at other times.
        found = db.execute(
            f"SELECT i.place, s.rowid{columns} FROM incoming i JOIN {self.sql} s ON s.device = i.device "  # noqa: S608
            "AND s.time = i.time WHERE s.time BETWEEN make_timestamp(?::BIGINT) AND make_timestamp(?::BIGINT)",
            [first, last],
        ).fetchnumpy()
        db.unregister("incoming")
        place = np.ma.getdata(found["place"])
        same = np.ones(len(place), dtype=np.bool_)
        for number, quantity in enumerate(self.quantities):
            stored = np.ma.filled(found[quantity], np.nan)
            judged = np.ma.filled(found[f"quality_{quantity}"], 0)
            kept = np.isnan(values[place, number])
            values[place[kept], number] = stored[kept]
            quality[place[kept], number] = judged[kept]
            same &= kept | ((values[place, number] == stored) & (quality[place, number] == judged))
        if not same.all():
            gone = pa.table({"row": pa.array(np.ma.getdata(found["rowid"])[~same])})
            with_source(db, gone, f"DELETE FROM {self.sql} WHERE rowid IN (SELECT row FROM incoming)")  # noqa: S608
        unchanged = np.zeros(len(device), dtype=np.bool_)
        unchanged[place[same]] = True
        return unchanged


def _keys(device: Int32, time_us: Int64) -> pa.Table:
    place = np.arange(len(device), dtype=np.int32)
    return pa.table({"place": place, "device": device, "time": pa.array(time_us, pa.timestamp("us"))})


def with_source(db: duckdb.DuckDBPyConnection, rows: pa.Table, sql: str) -> None:
    """Run `sql`, which reads `rows` under the name incoming."""
    db.register("incoming", rows)
    try:
        db.execute(sql)
    finally:
        db.unregister("incoming")
