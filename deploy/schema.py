"""The operations database's schema: any database, old or empty, to the newest revision.

From: `deploy/migrations`, which travel with this module. To: whoever opens the database for writing. Several
processes may start at once: they take turns, and those that come later find nothing left to do.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text
from sqlalchemy.exc import DatabaseError, OperationalError

import devices.firmware.tables
import devices.tables
import ingest.quarantine_tables
import processors.alerts.tables
import processors.alerts.verdicts
import processors.notify.tables
import processors.presence
import processors.thresholds.tables
from deploy.errors import SchemaError
from devices.database import METADATA, connect, parsed

# Importing them declares their tables on METADATA.
DECLARED: Final = (
    devices.firmware.tables,
    devices.tables,
    ingest.quarantine_tables,
    processors.alerts.tables,
    processors.alerts.verdicts,
    processors.notify.tables,
    processors.presence,
    processors.thresholds.tables,
)
_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x756E6465  # any number, the same in every process of ours


def metadata() -> MetaData:
    """Every table of ours, as the code wants it."""
    return METADATA


def head() -> str:
    """The newest revision there is."""
    return str(ScriptDirectory(str(_MIGRATIONS)).get_current_head())


def current(engine: Engine) -> str | None:
    """The revision `engine`'s database is at, None for one without our tables."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision, all steps or none; repeating it changes nothing.

    SchemaError when it cannot be reached, cannot be written, or was written by a newer version of ours.
    """
    shown = engine.url.render_as_string(hide_password=True)
    try:
        if current(engine) == head():
            return
        with closing(engine.connect()) as connection:
            _take_turn(connection)
            _upgrade(connection, shown)
            connection.commit()
    except (OperationalError, DatabaseError) as error:
        raise SchemaError(f"database {shown}: {_first_line(error)}; nothing was changed") from error


def _take_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection, shown: str) -> None:
    here = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory(str(_MIGRATIONS))
    known = {script.revision for script in scripts.walk_revisions()}
    if here is not None and here not in known:
        raise SchemaError(
            f"database {shown}: expected revision {head()} or older, got {here}, which a newer version made; "
            "nothing was changed"
        )
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def open_existing(url: str) -> Engine:
    """An engine for a database that is there and up to date; SchemaError saying what to do otherwise.

    For commands that look: they neither create nor change a schema.
    """
    parts = parsed(url)
    shown = parts.render_as_string(hide_password=True)
    if parts.get_backend_name() == "sqlite" and parts.database and not Path(parts.database).exists():
        raise SchemaError(f"database {shown}: expected an existing file, got none; start 'undercity run' first")
    engine = connect(url)
    try:
        here = current(engine)
    except (OperationalError, DatabaseError) as error:
        raise SchemaError(f"database {shown}: {_first_line(error)}; nothing was read") from error
    if here != head():
        engine.dispose()
        raise SchemaError(
            f"database {shown}: expected revision {head()}, got {here or 'none'}; "
            "'undercity run' brings it up to date"
        )
    return engine


def _first_line(error: DatabaseError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
