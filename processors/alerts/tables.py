"""Tables of the alert book.

`finding` is the evidence: append-only, one row for each statement of the engine. `alert` is what is known now,
`alert_change` how it came to be. `progress` holds counters that move in the same transaction as their effects.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, String, Table, Text

from devices.database import METADATA

FINDING: Final = Table(
    "finding",
    METADATA,
    # The engine may state one condition's update several times within a delivery, at different event times.
    Column("id", String(40), primary_key=True),
    Column("phase", String(8), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(32), primary_key=True),
    Column("line", LargeBinary, nullable=False),  # canonical JSON, as replay prints it
    Index("ix_finding_offset", "offset"),
)

ALERT: Final = Table(
    "alert",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("device", String(128), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("severity", String(8), nullable=False),
    Column("rank", SmallInteger, nullable=False),  # 1 is worst
    Column("onset_us", BigInteger, nullable=False),  # event time, UTC
    Column("raised_us", BigInteger, nullable=False),  # event time the rule decided
    Column("updated_us", BigInteger, nullable=False),
    Column("cleared_us", BigInteger),
    Column("recorded_us", BigInteger, nullable=False),  # our clock, when the book took it
    Column("raised_offset", BigInteger, nullable=False),
    Column("updates", Integer, nullable=False),
    Column("acknowledged_by", String(128), nullable=False),
    Column("acknowledged_us", BigInteger),
    Column("note", Text, nullable=False),
    Column("evidence", LargeBinary, nullable=False),  # JSON; of the latest raise or update
    Index("ix_alert_sequence", "sequence", unique=True),
    Index("ix_alert_state", "state", "rank", "onset_us"),
    Index("ix_alert_onset_us", "onset_us", "id"),
    Index("ix_alert_device", "device", "onset_us"),
)

CHANGE: Final = Table(
    "alert_change",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("alert", String(40), nullable=False),
    Column("step", String(16), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("at_us", BigInteger, nullable=False),  # event time of a finding, our clock for a person
    Column("recorded_us", BigInteger, nullable=False),
    Column("by", String(128), nullable=False),  # a person, empty for the engine
    Column("note", Text, nullable=False),
    Index("ix_alert_change_alert", "alert", "sequence"),
)

PROGRESS: Final = Table(
    "progress",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("next", BigInteger, nullable=False),
)
