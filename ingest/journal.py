"""The journal: every delivery, durable before it is acknowledged.

From: `ingest.mqtt` and `redecode`. To: every consumer, each with a named cursor.

One SQLite row is one group commit, a block: the deliveries' topics, payloads and arrival times, packed with
msgpack and compressed with zstd, and a CRC-32 over the result. A delivery's offset is its block's `first` plus its
place in the block, so offsets are dense and grow with every commit. WAL with synchronous=FULL: an append that
returned survives power loss. Several processes may append; several may read meanwhile.

Control records share the log, under topics that begin with `$undercity/`: the passing of time and the state of the
broker link. They make time itself part of the log, so that a replay sees silence exactly as the live run did.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import zstandard

from devices.sqlite_files import use_wal
from ingest.errors import JournalCorrupt, JournalError, JournalFull

CONTROL: str = "$undercity/"
TICK: str = CONTROL + "tick"  # time passed and nothing came
LINK: str = CONTROL + "link"  # payload b"up" or b"down": our side of the broker connection
# The TCP listener's own: each of the two sources can be away by itself.
TCP_LINK: str = CONTROL + "link/tcp"
TCP_TICK: str = CONTROL + "tick/tcp"
REFUSED: str = CONTROL + "refused"  # acknowledged but not kept whole; payload: JSON of an `ingest.packets.Refusal`

_READ_BYTES = 4_000_000  # of packed blocks in one read; they unpack to about ten times as much

_SCHEMA = """
CREATE TABLE IF NOT EXISTS block (
  first INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  from_us INTEGER NOT NULL,
  to_us INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS cursor (name TEXT PRIMARY KEY, next INTEGER NOT NULL);
"""


class Delivery(NamedTuple):
    """Raw bytes from the wire, as they came; `received_us` is our clock, UTC."""

    topic: str
    payload: bytes
    received_us: int


@dataclass(frozen=True, slots=True)
class Block:
    """Deliveries of one group commit; delivery i has offset `first + i`."""

    first: int
    topics: list[str]
    payloads: list[bytes]
    received_us: list[int]

    @property
    def next(self) -> int:
        """Offset behind the last delivery."""
        return self.first + len(self.topics)

    def after(self, offset: int) -> Block:
        """The part of this block from `offset` on."""
        skip = offset - self.first
        if skip <= 0:
            return self
        return Block(offset, self.topics[skip:], self.payloads[skip:], self.received_us[skip:])


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """How the journal stores and how long it remembers.

    `retention_days`: what every consumer has read is kept so long. `compression_level`: of zstd, 1 is fastest.
    `busy_timeout_s`: how long to wait for another process that writes.
    """

    retention_days: float = 30.0
    compression_level: int = 1
    busy_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.retention_days <= 0:
            raise JournalError(f"journal.retention_days: expected more than 0, got {self.retention_days}")


@dataclass(frozen=True, slots=True)
class JournalStats:
    """What `undercity journal stats` prints; times are UTC microseconds, None in an empty journal."""

    first: int
    next: int
    blocks: int
    deliveries: int
    bytes_on_disk: int
    from_us: int | None
    to_us: int | None
    cursors: dict[str, int]


class Journal:
    """The durable log in one SQLite file. One instance belongs to one thread."""

    def __init__(self, path: Path, settings: JournalSettings | None = None, *, read_only: bool = False) -> None:
        self.path = path
        self.settings = settings or JournalSettings()
        self._pack = zstandard.ZstdCompressor(level=self.settings.compression_level)
        self._unpack = zstandard.ZstdDecompressor()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(tuple[list[str], list[bytes], list[int]]).decode
        self._db = self._open(read_only=read_only)

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        if read_only and not self.path.exists():
            raise JournalError(f"journal {self.path}: expected an existing file, got none; nothing was read")
        try:
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(
                self.path,
                timeout=self.settings.busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
            use_wal(db, self.settings.busy_timeout_s)
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA wal_autocheckpoint=4000")
            db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise _translated(self.path, error) from error
        return db

    def close(self) -> None:
        """Release the file; what was appended stays."""
        self._db.close()

    def append(self, deliveries: Sequence[Delivery]) -> range:
        """Store `deliveries`, all or nothing, and return their offsets once they are on the disk.

        JournalFull when there is no space, JournalError for any other failure; nothing was stored then.
        """
        if not deliveries:
            return range(0)
        topics, payloads, received = zip(*deliveries, strict=True)
        data = self._pack.compress(self._encode((topics, payloads, received)))
        with self._transaction():
            first = self.end()
            self._db.execute(
                "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?)",
                (first, len(topics), min(received), max(received), zlib.crc32(data), data),
            )
        return range(first, first + len(topics))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _translated(self.path, error) from error
            raise

    def end(self) -> int:
        """Offset that the next delivery will get."""
        row = self._query("SELECT first + count FROM block ORDER BY first DESC LIMIT 1").fetchone()
        floor = self._query("SELECT next FROM cursor WHERE name = '$end'").fetchone()
        return max(int(row[0]) if row else 0, int(floor[0]) if floor else 0)

    def start(self) -> int:
        """Offset of the oldest delivery still stored; `end()` when there is none."""
        row = self._query("SELECT min(first) FROM block").fetchone()
        return int(row[0]) if row[0] is not None else self.end()

    def read(self, offset: int, *, limit: int = 64) -> list[Block]:
        """Up to `limit` blocks from `offset` on, fewer where they are large; none at the end.

        JournalCorrupt when the first of them does not match its checksum; those before a damaged one are given.
        """
        rows = self._query(
            "SELECT first, count, crc, data FROM block WHERE first >= coalesce("
            "(SELECT max(first) FROM block WHERE first <= ?), ?) ORDER BY first LIMIT ?",
            (offset, offset, limit),
        )
        blocks: list[Block] = []
        size = 0
        for row in rows:
            if row[0] + row[1] > offset:
                try:
                    blocks.append(self._block(*row).after(offset))
                except JournalCorrupt:
                    if not blocks:
                        raise
                    break
                size += len(row[3])
            if size > _READ_BYTES:
                break
        rows.close()
        return blocks

    def _block(self, first: int, count: int, crc: int, data: bytes) -> Block:
        if zlib.crc32(data) != crc:
            raise JournalCorrupt(
                f"journal {self.path}: block at {first}: expected CRC {crc:08x}, got {zlib.crc32(data):08x}; "
                "it was not used",
                next=first + count,
            )
        topics, payloads, received = self._decode(self._unpack.decompress(data))
        if len(topics) != count:
            raise JournalCorrupt(
                f"journal {self.path}: block at {first}: expected {count} deliveries, got {len(topics)}; "
                "it was not used",
                next=first + count,
            )
        return Block(first, topics, payloads, received)

    def offset_at(self, time_us: int) -> int:
        """Offset of the first block that holds anything received at or after `time_us`."""
        row = self._query("SELECT min(first) FROM block WHERE to_us >= ?", (time_us,)).fetchone()
        return int(row[0]) if row[0] is not None else self.end()

    def cursor(self, name: str) -> int:
        """Where consumer `name` goes on: `start()` for a new one."""
        row = self._query("SELECT next FROM cursor WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else self.start()

    def move_cursor(self, name: str, offset: int) -> None:
        """Record that consumer `name` has made everything before `offset` durable in its own place."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO cursor VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET next = excluded.next",
                (name, offset),
            )

    def retain(self, now_us: int) -> int:
        """Delete blocks past retention that every cursor has passed; the number of deliveries deleted."""
        oldest = now_us - int(self.settings.retention_days * 86_400e6)
        with self._transaction():
            slowest = self._db.execute("SELECT min(next) FROM cursor WHERE name NOT LIKE '$%'").fetchone()[0]
            if slowest is None:
                return 0
            end = self.end()
            deleted = self._db.execute(
                "DELETE FROM block WHERE to_us < ? AND first + count <= ? RETURNING count", (oldest, slowest)
            ).fetchall()
            # The offsets of deleted deliveries are never given out again.
            self._db.execute(
                "INSERT INTO cursor VALUES ('$end', ?) ON CONFLICT (name) DO UPDATE SET next = excluded.next",
                (end,),
            )
        return sum(int(count) for (count,) in deleted)

    def check(self, progress: Callable[[int], None] = lambda _: None) -> list[str]:
        """Read everything back; one line per fault found, none when the journal is whole."""
        faults = [str(row[0]) for row in self._query("PRAGMA quick_check").fetchall() if row[0] != "ok"]
        expected: int | None = None
        for row in self._db.execute("SELECT first, count, crc, data FROM block ORDER BY first"):
            first, count = int(row[0]), int(row[1])
            if expected is not None and first != expected:
                faults.append(f"block at {first}: expected offset {expected}: deliveries are missing between")
            expected = first + count
            try:
                self._block(*row)
            except (JournalCorrupt, msgspec.DecodeError, zstandard.ZstdError) as error:
                faults.append(str(error))
            progress(count)
        return faults

    def stats(self) -> JournalStats:
        """Size, span and cursors."""
        blocks, deliveries, from_us, to_us = self._query(
            "SELECT count(*), coalesce(sum(count), 0), min(from_us), max(to_us) FROM block"
        ).fetchone()
        cursors = self._query("SELECT name, next FROM cursor WHERE name NOT LIKE '$%' ORDER BY name").fetchall()
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        return JournalStats(self.start(), self.end(), blocks, deliveries, size, from_us, to_us, dict(cursors))

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise _translated(self.path, error) from error


def _translated(path: Path, error: Exception) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == 28:  # 28: ENOSPC
        return JournalFull(f"journal {path}: no space left on the disk; nothing was stored or acknowledged")
    return JournalError(f"journal {path}: {error}; nothing was stored")
