"""The alert and quarantine commands, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from deploy.cli import alerts, quarantine
from deploy.errors import SchemaError
from deploy.places import Places
from devices.catalog import SqlRegistry
from devices.fleet import build
from devices.kinds import load as load_kinds
from devices.registry import Device, Gateway, Site
from ingest.journal import Delivery, Journal
from ingest.quarantine import Held, Quarantine
from processors.alerts.book import AlertBook
from processors.engines.local import Engine, EngineSettings
from processors.engines.snapshots import SnapshotFolder, capture
from processors.errors import AlertError
from processors.notify.settings import Place
from tests.support.databases import operations, sqlite_file
from tests.support.findings import T0, finding
from tests.support.sparkplug import PRESSURE, born, made, topic

runner = CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    alerts.register(app)
    quarantine.register(app)
    return app


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a database of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDERCITY_DATA__DIR", str(tmp_path))
    with operations(sqlite_file(tmp_path)):
        pass
    return tmp_path


def run(app: typer.Typer, *words: str) -> str:
    result = runner.invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_alerts_are_listed_shown_and_acknowledged(app: typer.Typer, data: Path) -> None:
    with operations(sqlite_file(data)) as engine:
        AlertBook(engine).apply([finding(), finding("WP-9", "clear", offset=20)], 21)
    known = finding().id
    listed = run(app, "alerts", "list").splitlines()
    assert listed[1].split("\t") == [
        "▲1 high", "active", "WP-0412", "high", "2026-01-05 16:00:00", "120.5 / 10 m", known,
    ]  # fmt: skip
    assert len(listed) == 2
    assert len(run(app, "alerts", "list", "--all").splitlines()) == 3
    assert run(app, "alerts", "ack", known, "--by", "王工", "--note", "去现场") == (
        f"alert {known}: acknowledged, acknowledged by 王工\n"
    )
    shown = run(app, "alerts", "show", known)
    assert "since     2026-01-05 16:00:00, decided 2026-01-05 16:01:00" in shown
    assert "acknowledge\tacknowledged\t王工\t去现场" in shown
    assert json.loads(run(app, "alerts", "list", "--json"))[0]["acknowledged_by"] == "王工"


def test_an_unknown_alert_is_refused_in_one_line(app: typer.Typer, data: Path) -> None:
    with pytest.raises(AlertError, match="there is none with this id"):
        runner.invoke(app, ["alerts", "show", "feed"], catch_exceptions=False)
    assert run(app, "alerts", "list") == "no alerts\n"


def test_looking_where_nothing_ever_ran_creates_nothing(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["alerts", "list"], ["quarantine", "list"], ["quarantine", "redecode"]):
        with pytest.raises(SchemaError, match="expected an existing file, got none; start 'undercity run' first"):
            runner.invoke(app, words, catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_a_loggers_password_is_covered_where_its_packet_is_shown(app: typer.Typer, data: Path) -> None:
    packet = b"##0040ST=32;CN=2011;PW=sesame;MN=A1;CP=&&x=1&&0000"
    with operations(sqlite_file(data)) as engine:
        Quarantine(engine).add([Held(5, 0, Delivery("hj212/A1/up", packet, T0), 3, "wrong CRC", codec="hj212")])
    shown = run(app, "quarantine", "show", "1")
    assert "sesame" not in shown
    assert "******" in shown


def test_a_frame_is_shown_with_its_offset_and_decodes_after_the_device_is_registered(
    app: typer.Typer, data: Path
) -> None:
    body = b'{"v":1,"id":"WP-7","t":"2026-01-05T08:00:00Z","m":{"pressure_kpa":412.5}}'
    topic = "city/pudong/water_pressure/WP-7/up"
    with operations(sqlite_file(data)) as engine:
        Quarantine(engine).add([Held(5, 0, Delivery(topic, body, T0), 3, "WP-7: not registered")])
    assert "1 held, 0 redecoded, 0 dropped" in run(app, "quarantine", "list")
    shown = run(app, "quarantine", "show", "1")
    assert "reason   WP-7: not registered" in shown
    assert "> 00000000   7b  22  76 [22] 3a" in shown
    assert "1 tried, 0 put into the journal again, 1 still refused" in run(app, "quarantine", "redecode")
    with operations(sqlite_file(data)) as engine:
        SqlRegistry(engine).put(devices=[Device(id="WP-7", kind="water_pressure")])
    assert "1 tried, 1 put into the journal again, 0 still refused" in run(app, "quarantine", "redecode")
    journal = Journal(data / "journal.db")
    assert journal.read(0)[0].payloads == [body]
    journal.close()
    assert "0 held, 1 redecoded" in run(app, "quarantine", "list", "--all")


def test_data_that_waited_for_their_birth_decode_with_what_the_last_snapshot_remembers(
    app: typer.Typer, data: Path
) -> None:
    with operations(sqlite_file(data)) as engine:
        device = Device(
            id="WP-7",
            kind="water_pressure",
            codec="sparkplug",
            address="City/Edge/Pump",
            settings={"fields": {"Pressure": "pressure_kpa"}},
        )
        SqlRegistry(engine).put(devices=[device])
        by_alias = made({"alias": 7, "double_value": 410.0}, seq=2)
        Quarantine(engine).add([Held(5, 0, Delivery(topic("DDATA"), by_alias, T0), 9, "the birth is missing")])
        fleet = build(load_kinds(), SqlRegistry(engine).entries())
    assert "0 put into the journal again, 1 still refused" in run(app, "quarantine", "redecode")
    memory: dict[str, Any] = {}
    born(memory, 3, PRESSURE)
    state = capture(Engine(fleet, EngineSettings()), 5, {"sparkplug:City/Edge": memory})
    SnapshotFolder(data / "snapshots").save(state)
    assert "1 put into the journal again, 0 still refused" in run(app, "quarantine", "redecode")


def test_a_place_follows_the_registry(tmp_path: Path) -> None:
    with operations(sqlite_file(tmp_path)) as engine:
        registry = SqlRegistry(engine)
        registry.put(
            devices=[Device(id="WP-7", kind="water_pressure", site="S-1", district="pudong")],
            sites=[Site(id="S-1", name="滨江泵站", address="人民路 12 号")],
            gateways=[Gateway(id="GW-1", site="S-1")],
        )
        clock = iter(range(0, 1000, 10))
        places = Places(registry, lambda: next(clock))
        assert places("WP-7") == Place("滨江泵站", "人民路 12 号", "pudong")
        assert places("GW-1") == Place("滨江泵站", "人民路 12 号", "")
        assert places("WP-8") is None
        registry.put(devices=[Device(id="WP-8", kind="water_pressure", district="xuhui")])
        assert places("WP-8") == Place("", "", "xuhui")
