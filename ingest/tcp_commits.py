"""Packets of all connections into the journal, many with one commit; who waits for an answer gets it behind that.

From: `ingest.tcp_listener`, on its event loop. To: the journal, on a thread of its own, one append at a time.

    put ─▶ in hand ─▶ append ─▶ answers
                        │ no space
                        └▶ keep it in hand, answer nothing, try again; when hands are full, `full` says so
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from ingest.errors import JournalError, JournalFull
from ingest.journal import Delivery, Journal
from ingest.mqtt_pace import Backoff, Pacer, Seldom
from ingest.tcp_settings import TcpSettings

log = structlog.get_logger(__name__)

_RETRY_MIN_S: Final = 0.2
_RETRY_MAX_S: Final = 5.0
_SAY_AGAIN_S: Final = 30.0
_HOLD: Final = 4  # commits' worth of packets kept in hand while the journal takes nothing

Then = Callable[[], None]


class Commits:
    """Group commits. Belongs to the event loop that runs `run`; `on_commit` hears records and seconds of each."""

    def __init__(self, journal: Journal, settings: TcpSettings, on_commit: Callable[[int, float], None]) -> None:
        self.blocked = False
        self.last_s = 0.0  # monotonic, of the last commit
        self._journal = journal
        self._settings = settings
        self._on_commit = on_commit
        self._held: list[tuple[Delivery, Then | None]] = []
        self._held_bytes = 0
        self._more = asyncio.Event()
        self._ending = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._pacer = Pacer(settings.commit_max_delay_ms / 1000)
        self._retry = Backoff(_RETRY_MIN_S, _RETRY_MAX_S, random.random)
        self._full_said = Seldom(_SAY_AGAIN_S)

    @property
    def full(self) -> bool:
        """Whether nothing more should be put."""
        return (
            len(self._held) >= _HOLD * self._settings.commit_max_messages
            or self._held_bytes >= _HOLD * self._settings.commit_max_bytes
        )

    @property
    def idle(self) -> bool:
        """Whether everything put is committed."""
        return not self._held

    def put(self, delivery: Delivery, then: Then | None = None) -> None:
        """Commit `delivery` soon, and call `then` once it is on the disk."""
        self._held.append((delivery, then))
        self._held_bytes += len(delivery.payload)
        self._more.set()

    async def run(self) -> None:
        """Work until `close` and everything is committed, or until that failed once more."""
        try:
            while not self._ending or self._held:
                if not self._held:
                    self._more.clear()
                    await self._more.wait()
                    continue
                started = time.monotonic()
                count = await self._commit()
                if count:
                    await asyncio.sleep(0 if self._ending else self._pacer.pause_s(count, _since(started)))
                elif self._ending:
                    log.error("packets_not_journalled", packets=len(self._held), now="loggers send them again")
                    return
                else:
                    await asyncio.sleep(self._retry.next())
        finally:
            self._pool.shutdown()

    def close(self) -> None:
        """Let `run` end."""
        self._ending = True
        self._more.set()

    async def _commit(self) -> int:
        """Journal what is in hand, as much as one commit takes, and answer; how much that was, 0 for failure."""
        batch = self._batch()
        started = time.monotonic()
        try:
            deliveries = [delivery for delivery, _ in batch]
            await asyncio.get_running_loop().run_in_executor(self._pool, self._journal.append, deliveries)
        except JournalError as error:
            self._failed(error)
            return 0
        self.last_s = time.monotonic()
        del self._held[: len(batch)]
        self._held_bytes -= sum(len(delivery.payload) for delivery in deliveries)
        self._on_commit(len(batch), self.last_s - started)
        if self.blocked:
            self._recovered()
        for _, then in batch:
            if then is not None:
                _tell(then)
        return len(batch)

    def _batch(self) -> Sequence[tuple[Delivery, Then | None]]:
        held, most = self._held[: self._settings.commit_max_messages], self._settings.commit_max_bytes
        size = 0
        for count, (delivery, _) in enumerate(held):
            size += len(delivery.payload)
            if size > most:
                return held[: max(1, count)]
        return held

    def _failed(self, error: JournalError) -> None:
        self.blocked = True
        if self._full_said.due(time.monotonic()):
            log.error(
                "journal_full" if isinstance(error, JournalFull) else "journal_failing",
                reason=str(error),
                in_hand=len(self._held),
                now="nothing is acknowledged, loggers keep it; trying again",
            )

    def _recovered(self) -> None:
        self.blocked = False
        self._retry.reset()
        self._full_said.reset()
        log.info("journal_recovered")


def _tell(then: Then) -> None:
    try:
        then()
    except Exception:  # one packet's trouble is not that of all the others
        log.exception("answer_failed", now="the packet is journalled; the logger sends it again")


def _since(started: float) -> float:
    return time.monotonic() - started
