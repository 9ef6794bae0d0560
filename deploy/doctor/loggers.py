"""The doctor's look at the TCP listener for HJ 212 loggers: whether it runs, and who could and does connect.

From: the settings, and the listener itself by way of its socket file. To: `deploy.doctor`.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator

from deploy.doctor.lines import Line, ok, warn
from deploy.errors import SchemaError
from deploy.settings import Settings
from ingest.tcp_settings import TcpError

_PATIENCE_S = 5.0
_OWN_FILES = 200  # of the process, besides connections


def check_loggers(settings: Settings) -> Iterator[Line]:
    """Whether loggers can connect."""
    if settings.tcp.port == 0:
        yield ok("loggers", "no TCP listener: tcp.port is 0")
        return
    yield from _passwords(settings)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.tcp.max_connections + _OWN_FILES
    if hard < wanted:
        say = f"tcp.max_connections needs {wanted} open files, this user may have {hard}"
        yield warn("loggers", say, "raise the limit (LimitNOFILE, ulimit -n), or lower tcp.max_connections")
    yield _running(settings)


def _running(settings: Settings) -> Line:
    from deploy.storelink import store_socket  # noqa: PLC0415  it pulls in every layer
    from ingest.tcp_desk import Question, ask  # noqa: PLC0415

    try:
        lines = list(ask(store_socket(settings.desk_path), Question(ask="list"), _PATIENCE_S))
    except TcpError:
        return warn("loggers", f"nothing listens on {settings.tcp.address}", "start it: undercity run")
    rows = [line.row for line in lines if line.row is not None]
    connected = sum(bool(row.peer) for row in rows)
    return ok("loggers", f"{settings.tcp.address}: {len(rows)} registered, {connected} connected")


def _passwords(settings: Settings) -> Iterator[Line]:
    """Loggers whom anybody could pass for."""
    from deploy.schema import open_existing  # noqa: PLC0415  alembic is slow
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from ingest.tcp_loggers import rule_of  # noqa: PLC0415

    try:
        engine = open_existing(settings.database_url)
    except SchemaError:
        return  # said by another check
    try:
        rules = [rule for entry in SqlRegistry(engine).entries() if (rule := rule_of(entry)) is not None]
    finally:
        engine.dispose()
    if not rules:
        yield warn("loggers", "no device has the codec hj212: every logger is refused", "import the census")
    bare = [rule for rule in rules if not rule.password]
    if bare:
        say = f"{len(bare)} of {len(rules)} loggers have no password: who knows an MN may send for it"
        yield warn("loggers", say, "set password in their settings")
