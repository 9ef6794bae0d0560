"""Live updates: one poller for all open pages, one bounded queue per page.

From: the feed. To: server-sent events. Every connection begins with the whole present state of what its page
shows, so a page that was dropped or slept catches up by connecting again.

Events: `beat` (server time, the pipeline's last event, why the picture is stale), `alerts` (the list as HTML, what
is new, which changed; its id is the book's sequence), `counts` (per kind), `values` (cells of the rows shown).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from dashboards.console.feed import AlertsNow, Feed
from dashboards.console.settings import LANGUAGES
from dashboards.console.shown import number
from dashboards.console.state import STATES, KindNow
from devices.errors import UndercityError
from devices.spec import Kind
from processors.alerts.alert import Alert

log = structlog.get_logger(__name__)

_CHANGES_MAX = 500  # changed alerts named in one event; a page that lags further reloads what it shows


@dataclass(slots=True, eq=False)
class Client:
    """One open page: what it shows, what it already has, what waits for it.

    `wants_list`: it shows the list of active alerts. `kind` and `devices`: the rows it shows.
    `dropped` is set when it lags so far behind that only connecting again helps, or when we stop.
    """

    language: str
    wants_list: bool
    kind: str
    devices: tuple[str, ...]
    sequence: int
    queue: asyncio.Queue[bytes]
    sent: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    dropped: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """The poller and its clients; everything here happens on the event loop's thread."""

    def __init__(self, feed: Feed, render_alerts: Callable[[AlertsNow, str], str], announce: Announcer) -> None:
        self._feed = feed
        self._render_alerts = render_alerts
        self._announce = announce
        self._clients: set[Client] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._sequence: int | None = None
        self._active: frozenset[str] = frozenset()
        self._counts: bytes = b""
        self._values_fail = False
        self.dropped = 0

    def start(self) -> None:
        """Begin polling."""
        settings = self._feed.settings
        paces = (
            (self._beat, settings.heartbeat_s),
            (self._poll_alerts, settings.alerts_every_s),
            (self._poll_values, settings.values_every_s),
        )
        self._tasks = [
            asyncio.create_task(self._every(pace, work), name=f"console {work.__name__}") for work, pace in paces
        ]

    def close(self) -> None:
        """End every connection and stop polling; pages connect again when we are back."""
        for task in self._tasks:
            task.cancel()
        for client in list(self._clients):
            client.dropped.set()

    def __len__(self) -> int:
        return len(self._clients)

    async def join(self, client: Client) -> None:
        """Begin to serve `client`, with the whole present state first."""
        client.queue.put_nowait(b"retry: 2000\n\n")
        client.queue.put_nowait(await self._beat_event())
        try:
            alerts = await self._feed.alerts()
            if not self._clients:
                # Nobody looked for a while: what rose meanwhile is on the page already and is not news.
                self._remember(alerts)
            if alerts.sequence != client.sequence:
                self._put(client, self._alerts_event(client, alerts, (), ()))
        except UndercityError as error:
            log.debug("console_alerts_unreadable", reason=str(error))
        if self._counts:
            self._put(client, self._counts)
        self._clients.add(client)

    def leave(self, client: Client) -> None:
        """Forget `client`."""
        self._clients.discard(client)

    async def _every(self, pace_s: float, work: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(pace_s)
            if not self._clients:
                continue
            try:
                await work()
            except UndercityError as error:
                log.warning("console_source_unavailable", part=work.__name__, reason=str(error))
            except Exception:
                # The poller outlives any fault of a source; the beat tells every page what is wrong.
                log.exception("console_poller_fault", part=work.__name__)

    async def _beat(self) -> None:
        event = await self._beat_event()
        for client in list(self._clients):
            self._put(client, event)

    async def _beat_event(self) -> bytes:
        codes, vitals = await self._feed.staleness()
        if self._values_fail:
            codes.append("values")
        last = vitals.last_event_us if vitals else None
        return event(
            "beat",
            {
                "now": self._feed.now() // 1000,
                "last": last // 1000 if last else None,
                "stale": codes,
                "lag": vitals.journal_lag if vitals else 0,
                "store": vitals.store_lag if vitals else 0,
            },
        )

    async def _poll_alerts(self) -> None:
        alerts = await self._feed.alerts()
        known, before = self._sequence, self._active
        self._remember(alerts)
        if known is None or alerts.sequence == known:
            return
        changed = await self._feed.call(self._feed.book.changes_since, min(known, alerts.sequence), _CHANGES_MAX)
        new = [alert for alert in alerts.active if alert.id not in before]
        bodies: dict[tuple[str, bool], bytes] = {}
        for client in list(self._clients):
            look = (client.language, client.wants_list)
            if look not in bodies:
                bodies[look] = self._alerts_event(client, alerts, changed, new)
            self._put(client, bodies[look])

    def _remember(self, alerts: AlertsNow) -> None:
        self._sequence = alerts.sequence
        self._active = frozenset(alert.id for alert in alerts.active)

    def _alerts_event(
        self, client: Client, alerts: AlertsNow, changed: Iterable[Alert], new: Iterable[Alert]
    ) -> bytes:
        body = {
            "count": len(alerts.active),
            "changed": [[alert.id, alert.device] for alert in changed],
            "new": [self._announce(alert, client.language) for alert in list(new)[:3]],
        }
        if client.wants_list:
            body["html"] = self._render_alerts(alerts, client.language)
        return event("alerts", body, alerts.sequence)

    async def _poll_values(self) -> None:
        watched = {client.kind for client in self._clients} - {""}
        all_kinds = any(client.wants_list for client in self._clients)
        nows: dict[str, KindNow] = {}
        self._values_fail = False
        for name in self._feed.kinds if all_kinds else watched:
            try:
                nows[name] = await self._feed.kind_now(name)
            except UndercityError:
                self._values_fail = True
                raise
        if all_kinds:
            self._send_counts(nows)
        for client in list(self._clients):
            if client.kind in nows and (rows := changed_rows(client, nows[client.kind])):
                self._put(client, event("values", rows))

    def _send_counts(self, nows: Mapping[str, KindNow]) -> None:
        counts = event("counts", {name: now.counts() for name, now in nows.items()})
        if counts == self._counts:
            return
        self._counts = counts
        for client in list(self._clients):
            if client.wants_list:
                self._put(client, counts)

    def _put(self, client: Client, body: bytes) -> None:
        try:
            client.queue.put_nowait(body)
        except asyncio.QueueFull:
            self.dropped += 1
            self._clients.discard(client)
            client.dropped.set()


Announcer = Callable[[Alert, str], str]


def new_client(
    feed: Feed, *, language: str, wants_list: bool, kind: str, devices: tuple[str, ...], sequence: int
) -> Client:
    """A client with an empty queue; `sequence` is the alert list its page already shows, -1 for none."""
    if language not in LANGUAGES:
        raise ValueError(language)
    queue: asyncio.Queue[bytes] = asyncio.Queue(feed.settings.queue_events)
    return Client(language, wants_list, kind, devices, sequence, queue)


def event(name: str, body: object, sequence: int | None = None) -> bytes:
    """One server-sent event; JSON never contains a line break, so one data line carries it."""
    head = f"id: {sequence}\n".encode() if sequence is not None else b""
    return head + f"event: {name}\ndata: ".encode() + msgspec.json.encode(body) + b"\n\n"


def changed_rows(client: Client, now: KindNow) -> dict[str, dict[str, Any]]:
    """The client's rows whose newest time or state differ from what it was sent, by device."""
    rows = {}
    for device in client.devices:
        at = now.index.get(device)
        if at is None:
            continue
        seen = (int(now.newest_us[at]), int(now.state[at]), int(now.rank[at]))
        if client.sent.get(device) != seen:
            client.sent[device] = seen
            rows[device] = row_json(now, at)
    return rows


def row_json(now: KindNow, at: int) -> dict[str, Any]:
    """One device's row: state, worst priority, newest time in ms (0 for never), [text, quality, ms] per quantity."""
    return {
        "state": STATES[now.state[at]],
        "rank": int(now.rank[at]),
        "at": int(now.newest_us[at]) // 1000,
        "cells": cells(now, at),
    }


def cells(now: KindNow, at: int) -> dict[str, tuple[str, int, int]]:
    """Text, quality and time in ms of every quantity of one device; times 0 where it never had a value."""
    kind: Kind = now.fleet.kind
    place = int(now.place[at])
    latest = now.latest
    if place < 0 or latest.values is None or latest.time_us is None or latest.quality is None:
        return {quantity.name: (number(None, 0), 4, 0) for quantity in kind.quantities}
    values, times, quality = latest.values[place], latest.time_us[place], latest.quality[place]
    return {
        quantity.name: (number(float(values[c]), quantity.decimals), int(quality[c]), int(times[c]) // 1000)
        for c, quantity in enumerate(kind.quantities)
    }
