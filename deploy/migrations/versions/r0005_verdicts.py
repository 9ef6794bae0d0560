"""What crews found when they went there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "verdict",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("alert", sa.String(length=40), nullable=False),
        sa.Column("true", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_verdict")),
    )
    op.create_index("ix_verdict_alert", "verdict", ["alert", "number"], unique=False)
