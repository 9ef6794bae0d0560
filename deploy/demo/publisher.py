"""Publishes a city's emissions when they are due, and remembers what the broker acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from deploy.clock import Clock
from deploy.errors import DeployError
from devices.codecs import load as load_codecs
from devices.simulator.city import City, Emission

_AHEAD_US = 60_000_000
_INFLIGHT = 2000


class CityPublisher:
    """One MQTT session that speaks for a whole city; QoS 1.

    `published`: (device, event time us) -> city time at which it was handed to the broker; acknowledged ones only.
    """

    def __init__(self, port: int, city: City, clock: Clock, from_us: int) -> None:
        self._city = city
        self._clock = clock
        self._from_us = from_us
        self._codec = load_codecs()["json"]
        self._waiting: dict[int, list[tuple[str, int, int]]] = {}
        self._early: set[int] = set()  # acknowledged before we could note what it was
        self._failed: Exception | None = None
        self._lock = threading.Lock()
        self.published: dict[tuple[str, int], int] = {}
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
        """Publish in the city's time until `until_s` real seconds have passed (None: for ever) or `stop`."""
        try:
            self._run(time.monotonic() + until_s if until_s is not None else None, stop)
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
        keys = [(sample.device, sample.time_us, now) for sample in self._codec.decode(emission.payload)]
        # Not under our lock: paho holds its own while it calls us back.
        info = self._client.publish(emission.topic, emission.payload, qos=1)
        with self._lock:
            self.messages += 1
            if info.mid in self._early:
                self._early.discard(info.mid)
                self._count(keys)
            else:
                self._waiting[info.mid] = keys

    def _acked(self, _client: object, _data: object, mid: int, _reason: Any, _properties: object) -> None:
        with self._lock:
            keys = self._waiting.pop(mid, None)
            if keys is None:
                self._early.add(mid)
            else:
                self._count(keys)

    def _count(self, keys: list[tuple[str, int, int]]) -> None:
        self.acknowledged += 1
        for device, time_us, at in keys:
            self.published.setdefault((device, time_us), at)

    def finish(self, timeout_s: float = 20.0) -> None:
        """Wait until the broker has acknowledged everything; DeployError when it does not."""
        if self._failed is not None:
            raise DeployError(f"demo: the city stopped reporting: {self._failed!r}") from self._failed
        deadline = time.monotonic() + timeout_s
        while self.acknowledged < self.messages:
            if time.monotonic() > deadline:
                missing = self.messages - self.acknowledged
                raise DeployError(
                    f"demo: the broker did not acknowledge {missing} messages within {timeout_s:g} s"
                )
            time.sleep(0.02)
        self._client.disconnect()
        self._client.loop_stop()
