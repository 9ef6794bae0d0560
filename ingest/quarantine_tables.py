"""Tables of the quarantine."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from devices.database import METADATA

QUARANTINE: Final = Table(
    "quarantine",
    METADATA,
    # SQLite counts up by itself only in a plain INTEGER column.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("digest", String(40), nullable=False),  # of topic, payload and part: the same bytes share one row
    Column("delivery", String(40), nullable=False),  # of topic and payload
    Column("first_offset", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),
    Column("part", Integer, nullable=False),
    Column("topic", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),  # of the payload as it came
    Column("truncated", Boolean, nullable=False),
    Column("received_us", BigInteger, nullable=False),  # of the first
    Column("last_received_us", BigInteger, nullable=False),
    Column("byte_offset", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("device", String(128), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("codec", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("count", Integer, nullable=False),
    Index("uq_quarantine_digest", "digest", unique=True),
    Index("ix_quarantine_state", "state", "id"),
    Index("ix_quarantine_device", "device", "id"),
    sqlite_autoincrement=True,  # an id that a person wrote down never comes to mean another row
)

DROPPED: Final = Table(
    "quarantine_dropped",
    METADATA,
    Column("reason", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
)
