"""The journal of flashes: what was written onto which gateway, by whom, shown by what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "flash",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("process", sa.String(length=200), nullable=False),
        sa.Column("port", sa.String(length=200), nullable=False),
        sa.Column("usb", sa.String(length=200), nullable=False),
        sa.Column("bootloader", sa.String(length=32), nullable=False),
        sa.Column("chip", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=128), nullable=False),
        sa.Column("board", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("file", sa.String(length=1000), nullable=False),
        sa.Column("settings", sa.String(length=2000), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("security_counter", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("proof", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("provisioned", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flash")),
    )
    op.create_index("ix_flash_begun_us", "flash", ["begun_us"], unique=False)
    op.create_index("ix_flash_gateway", "flash", ["gateway", "ended_us"], unique=False)
    op.create_index("ix_flash_serial", "flash", ["chip", "serial"], unique=False)
