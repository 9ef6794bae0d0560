# ruff: noqa: F811  fixtures are imported by name
"""What the brokers we start promise, and what the production configuration lets nobody do."""

from __future__ import annotations

import base64
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from deploy.brokers import (
    CONFIGURATION,
    BrokerStartError,
    EmbeddedBroker,
    MosquittoBroker,
    free_port,
    local_broker,
    mosquitto_path,
    password_line,
)
from deploy.errors import DeployError
from tests.support.broker import (
    authority,  # noqa: F401
    mosquitto,  # noqa: F401
    payloads_in,
    publish,
    quick_settings,
    until,
    working,
)

pytestmark = pytest.mark.scenario

TOPIC = "city/pudong/water_pressure/WP-0412/up"
KINDS = {"mosquitto": MosquittoBroker, "embedded": EmbeddedBroker}


@pytest.fixture(params=sorted(KINDS))
def broker(request, tmp_path):
    if request.param == "mosquitto" and mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    if request.param == "embedded":
        pytest.importorskip("iotcore")
    with KINDS[request.param](tmp_path / "broker") as started:
        yield started


def test_what_is_published_at_qos_1_reaches_the_journal(broker, tmp_path):
    path = tmp_path / "journal.db"
    sent = [b"message %d" % i for i in range(500)]
    with working(quick_settings(broker.port), path) as worker:
        publish(broker.port, TOPIC, sent)
        until(lambda: worker.stats.received >= len(sent), "all messages")
    assert payloads_in(path) == sent


def test_what_is_published_while_we_are_away_waits_for_us(broker, tmp_path):
    path = tmp_path / "journal.db"
    with working(quick_settings(broker.port), path):
        pass
    sent = [b"message %d" % i for i in range(500)]
    publish(broker.port, TOPIC, sent)
    with working(quick_settings(broker.port), path) as worker:
        until(lambda: worker.stats.received >= len(sent), "the backlog")
    assert set(payloads_in(path)) == set(sent)


def test_nobody_outside_this_machine_can_connect(broker):
    listening = subprocess.run(["ss", "-tlnH"], capture_output=True, text=True, check=True).stdout.split()
    places = [word for word in listening if word.endswith(f":{broker.port}")]
    assert places == [f"127.0.0.1:{broker.port}"]


def test_a_port_that_is_taken_is_refused_by_name(broker, tmp_path):
    for kind in KINDS.values():
        with pytest.raises(BrokerStartError, match=f"port {broker.port} is taken"):
            kind(tmp_path / "second", port=broker.port).start()


def test_stopping_twice_changes_nothing_and_frees_the_port(broker, tmp_path):
    broker.stop()
    broker.stop()
    assert broker.pid is None
    broker.start()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_broker_ends_with_us_even_if_we_are_killed(kind, tmp_path):
    if kind == "mosquitto" and mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    lines = ["import sys, time; from pathlib import Path", f"from deploy.brokers import {KINDS[kind].__name__}"]
    lines += [f"print({KINDS[kind].__name__}(Path(sys.argv[1])).start().pid, flush=True)", "time.sleep(60)"]
    command = [sys.executable, "-c", "\n".join(lines), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        pid = int(owner.stdout.readline())
        assert psutil.pid_exists(pid)
        owner.kill()
    until(lambda: not psutil.pid_exists(pid), "the broker to end")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_only_users_with_the_right_password_are_let_in(kind, tmp_path):
    if kind == "mosquitto" and mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    with KINDS[kind](tmp_path / "broker", users={"ingest": 'pass"word'}) as broker:
        wrong = quick_settings(broker.port, username="ingest", password="other")
        with working(wrong, tmp_path / "wrong.db", ready=False) as worker:
            until(lambda: worker.stats.reconnects >= 1, "the refusal")
        right = quick_settings(broker.port, username="ingest", password='pass"word')
        with working(right, tmp_path / "right.db") as worker:
            assert worker.stats.connected
    for file in (tmp_path / "broker").iterdir():
        if 'pass\\"word' in file.read_text(errors="replace"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_mosquitto_keeps_a_session_over_its_own_restart(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    with working(quick_settings(mosquitto.port), path):
        pass
    sent = [b"message %d" % i for i in range(2_000)]
    publish(mosquitto.port, TOPIC, sent)
    mosquitto.stop()
    mosquitto.start()
    with working(quick_settings(mosquitto.port), path) as worker:
        until(lambda: worker.stats.received >= len(sent), "the backlog")
    assert payloads_in(path) == sent


def test_a_broker_that_cannot_start_says_why(tmp_path):
    if mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    with pytest.raises(BrokerStartError, match="Unknown configuration variable") as caught:
        MosquittoBroker(tmp_path, extra=["no_such_setting true"]).start()
    assert "\n" not in str(caught.value)


def test_mosquitto_is_taken_where_it_is_installed(tmp_path, monkeypatch):
    expected = "Mosquitto" if mosquitto_path() else "iotcore"
    assert local_broker(tmp_path).kind == expected
    monkeypatch.setattr("deploy.brokers.mosquitto_path", lambda: None)
    assert local_broker(tmp_path).kind == "iotcore"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BrokerStartError, match="found neither"):
        local_broker(tmp_path)


def test_our_password_lines_are_those_of_mosquitto_passwd(tmp_path):
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    file = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(file), "WP-0412", "secret"], check=True, capture_output=True
    )
    theirs = file.read_text().strip()
    salt = base64.b64decode(theirs.split("$")[3])
    assert password_line("WP-0412", "secret", salt).strip() == theirs
    with pytest.raises(DeployError, match="colon"):
        password_line("a:b", "secret")


