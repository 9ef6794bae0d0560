"""The embedded store's upkeep: forgetting the old, and sorting closed days by device.

Rows arrive in order of time, all devices mixed, so that one device's day is spread over the day's whole storage.
Once sorted it lies in one place: a board reads a hundredth of the blocks. A piece is sorted in one transaction.
"""

from __future__ import annotations

import duckdb

from ingest.timeseries.newest import NEVER
from ingest.timeseries.tables import KindTable

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
# Rows of a day may come in the next one too, out of gateways that were cut off; sort when most have come.
_OPEN_US = 2 * _HOUR_US
_SHORTEST_US = 15 * 60_000_000


def delete_before(db: duckdb.DuckDBPyConnection, table: KindTable, before_us: int) -> None:
    """Delete rows older than `before_us` and forget newest values among them."""
    db.execute(f"DELETE FROM {table.sql} WHERE time < make_timestamp(?::BIGINT)", [before_us])  # noqa: S608
    table.newest.forget(before_us)


def sort_piece(db: duckdb.DuckDBPyConnection, table: KindTable, now_us: int, most: int) -> int:
    """Sort the oldest unsorted closed day, or a part of it of about `most` rows; how many, 0 when all are."""
    while True:
        found = db.execute(
            f"SELECT epoch_us(min(time)) FROM {table.sql} WHERE time >= make_timestamp(?::BIGINT)",  # noqa: S608
            [max(table.sorted_us, -_DAY_US * 100_000)],
        ).fetchone()
        if found is None or found[0] is None:
            return 0
        start, end, rows = _piece(db, table, int(found[0]), most)
        if end > now_us - _OPEN_US:
            return 0
        _rewrite(db, table, start, end)
        table.sorted_us = end
        if rows:
            return rows


def _piece(db: duckdb.DuckDBPyConnection, table: KindTable, first_us: int, most: int) -> tuple[int, int, int]:
    day = first_us // _DAY_US * _DAY_US
    start = max(day, table.sorted_us) if table.sorted_us != NEVER else day
    end = day + _DAY_US
    while True:
        row = db.execute(
            f"SELECT count(*) FROM {table.sql} "  # noqa: S608
            "WHERE time >= make_timestamp(?::BIGINT) AND time < make_timestamp(?::BIGINT)",
            [start, end],
        ).fetchone()
        rows = int(row[0]) if row else 0
        if rows <= most or end - start <= _SHORTEST_US:
            return start, end, rows
        end = start + (end - start) // 2


def _rewrite(db: duckdb.DuckDBPyConnection, table: KindTable, start_us: int, end_us: int) -> None:
    # Only sorted rows have no number, which tells the new from the old.
    old = "time >= make_timestamp($start::BIGINT) AND time < make_timestamp($end::BIGINT) AND written > 0"
    span = {"start": start_us, "end": end_us}
    db.execute(
        f"INSERT INTO {table.sql} BY NAME SELECT * REPLACE (0 AS written) FROM {table.sql} WHERE {old} "  # noqa: S608
        "ORDER BY device, time",
        span,
    )
    db.execute(f"DELETE FROM {table.sql} WHERE {old}", span)  # noqa: S608
