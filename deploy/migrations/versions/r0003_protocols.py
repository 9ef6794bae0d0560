"""What a device speaks: its maker's model, its address on the wire, its dialect."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("device", sa.Column("model", sa.String(length=64), server_default="", nullable=False))
    op.add_column("device", sa.Column("wire_address", sa.String(length=128), server_default="", nullable=False))
    op.add_column("device", sa.Column("settings", sa.Text(), server_default="", nullable=False))
