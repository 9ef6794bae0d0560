"""A PostgreSQL server of the test's own, where one can be had.

`UNDERCITY_TEST_POSTGRES_URL` names a database to use; its tables are dropped. Otherwise a cluster is made in a
temporary folder from an installed server (Debian: `postgresql-15`) and listens on a free port of 127.0.0.1 alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

URL = "UNDERCITY_TEST_POSTGRES_URL"


def binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`, None when no server is installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@contextmanager
def server() -> Iterator[str]:
    """The URL of a database for the tests; skips with the reason where there is none."""
    given = os.environ.get(URL)
    if given:
        yield given
        return
    folder = binaries()
    if folder is None:
        pytest.skip(f"no PostgreSQL: set {URL} or install the Debian package postgresql")
    with tempfile.TemporaryDirectory(prefix="undercity-pg-") as name:
        data = Path(name) / "data"
        user = _owner(Path(name))
        port = _free_port()
        _run(
            [folder / "initdb", "-D", data, "-U", "city", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
            user,
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        log = Path(name) / "log"
        _run([folder / "pg_ctl", "-D", data, "-l", log, "-w", "-t", "30", "-o", options, "start"], user)
        try:
            yield f"postgresql+psycopg://city@127.0.0.1:{port}/postgres"
        finally:
            _run([folder / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"], user)


def empty(url: str) -> None:
    """Drop everything in the database's public schema."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def _owner(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: then it runs as `postgres`, who must own the folder."""
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("no PostgreSQL: as root, its server needs the user postgres, which does not exist")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return "postgres"


def _run(command: list[Path | str], user: str | None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # the server keeps it open: a pipe would never end
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no PostgreSQL: {Path(command[0]).name} ended with {done.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
