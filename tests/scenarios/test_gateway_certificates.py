"""Certificates of our own authority against a real Mosquitto that asks for one and takes its name for the user's."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from deploy.brokers import CONFIGURATION, MosquittoBroker
from devices.firmware.authority import Authority, Credentials, found, utc_now
from tests.support.broker import make_authority, running_mosquitto

pytestmark = pytest.mark.scenario
WORDS = "a long passphrase"


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """The authority of the broker's own certificate: another one, as in a city that has one."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return make_authority(tmp_path / "certs")


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return found(tmp_path / "ca", "waterworks", WORDS, utc_now() - timedelta(minutes=1))


@pytest.fixture
def broker(tmp_path: Path, ours: Authority, server: Path) -> Iterator[MosquittoBroker]:
    """Mosquitto that lets in who has a certificate of ours."""
    extra = [
        f"cafile {ours.folder / 'ca.crt'}",
        f"certfile {server / 'server.crt'}",
        f"keyfile {server / 'server.key'}",
        f"crlfile {ours.list_file}",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {CONFIGURATION / 'acl'}",
    ]
    with running_mosquitto(tmp_path / "broker", extra=extra) as running:
        yield running


class Attempt:
    """One client with a certificate: whether it came in, and what became of a publication."""

    def __init__(self, broker: MosquittoBroker, server_ca: Path, made: Credentials, folder: Path) -> None:
        files = folder / f"{made.serial}.crt", folder / f"{made.serial}.key"
        files[0].write_text(made.certificate)
        files[1].write_text(made.key)
        self._event = threading.Event()
        self.reason = ""
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=made.serial, protocol=mqtt.MQTTv5)
        self._client.on_connect = self._said
        self._client.on_publish = lambda _c, _d, _m, reason, _p: self._said(_c, _d, None, reason, _p)
        self._client.tls_set(str(server_ca), str(files[0]), str(files[1]))
        try:
            self._client.connect("127.0.0.1", broker.port)
        except (ssl.SSLError, OSError):
            self.reason = "TLS refused"
            return
        self._client.on_disconnect = lambda _c, _d, _f, reason, _p: self._said(_c, _d, None, reason, _p)
        self._client.loop_start()
        assert self._event.wait(10), "no answer"

    def publish(self, topic: str) -> str:
        self._event.clear()
        self._client.publish(topic, b"x", qos=1)
        assert self._event.wait(10), "no acknowledgement"
        return self.reason

    def _said(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self.reason = str(reason)
        self._event.set()

    def close(self) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()


def test_a_certified_gateway_publishes_under_its_own_id_only(
    broker: MosquittoBroker,
    ours: Authority,
    server: Path,
    tmp_path: Path,
) -> None:
    made = ours.unlock(WORDS).issue("GW-1", 30, utc_now())
    attempt = Attempt(broker, server / "ca.crt", made, tmp_path)
    assert attempt.reason == "Success"
    assert attempt.publish("city/d/gateway/GW-1/up") in ("Success", "No matching subscribers")
    assert attempt.publish("city/d/gateway/GW-2/up") == "Not authorized"
    attempt.close()


def test_a_revoked_gateway_is_refused_and_the_others_are_not(
    broker: MosquittoBroker,
    ours: Authority,
    server: Path,
    tmp_path: Path,
) -> None:
    signer = ours.unlock(WORDS)
    revoked, good = signer.issue("GW-1", 30, utc_now()), signer.issue("GW-2", 30, utc_now())
    signer.revoke("GW-1", utc_now())
    broker.stop()  # Mosquitto reads the list at its start
    broker.start()
    refused = Attempt(broker, server / "ca.crt", revoked, tmp_path)
    assert refused.reason != "Success"
    refused.close()
    attempt = Attempt(broker, server / "ca.crt", good, tmp_path)
    assert attempt.reason == "Success"
    attempt.close()


def test_a_certificate_of_a_foreign_authority_is_refused(
    broker: MosquittoBroker,
    server: Path,
    tmp_path: Path,
) -> None:
    foreign = found(tmp_path / "foreign", "waterworks", WORDS, utc_now())
    made = foreign.unlock(WORDS).issue("GW-1", 30, utc_now())
    attempt = Attempt(broker, server / "ca.crt", made, tmp_path)
    assert attempt.reason != "Success"
    attempt.close()
