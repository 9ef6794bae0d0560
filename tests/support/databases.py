"""Operations databases for tests: a SQLite file always, PostgreSQL where one can be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from deploy.schema import upgrade
from devices.database import connect, sqlite_url
from tests.support import postgres


@contextmanager
def operations(url: str) -> Iterator[Engine]:
    """An engine for the database at `url`, with the newest schema."""
    engine = connect(url)
    try:
        upgrade(engine)
        yield engine
    finally:
        engine.dispose()


def sqlite_file(folder: Path) -> str:
    """The URL of a database in `folder`."""
    return sqlite_url(folder / "operations.db")


def emptied(url: str) -> str:
    """`url`, after everything in it was dropped."""
    postgres.empty(url)
    return url
