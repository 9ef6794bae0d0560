"""The sender: takes messages out of the outbox and delivers them through apprise.

From: the outbox. To: chats, mail and webhooks.

A message is delivered **at least once**. It is claimed under a lease (one committed write), sent, and marked as sent
(another). If the sender dies between the first and the last, nobody can know whether the other side took it;
after the lease it is sent again, since a repeated alarm is a nuisance and a lost one a danger. Nothing else
repeats a message: two senders never hold the same one, and a lease outlasts an attempt. The alert's id is in every
message, so that a reader can tell a repetition.

Each address has a lane of its own, so that a dead one does not hold up the others; after a failure the whole address
rests, longer every time, since a hundred waiting messages would all fail alike.

URLs hold secrets. They stay in memory: rows and logs name the address, and of an error only what is known to be
harmless is kept.
"""

from __future__ import annotations

import logging
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Protocol, Self
from zoneinfo import ZoneInfo

import apprise
import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from devices.database import connect
from devices.kinds import load as load_kinds
from devices.spec import Kind
from processors.errors import NotifyError
from processors.findings import Finding
from processors.notify.messages import Composed, compose, compose_short
from processors.notify.outbox import Message, Outbox
from processors.notify.settings import Address, NotifySettings, Where, nowhere

log = structlog.get_logger(__name__)
_LANE_MESSAGES: Final = 50  # at once, before a lane looks up whether it should stop
_LANES_MAX: Final = 16
_SWEEP_EVERY_S: Final = 60.0
_STATUS: Final = re.compile(r"error=(\d{3})\b")
_LINE: Final = msgspec.json.Decoder(Finding)
_chance = random.SystemRandom().random


class Channel(Protocol):
    """One address, open."""

    def send(self, message: Composed, *, clear: bool) -> str | None:
        """Deliver `message`; None when the other side took it, otherwise why not, without secrets."""
        ...


class AppriseChannel:
    """An address behind apprise. NotifyError when its URL cannot be read or means nothing to apprise."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._apprise = apprise.Apprise()
        # The object is kept: it is what keeps to the service's own limit of messages a minute.
        if not self._apprise.add(_url(address)):
            raise NotifyError(
                f"notify.addresses {address.name}: expected a URL that apprise understands; nothing is sent there"
            )

    def send(self, message: Composed, *, clear: bool) -> str | None:
        """Deliver `message`, within the time allowed."""
        result = self._apprise.notify(
            body=message.body,
            title=message.title,
            notify_type=apprise.NotifyType.SUCCESS if clear else apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=self._timeout_s,
            log_callback=lambda _entry, _plugin: None,
        )
        return None if result else _reason(result)


def _url(address: Address) -> str:
    if address.url_file is None:
        return address.url
    try:
        return address.url_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise NotifyError(
            f"notify.addresses {address.name}: expected its URL in {address.url_file}: {why}; nothing is sent there"
        ) from None


def _reason(result: apprise.AppriseResult) -> str:
    """Why it failed, out of what is known to be free of secrets: apprise's own texts may hold a token."""
    texts = []
    for service in result:
        for attempt in service:
            if attempt.status.name == "TIMEOUT":
                return "no answer in time"
            texts += [entry.message for entry in attempt.logs]
    for text in texts:
        if found := _STATUS.search(text):
            return f"refused with status {found[1]}"
    if any("onnection error" in text or "Socket" in text for text in texts):
        return "could not be reached"
    return "not accepted"


@dataclass(slots=True)
class _Lane:
    """One address at work. `rest_until_us`: not before; `failures` in a row."""

    address: Address
    channel: Channel | None
    failures: int = 0
    rest_until_us: int = 0
    work: Future[int] | None = None


