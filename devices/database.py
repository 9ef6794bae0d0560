"""The operations database: registry, quarantine, alerts, outbox and audit in one place.

Embedded: SQLite in WAL mode. Production: PostgreSQL. Each layer declares its own tables on `METADATA`; the schema is
created and changed by the Alembic revisions in `deploy/migrations`, never by `create_all` outside tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from devices.errors import DeviceError
from devices.sqlite_files import use_wal

_BUSY_S = 15.0

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def parsed(url: str) -> URL:
    """`url` in parts; DeviceError for one that names neither SQLite nor PostgreSQL."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = None  # its text may hold a password: it is not repeated
    if parts is None or parts.drivername not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        got = parts.drivername if parts else "something else"
        raise DeviceError(
            f"database: expected sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME, got {got}; nothing was opened"
        )
    return parts


def connect(url: str) -> Engine:
    """An engine for `url`; for SQLite with WAL, full synchronisation, foreign keys and a patient lock.

    DeviceError for a URL of neither SQLite nor PostgreSQL.
    """
    if parsed(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: object) -> None:
        use_wal(connection, _BUSY_S)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite file at `path`."""
    return f"sqlite:///{path}"
