"""The Sparkplug host application: watches the edge nodes and asks for a rebirth where one is missing.

From: the broker, on a connection of its own beside the first ingest worker. To: edge nodes, as one command, and our own
state where a host id is set. Readings do not pass through here: they come by the journal like all others.

    connect, with our death as the will ─▶ subscribe ─▶ "online" ─▶ watch, ask ─▶ "offline", disconnect

Of all that Sparkplug could command, `Node Control/Rebirth` is the only one that this program has bytes for.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from devices.codecs.sparkplug.build import REBIRTH
from devices.codecs.sparkplug.payload import BOOLEAN, Metric, write, write_metric
from devices.codecs.sparkplug.topics import NAMESPACE, STATE
from ingest.errors import BrokerError
from ingest.mqtt_client import tls_context
from ingest.mqtt_pace import Backoff, Seldom
from ingest.mqtt_settings import MqttSettings
from ingest.sparkplug_nodes import Ask, EdgeNodes, HostStats
from ingest.sparkplug_settings import SparkplugSettings

log = structlog.get_logger(__name__)

_WAIT_S: Final = 0.2  # how long a stop may go unnoticed
_STEADY_S: Final = 5.0
_GOODBYE_S: Final = 2.0
_SAY_AGAIN_S: Final = 30.0
_REQUEST: Final = write_metric(Metric(0, REBIRTH, datatype=BOOLEAN, form="boolean", value=1))


class _State(msgspec.Struct):
    online: bool
    timestamp: int = 0


def rebirth_request(now_ms: int) -> bytes:
    """The one command: say your births again. `now_ms`: UTC milliseconds."""
    return write([_REQUEST], time_ms=now_ms, seq=None)


def state(*, online: bool, at_ms: int) -> bytes:
    """Our own state as edge nodes read it; `at_ms` is the same in the birth and in the will of one connection."""
    return msgspec.json.encode(_State(online, at_ms))


@contextmanager
def watching(
    settings: SparkplugSettings, mqtt: MqttSettings, *, now: Callable[[], int]
) -> Iterator[SparkplugHost]:
    """A host in a thread of its own, until the block ends."""
    stop = threading.Event()
    host = SparkplugHost(settings, mqtt, now=now, stop=stop)

    def run() -> None:
        try:
            host.run()
        except BrokerError as error:
            log.warning(
                "sparkplug_host_ended", reason=str(error), now="readings come on; nobody asks for rebirths"
            )

    thread = threading.Thread(target=run, name="sparkplug-host", daemon=True)
    thread.start()
    try:
        yield host
    finally:
        stop.set()
        thread.join(_WAIT_S * 5 + _GOODBYE_S)


class _Link(Client):
    """paho, whose sockets can be closed at once."""

    def close(self) -> None:
        if hasattr(self, "_reset_sockets"):
            self._reset_sockets()


class SparkplugHost:
    """One host application. Belongs to the thread that calls `run`; `stats` may be read from any.

    `mqtt`: the broker and our credentials there. `now`: UTC microseconds.
    """

    def __init__(
        self,
        settings: SparkplugSettings,
        mqtt: MqttSettings,
        *,
        now: Callable[[], int],
        stop: threading.Event,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._mqtt = mqtt
        self._now = now
        self._stop = stop
        self._nodes = EdgeNodes(settings, chance)
        self._backoff = Backoff(mqtt.reconnect_min_s, mqtt.reconnect_max_s, chance)
        self._state_topic = f"{NAMESPACE}/{STATE}/{settings.host_id}" if settings.host_id else ""
        self._since_ms = 0  # of this connection; names it in our state
        self._lost = ""  # why the connection ended
        self._asked_said = Seldom(_SAY_AGAIN_S)
        self._log = log.bind(broker=mqtt.broker, host_id=settings.host_id)

    @property
    def stats(self) -> HostStats:
        """What happened so far."""
        return self._nodes.stats

    def run(self) -> None:
        """Watch until `stop`; BrokerError when our own certificate files cannot be used."""
        while not self._stop.is_set():
            opened = time.monotonic()
            self._connection()
            if time.monotonic() - opened >= _STEADY_S:
                self._backoff.reset()
            if not self._stop.is_set():
                pause_s = self._backoff.next()
                self._log.warning("sparkplug_host_down", reason=self._lost, now=f"trying again in {pause_s:.1f} s")
                self._stop.wait(pause_s)

    def _connection(self) -> None:
        """One connection from first to last."""
        self._lost, self._since_ms = "", self._now() // 1000
        client = self._client()
        try:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0
            client.connect(
                self._mqtt.host,
                self._mqtt.port,
                self._mqtt.keepalive_s,
                clean_start=True,
                properties=properties,
            )
            while not (self._lost or self._stop.is_set()):
                self._note_end(client.loop(_WAIT_S))
            if not self._lost:
                self._goodbye(client)
        except BrokerError:
            raise
        except (OSError, ValueError) as error:
            self._lost = f"cannot reach it: {error}"
        finally:
            self.stats.connected = False
            client.close()

    def _client(self) -> _Link:
        client = _Link(
            CallbackAPIVersion.VERSION2,
            client_id=f"{self._mqtt.client_id}-sparkplug",
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._mqtt.connect_timeout_s
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._arrived
        if self._mqtt.username:
            client.username_pw_set(self._mqtt.username, self._mqtt.password or None)
        if self._mqtt.encrypted:
            client.tls_set_context(tls_context(self._mqtt))
        if self._state_topic:
            client.will_set(self._state_topic, state(online=False, at_ms=self._since_ms), qos=1, retain=True)
        return client

    def _note_end(self, code: MQTTErrorCode) -> None:
        if code and not self._lost:
            self._lost = f"connection lost ({MQTTErrorCode(code).name})"

    def _connected(
        self, client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._lost = f"expected to be let in, got: {reason}"
            return
        filters = dict.fromkeys((*self._settings.subscriptions, self._state_topic))
        if f"{NAMESPACE}/#" in filters:
            filters = {f"{NAMESPACE}/#": None}  # our own state is among them
        client.subscribe([(one, SubscribeOptions(qos=1)) for one in filters if one])

    def _subscribed(
        self, client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._lost = f"expected to be subscribed, got: {', '.join(refused)}; check the broker's access list"
            return
        self.stats.connected = True
        self._log.info("sparkplug_host_up", subscriptions=self._settings.subscriptions)
        self._say_online(client)

    def _arrived(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.stats.unread += 1
            return
        if topic == self._state_topic:
            self._answer_state(client, bytes(message.payload))
        elif not message.retain:  # births are never retained; what is, is somebody's mistake and old
            ask = self._nodes.heard(topic, bytes(message.payload), now_us=self._now(), at_s=time.monotonic())
            if ask is not None:
                self._request(client, ask)

    def _request(self, client: Client, ask: Ask) -> None:
        payload = rebirth_request(self._now() // 1000)
        client.publish(f"{NAMESPACE}/{ask.group}/NCMD/{ask.node}", payload, qos=0, retain=False)
        if self._asked_said.due(time.monotonic()):
            edge = f"{ask.group}/{ask.node}"
            self._log.info(
                "sparkplug_rebirth_asked", edge=edge, reason=ask.reason, asked_so_far=self.stats.rebirths
            )

    def _answer_state(self, client: Client, payload: bytes) -> None:
        """Contradict who says that we are gone: the late will of our last connection."""
        try:
            said = msgspec.json.decode(payload, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if not said.online:
            self._say_online(client)

    def _say_online(self, client: Client) -> None:
        if self._state_topic and not self._stop.is_set():
            client.publish(self._state_topic, state(online=True, at_ms=self._since_ms), qos=1, retain=True)

    def _goodbye(self, client: Client) -> None:
        """Leave in good order: our state says so, the will is not needed."""
        if self._state_topic:
            said = client.publish(
                self._state_topic, state(online=False, at_ms=self._now() // 1000), qos=1, retain=True
            )
            deadline = time.monotonic() + _GOODBYE_S
            while not said.is_published() and not self._lost and time.monotonic() < deadline:
                self._note_end(client.loop(_WAIT_S))
        client.disconnect()
        self._note_end(client.loop(_WAIT_S))