class Sender:
    """Empties the outbox. One in each process that sends; several processes may."""

    def __init__(
        self,
        engine: Engine,
        settings: NotifySettings,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        *,
        where: Where = nowhere,
        kinds: Mapping[str, Kind] | None = None,
        channel: Callable[[Address, float], Channel] = AppriseChannel,
        chance: Callable[[], float] = _chance,
    ) -> None:
        _hush()
        self._settings = settings
        self._now = now
        self._where = where
        self._kinds = load_kinds() if kinds is None else kinds
        self._chance = chance
        self._zone = ZoneInfo(settings.zone)
        self._outbox = Outbox(engine, settings)
        self._owner = f"{socket.gethostname()[:32]}:{os.getpid()}:{id(self):x}"[:64]
        self._stopping = threading.Event()
        self._swept = -_SWEEP_EVERY_S
        self._lanes = [_Lane(address, self._open(address, channel)) for address in settings.addresses]
        self._pool = ThreadPoolExecutor(min(_LANES_MAX, len(self._lanes) or 1), "notify")

    def _open(self, address: Address, channel: Callable[[Address, float], Channel]) -> Channel | None:
        try:
            return channel(address, self._settings.timeout_s)
        except NotifyError as error:
            # The other addresses must not suffer for this one; its messages wait, and show why.
            log.warning("notify_address_unusable", address=address.name, reason=str(error))
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the messages under way and stop."""
        self._stopping.set()
        self._pool.shutdown(wait=True)

    def run_once(self, patience_s: float = 5.0) -> int:
        """Let every address send what is due; how many messages were delivered.

        Returns when all are done, or after `patience_s` of real time with slow ones still under way: the next call
        counts what they delivered. A database that cannot be reached is logged, and tried again by the next call.
        """
        sent = self._collect()
        try:
            self._sweep()
        except SQLAlchemyError as error:
            log.warning("outbox_unreachable", reason=type(error).__name__, now="tried again")
            return sent
        now_us = self._now()
        for lane in self._lanes:
            if lane.work is None and lane.rest_until_us <= now_us:
                lane.work = self._pool.submit(self._run, lane)
        wait([lane.work for lane in self._lanes if lane.work], timeout=patience_s)
        return sent + self._collect()

    def _collect(self) -> int:
        sent = 0
        for lane in self._lanes:
            if lane.work is None or not lane.work.done():
                continue
            work, lane.work = lane.work, None
            try:
                sent += work.result()
            except SQLAlchemyError as error:
                log.warning("outbox_unreachable", reason=type(error).__name__, now="tried again")
        return sent

    def _sweep(self) -> None:
        if time.monotonic() - self._swept < _SWEEP_EVERY_S:
            return
        self._swept = time.monotonic()
        for key in self._outbox.sweep(self._now()):
            log.error("notify_failed", alert=key.alert, transition=key.transition, address=key.address)

    def _run(self, lane: _Lane) -> int:
        """Send what is due at one address until it fails, or nothing is left."""
        sent = 0
        for _ in range(_LANE_MESSAGES):
            if self._stopping.is_set():
                break
            message = self._outbox.claim(lane.address.name, self._owner, self._now())
            if message is None:
                break
            error = self._send(lane, message)
            if error is not None:
                self._failed(lane, message, error)
                break
            self._outbox.delivered(message.key, self._now())
            lane.failures = 0
            sent += 1
            log.info(
                "notify_sent",
                alert=message.key.alert,
                transition=message.key.transition,
                address=lane.address.name,
            )
        return sent

    def _send(self, lane: _Lane, message: Message) -> str | None:
        if lane.channel is None:
            return "the address cannot be used as it is set"
        try:
            finding = _LINE.decode(message.finding)
            return lane.channel.send(self._words(lane.address, finding), clear=finding.phase == "clear")
        except Exception as error:  # noqa: BLE001  a plugin may raise anything, and its text may hold the URL
            return f"sending raised {type(error).__name__}"

    def _words(self, address: Address, finding: Finding) -> Composed:
        words = compose_short if address.short else compose
        place = self._where(finding.device)
        return words(finding, language=address.language, place=place, kinds=self._kinds, zone=self._zone)

    def _failed(self, lane: _Lane, message: Message, error: str) -> None:
        lane.failures += 1
        now_us = self._now()
        lane.rest_until_us = now_us + self._pause_us(lane.failures)
        shown = {"alert": message.key.alert, "address": lane.address.name, "attempts": message.attempts}
        if message.attempts >= self._settings.max_attempts:
            self._outbox.give_up(message.key, self._owner, error)
            log.error("notify_failed", **shown, reason=error, now="given up; it stays in the outbox as failed")
            return
        next_us = now_us + self._pause_us(message.attempts)
        self._outbox.postpone(message.key, self._owner, error, next_us)
        log.warning("notify_postponed", **shown, reason=error, again_in_s=round((next_us - now_us) / 1e6, 1))

    def _pause_us(self, failures: int) -> int:
        """Doubles with each failure up to the longest; by chance half to all of it, so that senders spread out."""
        pause = min(self._settings.retry_s * 2 ** min(failures - 1, 30), self._settings.retry_max_s)
        return int(pause * (0.5 + self._chance() / 2) * 1e6)


def _hush() -> None:
    """Keep libraries that log URLs out of our logs: a chat's URL is its password."""
    logging.getLogger("apprise").propagate = False
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def run_sender(
    settings: NotifySettings, database_url: str, stop: threading.Event, *, pause_s: float = 0.5
) -> None:
    """Send until `stop`; the process's entry."""
    engine = connect(database_url)
    try:
        with Sender(engine, settings) as sender:
            while not stop.is_set():
                sender.run_once()
                stop.wait(pause_s)
    finally:
        engine.dispose()
