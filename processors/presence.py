"""Who says that it is there: births and deaths of protocols that have them, as last heard.

From: the pipeline (`ingest.decode.Presence`). To: the console's device page and the command line. One row per sender;
the journal's offset decides what is newer, so reading the journal again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, Engine, String, Table, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from devices.database import METADATA
from ingest.decode import Presence

_SENDER_CHARS: Final = 128

PRESENCE: Final = Table(
    "presence",
    METADATA,
    Column("sender", String(_SENDER_CHARS), primary_key=True),  # its name on the wire, lower case
    Column("online", Boolean, nullable=False),
    Column("at_us", BigInteger, nullable=False),  # our clock, UTC
    Column("offset", BigInteger, nullable=False),
)


class Heard(NamedTuple):
    """What a sender said last of being there, and when by our clock, UTC microseconds."""

    online: bool
    at_us: int


@dataclass(frozen=True, slots=True)
class PresenceBook:
    """The table of who is there; safe from several threads."""

    engine: Engine

    def note(self, heard: Sequence[Presence]) -> None:
        """Take what was heard, in journal order; what is older than what is known changes nothing."""
        newest = {one.sender.casefold()[:_SENDER_CHARS]: one for one in heard}
        insert = postgresql_insert if self.engine.dialect.name == "postgresql" else sqlite_insert
        with self.engine.begin() as connection:
            for sender, one in sorted(newest.items()):
                statement = insert(PRESENCE).values(
                    sender=sender, online=one.online, at_us=one.at_us, offset=one.offset
                )
                new = statement.excluded
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["sender"],
                        set_={"online": new.online, "at_us": new.at_us, "offset": new.offset},
                        where=PRESENCE.c.offset < new.offset,
                    )
                )

    def of(self, address: str) -> Heard | None:
        """What was heard last of the sender at `address`; a node that dies takes its devices along.

        That a node is there says nothing of its devices. None when a protocol has no births, or none was heard.
        """
        own = address.casefold()
        node = "/".join(own.split("/")[:2])
        c = PRESENCE.c
        wanted = (
            select(c.sender, c.online, c.at_us).where(c.sender.in_({own, node} - {""})).order_by(c.offset.desc())
        )
        with self.engine.connect() as connection:
            for row in connection.execute(wanted):
                if row.sender == own or not row.online:
                    return Heard(bool(row.online), int(row.at_us))
        return None
