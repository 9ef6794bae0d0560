"""Real brokers for tests, and what a test does with one."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from deploy.brokers import HOST, MosquittoBroker, mosquitto_path
from ingest.journal import CONTROL, Delivery, Journal
from ingest.mqtt import IngestWorker
from ingest.mqtt_settings import MqttSettings

needs_mosquitto = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")


@contextmanager
def running_mosquitto(folder: Path, **options: object) -> Iterator[MosquittoBroker]:
    """A Mosquitto on a free port, or a skip that says why."""
    if mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    broker = MosquittoBroker(folder, **options)  # type: ignore[arg-type]
    with broker:
        yield broker


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[MosquittoBroker]:
    """A real broker with our limits, which `stop`, `kill` and `start` may be called on."""
    with running_mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with a throw-away certificate authority and a server's certificate for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return make_authority(tmp_path / "certs")


def make_authority(folder: Path) -> Path:
    """Fill `folder` with ca.crt, server.crt and server.key, good for two days and 127.0.0.1."""
    folder.mkdir()
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key"]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for arguments in (
        ["req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test-ca"],
        ["req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=broker"],
        [*sign, "-CAcreateserial", "-out", "server.crt", "-days", "2", "-extfile", "san"],
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20)
    return folder


def until(condition: Callable[[], object], what: str, bound_s: float = 20.0) -> None:
    """Wait for `condition`, or fail saying `what` did not come."""
    deadline = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {bound_s:.0f} s for {what}")
        time.sleep(0.01)


class Publisher:
    """A plain paho publisher at QoS 1, which keeps what is not acknowledged and sends it again."""

    def __init__(self, port: int, client_id: str = "publisher", **login: str) -> None:
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(1000)
        if login:
            self._client.username_pw_set(login["username"], login["password"])
        self._sent = self._acknowledged = 0
        self._client.on_publish = self._on_publish
        self._client.connect(HOST, port)
        self._client.loop_start()

    def send(self, topic: str, payloads: Iterable[bytes], qos: int = 1) -> None:
        """Hand over; `wait` for the acknowledgement."""
        for payload in payloads:
            # Without a connection paho says so and queues it all the same.
            self._client.publish(topic, payload, qos=qos)
            self._sent += 1

    def wait(self, bound_s: float = 30.0) -> None:
        """Until the broker has acknowledged everything."""
        until(lambda: self._acknowledged >= self._sent, "the broker to acknowledge", bound_s)

    def _on_publish(self, *_: object) -> None:
        self._acknowledged += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def publish(port: int, topic: str, payloads: Iterable[bytes], client_id: str = "publisher") -> None:
    """Publish at QoS 1 and return once all is acknowledged."""
    publisher = Publisher(port, client_id)
    publisher.send(topic, payloads)
    publisher.wait()
    publisher.close()


def quick_settings(port: int, **changes: object) -> MqttSettings:
    """Settings for a test: short pauses, short ticks."""
    values: dict[str, object] = {"port": port, "reconnect_min_s": 0.05, "reconnect_max_s": 0.5, **changes}
    return MqttSettings(**values)  # type: ignore[arg-type]


@contextmanager
def working(settings: MqttSettings, path: Path, *, ready: bool = True, index: int = 0) -> Iterator[IngestWorker]:
    """A worker in a thread of its own, subscribed; stopped in good order at the end."""
    stop = threading.Event()
    journal = Journal(path)
    worker = IngestWorker(settings, journal, stop=stop, index=index)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001  raised again by the test
            failed.append(error)

    thread = threading.Thread(target=run, name=f"worker-{index}")
    thread.start()
    try:
        if ready:
            until(lambda: worker.stats.connected or failed, "the worker to connect")
        yield worker
    finally:
        stop.set()
        thread.join(20)
        journal.close()
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def journalled(path: Path) -> list[Delivery]:
    """Everything in the journal, control records included."""
    journal = Journal(path, read_only=True)
    found: list[Delivery] = []
    offset = journal.start()
    while blocks := journal.read(offset):
        for block in blocks:
            found += map(Delivery, block.topics, block.payloads, block.received_us)
        offset = blocks[-1].next
    journal.close()
    return found


def payloads_in(path: Path) -> list[bytes]:
    """Payloads of all deliveries that are no control records."""
    return [one.payload for one in journalled(path) if not one.topic.startswith(CONTROL)]
