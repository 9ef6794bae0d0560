"""Waits for a gateway's first valid reading on the broker: what alone shows that all of a provisioning is right.

From: the broker, with the settings and rights of our ingest, read by the same routes, codecs and quality tests. To:
the command that provisions. It listens beside ingest under a name of its own, takes nothing away from it and stores
nothing.
"""

from __future__ import annotations

import math
import queue
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from deploy.errors import DeployError
from deploy.gateways.modem import ClosingClient
from devices.codecs import Codec
from devices.fleet import Fleet
from devices.readings import Batch, Quality, Reason
from ingest.decode import Decoder, Refused
from ingest.journal import Block
from ingest.mqtt_client import tls_context
from ingest.mqtt_settings import MqttSettings
from ingest.quality import QualityGate
from ingest.rules import Rule

_SUBSCRIBED_S: Final = 10.0
_POLL_S: Final = 0.5
_NOTES_MAX: Final = 5
_RETAIN_NONE: Final = 2  # MQTT v5: what was retained before is not sent


class Message(NamedTuple):
    """One publication. `received_us`: UTC by our clock."""

    topic: str
    payload: bytes
    received_us: int


class First(NamedTuple):
    """The reading that was waited for: whose, when by the device's clock, what, and when it came."""

    device: str
    kind: str
    time_us: int
    received_us: int
    values: dict[str, float]


class Judge:
    """Says of each message whether it is a good reading of a child of `gateway`; as ingest would."""

    def __init__(self, gateway: str, fleet: Fleet, codecs: Mapping[str, Codec], rules: Sequence[Rule]) -> None:
        self.gateway = gateway
        self._decoder = Decoder(fleet, codecs, rules)

    def judge(self, message: Message) -> First | str:
        """The first good reading in `message`, or why there is none."""
        block = Block(0, [message.topic], [message.payload], [message.received_us])
        decoded = self._decoder.decode(block)
        why = [_refusal(one) for one in decoded.refused]
        for batch in decoded.batches:
            for row in range(len(batch)):
                found = self._row(batch.take(np.array([row], dtype=np.int64)))
                if isinstance(found, First):
                    return found
                why.append(found)
        return why[0] if why else f"{message.topic}: well-formed, and without a reading"

    def _row(self, row: Batch) -> First | str:
        fleet = row.fleet
        device, kind = fleet.ids[row.device[0]], fleet.kind
        if fleet.gateway_id[row.device[0]] != self.gateway:
            return f"{device}: not a child of {self.gateway}"
        QualityGate(fleet).judge(row)
        values: dict[str, float] = {}
        for column, quantity in enumerate(kind.quantities):
            value, quality = float(row.values[0, column]), row.quality[0, column]
            if quality == Quality.MISSING or math.isnan(value):
                continue
            if quality != Quality.GOOD:
                reasons = Reason(int(row.reasons[0, column]))
                names = ", ".join(one.name.lower().replace("_", " ") for one in reasons if one.name) or "flagged"
                said = f"{quantity.name} {value:g} {quantity.unit} is {Quality(quality).name.lower()}"
                return f"{device}: {said}: {names}"
            values[quantity.name] = value
        if not values:
            return f"{device}: a reading without a value"
        return First(device, kind.name, int(row.time_us[0]), int(row.received_us[0]), values)


