# ruff: noqa: F811  fixtures are imported by name
"""Nothing that was acknowledged is ever lost: real brokers, real processes, real disks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deploy.brokers import MosquittoBroker
from ingest.journal import LINK, TICK, Journal
from ingest.mqtt import REFUSED, utc_us
from ingest.mqtt_retire import retire_surplus
from tests.support.broker import (
    Publisher,
    authority,  # noqa: F401
    journalled,
    mosquitto,  # noqa: F401
    payloads_in,
    publish,
    quick_settings,
    running_mosquitto,
    until,
    working,
)

pytestmark = pytest.mark.scenario

TOPIC = "city/pudong/water_pressure/WP-0412/up"


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"message %d " % i + b"x" * 150 for i in range(start, start + count)]


@contextlib.contextmanager
def process(port: int, journal: Path, index: int = 0, group: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own; killed at the end if it still runs."""
    command = [sys.executable, "-m", "tests.support.ingest_process", str(port), str(journal), str(index), group]
    with journal.with_suffix(f".{index}.log").open("ab") as output:
        worker = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.kill()
        worker.wait()


def subscribed(journal: Path) -> int:
    return (
        sum(one.topic == LINK and one.payload == b"up" for one in journalled(journal)) if journal.exists() else 0
    )


@pytest.mark.parametrize("bulk", [True, False])
def test_every_acknowledged_message_is_in_the_journal_once(mosquitto, tmp_path, bulk):
    path = tmp_path / "journal.db"
    sent = numbered(5_000 if bulk else 1_000)
    with working(quick_settings(mosquitto.port, bulk=bulk), path) as worker:
        publish(mosquitto.port, TOPIC, sent)
        until(lambda: worker.stats.received == len(sent), "all messages")
    assert payloads_in(path) == sent
    assert worker.stats.acked == len(sent)
    assert worker.stats.commits < len(sent) / 3


