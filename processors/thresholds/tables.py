"""The table of changed thresholds: append-only but for being taken back."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table

from devices.database import METADATA

THRESHOLD: Final = Table(
    "threshold",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("param", String(64), nullable=False),
    Column("value", Float, nullable=False),
    Column("scope", String(16), nullable=False),
    Column("target", String(128), nullable=False),
    Column("effective_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("author", String(64), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("recorded_us", BigInteger, nullable=False),
    Column("withdrawn_us", BigInteger, nullable=False),
    Column("withdrawn_by", String(64), nullable=False),
    Index("ix_threshold_rule", "kind", "rule"),
)
