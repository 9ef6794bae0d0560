"""Reading the embedded store: one quantity's history, and the newest values as of a moment.

From: the owner of the file, on any thread, each call with a cursor of its own. To: boards and the console.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships none

from devices.readings import Float64, Int32, Int64, Quality, UInt8
from devices.spec import Kind
from ingest.timeseries.newest import NEVER, AsOf
from ingest.timeseries.ports import History, Latest
from ingest.timeseries.tables import KindTable, quoted

_AS_OF_KEPT_US = 60_000_000


def nothing(every_us: int | None) -> History:
    """The history of what was never stored."""
    time_us, value = np.zeros(0, dtype=np.int64), np.zeros(0)
    quality = np.zeros(0, dtype=np.uint8)
    if every_us is None:
        return History(time_us, value, quality)
    return History(time_us, value, quality, value.copy(), value.copy(), time_us.copy())


def history(
    db: duckdb.DuckDBPyConnection,
    table: KindTable,
    ordinal: int,
    quantity: str,
    span_us: tuple[int, int],
    every_us: int | None,
) -> History:
    """See `TimeSeriesStore.history`; the table has `quantity`."""
    value, quality = quoted(quantity), quoted(f"quality_{quantity}")
    source = (
        f"SELECT epoch_us(time) AS t, {value} AS v, coalesce({quality}, 0) AS q FROM {table.sql} "  # noqa: S608
        "WHERE device = $device AND time >= make_timestamp($start::BIGINT) "
        f"AND time < make_timestamp($end::BIGINT) AND {value} IS NOT NULL"
    )
    given: dict[str, int] = {"device": ordinal, "start": span_us[0], "end": span_us[1]}
    if every_us is None:
        found = db.execute(source + " ORDER BY t", given).fetchnumpy()
        return History(
            _column(found, "t", np.int64), _column(found, "v", np.float64), _column(found, "q", np.uint8)
        )
    found = db.execute(
        # The remainder is made positive first: buckets before 1970 begin at multiples too.
        "SELECT t - ((t % $e) + $e) % $e AS t, avg(v) AS v, max(q) AS q, min(v) AS low, max(v) AS high, "  # noqa: S608
        f"count(*) AS n FROM ({source}) WHERE q < {int(Quality.BAD)} GROUP BY 1 ORDER BY 1",
        {"e": every_us} | given,
    ).fetchnumpy()
    return History(
        _column(found, "t", np.int64),
        _column(found, "v", np.float64),
        _column(found, "q", np.uint8),
        _column(found, "low", np.float64),
        _column(found, "high", np.float64),
        _column(found, "n", np.int64),
    )


def _column(found: dict[str, Any], name: str, dtype: Any) -> Any:
    return np.asarray(np.ma.getdata(found[name]), dtype=dtype)


def latest(db: duckdb.DuckDBPyConnection, table: KindTable | None, kind: Kind, now_us: int) -> Latest:
    """See `TimeSeriesStore.latest`; devices without any value by then are left out."""
    if table is None:
        shape = (0, len(kind.quantities))
        return Latest(kind, [], np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.uint8))
    time_us, values, quality = _copied(table, kind)
    ahead = np.flatnonzero((time_us > now_us).any(axis=1)).astype(np.int32)
    if len(ahead):
        # Clocks ahead of ours: what these devices said before is only in the file.
        found = _before(db, table, kind, now_us, ahead)
        rows = np.searchsorted(found.devices, ahead)
        time_us[ahead], values[ahead], quality[ahead] = (part[rows] for part in found.parts)
    known = time_us != NEVER
    listed = np.flatnonzero(known.any(axis=1))
    time_us[~known], values[~known], quality[~known] = 0, np.nan, Quality.MISSING
    return Latest(kind, [table.ids[row] for row in listed], time_us[listed], values[listed], quality[listed])


def _copied(table: KindTable, kind: Kind) -> tuple[Int64, Float64, UInt8]:
    newest = table.newest
    with newest.lock:
        shape = (len(newest.time_us), len(kind.quantities))
        time_us = np.full(shape, NEVER, dtype=np.int64)
        values, quality = np.full(shape, np.nan), np.zeros(shape, dtype=np.uint8)
        for column, quantity in enumerate(kind.quantities):
            place = table.quantities.index(quantity.name) if quantity.name in table.quantities else -1
            if 0 <= place < newest.time_us.shape[1]:
                time_us[:, column] = newest.time_us[:, place]
                values[:, column] = newest.values[:, place]
                quality[:, column] = newest.quality[:, place]
    return time_us, values, quality


def _before(db: duckdb.DuckDBPyConnection, table: KindTable, kind: Kind, now_us: int, devices: Int32) -> AsOf:
    """What `devices` said last up to `now_us`, or up to a minute before: this reads the file, and boards ask often."""
    known, names = table.newest.as_of, tuple(quantity.name for quantity in kind.quantities)
    if (
        known is not None
        and 0 <= now_us - known.now_us < _AS_OF_KEPT_US
        and known.names == names
        and np.isin(devices, known.devices, assume_unique=True).all()
    ):
        return known
    shape = (len(devices), len(kind.quantities))
    parts = (np.full(shape, NEVER, dtype=np.int64), np.full(shape, np.nan), np.zeros(shape, dtype=np.uint8))
    _read_as_of(db, table, kind, now_us, devices, parts)
    found = AsOf(now_us, names, devices, parts)
    table.newest.as_of = found
    return found


def _read_as_of(
    db: duckdb.DuckDBPyConnection,
    table: KindTable,
    kind: Kind,
    now_us: int,
    devices: Int32,
    into: tuple[Int64, Float64, UInt8],
) -> None:
    time_us, values, quality = into
    db.register("asked", pa.table({"device": devices}))
    for column, quantity in enumerate(kind.quantities):
        if quantity.name not in table.quantities:
            continue
        value, judged = quoted(quantity.name), quoted(f"quality_{quantity.name}")
        found = db.execute(
            f"SELECT device, epoch_us(max(time)) AS t, arg_max({value}, time) AS v, "  # noqa: S608
            f"arg_max(coalesce({judged}, 0), time) AS q FROM {table.sql} WHERE {value} IS NOT NULL "
            "AND time <= make_timestamp(?::BIGINT) AND device IN (SELECT device FROM asked) GROUP BY device",
            [now_us],
        ).fetchnumpy()
        rows = np.searchsorted(devices, _column(found, "device", np.int32))
        time_us[rows, column] = _column(found, "t", np.int64)
        values[rows, column] = _column(found, "v", np.float64)
        quality[rows, column] = _column(found, "q", np.uint8)
    db.unregister("asked")