@pytest.fixture
def production(tmp_path, authority):
    """Mosquitto with the production file, its paths moved into a folder; the port and the CA's certificate."""
    root = tmp_path / "etc"
    (root / "conf.d").mkdir(parents=True)
    (root / "lib").mkdir()
    shutil.copytree(authority, root / "certs")
    shutil.copy(CONFIGURATION / "acl", root / "acl")
    shutil.copy(CONFIGURATION / "limits.conf", root / "conf.d")
    names = ("WP-0412", "GW-1", "undercity-ingest", "undercity-command")
    (root / "passwords").write_text("".join(password_line(name, "secret") for name in names))
    port = free_port()
    text = (CONFIGURATION / "mosquitto.conf").read_text()
    text = text.replace("/etc/mosquitto", str(root)).replace("/var/lib/mosquitto", str(root / "lib"))
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1") + "\nuser root\n"
    (root / "mosquitto.conf").write_text(text)
    with _Given(root, port) as broker:
        yield broker


class _Given(MosquittoBroker):
    """Mosquitto with a configuration file that is already there."""

    def __init__(self, root: Path, port: int) -> None:
        super().__init__(root, port=port)

    def _prepare(self):
        return [mosquitto_path(), "-c", str(self.folder / "mosquitto.conf")]


def _publish(broker, user: str, topic: str) -> str:
    command = ["mosquitto_pub", "-V", "5", "-d", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", topic]
    command += ["--cafile", str(broker.folder / "certs/ca.crt"), "-u", user, "-P", "secret", "-i", user, "-m", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return "refused" if "Not authorized" in done.stdout + done.stderr or "RC:135" in done.stdout else "taken"


def test_in_production_a_device_speaks_for_itself_alone(production, tmp_path):
    path = tmp_path / "journal.db"
    settings = quick_settings(
        production.port,
        tls_ca=production.folder / "certs/ca.crt",
        username="undercity-ingest",
        password="secret",
    )
    with working(settings, path) as worker:
        assert _publish(production, "WP-0412", "city/pudong/water_pressure/WP-0412/up") == "taken"
        assert _publish(production, "GW-1", "city/pudong/gateway/GW-1/up") == "taken"
        assert _publish(production, "WP-0412", "city/pudong/water_pressure/WP-0413/up") == "refused"
        assert _publish(production, "GW-1", "city/pudong/water_pressure/WP-0412/up") == "refused"
        assert _publish(production, "WP-0412", "city/pudong/water_pressure/WP-0412/down") == "refused"
        assert _publish(production, "undercity-ingest", TOPIC) == "refused"
        assert _publish(production, "undercity-command", "city/pudong/water_pressure/WP-0412/down") == "taken"
        until(lambda: worker.stats.received == 2, "what was allowed")


def test_who_sends_more_than_we_take_is_told_so(mosquitto):
    """Unless its own unread bytes reset the connection first, which is a matter of luck."""
    reasons = []
    for _ in range(10):
        client = Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False
        )
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: reasons.append(str(reason))
        before = len(reasons)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        client.publish(TOPIC, b"x" * 2_000_000, qos=1)
        until(lambda before=before: len(reasons) > before, "the broker to end the connection")
        client.loop_stop()
        if reasons[-1] == "Packet too large":
            return
    raise AssertionError(reasons)


def test_limits_are_stated_in_one_place():
    limits = [
        line.split()[0] for line in (CONFIGURATION / "limits.conf").read_text().splitlines() if line[:1].islower()
    ]
    production = (CONFIGURATION / "mosquitto.conf").read_text()
    assert "max_queued_messages" in limits
    assert not [name for name in limits if f"\n{name} " in production]
