"""Alembic's environment: runs the revisions on the connection that `deploy.schema` hands over.

Not for the `alembic` command: `undercity` brings its database up to date by itself.
"""

from __future__ import annotations

from alembic import context

from devices.database import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite changes a column by copying its table
    transactional_ddl=True,  # all revisions or none; both databases can
)
context.run_migrations()