class Listener:
    """A subscription of its own to what a gateway and its children may publish under."""

    def __init__(self, settings: MqttSettings, gateway: str, children: Sequence[str]) -> None:
        self._settings = settings
        self._filters = [f"city/+/+/{name}/up" for name in (gateway, *children)]
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._answer: queue.SimpleQueue[str] = queue.SimpleQueue()
        client = ClosingClient(
            CallbackAPIVersion.VERSION2,
            client_id=f"undercity-provision-{secrets.token_hex(4)}",
            protocol=mqtt.MQTTv5,
        )
        client.on_connect, client.on_subscribe, client.on_message = self._came, self._subscribed, self._arrived
        client.on_connect_fail = lambda _client, _data: self._answer.put("it cannot be reached")
        if settings.username:
            client.username_pw_set(settings.username, settings.password or None)
        if settings.encrypted:
            client.tls_set_context(tls_context(settings))
        self._client = client

    def __enter__(self) -> Self:
        where = f"broker {self._settings.broker}"
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        self._client.connect_timeout = self._settings.connect_timeout_s
        try:
            self._client.connect(self._settings.host, self._settings.port, clean_start=True, properties=properties)
        except OSError as error:
            raise DeployError(
                f"{where}: cannot listen for the first reading: {error}; nothing was sent to the gateway; "
                "--no-wait goes on without"
            ) from None
        self._client.loop_start()
        try:
            answer = self._answer.get(timeout=_SUBSCRIBED_S)
        except queue.Empty:
            answer = f"no answer in {_SUBSCRIBED_S:g} s"
        if answer:
            self.close()
            raise DeployError(
                f"{where}: cannot listen for the first reading: {answer}; nothing was sent to the gateway; look at "
                "mqtt.username and mqtt.password of these settings"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_connect = self._client.on_subscribe = self._client.on_message = None
        self._client.on_connect_fail = None

    def _came(self, client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._answer.put(f"it refused us: {reason}")
            return
        options = SubscribeOptions(qos=1, retainHandling=_RETAIN_NONE)
        client.subscribe([(one, options) for one in self._filters])

    def _subscribed(
        self, _client: object, _data: object, _mid: int, reasons: Sequence[Any], _properties: object
    ) -> None:
        refused = next((str(reason) for reason in reasons if reason.is_failure), "")
        self._answer.put(f"we may not read {self._filters[0]}: {refused}" if refused else "")

    def _arrived(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if not message.retain:
            self.messages.put(Message(message.topic, bytes(message.payload), time.time_ns() // 1000))


def wait_first(
    listener: Listener,
    judge: Judge,
    *,
    since_us: int,
    within_s: float,
    status: Callable[[], str],
    told: Callable[[str], None],
) -> First:
    """The first good reading that came after `since_us`; DeployError that says what was seen instead.

    `status`: what the gateway says of itself, asked now and then. `told`: gets each new reason, once.
    """
    deadline = time.monotonic() + within_s
    why: Counter[str] = Counter()
    while (left := deadline - time.monotonic()) > 0:
        try:
            message = listener.messages.get(timeout=min(left, _POLL_S))
        except queue.Empty:
            said = status()
            if said and said not in why:
                told(said)
                why[said] += 0
            continue
        if message.received_us < since_us:
            continue  # of the configuration before
        found = judge.judge(message)
        if isinstance(found, First):
            return found
        if found not in why:
            told(found)
        why[found] += 1
    raise DeployError(_nothing(judge.gateway, within_s, why, status()))


def _nothing(gateway: str, within_s: float, why: Counter[str], said: str) -> str:
    """What a person is told when no valid reading came."""
    came = sum(why.values())
    seen = "; ".join(f"{text}{f' ({count} times)' if count > 1 else ''}" for text, count in why.items() if count)
    begin = f"{gateway}: expected a valid reading of one of its devices within {within_s:g} s, "
    if came:
        shown = seen if len(why) <= _NOTES_MAX else "; ".join(seen.split("; ")[:_NOTES_MAX]) + "; …"
        return f"{begin}{came} messages came and none had one: {shown}; the gateway is configured and not done"
    own = f"; it says: {said}" if said else ""
    return (
        f"{begin}nothing came under city/+/+/{gateway}/up{own}; look at its sensors, its district and the broker's "
        "access list; the gateway is configured and not done"
    )


def _refusal(one: Refused) -> str:
    where = f" (stopped at byte {one.byte_offset} of {len(one.delivery.payload)})" if one.byte_offset >= 0 else ""
    return f"{one.reason}{where}"
