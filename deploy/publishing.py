"""Drives any MQTT broker with a simulated city: paced by the city's time, QoS 1, bounded in flight.

From: `devices.simulator`. To: a broker, and a listener for devices with a connection of their own where one is named.
What counts is what they acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from deploy.errors import DeployError
from deploy.logger_pool import LoggerPool
from devices.simulator.city import City, Emission
from devices.simulator.wire import Channel

_SPAN_US: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    """Where to publish and how hard.

    `window`: messages in flight. `drain_s`: patience for acknowledgements that do not come.
    """

    host: str
    port: int = 1883
    username: str = ""
    password: str = ""
    tls_ca: Path | None = None
    client_id: str = "undercity-simulate"
    window: int = 1000
    drain_s: float = 20.0

    def __post_init__(self) -> None:
        if not self.host or not 1 <= self.port <= 65535:
            raise DeployError(f"broker {self.host}:{self.port}: expected HOST:PORT; nothing was published")
        if not 1 <= self.window <= 60_000:
            raise DeployError(f"window {self.window}: expected 1 to 60000 messages; nothing was published")

    def __repr__(self) -> str:
        return f"PublishSettings({self.host}:{self.port}, username={self.username!r}, window={self.window})"


@dataclass(slots=True)
class Published:
    """What became of a run: messages and readings handed over, messages acknowledged, seconds."""

    messages: int = 0
    readings: int = 0
    acknowledged: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """True when the broker acknowledged everything."""
        return self.acknowledged == self.messages


class Publisher:
    """One MQTT v5 session that speaks for a whole city; reconnects by itself, sending again what was not confirmed.

    `loggers`: connections for devices that use no broker; without them these publish like all others.
    """

    def __init__(self, settings: PublishSettings, loggers: LoggerPool | None = None) -> None:
        self._settings = settings
        self._loggers = loggers
        self._free = threading.BoundedSemaphore(settings.window)
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._refusal = ""
        self.result = Published()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id, protocol=mqtt.MQTTv5)
        client.max_inflight_messages_set(settings.window)
        client.on_publish, client.on_connect = self._acked, self._connected
        if settings.username:
            client.username_pw_set(settings.username, settings.password)
        if settings.tls_ca is not None:
            try:
                client.tls_set(ca_certs=str(settings.tls_ca))
            except OSError as error:
                raise DeployError(
                    f"certificate {settings.tls_ca}: {error.strerror or error}; nothing was published"
                ) from error
        self._client = client

    def open(self, timeout_s: float = 10.0) -> None:
        """Connect; DeployError when the broker does not answer or does not want us."""
        where = f"broker {self._settings.host}:{self._settings.port}"
        try:
            self._client.connect(self._settings.host, self._settings.port)
        except OSError as error:
            raise DeployError(f"{where}: {error}; nothing was published") from error
        self._client.loop_start()
        if not self._ready.wait(timeout_s) or self._refusal:
            self._client.loop_stop()
            raise DeployError(
                f"{where}: {self._refusal or f'no answer in {timeout_s:g} s'}; nothing was published"
            )

    def run(self, city: City, *, from_us: int, for_s: float | None, speed: float, stop: threading.Event) -> None:
        """Publish what falls due, `speed` city seconds per real one, for `for_s` real seconds or until `stop`."""
        started = time.monotonic()
        for emission in _emissions(city, from_us):
            due_s = (emission.due_us - from_us) / 1e6 / speed
            if for_s is not None and due_s > for_s:
                break
            if not _wait_until(started + due_s, stop):
                break
            if for_s is not None and time.monotonic() - started > for_s:
                break
            self._publish(emission)
        self.result.seconds = time.monotonic() - started

    def close(self) -> Published:
        """Wait for the last acknowledgements, disconnect, and say how it went."""
        deadline = time.monotonic() + self._settings.drain_s
        while not self.result.whole and time.monotonic() < deadline:
            time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_publish = self._client.on_connect = None  # its sockets close when nobody holds it
        if self._loggers is not None:
            self._loggers.close()
        return self.result

    def _publish(self, emission: Emission) -> None:
        if not self._free.acquire(timeout=self._settings.drain_s):
            raise DeployError(
                f"broker {self._settings.host}:{self._settings.port}: {self._settings.window} messages wait and none "
                f"was acknowledged in {self._settings.drain_s:g} s; {self.result.acknowledged} of "
                f"{self.result.messages} were, publishing stops"
            )
        self.result.messages += 1
        self.result.readings += emission.readings
        if emission.channel is Channel.TCP and self._loggers is not None:
            self._loggers.send(emission.address, emission.payload, self._confirmed)
        else:
            self._client.publish(emission.topic, emission.payload, qos=1)

    def _connected(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._refusal = f"refused us: {reason}" if reason.is_failure else ""
        self._ready.set()

    def _acked(self, _client: object, _data: object, _mid: int, reason: Any, _properties: object) -> None:
        with self._lock:
            if reason.is_failure:
                self.result.refused += 1  # as by an ACL: the broker has it and drops it
            else:
                self.result.acknowledged += 1
        self._free.release()

    def _confirmed(self) -> None:
        with self._lock:
            self.result.acknowledged += 1
        self._free.release()


def _emissions(city: City, begin: int) -> Iterator[Emission]:
    while True:
        yield from city.emissions(begin, begin + _SPAN_US)
        begin += _SPAN_US


def _wait_until(moment: float, stop: threading.Event) -> bool:
    """Wait for `moment` of the monotonic clock; False when `stop` came first."""
    while (wait := moment - time.monotonic()) > 0:
        if stop.wait(min(wait, 0.2)):
            return False
    return not stop.is_set()
