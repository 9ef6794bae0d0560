"""Counts, after the run, what the store holds and what the alert book says; reads the files themselves."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import duckdb

from deploy.demo.score import Noticed, Row
from deploy.settings import Settings
from deploy.wiring import open_database
from ingest.timeseries.tables import quoted
from processors.alerts.alert import Alert
from processors.alerts.book import AlertBook

_ALERTS_MAX = 1_000_000


def stored_rows(path: Path) -> Iterator[tuple[str, int]]:
    """(device, event time us) of every row of every kind in the embedded store, which nobody else has open."""
    with duckdb.connect(str(path), read_only=True) as db:
        tables = db.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'kind'").fetchall()
        for (kind,) in tables:
            rows = db.execute(
                f"SELECT d.id, epoch_us(k.time) FROM kind.{quoted(kind)} k "  # noqa: S608  the name is quoted
                "JOIN device d ON d.kind = ? AND d.ordinal = k.device",
                [kind],
            )
            while part := rows.fetchmany(10_000):
                yield from part


def stored_values(path: Path, devices: AbstractSet[str]) -> Iterator[Row]:
    """Every row of `devices`, with its values; as `stored_rows` otherwise."""
    with duckdb.connect(str(path), read_only=True) as db:
        columns = db.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'kind' AND data_type = 'DOUBLE' "
            "ORDER BY table_name, column_index"
        ).fetchall()
        for kind, group in itertools.groupby(columns, key=operator.itemgetter(0)):
            names = [name for _, name in group]
            listed = ", ".join(f"k.{quoted(name)}" for name in names)
            rows = db.execute(
                f"SELECT d.id, epoch_us(k.time), {listed} FROM kind.{quoted(kind)} k "  # noqa: S608  names are quoted
                "JOIN device d ON d.kind = ? AND d.ordinal = k.device WHERE list_contains(?, d.id)",
                [kind, sorted(devices)],
            )
            while part := rows.fetchmany(10_000):
                for device, time_us, *values in part:
                    pairs = zip(names, values, strict=True)
                    yield Row(device, time_us, {name: value for name, value in pairs if value is not None})


def alerts_of(settings: Settings) -> list[Alert]:
    """Every alert in the book."""
    database = open_database(settings)
    try:
        return AlertBook(database).recent(_ALERTS_MAX)
    finally:
        database.dispose()


def quarantined(settings: Settings) -> int:
    """How many deliveries lie in quarantine."""
    from ingest.quarantine import Quarantine  # noqa: PLC0415

    database = open_database(settings)
    try:
        return sum(Quarantine(database).counts().values())
    finally:
        database.dispose()


def noticed(alert: Alert) -> Noticed:
    """An alert as the score needs it."""
    return Noticed(alert.device, alert.kind, alert.rule, alert.onset_us, alert.raised_us)
