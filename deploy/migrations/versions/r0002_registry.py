"""The registry: sites, gateways and devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    _device()
    _gateway()
    _registry_revision()
    _site()


def _device() -> None:
    op.create_table(
        "device",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), server_default="", nullable=False),
        sa.Column("site", sa.String(length=64), server_default="", nullable=False),
        sa.Column("gateway", sa.String(length=64), server_default="", nullable=False),
        sa.Column("component_code", sa.String(length=16), server_default="", nullable=False),
        sa.Column("grid", sa.String(length=15), server_default="", nullable=False),
        sa.Column("district", sa.String(length=64), server_default="", nullable=False),
        sa.Column("street", sa.String(length=64), server_default="", nullable=False),
        sa.Column("managing", sa.String(length=200), server_default="", nullable=False),
        sa.Column("owning", sa.String(length=200), server_default="", nullable=False),
        sa.Column("maintaining", sa.String(length=200), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), server_default="intact", nullable=False),
        sa.Column("cadence_s", sa.Float(), nullable=True),
        sa.Column("codec", sa.String(length=32), server_default="json", nullable=False),
        sa.Column("calibration", sa.Text(), server_default="", nullable=False),
        sa.Column("registered_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
    )
    op.create_index("ix_device_gateway", "device", ["gateway"], unique=False)
    op.create_index("ix_device_kind_id", "device", ["kind", "id"], unique=False)


def _gateway() -> None:
    op.create_table(
        "gateway",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=64), server_default="", nullable=False),
        sa.Column("label", sa.String(length=200), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway")),
    )


def _registry_revision() -> None:
    op.create_table(
        "registry_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_revision")),
    )


def _site() -> None:
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), server_default="", nullable=False),
        sa.Column("address", sa.String(length=400), server_default="", nullable=False),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
