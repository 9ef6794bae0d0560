"""One read of each source for all pages: cached, single-flight, never on the event loop's own thread.

From: the blocking ports. To: the pages and the live hub. Two hundred open pages cost the store the same as one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from dashboards.console.ports import AlertsReader, Health, ReadingsReader, RegistryView, Vitals
from dashboards.console.settings import ConsoleSettings
from dashboards.console.state import KindNow, Surveyor
from dashboards.errors import ConsoleError
from devices.errors import UndercityError
from devices.fleet import Fleet
from devices.spec import Kind
from ingest.timeseries.ports import Latest
from processors.alerts.alert import Alert
from processors.alerts.states import rank

log = structlog.get_logger(__name__)
T = TypeVar("T")

_PATIENCE_S = 3.0  # a page waits so long for a source, then says that it does not answer
_REST = 4  # a source that takes long is left alone for so many times as long
_STORE_READS = 2  # newest values read at a time, whatever is asked: more would only slow each other down


class Cached(Generic[T]):
    """The outcome, value or refusal, of one slow read, for everyone who asks within `ttl_s`."""

    def __init__(self, name: str, load: Callable[[], Awaitable[T]], ttl_s: float) -> None:
        self._name = name
        self._load = load
        self._ttl_s = ttl_s
        self._task: asyncio.Task[T] | None = None
        self._fresh_until = 0.0

    async def get(self, patience_s: float = _PATIENCE_S) -> T:
        """The value, at most `ttl_s` old; UndercityError when the source refuses or does not answer in time."""
        loop = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and loop.time() >= self._fresh_until):
            self._task = loop.create_task(self._read(), name=f"read {self._name}")
            # Whoever asked may be gone when the read fails: the refusal is kept, and nobody need look at it.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        task = self._task
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            raise ConsoleError(f"{self._name}: expected an answer within {patience_s:g} s, got none; asking on")
        return task.result()

    async def _read(self) -> T:
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            return await self._load()
        finally:
            took = loop.time() - start
            self._fresh_until = loop.time() + max(self._ttl_s, _REST * took)


@dataclass(frozen=True, slots=True)
class AlertsNow:
    """The active alerts, most severe first, at one change of the book; `devices`: device -> its worst rank, 1 to 3."""

    sequence: int
    active: tuple[Alert, ...]
    devices: Mapping[str, int]


class Feed:
    """All sources, read in worker threads of our own."""

    def __init__(
        self,
        readings: ReadingsReader,
        alerts: AlertsReader,
        registry: RegistryView,
        health: Health,
        settings: ConsoleSettings,
        now: Callable[[], int],
    ) -> None:
        self.readings = readings
        self.book = alerts
        self.registry = registry
        self.settings = settings
        self.now = now
        self.kinds = readings.kinds()
        self._threads = ThreadPoolExecutor(max_workers=6, thread_name_prefix="console-read")
        # Apart from the others: a store that is slow or hangs holds up no alert.
        self._store_threads = ThreadPoolExecutor(max_workers=_STORE_READS, thread_name_prefix="console-store")
        # Apart: a look back over days takes long, and no page waits for it. Two, since the port allows one at a
        # time: the second thread is free to say so at once.
        self._slow_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="console-slow")
        self._surveyor = Surveyor(settings.silent_periods)
        self._vitals = Cached("health", lambda: self.call(health.vitals), settings.heartbeat_s / 2)
        self._alerts = Cached("alerts", self._read_alerts, settings.alerts_every_s / 2)
        self.known_fleet = Fleet({})  # as last read; for looking up a name without waiting
        self._fleet = Cached("registry", self._read_fleet, settings.values_every_s)
        self._latest = {
            name: Cached("store", self._latest_of(kind), settings.values_every_s / 2)
            for name, kind in self.kinds.items()
        }

    async def call(self, read: Callable[..., T], *values: Any) -> T:
        """Run a blocking `read` in a worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, read, *values)

    async def call_slow(self, read: Callable[..., T], *values: Any) -> T:
        """Run a `read` that takes many seconds, beside everything else."""
        return await asyncio.get_running_loop().run_in_executor(self._slow_threads, read, *values)

    def close(self) -> None:
        """Start no further reads; those under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._store_threads.shutdown(wait=False, cancel_futures=True)
        self._slow_threads.shutdown(wait=False, cancel_futures=True)

    async def vitals(self) -> Vitals:
        """The pipeline's signs of life."""
        return await self._vitals.get(patience_s=self.settings.heartbeat_s)

    async def alerts(self) -> AlertsNow:
        """The active alerts."""
        return await self._alerts.get()

    async def fleet(self) -> Fleet:
        """All registered devices."""
        return await self._fleet.get()

    async def know_names(self) -> None:
        """Have `known_fleet` filled, if the registry can be read: alerts are shown with their sites."""
        with contextlib.suppress(UndercityError):
            await self.fleet()

    async def kind_now(self, kind: str) -> KindNow:
        """Every device of `kind` with its newest values and state."""
        fleet, latest = await self.fleet(), await self._latest[kind].get()
        try:
            alarming: Mapping[str, int] = (await self.alerts()).devices
        except UndercityError:
            alarming = {}  # the page says by itself that alerts cannot be read
        return self._surveyor.survey(fleet.kinds[kind], latest, alarming, self.now())

    async def _read_fleet(self) -> Fleet:
        self.known_fleet = await self.call(self.registry.fleet)
        return self.known_fleet

    async def _read_alerts(self) -> AlertsNow:
        await self.know_names()
        return await self.call(self._alerts_now)

    def _alerts_now(self) -> AlertsNow:
        # The sequence is read first: a change in between is then seen again, never missed.
        sequence = self.book.sequence()
        active = tuple(self.book.active(self.settings.counted_alerts))
        # The list is ordered by severity, so the last one written per device is its worst.
        return AlertsNow(sequence, active, {alert.device: rank(alert.severity) for alert in reversed(active)})

    def _latest_of(self, kind: Kind) -> Callable[[], Awaitable[Latest]]:
        async def read() -> Latest:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._store_threads, self.readings.latest, kind, self.now())

        return read

    async def staleness(self) -> tuple[list[str], Vitals | None]:
        """Codes of everything that makes the picture stale, none when it is live; and the signs of life."""
        codes, vitals = [], None
        try:
            vitals = await self.vitals()
        except UndercityError:
            codes.append("health")
        if vitals is not None:
            codes += self._ailments(vitals)
        try:
            await self.alerts()
        except UndercityError:
            codes.append("alerts")
        return codes, vitals

    def _ailments(self, vitals: Vitals) -> list[str]:
        codes = [] if vitals.link_up else ["link"]
        if vitals.last_event_us is None:
            codes.append("never")
        elif self.now() - vitals.last_event_us > self.settings.stale_after_s * 1e6:
            codes.append("pipeline")
        return codes
