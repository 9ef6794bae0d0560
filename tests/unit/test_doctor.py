"""The doctor: what it sees, what it advises, and that it never makes things worse."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import deploy.cli.doctor
from deploy.doctor import Line, Verdict, examine, machine
from deploy.doctor.broker import check_broker
from deploy.doctor.lines import fail, ok
from deploy.doctor.services import check_database, check_notify, check_registry, check_store
from deploy.settings import DataSettings, Settings
from deploy.wiring import open_database
from devices.catalog import SqlRegistry
from devices.registry import Device, Gateway
from ingest.mqtt_settings import MqttSettings
from processors.notify.settings import Address, NotifySettings

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=DataSettings(dir=tmp_path / "data"))


def _one(lines: Iterator[Line]) -> Line:
    (line,) = lines
    return line


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _mosquitto(folder: Path, *lines: str) -> Iterator[MqttSettings]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    port = _free_port()
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", *lines, ""]), encoding="utf-8")
    process = subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(port)
        yield MqttSettings(port=port)
    finally:
        process.terminate()
        process.wait(10)


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "mosquitto did not start"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def stock_broker(tmp_path: Path) -> Iterator[MqttSettings]:
    yield from _mosquitto(tmp_path, "allow_anonymous true")


@pytest.fixture
def our_broker(tmp_path: Path) -> Iterator[MqttSettings]:
    limits = Path(deploy.__file__).parent / "mosquitto" / "limits.conf"
    yield from _mosquitto(tmp_path, "allow_anonymous true", limits.read_text(encoding="utf-8"))


@pytest.fixture
def closed_broker(tmp_path: Path) -> Iterator[MqttSettings]:
    yield from _mosquitto(tmp_path, "allow_anonymous false")


def test_a_broker_with_the_default_queue_is_caught_losing_acknowledged_messages(
    settings: Settings, stock_broker: MqttSettings
) -> None:
    reach, queue = check_broker(replace(settings, mqtt=stock_broker))
    assert (reach.verdict, queue.verdict) == (Verdict.OK, Verdict.FAIL)
    assert "acknowledged messages for a session that is away" in queue.say
    assert "max_queued_messages" in queue.do


def test_a_broker_with_our_limits_passes(settings: Settings, our_broker: MqttSettings) -> None:
    assert [line.verdict for line in check_broker(replace(settings, mqtt=our_broker))] == [Verdict.OK] * 2


def test_a_broker_that_refuses_us_is_told_from_one_that_is_not_there(
    settings: Settings, closed_broker: MqttSettings
) -> None:
    refused = _one(check_broker(replace(settings, mqtt=closed_broker)))
    absent = _one(check_broker(replace(settings, mqtt=MqttSettings(port=_free_port()))))
    assert (refused.verdict, absent.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "refused us" in refused.say
    assert "cannot be reached" in absent.say


def test_a_new_system_is_no_failure(settings: Settings) -> None:
    for check in (check_store, check_database, check_registry, check_notify):
        assert Verdict.FAIL not in {line.verdict for line in check(settings)}


def test_before_anything_ran_the_doctor_says_so_and_what_to_do_first(settings: Settings) -> None:
    line = _one(machine.check_data(settings))
    assert (line.verdict, "nothing has run here yet" in line.say) == (Verdict.OK, True)
    assert "undercity demo" in line.do
    settings.data.dir.mkdir()
    assert _one(machine.check_data(settings)) == ok("data", str(settings.data.dir))


def test_gateways_that_no_row_describes_are_named(settings: Settings) -> None:
    database = open_database(settings)
    devices = [Device(id=f"D-{n}", kind="water_pressure", site="S", gateway=f"GW-{n % 7}") for n in range(9)]
    SqlRegistry(database).put(
        [*devices, Device(id="D-9", kind="water_pressure", site="S")], gateways=[Gateway(id="GW-1")]
    )
    fine, warned = check_registry(settings)
    assert (fine.verdict, warned.verdict) == (Verdict.OK, Verdict.WARN)
    assert warned.say.startswith("6 gateways (devices behind each) that no row describes: GW-0 (2), GW-2 (1), ")
    assert "GW-5 (1) and 1 more; their silence" in warned.say
    SqlRegistry(database).put([], gateways=[Gateway(id=f"GW-{n}") for n in range(7)])
    assert [line.verdict for line in check_registry(settings)] == [Verdict.OK]
    database.dispose()


def test_looking_creates_nothing(settings: Settings) -> None:
    examine(replace(settings, mqtt=MqttSettings(port=_free_port())))
    assert not settings.data.dir.exists()
    assert list(settings.data.dir.parent.iterdir()) == []


def test_an_address_whose_url_is_missing_fails(settings: Settings, tmp_path: Path) -> None:
    address = Address(name="crew", url_file=tmp_path / "none")
    lines = list(check_notify(replace(settings, notify=NotifySettings(addresses=(address,)))))
    assert lines[0].verdict is Verdict.FAIL


def test_a_check_that_breaks_does_not_stop_the_others(settings: Settings) -> None:
    def broken(_settings: Settings) -> Iterator[Line]:
        raise RuntimeError("http://u:hunter2@h")

    lines = examine(settings, [("a", broken), ("b", lambda _: [ok("b", "fine")])])
    assert [line.verdict for line in lines] == [Verdict.FAIL, Verdict.OK]
    assert "hunter2" not in lines[0].say


def test_little_space_is_a_warning_in_days(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "bytes_per_day", lambda _settings: 1e15)
    line = _one(machine.check_space(settings))
    assert (line.verdict, "0 days at" in line.say) == (Verdict.WARN, True)


def test_the_command_fails_when_a_check_fails_and_speaks_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deploy.doctor.examine", lambda _settings: [fail("disk", "full", "free some")])
    monkeypatch.setattr("deploy.logs.configure", lambda *_args, **_more: None)
    app = typer.Typer()
    deploy.cli.doctor.register(app)
    plain = CliRunner().invoke(app, [])
    source, disk = plain.output.splitlines()
    assert (plain.exit_code, disk) == (1, "fail  disk: full; free some")
    assert source.startswith(f"ok    settings: no undercity.toml in {tmp_path}: the defaults and the environment")
    _, line = json.loads(CliRunner().invoke(app, ["--json"]).output)
    assert line == {"check": "disk", "verdict": "fail", "say": "full", "do": "free some"}
