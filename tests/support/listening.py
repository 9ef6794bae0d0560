"""The TCP listener in a thread of its own, with a registry of a few loggers and a journal in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devices.fleet import Entry
from ingest.journal import CONTROL, Delivery, Journal
from ingest.mqtt import utc_us
from ingest.tcp_loggers import Loggers
from ingest.tcp_run import run_listener
from ingest.tcp_settings import TcpSettings
from ingest.tcp_stats import TcpStats
from tests.support.logger import PASSWORD
from tests.support.system import until

QUICK: dict[str, Any] = {
    "bind": "127.0.0.1",
    "registry_every_s": 0.1,
    "reply_timeout_s": 0.3,
    "execute_timeout_s": 0.6,
    "tick_s": 60.0,
}


def entry(mn: str, **settings: object) -> Entry:
    """A registered logger."""
    return Entry(
        f"dev-{mn}", "sewage_inflow", codec="hj212", address=mn, settings={"password": PASSWORD, **settings}
    )


@dataclass
class FewLoggers:
    """A registry in memory; `put` is a change of it."""

    found: list[Entry] = field(default_factory=list)
    number: int = 1
    broken: bool = False

    def entries(self) -> Iterable[Entry]:
        return list(self.found)

    def revision(self) -> int:
        if self.broken:
            raise OSError("the database is away")
        return self.number

    def put(self, *entries: Entry) -> None:
        """Have these and no others."""
        self.found, self.number = list(entries), self.number + 1


class FailingJournal(Journal):
    """A journal whose appends can be made to fail, or to wait."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def append(self, deliveries):  # type: ignore[no-untyped-def]
        self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        return super().append(deliveries)


@dataclass
class Listening:
    """A running listener."""

    registry: FewLoggers
    journal: FailingJournal
    desk: Path
    port: int = 0
    stats: TcpStats = field(default_factory=TcpStats)

    def records(self) -> list[Delivery]:
        """Everything in the journal."""
        reader = Journal(self.journal.path, read_only=True)
        try:
            return [
                Delivery(*one)
                for block in reader.read(0, limit=100_000)
                for one in zip(block.topics, block.payloads, block.received_us, strict=True)
            ]
        finally:
            reader.close()

    def packets(self) -> list[bytes]:
        """Packets of loggers in the journal."""
        return [one.payload for one in self.records() if not one.topic.startswith(CONTROL)]

    def controls(self, topic: str) -> list[bytes]:
        """Payloads of one kind of control record."""
        return [one.payload for one in self.records() if one.topic == topic]


@contextlib.contextmanager
def listening(folder: Path, *entries: Entry, **settings: object) -> Iterator[Listening]:
    """A listener for these loggers while this lasts."""
    registry = FewLoggers(list(entries))
    run = Listening(registry, FailingJournal(folder / "journal.db"), folder / "loggers.sock")
    loggers = Loggers(registry)
    loggers.refresh()
    stop, ready, trouble = threading.Event(), threading.Event(), []

    def report(stats: TcpStats) -> None:
        run.stats = stats

    def listen(port: int) -> None:
        run.port = port
        ready.set()

    def work() -> None:
        try:
            chosen = TcpSettings(**{**QUICK, **settings})  # type: ignore[arg-type]
            run_listener(
                chosen, run.journal, loggers, stop, now=utc_us, desk=run.desk, report=report, ready=listen
            )
        except BaseException as error:  # noqa: BLE001  the test's own thread raises it  # noqa: BLE001  the test's own thread raises it
            trouble.append(error)

    thread = threading.Thread(target=work, name="listener")
    thread.start()
    try:
        until(lambda: ready.is_set() or bool(trouble), "the listener")
        if not trouble:
            yield run
    finally:
        stop.set()
        run.journal.gate.set()
        thread.join(20)
        run.journal.close()
    assert not thread.is_alive()
    if trouble:
        raise trouble[0]


def play(part: Coroutine[Any, Any, None]) -> None:
    """Run one test's conversation, with an end."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await part

    asyncio.run(bounded())


def raw_link(run: Listening) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", run.port), timeout=10)
    link.settimeout(10)
    return link


def closed(link: socket.socket) -> bool:
    """Read until the listener closes; whether it did."""
    try:
        while link.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
