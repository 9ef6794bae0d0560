"""The table of flashes: one row for each, from its first step to its end. Text columns are never NULL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from devices.database import METADATA

FLASH: Final = Table(
    "flash",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("begun_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),  # 0 while nobody knows of an end
    Column("result", String(16), nullable=False),
    Column("step", String(16), nullable=False),
    Column("detail", String(500), nullable=False),
    Column("who", String(64), nullable=False),
    Column("process", String(200), nullable=False),  # host:pid:start, to tell what was cut from what still runs
    Column("port", String(200), nullable=False),
    Column("usb", String(200), nullable=False),
    Column("bootloader", String(32), nullable=False),
    Column("chip", String(64), nullable=False),
    Column("serial", String(128), nullable=False),
    Column("board", String(64), nullable=False),
    Column("revision", String(64), nullable=False),
    Column("file", String(1000), nullable=False),
    Column("settings", String(2000), nullable=False),  # JSON: speeds and options, to finish what was cut
    Column("version", String(32), nullable=False),
    Column("security_counter", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("proof", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("gateway", String(64), nullable=False),
    Column("provisioned", String(200), nullable=False),
    Index("ix_flash_begun_us", "begun_us"),
    Index("ix_flash_gateway", "gateway", "ended_us"),
    Index("ix_flash_serial", "chip", "serial"),
)
