"""`undercity simulate` and `undercity devices` as a person types them, against a real broker and a real file."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploy.brokers import MosquittoBroker
from deploy.errors import DeployError
from deploy.logger_pool import LoggerPool, LoggerSettings
from deploy.publishing import Publisher, PublishSettings
from devices.fleet import Entry
from devices.kinds import load
from devices.simulator.city import City
from tests.support.broker import mosquitto, needs_mosquitto  # noqa: F401  a fixture

pytestmark = pytest.mark.scenario


def undercity(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


@needs_mosquitto
def test_every_message_is_acknowledged(mosquitto: MosquittoBroker, tmp_path: Path) -> None:  # noqa: F811
    options = ("--devices", "300", "--rate", "300", "--for", "2s", "--seed", "4")
    done = undercity("simulate", "--broker", f"127.0.0.1:{mosquitto.port}", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("300 devices, 300.0 readings/s")
    messages, acknowledged = int(last.split()[0]), int(last.split(" published, ")[1].split()[0])
    assert messages == acknowledged > 300


@needs_mosquitto
def test_a_mixed_city_without_a_listener_uses_the_broker(mosquitto: MosquittoBroker, tmp_path: Path) -> None:  # noqa: F811
    options = ("--mixed", "--devices", "150", "--rate", "150", "--for", "2s", "--seed", "4")
    done = undercity("simulate", "--broker", f"127.0.0.1:{mosquitto.port}", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    messages, acknowledged = int(last.split()[0]), int(last.split(" published, ")[1].split()[0])
    assert messages == acknowledged > 150


@needs_mosquitto
def test_loggers_that_nobody_answers_are_not_called_published(mosquitto: MosquittoBroker) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        entries = [Entry("SI-1", "sewage_inflow", "d", cadence_s=1, codec="hj212", address="1" * 24)]
        city = City(load(), entries, seed=1, start_us=1_767_576_600_000_000)
        pool = LoggerPool(LoggerSettings(host="127.0.0.1", port=deaf.getsockname()[1]))
        publisher = Publisher(PublishSettings(host="127.0.0.1", port=mosquitto.port, drain_s=0.5), pool)
        publisher.open()
        publisher.run(city, from_us=city.start_us, for_s=0.5, speed=10, stop=threading.Event())
        result = publisher.close()
    assert result.messages > 1
    assert (result.acknowledged, result.whole) == (0, False)


@needs_mosquitto
def test_what_a_dead_broker_did_not_acknowledge_is_not_called_published(mosquitto: MosquittoBroker) -> None:  # noqa: F811
    entries = [Entry(f"WP-{i}", "water_pressure", "d", cadence_s=1) for i in range(20)]
    city = City(load(), entries, seed=1, start_us=1_767_576_600_000_000)
    publisher = Publisher(PublishSettings(host="127.0.0.1", port=mosquitto.port, window=10, drain_s=0.5))
    publisher.open()
    mosquitto.kill()
    with pytest.raises(DeployError, match="publishing stops"):
        publisher.run(city, from_us=city.start_us, for_s=10, speed=100, stop=threading.Event())
    result = publisher.close()
    assert not result.whole
    assert result.acknowledged < result.messages


def test_a_broker_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = undercity("simulate", "--broker", "127.0.0.1:1", "--for", "1s", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("nothing was published")
    assert "Traceback" not in done.stderr


def test_a_census_goes_in_and_comes_out(tmp_path: Path) -> None:
    census = tmp_path / "census.csv"
    census.write_bytes("设备编号,类型,地址\nMC-1,窨井盖,滨河路\nMC-2,什么,\n".encode("gbk"))
    database = ("--database", f"sqlite:///{tmp_path}/new/operations.db")
    first = undercity("devices", "import", str(census), *database, folder=tmp_path)
    assert (first.returncode, "census.csv line 3: kind" in first.stderr) == (1, True), first.stderr
    assert first.stdout == "census.csv (gbk): 1 added, 0 changed, 0 unchanged, 1 refused\n"
    again = undercity("devices", "import", str(census), *database, folder=tmp_path)
    assert "0 added, 0 changed, 1 unchanged" in again.stdout
    assert undercity("devices", "list", *database, folder=tmp_path).stdout.startswith("MC-1\tmanhole_cover")
    assert "滨河路" in undercity("devices", "export", *database, folder=tmp_path).stdout
    missing = undercity("devices", "show", "MC-7", *database, folder=tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
