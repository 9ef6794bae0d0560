"""Quarantine: deliveries that could not become readings, kept with their bytes, the offset and the reason.

From: `ingest.decode` (what does not decode) and the stores (points refused for good). To: engineers, who look at
them, mend the codec or the registry, and `redecode`: what decodes now goes into the journal again.

The same bytes on the same topic share one row, which counts them: a device stuck on one bad frame cannot push out
what others sent. Bounded: beyond `max_rows` the oldest go, those already dealt with first, and are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, delete, func, insert, select, update
from sqlalchemy import bindparam as bind
from sqlalchemy.dialects import postgresql, sqlite

from ingest.decode import Refused
from ingest.errors import IngestError
from ingest.journal import Delivery
from ingest.quarantine_tables import DROPPED, QUARANTINE
from ingest.timeseries.ports import Rejected

_EVICTED: Final = "evicted"
_AT_ONCE: Final = 500
_WIDTH: Final = 16

Decode = Callable[[str, bytes, int], str | None]
"""Topic, payload and arrival time -> why the delivery is refused, None when all of it decodes."""

Append = Callable[[Sequence[Delivery]], object]
"""Makes deliveries durable in the journal before it returns."""


class QuarantineError(IngestError):
    """Raised when an entry cannot be found or read."""


class QuarantineState(StrEnum):
    """What became of an entry."""

    HELD = "held"
    REDECODED = "redecoded"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineSettings:
    """How much is kept.

    `max_rows`: entries. `max_payload_bytes`: of one payload; a longer one is cut and cannot be decoded from here.
    """

    max_rows: int = 100_000
    max_payload_bytes: int = 262_144

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise QuarantineError(f"quarantine.max_rows: expected at least 1, got {self.max_rows}")
        if self.max_payload_bytes < 1:
            raise QuarantineError(
                f"quarantine.max_payload_bytes: expected at least 1, got {self.max_payload_bytes}"
            )


class Held(NamedTuple):
    """One entry on its way in; `part` is the sample within the delivery, `byte_offset` -1 where it is unknown.

    `size`: of the payload as it came, where `delivery` has only its first bytes.
    """

    offset: int
    part: int
    delivery: Delivery
    byte_offset: int
    reason: str
    device: str = ""
    kind: str = ""
    codec: str = ""
    size: int | None = None

    @classmethod
    def from_refused(cls, refused: Refused) -> Held:
        """What decoding refused."""
        return cls(*refused)

    @classmethod
    def from_rejected(cls, rejected: Rejected, now_us: int) -> Held:
        """A point the store refused for good, named by device and time; its bytes are in the journal."""
        payload = f"{rejected.device} {rejected.time_us}".encode()
        delivery = Delivery("$undercity/store", payload, now_us)
        # Never before: the same point refused again, by a replay, is not news.
        return cls(0, 0, delivery, -1, rejected.reason, rejected.device, rejected.kind, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. `count`: how often these bytes came. Times UTC microseconds; `size` is the payload's as it came."""

    id: int
    first_offset: int
    last_offset: int
    part: int
    topic: str
    payload: bytes
    size: int
    truncated: bool
    received_us: int
    last_received_us: int
    byte_offset: int
    reason: str
    device: str
    kind: str
    codec: str
    state: QuarantineState
    count: int


@dataclass(frozen=True, slots=True)
class Redecoded:
    """What became of the held deliveries: `cut` were too long to be kept whole."""

    tried: int
    accepted: int
    refused: int
    cut: int


