"""The TCP listener for HJ 212 loggers: connections to journal, each packet answered after its commit.

From: loggers, through `ingest.tcp_connection` and `ingest.tcp_session`. To: the journal, through `ingest.tcp_commits`;
with it control records: the listener's own up and down, refused packets, and the passing of time while nothing comes.

One event loop does everything but two things: the journal is written on a thread of its own, and so is the registry
read. A full journal holds all connections: TCP then makes the loggers wait, and nothing is acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec
import structlog

from devices.errors import PayloadError
from ingest.journal import REFUSED, TCP_LINK, TCP_TICK, Delivery, Journal
from ingest.mqtt_pace import Seldom
from ingest.packets import Refusal
from ingest.tcp_clocks import Clocks
from ingest.tcp_commits import Commits
from ingest.tcp_connection import READ_BYTES, Connection
from ingest.tcp_downlink import CLOCK_REQUEST, Answer, answer_for, build_answer
from ingest.tcp_limits import Bucket, Hold
from ingest.tcp_loggers import Loggers
from ingest.tcp_requests import Requests
from ingest.tcp_roster import Roster, Status
from ingest.tcp_session import Accepted, Session
from ingest.tcp_settings import TcpError, TcpSettings
from ingest.tcp_stats import TcpStats

log = structlog.get_logger(__name__)

_SWEEP_S: Final = 0.2
_SAY_AGAIN_S: Final = 30.0
_BURST_S: Final = 8.0  # seconds' worth of packets at once: what a logger kept while it had no signal
_READ_COST: Final = 0.02  # of a packet: a serial line that drips may bring every byte by itself
_BREAK_S: Final = 5.0  # slowed again so soon after is slowed all the while
_BACKLOG: Final = 1_024
_JSON = msgspec.json.Encoder()


class Listener:
    """The listener. `run` belongs to the event loop; make it there.

    `now`: UTC microseconds. `report`: called a few times a second with the counters.
    """

    def __init__(
        self,
        settings: TcpSettings,
        journal: Journal,
        loggers: Loggers,
        *,
        now: Callable[[], int],
        report: Callable[[TcpStats], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.loggers = loggers
        self.stats = TcpStats()
        self._roster = Roster()
        self.requests = Requests(settings, self._roster.link_to, now)
        self._clocks = Clocks(self.requests, now)
        self.now = now
        self.port = settings.port
        self._commits = Commits(journal, settings, self.stats.committed)
        self._report = report
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._scratch = memoryview(bytearray(READ_BYTES))
        self._records = Bucket(settings.refused_per_s, 10 * settings.refused_per_s)
        self._closings = Bucket(1.0, 30.0)
        self._said = {name: Seldom(_SAY_AGAIN_S) for name in ("refused", "limit", "registry", "taken", "mute")}
        self._loop = asyncio.get_running_loop()
        self._last_us = 0
        self._registry_due = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def run(self, stop: threading.Event, ready: Callable[[], object] = lambda: None) -> None:
        """Listen until `stop`; TcpError when the address cannot be had. `ready`: called when it listens."""
        server = await self._server()
        self.port = server.sockets[0].getsockname()[1]
        committing = asyncio.create_task(self._commits.run(), name="commits")
        self._control(TCP_LINK, b"up")
        log.info("tcp_listening", address=f"{self.settings.bind}:{self.port}", loggers=len(self.loggers))
        ready()
        try:
            while not stop.is_set() and not committing.done():
                self._sweep()
                await asyncio.sleep(_SWEEP_S)
        finally:
            await self._end(server, committing)

    async def _server(self) -> asyncio.Server:
        try:
            return await self._loop.create_server(
                self._connection, self.settings.bind, self.settings.port, backlog=_BACKLOG, reuse_address=True
            )
        except OSError as error:
            raise TcpError(
                f"tcp {self.settings.address}: expected a free address, got {error.strerror or error}; "
                "set tcp.bind and tcp.port to others"
            ) from error

    async def _end(self, server: asyncio.Server, committing: asyncio.Task[None]) -> None:
        """Take no more, answer what is in hand, say goodbye."""
        server.close()
        for connection in self._connections:
            connection.stop_reading(Hold.JOURNAL)
        self._clocks.close()
        self._control(TCP_LINK, b"down")
        self._commits.close()
        try:
            await committing
        finally:
            for connection in list(self._connections):
                connection.close()
            await asyncio.sleep(0)  # what was written leaves before the loop does
            self._report(self.stats)

    def _connection(self) -> Connection:
        settings, session = self.settings, Session(self.loggers.find, self.settings)
        bucket = Bucket(settings.packets_per_s, _BURST_S * settings.packets_per_s)
        return Connection(self, session, bucket, self._scratch, self._loop.time())

    # What connections tell us.

    def admit(self, connection: Connection) -> bool:
        """A connection was made; whether it may stay."""
        limit = ""
        if len(self._connections) >= self.settings.max_connections:
            limit = f"tcp.max_connections = {self.settings.max_connections}"
        elif self._addresses[connection.host] >= self.settings.per_address:
            limit = f"tcp.per_address = {self.settings.per_address}"
        if limit:
            self.stats.turned_away += 1
            if self._said["limit"].due(self._loop.time()):
                log.warning("connection_turned_away", peer=connection.peer, limit=limit, now="it may try again")
            return False
        self._connections.add(connection)
        self._addresses[connection.host] += 1
        if self._commits.full:
            connection.stop_reading(Hold.JOURNAL)
        return True

    def gone(self, connection: Connection) -> None:
        """A connection ended."""
        self._connections.discard(connection)
        self._addresses[connection.host] -= 1
        if not self._addresses[connection.host]:
            del self._addresses[connection.host]
        self._roster.gone(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        """Bytes came."""
        at_s, session = self._loop.time(), connection.session
        events = session.feed(data, at_s)
        for event in events:
            if isinstance(event, Accepted):
                self._accept(connection, event, at_s)
            else:
                self._refuse(connection, event.refusal)
        # Bytes that never become packets cost as much as packets of 1 KB, and a read is work however little it brings.
        self._slow(connection, max(len(events), len(data) / 1024, _READ_COST), at_s)
        if session.ending:
            self._close(connection, session.ending)
        elif connection.unanswered >= self.settings.unanswered_max:
            connection.stop_reading(Hold.UNANSWERED)
        if self._commits.full:
            for one in self._connections:
                one.stop_reading(Hold.JOURNAL)

    def _accept(self, connection: Connection, event: Accepted, at_s: float) -> None:
        mn, packet = event.rule.mn, event.packet
        self._own(connection, mn)
        connection.heard_s, connection.identified = at_s, True
        connection.packets += 1
        connection.unanswered += 1
        stamp = self._stamp()
        self._roster.heard(mn, stamp, event.cn)
        self.stats.received += 1
        self.stats.bytes += len(event.raw)
        answer = answer_for(event.cn, packet.flag)
        self._commits.put(Delivery(event.topic, event.raw, stamp), partial(self._done, connection, event, answer))
        self.requests.heard(mn, event.cn, packet)

    def _done(self, connection: Connection, event: Accepted, answer: Answer | None) -> None:
        """The packet is on the disk: say so."""
        if answer is not None and connection.open:
            self._answer(connection, event, answer)
        if event.cn == CLOCK_REQUEST and self.settings.clock_requests:
            self.stats.requests += self._clocks.wanted(event.rule, event.packet.cp, self._loop.time())
        connection.answered()
        if connection.unanswered <= self.settings.unanswered_max // 2:
            connection.go_on_reading(Hold.UNANSWERED)

    def _answer(self, connection: Connection, event: Accepted, answer: Answer) -> None:
        packet = event.packet
        try:
            raw = build_answer(answer, event.rule, qn=packet.qn, pw=packet.pw, flag=packet.flag or 0)
        except PayloadError as error:  # an echo of what no packet can carry, such as # within QN
            if self._said["mute"].due(self._loop.time()):
                log.warning("packet_not_answerable", mn=event.rule.mn, reason=str(error), now="it is journalled")
            return
        connection.send(raw)
        self.stats.acked += 1

    def _own(self, connection: Connection, mn: str) -> None:
        """One logger, one connection: the newest. The older one is what a lost signal left behind."""
        before = self._roster.own(connection, mn)
        if before is not None:
            self.stats.taken_over += 1
            if self._said["taken"].due(self._loop.time()):
                log.info("logger_connected_anew", mn=mn, peer=connection.peer, closed=before.peer)
            before.close()

    def _refuse(self, connection: Connection, refusal: Refusal) -> None:
        self.stats.refused += 1
        self._roster.refused(refusal.topic.split("/")[1])
        at_s = self._loop.time()
        recorded = not self._commits.full and self._records.allows(at_s)
        if recorded:
            self._commits.put(Delivery(REFUSED, _JSON.encode(refusal._asdict()), self._stamp()))
        else:
            self.stats.unrecorded += 1
        if self._said["refused"].due(at_s):
            log.warning(
                "packet_refused",
                peer=connection.peer,
                reason=refusal.reason[:300],
                refused_so_far=self.stats.refused,
                now="its first bytes are in quarantine" if recorded else "counted only: too many at once",
            )

    def _slow(self, connection: Connection, cost: float, at_s: float) -> None:
        wait_s = connection.bucket.take(cost, at_s)
        if wait_s <= 0:
            return
        self.stats.slowed += 1
        if connection.slowed_s is None or at_s - connection.free_s > _BREAK_S:
            connection.slowed_s = at_s
        connection.free_s = at_s + wait_s
        connection.stop_reading(Hold.RATE)

    def _close(self, connection: Connection, reason: str) -> None:
        self.stats.closed_by_us += 1
        if self._closings.allows(self._loop.time()):  # whoever comes again and again must not fill the log
            log.info("connection_closed", peer=connection.peer, reason=reason, packets=connection.packets)
        connection.close()

    # What time brings.

    def _sweep(self) -> None:
        at_s, full = self._loop.time(), self._commits.full
        for connection in list(self._connections):
            if not full and connection.hold & Hold.JOURNAL:
                connection.forgive(at_s)
                connection.go_on_reading(Hold.JOURNAL)
            if connection.hold & Hold.RATE and at_s >= connection.free_s:
                connection.go_on_reading(Hold.RATE)
            overdue = self._overdue(connection, at_s)
            if overdue:
                self._close(connection, overdue)
                connection.abort()
        self._tick(at_s)
        self._follow_registry(at_s)
        self.stats.connections = len(self._connections)
        self.stats.loggers = len(self._roster)
        self.stats.journal_full = self._commits.blocked
        self._report(self.stats)

    def _overdue(self, connection: Connection, at_s: float) -> str:
        """Why this connection has been waited for long enough; empty while it has not."""
        settings = self.settings
        if connection.waiting_s is not None and at_s - connection.waiting_s > settings.write_timeout_s:
            return f"it has left our answers unread for {settings.write_timeout_s:g} s"
        slowed_s = connection.slowed_s if connection.hold & Hold.RATE else None
        if slowed_s is not None and at_s - slowed_s > settings.flood_s:
            return f"it has sent more than {settings.packets_per_s:g} packets/s for {settings.flood_s:g} s"
        return "" if connection.hold else self._silent(connection, at_s)  # held: it is we who do not read

    def _silent(self, connection: Connection, at_s: float) -> str:
        settings, half_s = self.settings, connection.session.half_since
        if half_s is not None and at_s - half_s > settings.half_packet_s:
            return f"the rest of a packet has not come for {settings.half_packet_s:g} s"
        patience_s = settings.idle_s if connection.identified else settings.identify_s
        if at_s - connection.heard_s > patience_s and not connection.unanswered:  # or else it waits for us
            return f"no packet for {patience_s:g} s"
        return ""

    def _tick(self, at_s: float) -> None:
        """Silence is a record like any other: without it no timer would notice that all loggers are gone."""
        commits = self._commits
        if len(self.loggers) and commits.idle and at_s - commits.last_s >= self.settings.tick_s:
            self._control(TCP_TICK, b"")

    def _follow_registry(self, at_s: float) -> None:
        if at_s < self._registry_due or (self._reading is not None and not self._reading.done()):
            return
        self._registry_due = at_s + self.settings.registry_every_s * (0.9 + 0.2 * random.random())  # noqa: S311
        self._reading = asyncio.create_task(self._read_registry(), name="registry")

    async def _read_registry(self) -> None:
        try:
            await asyncio.to_thread(self.loggers.refresh)
        except Exception as error:  # noqa: BLE001  whatever the database's driver raises: the last table holds
            if self._said["registry"].due(self._loop.time()):
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                log.warning("registry_unreadable", reason=reason, now="the loggers known so far may go on")

    def statuses(self) -> Iterator[Status]:
        """Every registered logger, by MN."""
        return self._roster.statuses(self.loggers.all(), self.requests.busy)

    # The journal.

    def _control(self, topic: str, payload: bytes) -> None:
        self._commits.put(Delivery(topic, payload, self._stamp()))

    def _stamp(self) -> int:
        """Our clock, never back."""
        self._last_us = max(self.now(), self._last_us)
        return self._last_us
