"""How we talk to the broker, checked without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from ingest.errors import BrokerError
from ingest.topics import shared, subscriptions

_PACKET_ROOM: Final = 1024  # header, topic and properties around a payload
_NEVER: Final = 0xFFFF_FFFF  # MQTT v5: a session that does not expire


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """The broker link of the ingest workers.

    `enabled`: false in a city that has HJ 212 loggers only, without a broker. `host`, `port`: the broker.
    `client_id`: the name of our session there; worker n adds `-n`. `username`, `password`: credentials, empty for
    none. `tls`: encrypt, with the system's certificate authorities unless `tls_ca` names a file; `tls_cert` and
    `tls_key`: our own certificate, where the broker asks for one. `connect_timeout_s`: patience with an attempt to
    connect. `keepalive_s`: a dead link is noticed within about twice as long. `session_expiry_s`: how long the
    broker keeps our messages while we are away; 4294967295 for ever. `receive_maximum`: messages the broker may
    send ahead of our acknowledgement. `max_payload_bytes`: a larger payload is recorded by its size and first
    bytes, and acknowledged. `max_packet_bytes`: the broker keeps back anything larger. `share_group`: workers of
    one group share the load. `subscriptions`: topic filters, besides those of `topics`. `commit_max_delay_ms`: how
    long messages may gather for one commit when many come. `commit_max_messages`, `commit_max_bytes`: size of one
    commit. `reconnect_min_s`, `reconnect_max_s`: pause before the first and between the last attempts. `tick_s`:
    after so long without a message the passing of time is journalled. `bulk`: parse whole reads; false for paho's
    own packet handling.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = "undercity-ingest"
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    connect_timeout_s: float = 5.0
    keepalive_s: int = 15
    session_expiry_s: int = 30 * 86_400
    receive_maximum: int = 5_000
    max_payload_bytes: int = 262_144
    max_packet_bytes: int = 1_048_576
    share_group: str = ""
    subscriptions: tuple[str, ...] = subscriptions("up")
    commit_max_delay_ms: float = 10.0
    commit_max_messages: int = 10_000
    commit_max_bytes: int = 4_194_304
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 30.0
    tick_s: float = 1.0
    bulk: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BrokerError(f"mqtt.{name}: expected {low} to {high}, got {value}")
        self._check_relations()

    def _check_relations(self) -> None:
        if not self.client_id:
            raise BrokerError("mqtt.client_id: expected a name, got none; the broker keeps our session under it")
        if not self.subscriptions:
            raise BrokerError("mqtt.subscriptions: expected at least one topic filter, got none")
        if self.max_packet_bytes < self.max_payload_bytes + _PACKET_ROOM:
            raise BrokerError(
                f"mqtt.max_packet_bytes: expected at least max_payload_bytes + {_PACKET_ROOM}, "
                f"got {self.max_packet_bytes}"
            )
        if self.reconnect_min_s > self.reconnect_max_s:
            raise BrokerError(
                f"mqtt.reconnect_max_s: expected at least reconnect_min_s, got {self.reconnect_max_s}"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise BrokerError("mqtt.tls_cert and mqtt.tls_key: expected both or neither, got one")
        shared("", self.share_group)

    @property
    def encrypted(self) -> bool:
        """Whether the link uses TLS: asked for, or implied by a certificate authority."""
        return self.tls or self.tls_ca is not None

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to, share group included."""
        return tuple(shared(pattern, self.share_group) for pattern in self.subscriptions)

    @property
    def broker(self) -> str:
        """The broker as a person knows it."""
        return f"{self.host}:{self.port}"


_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "port": (1, 65_535),
    "connect_timeout_s": (0.1, 120),
    "keepalive_s": (1, 65_535),
    "session_expiry_s": (0, _NEVER),
    "receive_maximum": (1, 65_535),
    "max_payload_bytes": (1, 256 * 1024 * 1024),
    "max_packet_bytes": (1, 256 * 1024 * 1024),
    "commit_max_delay_ms": (0, 1_000),
    "commit_max_messages": (1, 1_000_000),
    "commit_max_bytes": (1, 1024 * 1024 * 1024),
    "reconnect_min_s": (0.01, 3_600),
    "reconnect_max_s": (0.01, 3_600),
    "tick_s": (0.05, 3_600),
}
assert set(_BOUNDS) <= {one.name for one in fields(MqttSettings)}  # noqa: S101  a misspelt bound bounds nothing