def test_a_burst_of_20000_while_ingest_is_away_arrives_whole(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    with working(quick_settings(mosquitto.port), path):
        pass
    sent = numbered(20_000)
    publish(mosquitto.port, TOPIC, sent)
    with working(quick_settings(mosquitto.port), path) as worker:
        until(lambda: worker.stats.received >= len(sent), "the backlog")
    assert payloads_in(path) == sent


def test_a_worker_killed_in_mid_stream_loses_nothing(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    sent = numbered(6_000)
    publisher = None
    for run in range(3):
        with process(mosquitto.port, path) as worker:
            until(lambda count=run: subscribed(path) > count, "the worker to subscribe")
            publisher = publisher or Publisher(mosquitto.port)
            publisher.send(TOPIC, sent[run * 2_000 : (run + 1) * 2_000])
            before = len(payloads_in(path))
            until(lambda floor=before: len(payloads_in(path)) > floor, "the stream to flow")
            if run < 2:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
            else:
                publisher.wait()
                until(lambda: set(payloads_in(path)) == set(sent), "every message")
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(10) == 0
    publisher.close()
    assert Journal(path, read_only=True).check() == []


def test_a_broker_restart_in_mid_stream_loses_nothing(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    sent = numbered(4_000)
    with working(quick_settings(mosquitto.port), path) as worker, capture_logs() as logs:
        publisher = Publisher(mosquitto.port)
        publisher.send(TOPIC, sent[:2_000])
        until(lambda: worker.stats.received > 100, "the stream to flow")
        mosquitto.stop()
        until(lambda: not worker.stats.connected, "the worker to notice")
        mosquitto.start()
        publisher.send(TOPIC, sent[2_000:])
        publisher.wait()
        until(lambda: set(payloads_in(path)) == set(sent), "every message")
        publisher.close()
    events = [entry["event"] for entry in logs]
    assert "broker_link_down" in events
    assert "broker_link_up" in events
    links = [one.payload for one in journalled(path) if one.topic == LINK]
    assert links == [b"down", b"up", b"down", b"up", b"down"]


def test_time_is_journalled_while_nothing_comes_and_never_runs_back(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    with working(quick_settings(mosquitto.port, tick_s=0.1), path):
        until(lambda: sum(one.topic == TICK for one in journalled(path)) >= 3, "three ticks")
    stamps = [one.received_us for one in journalled(path)]
    assert stamps == sorted(stamps)


def test_a_wrong_password_is_said_and_tried_again(tmp_path):
    path = tmp_path / "journal.db"
    with running_mosquitto(tmp_path / "broker", users={"undercity-ingest": "right"}) as broker:
        settings = quick_settings(broker.port, username="undercity-ingest", password="wrong-secret")
        with capture_logs() as logs, working(settings, path, ready=False) as worker:
            until(lambda: worker.stats.reconnects >= 2, "a second attempt")
        assert {entry["event"] for entry in logs} == {"broker_refused"}
        assert "Not authorized" in logs[0]["reason"]
        assert "wrong-secret" not in repr(logs)
        assert "wrong-secret" not in repr(settings)
        right = quick_settings(broker.port, username="undercity-ingest", password="right")
        with working(right, path) as worker:
            assert worker.stats.connected


def test_another_program_with_our_client_id_is_named_as_the_cause(mosquitto, tmp_path):
    settings = quick_settings(mosquitto.port)
    with capture_logs() as logs, working(settings, tmp_path / "a.db"), working(settings, tmp_path / "b.db"):
        until(lambda: any(entry["event"] == "session_taken_over" for entry in logs), "the log line")
    said = next(entry for entry in logs if entry["event"] == "session_taken_over")
    assert said["client_id"] == "undercity-ingest-0"


def test_an_oversized_payload_is_recorded_acknowledged_and_stops_nobody(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    settings = quick_settings(mosquitto.port, max_payload_bytes=1_000)
    binary = bytes(range(256))
    nested = b"[" * 500 + b"]" * 500
    sent = [binary, b"y" * 1_001, nested, b"", b"\xff\xfe NaN"]
    with capture_logs() as logs, working(settings, path) as worker:
        publish(mosquitto.port, TOPIC, sent)
        until(lambda: worker.stats.acked == len(sent), "all to be acknowledged")
    assert payloads_in(path) == [binary, nested, b"", b"\xff\xfe NaN"]
    record = next(json.loads(one.payload) for one in journalled(path) if one.topic == REFUSED)
    assert (record["topic"], record["size"]) == (TOPIC, 1_001)
    assert "expected up to 1000 bytes of payload, got 1001" in record["reason"]
    assert [entry["event"] for entry in logs].count("delivery_refused") == 1


def test_qos_0_and_qos_2_and_user_properties_arrive(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    with working(quick_settings(mosquitto.port), path) as worker:
        for qos in (0, 2):
            publisher = Publisher(mosquitto.port)
            publisher.send(TOPIC, [b"at %d" % qos], qos=qos)
            publisher.wait()
            publisher.close()
        tagged = ["-D", "publish", "user-property", "site", "7", "-D", "publish", "message-expiry-interval", "60"]
        command = ["mosquitto_pub", "-V", "5", "-p", str(mosquitto.port), "-q", "1", "-t", TOPIC, "-m", "tagged"]
        subprocess.run([*command, *tagged], check=True, timeout=10)
        until(lambda: worker.stats.received == 3, "three messages")
    assert payloads_in(path) == [b"at 0", b"at 2", b"tagged"]


def test_two_workers_of_a_group_share_the_load_without_losing_any(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    sent = numbered(4_000)
    settings = quick_settings(mosquitto.port, share_group="ingest")
    with working(settings, path, index=0) as first, working(settings, path, index=1) as second:
        publish(mosquitto.port, TOPIC, sent)
        until(lambda: first.stats.acked + second.stats.acked >= len(sent), "all messages")
    assert Counter(payloads_in(path)) == Counter(sent)
    assert min(first.stats.received, second.stats.received) > 0


def test_with_fewer_workers_nothing_waits_for_those_that_are_gone(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    settings = quick_settings(mosquitto.port, share_group="ingest")
    with working(settings, path, index=0), working(settings, path, index=1), working(settings, path, index=2):
        pass
    before, after = numbered(600), numbered(300, start=600)
    publish(mosquitto.port, TOPIC, before)
    journal = Journal(path)
    assert retire_surplus(settings, journal, 1, now=utc_us) == 2
    assert 0 < len(payloads_in(path)) < len(before)
    assert retire_surplus(settings, journal, 1, now=utc_us) == 0
    journal.close()
    with working(settings, path, index=0) as worker:
        publish(mosquitto.port, TOPIC, after)
        until(lambda: len(payloads_in(path)) >= 900, "what waited and what is new")
        assert worker.stats.received >= len(after)
    assert Counter(payloads_in(path)) == Counter(before + after)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk needs root and the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_acknowledging_and_loses_nothing(mosquitto, small_disk):
    path = small_disk / "journal.db"
    ballast = small_disk / "ballast"
    settings = quick_settings(mosquitto.port, receive_maximum=500, keepalive_s=2)
    sent = [os.urandom(400) for _ in range(5_000)]  # does not compress
    with capture_logs() as logs, working(settings, path) as worker:
        ballast.write_bytes(b"\0" * 1_500_000)
        publish(mosquitto.port, TOPIC, sent)
        until(lambda: worker.stats.journal_full, "the disk to be full")
        acked = worker.stats.acked
        assert acked < len(sent)
        # Longer than the keep-alive: the link must outlive it, for messages do not fill our hands.
        with contextlib.suppress(pytest.fail.Exception):
            until(lambda: worker.stats.acked > acked or not worker.stats.connected, "a change", bound_s=4.5)
        assert worker.stats.acked == acked
        assert worker.stats.connected
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
        until(lambda: worker.stats.acked >= len(sent), "the rest to be acknowledged")
    events = [entry["event"] for entry in logs]
    assert events.count("journal_full") == 1
    assert events.index("journal_full") < events.index("journal_recovered")
    assert Counter(payloads_in(path)) == Counter(sent)


def tls_broker(folder: Path, certs: Path) -> MosquittoBroker:
    names = {"cafile": "ca.crt", "certfile": "server.crt", "keyfile": "server.key"}
    return running_mosquitto(folder, extra=[f"{key} {certs / name}" for key, name in names.items()])


@pytest.mark.parametrize("bulk", [True, False])
def test_tls_carries_everything_and_leaves_no_bytes_behind(authority, tmp_path, bulk):
    path = tmp_path / "journal.db"
    sent = [b"big" * 20_000, *numbered(2_000), b"last" * 10_000]
    with tls_broker(tmp_path / "broker", authority) as broker:
        settings = quick_settings(broker.port, tls_ca=authority / "ca.crt", bulk=bulk)
        with working(settings, path) as worker:
            command = ["mosquitto_pub", "-p", str(broker.port), "-h", "127.0.0.1", "--cafile"]
            command += [str(authority / "ca.crt"), "-q", "1", "-t", TOPIC, "-l"]
            subprocess.run(command, input=b"\n".join(sent) + b"\n", check=True, timeout=30)
            until(lambda: worker.stats.acked == len(sent), "all messages")
    assert payloads_in(path) == sent


def test_a_broker_whose_certificate_we_cannot_check_gets_nothing_from_us(authority, tmp_path):
    with tls_broker(tmp_path / "broker", authority) as broker:
        settings = quick_settings(broker.port, tls=True)
        with capture_logs() as logs, working(settings, tmp_path / "journal.db", ready=False) as worker:
            until(lambda: worker.stats.reconnects >= 1, "the refusal")
        assert "certificate verify failed" in logs[0]["reason"]
