"""The migrated schema is the one the code wants, on both databases, however many start at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from deploy.errors import SchemaError
from deploy.schema import current, head, metadata, open_existing, upgrade
from devices.database import connect
from tests.support.databases import operations, sqlite_file


def test_the_migrated_schema_is_the_declared_one(database_url: str) -> None:
    with operations(database_url) as engine, engine.connect() as connection:
        # SQLite gives defaults back in its own spelling; PostgreSQL's are compared.
        options = {"compare_type": True, "compare_server_default": engine.dialect.name == "postgresql"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata()) == []


def test_upgrading_again_changes_nothing(database_url: str) -> None:
    with operations(database_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO progress VALUES ('kept', 7)"))
        upgrade(engine)
        assert current(engine) == head()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT next FROM progress WHERE name = 'kept'")).scalar() == 7


def test_three_processes_that_upgrade_at_once_all_succeed(database_url: str) -> None:
    code = (
        "import sys; from devices.database import connect; from deploy.schema import upgrade, current\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "engine = connect(sys.argv[1]); upgrade(engine); print(current(engine)); engine.dispose()"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0].strip() for process in started]
    assert outputs == [head()] * 3


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    with operations(database_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SchemaError, match="got 9999, which a newer version made; nothing was changed"):
            upgrade(engine)
        assert current(engine) == "9999"


def test_an_upgrade_that_fails_half_way_leaves_nothing(database_url: str) -> None:
    engine = connect(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE quarantine (stranger INTEGER)"))
    try:
        with pytest.raises(SchemaError, match="nothing was changed"):
            upgrade(engine)
        assert inspect(engine).get_table_names() == ["quarantine"]
    finally:
        engine.dispose()


def test_a_password_is_in_no_error() -> None:
    engine = connect("postgresql+psycopg://city:hunter2@127.0.0.1:1/none?connect_timeout=2")
    with pytest.raises(SchemaError) as refusal:
        upgrade(engine)
    assert "hunter2" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_command_that_looks_creates_no_database(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="expected an existing file, got none"):
        open_existing(sqlite_file(tmp_path))
    assert list(tmp_path.iterdir()) == []
