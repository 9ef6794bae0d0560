"""A simulated gateway's way to a real broker: paho-mqtt with the credentials it was provisioned with.

From: `devices.simulator.boards.application`, which may not know networks. To: a broker. What goes wrong is named as a
gateway would name it, so that host tools can be tried against every kind of trouble.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from devices.firmware.application.configuration import Configuration
from devices.firmware.application.messages import Connection, Trouble
from devices.simulator.boards.gateway import Standing
from ingest.mqtt_client import handshaken

_AGAIN_S: Final = 2.0
_PATIENCE_S: Final = 10.0
_LOGIN: Final = {134, 135}  # MQTT v5: bad user name or password; not authorized
_NOT_ALLOWED: Final = 135

# Of what kind an error is, the narrower kinds first.
_TROUBLES: Final = (
    (socket.gaierror, Trouble.NAME),
    (ssl.SSLCertVerificationError, Trouble.SERVER_CERTIFICATE),
    (ssl.SSLError, Trouble.OWN_CERTIFICATE),
    (ConnectionRefusedError, Trouble.REFUSED),
    (TimeoutError, Trouble.SILENT),
)


class ClosingClient(mqtt.Client):
    """paho, which closes the socket of a handshake that failed."""

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        if self._ssl_context is None:
            raise ConnectionError("TLS is not set up")
        return handshaken(self._ssl_context, tcp_sock, self.host, _PATIENCE_S)


class PahoModem:
    """A `Network` with a thread of its own for each configuration; connects again for as long as it is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing = Standing(trouble=Trouble.NONE)
        self._client: mqtt.Client | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: dict[int, int] = {}

    def open(self, configuration: Configuration) -> None:
        """Begin to connect."""
        self.close()
        self._standing = Standing(Connection.NETWORK, Trouble.NONE)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(configuration, self._stop), name="modem", daemon=True
        )
        self._thread.start()

    def standing(self) -> Standing:
        """How far it is."""
        with self._lock:
            return replace(self._standing)

    def publish(self, topic: str, payload: bytes, readings: int) -> None:
        """Hand over at QoS 1; lost when the connection just broke, as in a gateway without a store."""
        client = self._client
        if client is not None:
            with self._lock:
                self._waiting[client.publish(topic, payload, qos=1).mid] = readings

    def close(self) -> None:
        """Hang up and wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
            self._thread = None
        self._waiting.clear()

    def _run(self, configuration: Configuration, stop: threading.Event) -> None:
        while not stop.is_set():
            self._once(configuration, stop)
            stop.wait(_AGAIN_S)

    def _once(self, configuration: Configuration, stop: threading.Event) -> None:
        """One connection from first to last."""
        gone = threading.Event()
        client = self._prepared(configuration, gone)
        if client is None:
            return
        trouble, text = _connected(client, configuration)
        if trouble is not Trouble.NONE:
            self._now(Connection.NETWORK, trouble, text)
            return
        client.loop_start()
        while not stop.is_set() and not gone.is_set():
            stop.wait(0.05)
        self._client = None
        client.disconnect()
        client.loop_stop()
        client.on_connect = client.on_disconnect = client.on_publish = None  # its sockets close with it

    def _prepared(self, configuration: Configuration, gone: threading.Event) -> mqtt.Client | None:
        client = ClosingClient(CallbackAPIVersion.VERSION2, client_id=configuration.gateway, protocol=mqtt.MQTTv5)
        if configuration.user:
            client.username_pw_set(configuration.user, configuration.password)
        if configuration.tls:
            try:
                client.tls_set_context(_context(configuration))
            except (ssl.SSLError, OSError, ValueError) as error:
                self._now(Connection.NETWORK, Trouble.CONFIGURATION, type(error).__name__)
                return None
        secured = bool(configuration.certificate)

        def arrived(_client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
            if reason.is_failure:
                trouble = Trouble.LOGIN if reason.value in _LOGIN else Trouble.BROKER
                self._now(Connection.TLS if configuration.tls else Connection.TCP, trouble, str(reason))
                gone.set()
                return
            self._client = client
            self._now(Connection.MQTT, Trouble.NONE, "")

        def left(_client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
            if gone.is_set():
                return
            # With TLS 1.3 a broker says that it does not want our certificate only after the handshake.
            early = self._client is None and secured
            self._now(Connection.NETWORK, Trouble.OWN_CERTIFICATE if early else Trouble.LOST, str(reason))
            gone.set()

        client.on_connect, client.on_disconnect, client.on_publish = arrived, left, self._acknowledged
        return client

    def _acknowledged(self, _client: object, _data: object, mid: int, reason: Any, _properties: object) -> None:
        with self._lock:
            readings = self._waiting.pop(mid, 0)
            if reason.value == _NOT_ALLOWED:
                self._standing.trouble, self._standing.text = Trouble.NOT_ALLOWED, str(reason)
            elif not reason.is_failure:
                self._standing.acknowledged += readings
                self._standing.trouble, self._standing.text = Trouble.NONE, ""

    def _now(self, connection: Connection, trouble: Trouble, text: str) -> None:
        with self._lock:
            self._standing.connection, self._standing.trouble, self._standing.text = connection, trouble, text


def _connected(client: mqtt.Client, configuration: Configuration) -> tuple[Trouble, str]:
    """Open the connection; what kept it from opening."""
    client.connect_timeout = _PATIENCE_S
    try:
        client.connect(configuration.host, configuration.port, keepalive=30)
    except OSError as error:
        trouble = next((what for kind, what in _TROUBLES if isinstance(error, kind)), Trouble.NO_NETWORK)
        if trouble is Trouble.OWN_CERTIFICATE and not configuration.certificate:
            trouble = Trouble.BROKER
        return trouble, str(error.strerror or "")
    return Trouble.NONE, ""


def _context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=configuration.ca or None)
    if configuration.certificate:
        # OpenSSL reads a key from a file only: one that nobody else can open, and that is gone at once.
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            chain.write_text(configuration.certificate + configuration.key, encoding="ascii")
            context.load_cert_chain(chain)
    return context