class Quarantine:
    """All entries, in the operations database; safe for several processes."""

    def __init__(self, engine: Engine, settings: QuarantineSettings | None = None) -> None:
        self._engine = engine
        self._settings = settings or QuarantineSettings()

    def add(self, entries: Sequence[Held]) -> int:
        """Keep `entries`, all or nothing; how many were not known before, by journal offset and part.

        Entries come in the order of their offsets; those at or before a row's last offset were counted already.
        """
        if not entries:
            return 0
        with self._engine.begin() as connection:
            _lock(connection)
            fresh = 0
            for start in range(0, len(entries), _AT_ONCE):
                fresh += self._add(connection, entries[start : start + _AT_ONCE])
            self._evict(connection)
        return fresh

    def _add(self, connection: Connection, entries: Sequence[Held]) -> int:
        c = QUARANTINE.c
        keyed = [(_digest(held.delivery, held.part), held) for held in entries]
        query = select(c.digest, c.last_offset, c.count).where(c.digest.in_([digest for digest, _ in keyed]))
        known = {digest: (last, count) for digest, last, count in connection.execute(query)}
        new: dict[str, dict[str, Any]] = {}
        again: dict[str, dict[str, Any]] = {}
        fresh = 0
        for digest, held in keyed:
            if digest not in known:
                known[digest] = (held.offset, 1)
                new[digest] = self._row(digest, held)
                fresh += 1
                continue
            last, count = known[digest]
            if held.offset <= last:
                continue
            known[digest] = (held.offset, count + 1)
            fresh += 1
            if digest in new:
                new[digest] |= _repeat(held, count + 1)
            else:
                again[digest] = {"key": digest, **{f"new_{k}": v for k, v in _repeat(held, count + 1).items()}}
        if new:
            connection.execute(insert(QUARANTINE), list(new.values()))
        if again:
            names = ("last_offset", "last_received_us", "byte_offset", "reason", "state", "count")
            statement = update(QUARANTINE).where(c.digest == bind("key"))
            connection.execute(
                statement.values({name: bind(f"new_{name}") for name in names}), list(again.values())
            )
        return fresh

    def _row(self, digest: str, held: Held) -> dict[str, Any]:
        payload = held.delivery.payload
        limit = self._settings.max_payload_bytes
        size = len(payload) if held.size is None else held.size
        return {
            "digest": digest,
            "delivery": _digest(held.delivery, None),
            "first_offset": held.offset,
            "part": held.part,
            "topic": _storable(held.delivery.topic),
            "payload": payload[:limit],
            "size": size,
            "truncated": size > min(limit, len(payload)),
            "received_us": held.delivery.received_us,
            "device": _storable(held.device)[:128],
            "kind": _storable(held.kind)[:64],
            "codec": held.codec[:64],
            **_repeat(held, 1),
        }

    def _evict(self, connection: Connection) -> None:
        """Let the oldest go beyond `max_rows`; entries already dealt with before those still held."""
        c = QUARANTINE.c
        rows = connection.execute(select(func.count()).select_from(QUARANTINE)).scalar_one()
        excess = rows - self._settings.max_rows
        if excess <= 0:
            return
        oldest = select(c.id).order_by(c.state == QuarantineState.HELD, c.id).limit(excess)
        connection.execute(delete(QUARANTINE).where(c.id.in_(oldest)))
        connection.execute(
            update(DROPPED).where(DROPPED.c.reason == _EVICTED).values(count=DROPPED.c.count + excess)
        )

    def dropped(self) -> int:
        """How many entries had to go for want of room, ever."""
        with self._engine.connect() as connection:
            query = select(DROPPED.c.count).where(DROPPED.c.reason == _EVICTED)
            return connection.execute(query).scalar_one_or_none() or 0

    def find(
        self,
        *,
        device: str | None = None,
        state: QuarantineState | None = None,
        reason: str | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Entries, newest first; `reason` is any part of the reason's text."""
        c = QUARANTINE.c
        query = select(QUARANTINE).order_by(c.id.desc()).limit(limit)
        if device is not None:
            query = query.where(c.device == device)
        if state is not None:
            query = query.where(c.state == state)
        if reason is not None:
            query = query.where(c.reason.contains(reason, autoescape=True))
        with self._engine.connect() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def get(self, entry: int) -> Entry:
        """The entry with this id; QuarantineError when there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(select(QUARANTINE).where(QUARANTINE.c.id == entry)).mappings().one_or_none()
        if row is None:
            raise QuarantineError(f"quarantine: there is no entry {entry}; see 'undercity quarantine list'")
        return _entry(row)

    def counts(self) -> dict[str, int]:
        """How many entries there are in each state."""
        query = select(QUARANTINE.c.state, func.count()).group_by(QUARANTINE.c.state)
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def drop(self, entry: int) -> None:
        """Put an entry aside for good: it is not tried again, and goes first when room is needed."""
        self.get(entry)
        with self._engine.begin() as connection:
            self._mark(connection, QUARANTINE.c.id == entry, QuarantineState.DROPPED)

    def redecode(self, decode: Decode, append: Append) -> Redecoded:
        """Try every held delivery again, oldest first; those that decode now go into the journal as they came.

        They are marked after they are durable: a crash between repeats some, and a reading that comes twice
        changes nothing. Points that a store refused are not tried: their deliveries decoded.
        """
        tried = accepted = cut = 0
        for entries in self._deliveries():
            whole = [entry for entry in entries if not entry.truncated]
            cut += len(entries) - len(whole)
            tried += len(entries)
            good = [e for e in whole if decode(e.topic, e.payload, e.received_us) is None]
            if not good:
                continue
            append([Delivery(e.topic, e.payload, e.received_us) for e in good])
            with self._engine.begin() as connection:
                for entry in good:
                    same = select(QUARANTINE.c.delivery).where(QUARANTINE.c.id == entry.id).scalar_subquery()
                    held = and_(QUARANTINE.c.delivery == same, QUARANTINE.c.state == QuarantineState.HELD)
                    self._mark(connection, held, QuarantineState.REDECODED)
            accepted += len(good)
        return Redecoded(tried, accepted, tried - accepted - cut, cut)

    def _deliveries(self) -> Iterator[list[Entry]]:
        """Held deliveries in parts, each delivery once: several of its samples may be here."""
        c = QUARANTINE.c
        after = 0
        last = select(func.max(c.id)).scalar_subquery()
        with self._engine.connect() as connection:
            end = connection.execute(select(last)).scalar_one() or 0
        while True:
            first = (
                select(func.min(c.id))
                .where(c.state == QuarantineState.HELD, c.topic != "$undercity/store", c.id <= end)
                .group_by(c.delivery)
                .having(func.min(c.id) > after)
                .order_by(func.min(c.id))
                .limit(_AT_ONCE)
            )
            with self._engine.connect() as connection:
                rows = connection.execute(select(QUARANTINE).where(c.id.in_(first)).order_by(c.id)).mappings()
                entries = [_entry(row) for row in rows]
            if not entries:
                return
            after = entries[-1].id
            yield entries

    @staticmethod
    def _mark(connection: Connection, rows: ColumnElement[bool], state: QuarantineState) -> None:
        connection.execute(update(QUARANTINE).where(rows).values(state=state))


def _lock(connection: Connection) -> None:
    """Let one process add at a time: a write before anything is read."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    first = dialect.insert(DROPPED).values(reason=_EVICTED, count=0)
    connection.execute(first.on_conflict_do_update(index_elements=["reason"], set_={"count": DROPPED.c.count}))


def _digest(delivery: Delivery, part: int | None) -> str:
    topic = delivery.topic.encode(errors="replace")
    head = f"{len(topic)}|{'' if part is None else part}|".encode()
    return hashlib.blake2b(head + topic + delivery.payload, digest_size=20).hexdigest()


def _storable(text: str) -> str:
    """`text` as PostgreSQL takes it: what came from the wire may hold NUL or half a character."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _repeat(held: Held, count: int) -> dict[str, Any]:
    return {
        "last_offset": held.offset,
        "last_received_us": held.delivery.received_us,
        "byte_offset": held.byte_offset,
        "reason": _storable(held.reason),
        "state": QuarantineState.HELD,
        "count": count,
    }


def _entry(row: RowMapping) -> Entry:
    values = {name: row[name] for name in Entry.__slots__}
    return Entry(**values | {"state": QuarantineState(row["state"])})


def hex_dump(payload: bytes, mark: int = -1) -> str:
    """`payload` in lines of 16 bytes, offset, hex and text; the byte at `mark` in brackets.

    >>> print(hex_dump(b'{"v":1,"t":nope}', mark=11))
    > 00000000   7b  22  76  22  3a  31  2c  22  74  22  3a [6e] 6f  70  65  7d   {"v":1,"t":nope}
    """
    lines = []
    for start in range(0, max(len(payload), mark + 1 if mark >= 0 else 0, 1), _WIDTH):
        row = payload[start : start + _WIDTH]
        cells = [f" {byte:02x} " for byte in row]
        here = mark - start
        if 0 <= here < _WIDTH:
            # Reading may have stopped just behind the last byte: there the mark stands alone.
            cells[here : here + 1] = [f"[{row[here]:02x}]" if here < len(row) else "[  ]"]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        arrow = ">" if 0 <= here < _WIDTH else " "
        lines.append(f"{arrow} {start:08x}  {''.join(cells):<{4 * _WIDTH}}  {text}".rstrip())
    return "\n".join(lines)
