"""The ingest worker: broker to journal, acknowledged after the commit.

From: the broker, through `ingest.mqtt_client`. To: the journal, one append per read, and control records with it:
the link going down and up, and the passing of time while nothing comes.

    read what has come ─▶ append, one commit ─▶ acknowledge, one write ─▶ (many come: let them gather a little)
                              │ no space
                              └▶ keep it in hand, acknowledge nothing, keep the link alive, try again
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ingest.errors import BrokerError, JournalCorrupt, JournalError, JournalFull
from ingest.journal import LINK, REFUSED, TICK, Delivery, Journal, JournalSettings
from ingest.mqtt_client import StockClient, new_client
from ingest.mqtt_pace import Backoff, IngestStats, Pacer, Seldom
from ingest.mqtt_settings import MqttSettings
from ingest.packets import Inbox, Receipts, Refusal

__all__ = ["REFUSED", "IngestStats", "IngestWorker", "MqttSettings", "run_worker", "utc_us"]

log = structlog.get_logger(__name__)

_WAIT_S: Final = 0.2  # how long a stop may go unnoticed
_STEADY_S: Final = 5.0  # a link that lived so long was a good one
_CONTESTED: Final = 3  # so many links that were good but short mean that somebody else uses our name
_RETRY_MIN_S: Final = 0.2
_RETRY_MAX_S: Final = 5.0
_SAY_AGAIN_S: Final = 30.0
_GOODBYE_S: Final = 2.0
_HOLD: Final = 4  # commits' worth of messages kept in hand while the journal takes nothing

_JSON = msgspec.json.Encoder()


def utc_us() -> int:
    """The time now, UTC microseconds."""
    return time.time_ns() // 1000


class IngestWorker:
    """One session at the broker, written to the journal. Belongs to the thread that calls `run`.

    `now`: UTC microseconds. `index`: which of several workers; part of the client id. `on_refused` hears of each
    delivery that was acknowledged without being stored whole, besides the journal's own record of it.
    """

    def __init__(
        self,
        settings: MqttSettings,
        journal: Journal,
        *,
        now: Callable[[], int] = utc_us,
        stop: threading.Event,
        index: int = 0,
        on_refused: Callable[[Refusal], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.stats = IngestStats()
        self.client_id = f"{settings.client_id}-{index}"
        self._journal = journal
        self._now = now
        self._stop = stop
        self._on_refused = on_refused
        self._held: list[Delivery] = []
        self._held_bytes = 0
        self._receipts = Receipts()
        self._last_us = _last_received(journal)
        self._journalled_at = 0.0  # monotonic
        self._pacer = Pacer(settings.commit_max_delay_ms / 1000)
        self._backoff = Backoff(settings.reconnect_min_s, settings.reconnect_max_s, random.random)
        self._retry = Backoff(_RETRY_MIN_S, _RETRY_MAX_S, random.random)
        self._retry_at = 0.0
        self._short_lived = 0
        self._full_said = Seldom(_SAY_AGAIN_S)
        self._refused_said = Seldom(_SAY_AGAIN_S)
        self._log = log.bind(client_id=self.client_id, broker=settings.broker)

    def run(self) -> None:
        """Work until `stop`; BrokerError when our own certificate files cannot be used."""
        # Nobody watched before we started: a start is a gap.
        self._note(LINK, b"down")
        while not self._stop.is_set():
            if not self._commit(None):
                self._stop.wait(_WAIT_S)  # a link that could journal nothing would be of no use
                continue
            client = self._connection()
            if not self._stop.is_set():
                self._pause_after(client)
        self._commit(None)

    def _connection(self) -> StockClient:
        """One connection from first to last; the client, which knows why it ended."""
        client = new_client(self.settings, self.client_id)
        opened, was_ready = time.monotonic(), False
        try:
            client.open()
            while client.lost is None and not self._stop.is_set():
                self._round(client)
                if client.ready and not was_ready:
                    was_ready = True
                    self._link_up(client)
            if client.lost is None:
                self._goodbye(client)
        except BrokerError:
            raise
        except (OSError, ValueError) as error:
            client.lost = f"cannot reach it: {error}"
        finally:
            self.stats.connected = False
            self._receipts = Receipts()  # packet ids end with their connection; the broker sends those again
            client.close()
            if was_ready:
                self._note(LINK, b"down")
        self._judge(client, time.monotonic() - opened, was_ready=was_ready)
        return client

    def _judge(self, client: StockClient, lived_s: float, *, was_ready: bool) -> None:
        """What this connection says about the next."""
        if lived_s >= _STEADY_S:
            self._backoff.reset()
            self._short_lived = 0
        elif was_ready:
            self._short_lived += 1
        # Mosquitto 2.0 closes the older of two connections of one name without a word.
        client.taken_over = client.taken_over or self._short_lived >= _CONTESTED

    def _pause_after(self, client: StockClient) -> None:
        """Say why the connection ended, and wait before the next."""
        if client.taken_over:
            self._backoff.hurry_less()
        delay = self._backoff.next()
        now = f"trying again in {delay:.1f} s"
        if client.taken_over:
            hint = "another program seems to use this client id; give each worker its own"
            self._log.error("session_taken_over", reason=client.lost, hint=hint, now=now)
        elif client.refused:
            hint = "check mqtt.username, mqtt.password and the broker's access list"
            self._log.error("broker_refused", reason=client.lost, hint=hint, now=now)
        else:
            self._log.warning("broker_link_down", reason=client.lost, now=now)
        self.stats.reconnects += 1
        self._stop.wait(delay)

    def _round(self, client: StockClient) -> None:
        """Read, commit, acknowledge, and pause if many come."""
        started = time.monotonic()
        if self._may_read():
            client.poll(min(_WAIT_S, self.settings.tick_s / 2))
        else:
            client.keep_alive()
            self._stop.wait(_WAIT_S / 4)
        count = self._take(client)
        if not self._commit(client):
            return
        if count:
            pause = self._pacer.pause_s(count, time.monotonic() - started)
            if pause:
                time.sleep(pause)
        elif client.ready and time.monotonic() - self._journalled_at >= self.settings.tick_s:
            self._note(TICK, b"")
            self._commit(client)

    def _may_read(self) -> bool:
        return (
            len(self._held) < max(self.settings.receive_maximum, _HOLD * self.settings.commit_max_messages)
            and self._held_bytes < _HOLD * self.settings.commit_max_bytes
        )

    def _take(self, client: StockClient) -> int:
        """Move what the client received into our hands; how many."""
        inbox = client.inbox
        if not inbox and not inbox.receipts:
            return 0
        client.inbox = Inbox()
        size = sum(map(len, inbox.payloads))
        self._held.extend(map(Delivery, inbox.topics, inbox.payloads, self._stamps(inbox.topics)))
        for refusal in inbox.refusals:
            self._refuse(refusal, self._last_us)
        self._held_bytes += size
        self.stats.received += len(inbox)
        self.stats.bytes += size
        mine, more = self._receipts, inbox.receipts
        if not mine:
            self._receipts = more
        else:
            mine.ack += more.ack
            mine.receive += more.receive
            mine.release += more.release
        return len(inbox)

    def _refuse(self, refusal: Refusal, stamp: int) -> None:
        self._held.append(Delivery(REFUSED, _JSON.encode(refusal._asdict()), stamp))
        self.stats.refused += 1
        self._on_refused(refusal)
        if self._refused_said.due(time.monotonic()):
            self._log.warning(
                "delivery_refused",
                topic=refusal.topic[:200],
                reason=refusal.reason,
                refused_so_far=self.stats.refused,
                now="acknowledged; its size and first bytes are in the journal",
            )

    def _note(self, topic: str, payload: bytes) -> None:
        """Put a control record behind what is in hand; the next commit takes it."""
        self._held.append(Delivery(topic, payload, self._stamp()))

    def _stamp(self) -> int:
        """Our clock, never back."""
        self._last_us = max(self._now(), self._last_us)
        return self._last_us

    def _stamps(self, topics: Sequence[str]) -> Iterable[int]:
        """One time for all `topics`, or a later one from where a topic comes again.

        Frames that state no time get these: two of one device that we read at once must not seem to be the same.
        """
        stamp = self._last_us = max(self._now(), self._last_us + 1)
        if len(set(topics)) == len(topics):
            return repeat(stamp)
        stamps, seen = [], set[str]()
        for topic in topics:
            if topic in seen:
                stamp += 1
                seen.clear()
            seen.add(topic)
            stamps.append(stamp)
        self._last_us = stamp
        return stamps

    def _commit(self, client: StockClient | None) -> bool:
        """Journal what is in hand and acknowledge it; false when the journal took nothing."""
        if not self._held:
            return self._answer(client)
        started = time.monotonic()
        if started < self._retry_at:
            return False
        try:
            self._journal.append(self._held)
        except JournalError as error:
            self._blocked(error)
            return False
        ended = time.monotonic()
        self.stats.committed(len(self._held), ended - started)
        self._held, self._held_bytes = [], 0
        self._journalled_at = ended
        if self.stats.journal_full:
            self._recovered()
        return self._answer(client)

    def _answer(self, client: StockClient | None) -> bool:
        if client is not None and self._receipts:
            self.stats.acked += len(self._receipts.ack) + len(self._receipts.receive)
            client.acknowledge(self._receipts)
            self._receipts = Receipts()
        return True

    def _blocked(self, error: JournalError) -> None:
        delay = self._retry.next()
        self._retry_at = time.monotonic() + delay
        self.stats.journal_full = True
        if self._full_said.due(time.monotonic()):
            self._log.error(
                "journal_full" if isinstance(error, JournalFull) else "journal_failing",
                reason=str(error),
                in_hand=len(self._held),
                now="nothing is acknowledged, the broker keeps it; trying again",
            )

    def _recovered(self) -> None:
        self.stats.journal_full = False
        self._retry.reset()
        self._retry_at = 0.0
        self._short_lived = 0
        self._full_said.reset()
        self._log.info("journal_recovered", journalled=self.stats.journalled)

    def _link_up(self, client: StockClient) -> None:
        self._note(LINK, b"up")
        self._commit(client)
        self.stats.connected = True
        self._log.info(
            "broker_link_up",
            session="continued" if client.session_present else "new",
            subscriptions=self.settings.filters,
        )

    def _goodbye(self, client: StockClient) -> None:
        """Leave in good order: what is journalled is acknowledged, the session stays."""
        self._take(client)
        self._commit(client)
        client.leave()
        deadline = time.monotonic() + _GOODBYE_S
        while client.lost is None and time.monotonic() < deadline:
            client.keep_alive()


def run_worker(
    settings: MqttSettings,
    journal_path: Path,
    journal_settings: JournalSettings,
    stop: threading.Event,
    *,
    index: int = 0,
    now: Callable[[], int] = utc_us,
) -> None:
    """A worker with a journal of its own, until `stop`; JournalError when the journal cannot be opened."""
    journal = Journal(journal_path, journal_settings)
    try:
        IngestWorker(settings, journal, now=now, stop=stop, index=index).run()
    finally:
        journal.close()


def _last_received(journal: Journal) -> int:
    """When the newest delivery was received, UTC microseconds, 0 in an empty journal."""
    try:
        blocks = journal.read(max(journal.start(), journal.end() - 1), limit=1)
    except JournalCorrupt as error:
        log.warning("journal_tail_unreadable", reason=str(error), now="going on behind it, by our clock")
        return 0
    return max(blocks[-1].received_us) if blocks else 0
