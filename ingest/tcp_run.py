"""Starts the TCP listener on an event loop of its own, with its desk.

From: the role `ingest-tcp`. To: `ingest.tcp_listener` and `ingest.tcp_desk`, until told to stop.
"""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from ingest.journal import Journal
from ingest.tcp_desk import serve_desk
from ingest.tcp_listener import Listener
from ingest.tcp_loggers import Loggers
from ingest.tcp_settings import TcpSettings
from ingest.tcp_stats import TcpStats

log = structlog.get_logger(__name__)

_OWN_FILES: Final = 200  # of the process, besides connections


def run_listener(
    settings: TcpSettings,
    journal: Journal,
    loggers: Loggers,
    stop: threading.Event,
    *,
    now: Callable[[], int],
    desk: Path | None = None,
    report: Callable[[TcpStats], None] = lambda _: None,
    ready: Callable[[int], object] = lambda _: None,
) -> None:
    """Listen until `stop`; TcpError when the address cannot be had. `desk`: socket file for requests to loggers.

    `now`: UTC microseconds. `report`: called a few times a second with the counters. `ready`: called with the port.
    """

    async def work() -> None:
        listener = Listener(settings, journal, loggers, now=now, report=report)
        async with serve_desk(listener, desk):
            await listener.run(stop, lambda: ready(listener.port))

    _more_files(settings.max_connections + _OWN_FILES)
    asyncio.run(work())


def _more_files(wanted: int) -> None:
    """Raise our limit of open files as far as we may; say so when it is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard < wanted:
        log.warning("few_open_files", limit=hard, needed=wanted, now="fewer loggers can connect")
