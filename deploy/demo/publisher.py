"""Sends a city's emissions when they are due, and remembers what was acknowledged: by the broker or the listener."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from deploy.clock import Clock
from deploy.demo.score import Sent
from deploy.errors import DeployError
from deploy.logger_pool import LoggerPool
from devices.simulator.city import City, Emission, Told
from devices.simulator.wire import Channel

_AHEAD_US = 60_000_000
_INFLIGHT = 2000


class CityPublisher:
    """One MQTT session that speaks for a whole city, QoS 1; devices with a connection of their own use `loggers`.

    `published`: (device, event time us) -> city time at which it was handed over; acknowledged ones only. `clockless`:
    acknowledged readings of protocols that state no time.
    """

    def __init__(
        self, port: int, city: City, clock: Clock, from_us: int, loggers: LoggerPool | None = None
    ) -> None:
        self._city = city
        self._clock = clock
        self._from_us = from_us
        self._loggers = loggers
        self._waiting: dict[int, tuple[tuple[Told, ...], int]] = {}
        self._early: set[int] = set()  # acknowledged before we could note what it was
        self._failed: Exception | None = None
        self._lock = threading.Lock()
        self.published: dict[tuple[str, int], int] = {}
        self.clockless: list[Sent] = []
        self.messages = 0
        self.acknowledged = 0
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="undercity-demo-city", protocol=mqtt.MQTTv5
        )
        self._client.max_inflight_messages_set(_INFLIGHT)
        self._client.on_publish = self._acked
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def run(self, until_s: float | None, stop: threading.Event) -> None:
        """Publish in the city's time until its first `until_s` real seconds are over (None: for ever) or `stop`.

        They count from the city's beginning, as its faults are planned for.
        """
        try:
            ahead_s = max(0.0, self._clock.real_s(self._from_us) - time.time())
            self._run(time.monotonic() + ahead_s + until_s if until_s is not None else None, stop)
        except Exception as error:  # it ends a thread: whoever calls `finish` must hear of it  # noqa: BLE001
            self._failed = error

    def _run(self, deadline: float | None, stop: threading.Event) -> None:
        for emission in self._emissions():
            while (wait := self._clock.real_s(emission.due_us) - time.time()) > 0:
                if stop.wait(min(wait, 0.2)) or (deadline is not None and time.monotonic() > deadline):
                    return
            if stop.is_set() or (deadline is not None and time.monotonic() > deadline):
                return
            self._publish(emission)

    def _emissions(self) -> Iterator[Emission]:
        begin = self._from_us
        while True:
            yield from self._city.emissions(begin, begin + _AHEAD_US)
            begin += _AHEAD_US

    def _publish(self, emission: Emission) -> None:
        now = self._clock()
        if emission.channel is Channel.TCP and self._loggers is not None:
            with self._lock:
                self.messages += 1
            self._loggers.send(emission.address, emission.payload, lambda: self._confirmed(emission.told, now))
            return
        # Not under our lock: paho holds its own while it calls us back.
        info = self._client.publish(emission.topic, emission.payload, qos=1)
        with self._lock:
            self.messages += 1
            if info.mid in self._early:
                self._early.discard(info.mid)
                self._count(emission.told, now)
            else:
                self._waiting[info.mid] = (emission.told, now)

    def _acked(self, _client: object, _data: object, mid: int, _reason: Any, _properties: object) -> None:
        with self._lock:
            waiting = self._waiting.pop(mid, None)
            if waiting is None:
                self._early.add(mid)
            else:
                self._count(*waiting)

    def _confirmed(self, told: tuple[Told, ...], at_us: int) -> None:
        with self._lock:
            self._count(told, at_us)

    def _count(self, told: tuple[Told, ...], at_us: int) -> None:
        self.acknowledged += 1
        for one in told:
            if one.time_us is None:
                self.clockless.append(Sent(one.device, at_us, one.values))
            else:
                self.published.setdefault((one.device, one.time_us), at_us)

    def finish(self, timeout_s: float = 20.0) -> None:
        """Wait until everything is acknowledged; DeployError when it is not."""
        if self._failed is not None:
            raise DeployError(f"demo: the city stopped reporting: {self._failed!r}") from self._failed
        deadline = time.monotonic() + timeout_s
        while self.acknowledged < self.messages:
            if time.monotonic() > deadline:
                missing = self.messages - self.acknowledged
                raise DeployError(f"demo: {missing} messages were not acknowledged within {timeout_s:g} s")
            time.sleep(0.02)
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_publish = None  # its sockets close when nobody holds it
        if self._loggers is not None:
            self._loggers.close()
