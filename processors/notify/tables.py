"""The outbox: one row for each message that a person is owed, and what became of it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, String, Table

from devices.database import METADATA

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("alert", String(40), primary_key=True),
    Column("transition", String(32), primary_key=True),  # raise, clear, or update with its offset
    Column("address", String(64), primary_key=True),  # its name in the settings; never its URL, which is secret
    Column("rank", SmallInteger, nullable=False),  # 1 is worst, and goes first
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_us", BigInteger, nullable=False),
    Column("lease_until_us", BigInteger),
    Column("claimed_by", String(64), nullable=False),
    Column("last_error", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("sent_us", BigInteger),
    Column("finding", LargeBinary, nullable=False),  # canonical line: the message is written when it is sent
    Index("ix_outbox_due", "address", "state", "next_try_us"),
)
