"""Ends the sessions of ingest workers that are no more.

The broker goes on handing a share group's messages to every member it knows, present or not. When a city goes from
four workers to two, half of its readings would wait for nobody until they expire. So whoever starts the workers
first retires the surplus: their subscriptions end, what waits for them is journalled, then the broker forgets them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any, Final

import structlog

from ingest.errors import BrokerError
from ingest.journal import Delivery, Journal
from ingest.mqtt_client import BulkClient
from ingest.mqtt_settings import MqttSettings
from ingest.packets import Inbox

log = structlog.get_logger(__name__)

_QUIET_S: Final = 0.5  # a broker that has sent nothing for so long has nothing left
_PATIENCE_S: Final = 10.0
_WORKERS_MAX: Final = 64


def retire_surplus(settings: MqttSettings, journal: Journal, first: int, *, now: Callable[[], int]) -> int:
    """End the sessions of workers `first`, `first` + 1 and so on, as long as the broker knows them; how many.

    What waited for them is in `journal` before it is acknowledged. BrokerError when the broker cannot be reached or
    does not answer, JournalError when the journal takes nothing: nothing is lost then, and it can be repeated.
    """
    for index in range(first, _WORKERS_MAX):
        moved = _retire(settings, journal, f"{settings.client_id}-{index}", now)
        if moved is None:
            return index - first
        log.info("worker_retired", client_id=f"{settings.client_id}-{index}", journalled=moved)
    return _WORKERS_MAX - first


def _retire(settings: MqttSettings, journal: Journal, client_id: str, now: Callable[[], int]) -> int | None:
    """Empty and end one session; how many deliveries it held, None when there was no such session."""
    client = _Leaver(settings, client_id)
    try:
        client.open()
        _until_ready(client)
        moved = _empty(client, journal, now) if client.session_present else None
        client.leave(for_good=True)
        deadline = time.monotonic() + _PATIENCE_S
        while client.lost is None and time.monotonic() < deadline:
            client.keep_alive()
    except OSError as error:
        raise BrokerError(f"broker {settings.broker}: cannot reach it: {error}; no worker was retired") from error
    finally:
        client.close()
    return moved


def _until_ready(client: BulkClient) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not client.ready:
        client.poll(0.1)
        if client.lost is not None or time.monotonic() > deadline:
            reason = client.lost or f"no answer in {_PATIENCE_S:.0f} s"
            raise BrokerError(f"broker {client.settings.broker}: {reason}; the worker was not retired")


def _empty(client: BulkClient, journal: Journal, now: Callable[[], int]) -> int:
    moved, quiet_since = 0, time.monotonic()
    while client.lost is None and time.monotonic() - quiet_since < _QUIET_S:
        client.poll(0.1)
        inbox, client.inbox = client.inbox, Inbox()
        if not inbox and not inbox.receipts:
            continue
        # Each its own time, as a worker gives them.
        journal.append(list(map(Delivery, inbox.topics, inbox.payloads, count(now()))))
        client.acknowledge(inbox.receipts)
        moved, quiet_since = moved + len(inbox), time.monotonic()
    if client.lost is not None:
        raise BrokerError(f"broker {client.settings.broker}: {client.lost}; the worker was not retired")
    return moved


class _Leaver(BulkClient):
    """Goes on with a session only to unsubscribe; `ready` once that is done."""

    def __init__(self, settings: MqttSettings, client_id: str) -> None:
        # A payload that is too large for a worker is stored whole here: there is no second chance to look at it.
        super().__init__(replace(settings, max_payload_bytes=settings.max_packet_bytes - 1024), client_id)
        self.on_unsubscribe = self._unsubscribed

    def _subscribe(self) -> None:
        self.unsubscribe([*self.settings.filters])

    def _unsubscribed(self, *_: Any) -> None:
        self.ready = True
