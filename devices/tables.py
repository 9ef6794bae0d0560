"""The registry's tables, for SQLite and PostgreSQL alike. Text columns are never NULL: empty means unknown."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text

from devices.database import METADATA


def _text(name: str, length: int = 64) -> Column[Any]:
    return Column(name, String(length), nullable=False, server_default="")


SITE: Final = Table(
    "site",
    METADATA,
    Column("id", String(64), primary_key=True),
    _text("name", 200),
    _text("address", 400),
    Column("longitude", Float),
    Column("latitude", Float),
)

GATEWAY: Final = Table(
    "gateway",
    METADATA,
    Column("id", String(64), primary_key=True),
    _text("site"),
    _text("label", 200),
)

DEVICE: Final = Table(
    "device",
    METADATA,
    Column("id", String(64), primary_key=True),
    _text("kind"),
    _text("site"),
    _text("gateway"),
    _text("component_code", 16),
    _text("grid", 15),
    _text("district"),
    _text("street"),
    _text("managing", 200),
    _text("owning", 200),
    _text("maintaining", 200),
    Column("state", String(16), nullable=False, server_default="intact"),
    Column("cadence_s", Float),
    Column("codec", String(32), nullable=False, server_default="json"),
    _text("model"),
    _text("wire_address", 128),
    Column("settings", Text, nullable=False, server_default=""),  # JSON: the codec's dialect
    Column("calibration", Text, nullable=False, server_default=""),  # JSON: quantity -> [gain, offset]
    Column("registered_us", BigInteger, nullable=False, server_default="0"),
    Index("ix_device_kind_id", "kind", "id"),
    Index("ix_device_gateway", "gateway"),
)

# One row; its number rises in the same transaction as every change.
REGISTRY_REVISION: Final = Table(
    "registry_revision",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)
