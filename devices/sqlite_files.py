"""What every SQLite file of ours needs, journal and operations database alike."""

from __future__ import annotations

import sqlite3
import time


def use_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Put an SQLite file into WAL mode, unless it is; sqlite3.OperationalError when others keep it locked too long.

    SQLite does not wait for its lock when it changes the mode, so processes that start together would fail.
    """
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
