"""One connection to the broker: paho-mqtt, reading in bulk.

From: the broker, MQTT v5, QoS 1. To: `ingest.mqtt`, which takes the inbox, commits it and gives the receipts back.

paho reads a packet with several system calls and a `select`. `BulkClient` reads whatever the socket holds, parses
every PUBLISH in one go and hands any other packet to paho, complete. It leans on a few of paho's internals; where
they are not as we know them, `StockClient` does the same work through paho's callbacks alone.

A client lives for one connection: packet ids mean nothing on the next.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Final

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.errors import BrokerError
from ingest.mqtt_settings import MqttSettings
from ingest.packets import (
    PUBREL,
    Inbox,
    PacketError,
    PublishParser,
    Receipts,
    Refusal,
    Stop,
    packet_end,
    release_id,
)

log = structlog.get_logger(__name__)

_READ_BYTES: Final = 262_144
_PUBACK: Final = 0x40
_TAKEN_OVER: Final = 142
_SAMPLE_BYTES: Final = 256
_INTERNALS: Final = ("_packet_queue", "_packet_read", "_sock_recv", "_loop_rc_handle", "_reset_sockets")
_STATE: Final = ("_sock", "_in_packet", "_out_packet", "_last_bytes_received", "_msgtime_mutex")


class StockClient(Client):
    """paho as it is, with manual acknowledgement; messages gather in `inbox`.

    `ready`: subscribed. `lost`: why the connection ended, None while it lives. `refused`: the broker would not
    have us. `taken_over`: another program has connected under our client id.
    """

    def __init__(self, settings: MqttSettings, client_id: str) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.settings = settings
        self.inbox = Inbox()
        self.ready = False
        self.lost: str | None = None
        self.refused = False
        self.taken_over = False
        self.session_present = False
        self.connect_timeout = settings.connect_timeout_s
        self.on_connect = self._connected
        self.on_subscribe = self._subscribed
        self.on_disconnect = self._disconnected
        self.on_message = self._arrived
        self.on_socket_open = _without_delay
        if settings.username:
            self.username_pw_set(settings.username, settings.password or None)
        if settings.encrypted:
            self.tls_set_context(tls_context(settings))

    def open(self) -> None:
        """Connect and go on with our session; OSError when the broker cannot be reached."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self.settings.session_expiry_s
        properties.ReceiveMaximum = self.settings.receive_maximum
        properties.MaximumPacketSize = self.settings.max_packet_bytes
        self.connect(
            self.settings.host,
            self.settings.port,
            self.settings.keepalive_s,
            clean_start=False,
            properties=properties,
        )

    def poll(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for the network, then read and write what can be."""
        code = self.loop(timeout_s)
        # paho handles one packet at a time: collect what else has come, so that it shares a commit.
        while not code and self.inbox and len(self.inbox) < self.settings.commit_max_messages:
            before = len(self.inbox)
            code = self.loop(0)
            if len(self.inbox) == before:
                break
        self._note_end(code)

    def keep_alive(self) -> None:
        """Write pings and answers, read nothing."""
        if self.want_write():
            self._note_end(self.loop_write())
        self._note_end(self.loop_misc())

    def acknowledge(self, receipts: Receipts) -> None:
        """Tell the broker that it may forget these messages."""
        for packet_id in receipts.ack:
            self._note_end(self.ack(int.from_bytes(packet_id, "big"), 1))
        for packet_id in receipts.release:
            self._note_end(self.ack(int.from_bytes(packet_id, "big"), 2))

    def close(self) -> None:
        """Release the sockets at once; the session stays with the broker."""
        if hasattr(self, "_reset_sockets"):
            self._reset_sockets()

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """As paho does it, but a socket whose handshake fails is closed."""
        if self._ssl_context is None:
            raise ConnectionError("TLS is not set up")
        return handshaken(self._ssl_context, tcp_sock, self.settings.host, self.settings.connect_timeout_s)

    def _note_end(self, code: MQTTErrorCode) -> None:
        if code and self.lost is None:
            self.lost = f"connection lost ({MQTTErrorCode(code).name})"

    def _connected(
        self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.refused, self.lost = True, f"expected to be let in, got: {reason}"
            return
        self.session_present = flags.session_present
        self._subscribe()

    def _subscribe(self) -> None:
        if self.settings.share_group:
            # A session that once subscribed alone would get everything twice.
            self.unsubscribe(list(self.settings.subscriptions))
        # At QoS 2 paho would confirm a message before it is in the journal; the broker sends those at QoS 1.
        options = SubscribeOptions(qos=1)
        self.subscribe([(pattern, options) for pattern in self.settings.filters])

    def leave(self, *, for_good: bool = False) -> None:
        """Say goodbye; the broker keeps our session and what comes for it, unless `for_good`."""
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        if for_good:
            properties.SessionExpiryInterval = 0
        self.disconnect(properties=properties)

    def _subscribed(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [
            f"{pattern}: {reason}"
            for pattern, reason in zip(self.settings.filters, reasons, strict=False)
            if reason.is_failure
        ]
        if refused:
            self.refused, self.lost = True, f"expected to be subscribed, got: {', '.join(refused)}"
        else:
            self.ready = True

    def _disconnected(
        self,
        _client: Client,
        _data: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.ready = False
        self.taken_over = flags.is_disconnect_packet_from_server and reason.value == _TAKEN_OVER
        if self.lost is None:
            by = "broker ended the connection" if flags.is_disconnect_packet_from_server else "connection lost"
            self.lost = f"{by}: {reason}"

    def _arrived(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        inbox, packet_id = self.inbox, message.mid.to_bytes(2, "big")
        if message.qos == 1:
            inbox.receipts.ack.append(packet_id)
        elif message.qos == 2:
            inbox.receipts.release.append(packet_id)
        payload = bytes(message.payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            inbox.refusals.append(Refusal("", len(payload), "expected a topic in UTF-8", payload[:_SAMPLE_BYTES]))
            return
        if len(payload) > self.settings.max_payload_bytes:
            reason = f"expected up to {self.settings.max_payload_bytes} bytes of payload, got {len(payload)}"
            inbox.refusals.append(Refusal(topic, len(payload), reason, payload[:_SAMPLE_BYTES]))
            return
        inbox.topics.append(topic)
        inbox.payloads.append(payload)


class BulkClient(StockClient):
    """Reads whatever the socket holds and parses it in one go."""

    def __init__(self, settings: MqttSettings, client_id: str) -> None:
        super().__init__(settings, client_id)
        self._data = b""
        self._parser = PublishParser(
            max_payload_bytes=settings.max_payload_bytes, max_packet_bytes=settings.max_packet_bytes
        )
        self._handed = b""  # a packet that paho is to handle
        self._waiting = False  # messages beyond one commit are in our hands, and the socket need not be readable

    def poll(self, timeout_s: float) -> None:
        """Read and write what can be; wait for the network, up to `timeout_s`, unless messages wait here."""
        if not self._waiting:
            self._note_end(self.loop(timeout_s))
            return
        self._note_end(self.loop_read())
        self.keep_alive()

    def acknowledge(self, receipts: Receipts) -> None:
        """Tell the broker, in one write, that it may forget these messages."""
        if receipts and self._sock is not None:
            self._note_end(self._packet_queue(_PUBACK, receipts.packets(), 0, 1))

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002  paho's signature
        """What paho calls when the socket can be read."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        open_ = self._waiting or self._drain()
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        try:
            code = self._use()
        except PacketError as error:
            self.lost = str(error)
            code = MQTTErrorCode.MQTT_ERR_PROTOCOL
        if not code and not open_ and not self._waiting:
            code = MQTTErrorCode.MQTT_ERR_CONN_LOST
        return self._loop_rc_handle(code) if code else code

    def _drain(self) -> bool:
        """Read what has arrived, up to one commit; false when the broker has closed the connection."""
        # A packet larger than a commit must still come to its end.
        pieces, room = [self._data], max(_READ_BYTES, self.settings.commit_max_bytes - len(self._data))
        open_ = True
        while room > 0:
            try:
                piece = super()._sock_recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                open_ = False
                break
            pieces.append(piece)
            room -= len(piece)
            # A plain socket that gave less than asked is empty; TLS gives one record at a time.
            if len(piece) < _READ_BYTES and not self.settings.encrypted:
                break
        self._data = b"".join(pieces)
        return open_

    def _use(self) -> MQTTErrorCode:
        """Move what was read into the inbox, other packets through paho."""
        data, pos, code = self._data, 0, MQTTErrorCode.MQTT_ERR_SUCCESS
        stop = Stop.OTHER
        while stop is Stop.OTHER and not code and self._sock is not None:
            room = self.settings.commit_max_messages - len(self.inbox)
            pos, stop = self._parser.parse(data, self.inbox, limit=room, start=pos)
            if stop is Stop.OTHER:
                end = packet_end(data, pos)
                code = self._other(data[pos:end])
                pos = end
        self._data = data[pos:]
        self._waiting = stop is Stop.FULL
        return code

    def _other(self, packet: bytes) -> MQTTErrorCode:
        if packet[0] & 0xF0 == PUBREL:
            # The message was journalled when it came, before we confirmed it.
            self.inbox.receipts.release.append(release_id(packet))
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._handed = packet
        return self._packet_read()

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho's packet reading sees: the packet handed to it, and nothing behind."""
        if not self._handed:
            raise BlockingIOError
        piece, self._handed = self._handed[:bufsize], self._handed[bufsize:]
        return piece


def new_client(settings: MqttSettings, client_id: str) -> StockClient:
    """A client for one connection: in bulk if paho is as we know it."""
    if not settings.bulk:
        return StockClient(settings, client_id)
    missing = [name for name in _INTERNALS if not callable(getattr(Client, name, None))]
    if not missing:
        client = BulkClient(settings, client_id)
        missing = [name for name in _STATE if not hasattr(client, name)]
        if not missing:
            return client
    log.warning("paho_not_as_known", missing=missing, now="reading one packet at a time, which costs more")
    return StockClient(settings, client_id)


def handshaken(context: ssl.SSLContext, tcp: socket.socket, host: str, timeout_s: float) -> ssl.SSLSocket:
    """`tcp` with TLS on it; closed when the handshake fails, which paho forgets."""
    wrapped = context.wrap_socket(tcp, server_hostname=host, do_handshake_on_connect=False)
    try:
        wrapped.settimeout(timeout_s)
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """TLS 1.2 or later, host name checked; BrokerError when a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        names = ", ".join(str(path) for path in (settings.tls_ca, settings.tls_cert, settings.tls_key) if path)
        raise BrokerError(
            f"mqtt: expected usable certificate files, got {error} ({names}); not connected"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _without_delay(_client: Client, _data: Any, sock: Any) -> None:
    # Acknowledgements are small and the broker waits for them.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
