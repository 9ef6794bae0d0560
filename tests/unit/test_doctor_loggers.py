"""The doctor's look at the TCP listener."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from deploy.doctor import Verdict
from deploy.doctor.loggers import check_loggers
from deploy.settings import DataSettings, Settings
from deploy.wiring import open_database
from devices.catalog import SqlRegistry
from devices.registry import Device
from ingest.tcp_settings import TcpSettings
from tests.support.listening import entry, listening


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=DataSettings(dir=tmp_path), tcp=TcpSettings(port=5212, max_connections=100))


def register(settings: Settings, *devices: Device) -> None:
    database = open_database(settings)
    SqlRegistry(database).put(devices)
    database.dispose()


def test_without_a_port_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    (line,) = check_loggers(Settings(data=DataSettings(dir=tmp_path)))
    assert (line.verdict, line.say) == (Verdict.OK, "no TCP listener: tcp.port is 0")


def test_a_listener_that_does_not_run_is_said(settings: Settings) -> None:
    (line,) = check_loggers(settings)
    assert (line.verdict, line.do) == (Verdict.WARN, "start it: undercity run")


def test_loggers_without_a_password_are_counted(settings: Settings) -> None:
    guarded = Device(id="a", kind="sewage_inflow", codec="hj212", address="A1", settings={"password": "1"})
    register(settings, guarded, Device(id="b", kind="sewage_inflow", codec="hj212", address="B2"))
    first, _ = check_loggers(settings)
    assert first.say == "1 of 2 loggers have no password: who knows an MN may send for it"


def test_a_registry_without_loggers_is_said(settings: Settings) -> None:
    register(settings)
    first, _ = check_loggers(settings)
    assert first.say == "no device has the codec hj212: every logger is refused"


def test_too_few_open_files_are_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    many = Settings(data=settings.data, tcp=TcpSettings(port=5212, max_connections=100_000))
    assert any("open files" in line.say for line in check_loggers(many))


def test_a_running_listener_says_who_is_connected(settings: Settings) -> None:
    with listening(settings.data.dir, entry("A1")):
        (line,) = check_loggers(settings)
    assert line.say == "0.0.0.0:5212: 1 registered, 0 connected"
