"""The doctor's look at the broker: whether it lets us in, and whether it keeps what it acknowledged.

From: the broker the settings name. To: `deploy.doctor`. A queue that is too short loses acknowledged messages and
no broker tells its length, so a few hundred tiny messages find out: sent to a session of our own that is away.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.doctor.lines import Line, fail, ok, warn
from deploy.settings import Settings
from devices.errors import UndercityError
from ingest.mqtt_client import tls_context
from ingest.mqtt_settings import MqttSettings

_WAIT_S = 5.0
_PROBES = 1200  # mosquitto keeps 1000 queued messages for a session that is away unless told otherwise
_TOPIC = "undercity/doctor/"
_BROKER_ADVICE = "any that speaks MQTT v5; for Mosquitto there are settings in deploy/mosquitto"
_QUEUE_ADVICE = "set max_queued_messages 0 and a max_queued_bytes, as deploy/mosquitto does"


class BrokerSays(UndercityError):  # noqa: N818  what the broker said, as an answer to a question
    """Raised when the broker did not do what was asked, with its reason."""


class Probe:
    """One short connection; `got` counts the messages that came in, `gone` and `reason` tell of its end."""

    def __init__(self, settings: MqttSettings, client_id: str, *, clean: bool, keep_s: int = 0) -> None:
        self.got = 0
        self.answered = threading.Event()
        self.subscribed = threading.Event()
        self.reason = ""
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._subscribed
        self.client.on_message = self._message
        self.client.on_publish = self._published
        self.client.max_inflight_messages_set(200)
        if settings.username:
            self.client.username_pw_set(settings.username, settings.password or None)
        if settings.encrypted:
            self.client.tls_set_context(tls_context(settings))
        self.client.connect_timeout = _WAIT_S
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = keep_s
        self.client.connect(settings.host, settings.port, 30, clean_start=clean, properties=properties)

    def _connected(self, _client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self.reason = "" if not reason.is_failure else str(reason)
        self.answered.set()

    def _subscribed(
        self, _client: Client, _data: object, _mid: int, reasons: list[Any], _properties: object
    ) -> None:
        self.reason = next((str(reason) for reason in reasons if reason.is_failure), "")
        self.subscribed.set()

    def _message(self, _client: Client, _data: object, _message: object) -> None:
        self.got += 1

    def _published(self, _client: Client, _data: object, _mid: int, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self.reason = str(reason)

    def subscribe(self, topic: str) -> None:
        """Subscribe; BrokerSays when refused."""
        self.client.subscribe(topic, qos=1)
        if not self.subscribed.wait(_WAIT_S) or self.reason:
            raise BrokerSays(f"subscribing to {topic}: {self.reason or 'no answer'}")


@contextmanager
def connected(settings: MqttSettings, client_id: str, *, clean: bool = True, keep_s: int = 0) -> Iterator[Probe]:
    """A connection for the length of the block; OSError or BrokerSays when there is none to be had."""
    probe = Probe(settings, client_id, clean=clean, keep_s=keep_s)
    probe.client.loop_start()
    try:
        if not probe.answered.wait(_WAIT_S):
            raise BrokerSays("no answer: it may not speak MQTT v5")
        if probe.reason:
            raise BrokerSays(probe.reason)
        yield probe
    finally:
        probe.client.disconnect()
        probe.client.loop_stop()


def check_broker(settings: Settings) -> Iterator[Line]:
    """Reachable, lets us in, speaks v5, and keeps a queue for who is away."""
    if not settings.mqtt.enabled:
        yield ok("broker", "none: mqtt.enabled is false")
        return
    mqtt, me = settings.mqtt, f"undercity-doctor-{uuid.uuid4().hex[:8]}"
    try:
        with connected(mqtt, me):
            yield ok("broker", f"{mqtt.broker} lets us in with MQTT v5" + (", over TLS" if mqtt.encrypted else ""))
    except BrokerSays as error:
        yield fail("broker", f"{mqtt.broker} refused us: {error}", "check mqtt.username, its password and the ACL")
        return
    except OSError as error:
        say = f"{mqtt.broker} cannot be reached: {error.strerror or error}"
        yield fail(
            "broker", say, f"start the broker ({_BROKER_ADVICE}), or mend mqtt.host, mqtt.port and mqtt.tls_ca"
        )
        return
    if not mqtt.encrypted and mqtt.host not in {"127.0.0.1", "localhost", "::1"}:
        yield warn("broker", "the link is not encrypted", "set mqtt.tls_ca")
    yield _queue_line(mqtt, me)


def _queue_line(mqtt: MqttSettings, me: str) -> Line:
    try:
        kept = queue_kept(mqtt, me)
    except (BrokerSays, OSError) as error:
        say = f"how many messages it keeps for us while we are away cannot be tried out ({error})"
        return warn("broker queue", say, f"make sure of it: {_QUEUE_ADVICE}")
    if kept >= _PROBES:
        return ok("broker queue", f"keeps more than {_PROBES} messages for a session that is away")
    say = f"lost {_PROBES - kept} of {_PROBES} acknowledged messages for a session that is away"
    return fail("broker queue", say, _QUEUE_ADVICE)


def queue_kept(mqtt: MqttSettings, me: str) -> int:
    """How many of `_PROBES` messages the broker keeps for a session that is away; it leaves nothing behind."""
    topic, absent = _TOPIC + me, me + "-away"
    try:
        with connected(mqtt, absent, keep_s=60) as probe:
            probe.subscribe(topic)
        with connected(mqtt, me) as sender:
            _publish(sender, topic)
        with connected(mqtt, absent, clean=False, keep_s=60) as probe:
            return _count(probe)
    finally:
        with suppress(BrokerSays, OSError), connected(mqtt, absent):
            pass  # A clean start ends the session.


def _publish(probe: Probe, topic: str) -> None:
    sent = [probe.client.publish(topic, b"?", qos=1) for _ in range(_PROBES)]
    if any(one.rc != MQTTErrorCode.MQTT_ERR_SUCCESS for one in sent):
        raise BrokerSays("the connection broke while sending")
    deadline = time.monotonic() + 2 * _WAIT_S
    while not all(one.is_published() for one in sent):
        if time.monotonic() > deadline:
            raise BrokerSays("it did not acknowledge all messages")
        time.sleep(0.01)
    if probe.reason:
        raise BrokerSays(f"publishing to {topic}: {probe.reason}")


def _count(probe: Probe) -> int:
    """Messages until all have come, or none for a second."""
    last, since = 0, time.monotonic()
    while probe.got < _PROBES and time.monotonic() - since < 1.0:
        time.sleep(0.02)
        if probe.got != last:
            last, since = probe.got, time.monotonic()
    return probe.got
