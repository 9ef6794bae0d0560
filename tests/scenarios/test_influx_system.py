# ruff: noqa: F811  fixtures are imported by name
"""The whole path with InfluxDB as its store: real broker, real processes, real server, set up by our own command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from influxdb_client import InfluxDBClient

from dashboards.grafana import queries
from deploy.brokers import MosquittoBroker
from deploy.wiring import open_database
from devices.kinds import load
from devices.registry import Device
from processors.alerts.book import AlertBook
from tests.support.broker import Publisher, mosquitto  # noqa: F401  a fixture
from tests.support.influx import Influxd, require_influxd
from tests.support.system import System, until

pytestmark = [pytest.mark.influx, pytest.mark.scenario]
KIND = load()["manhole_cover"]
DEVICES = [f"MC-{n:04d}" for n in range(20)]
MOVED = "MC-0007"


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influxd]:
    require_influxd()
    (tmp_path / "influx").mkdir()
    own = Influxd(tmp_path / "influx")
    own.start()
    yield own
    own.stop()


@pytest.fixture
def system(influx: Influxd, mosquitto: MosquittoBroker, tmp_path: Path) -> Iterator[System]:
    secrets = tmp_path / "secrets"
    command = ["influx", "setup", "--url", influx.url, "--secrets-dir", str(secrets)]
    environment = {name: value for name, value in os.environ.items() if name != "INFLUX_TOKEN"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy", *command],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own = System(
        tmp_path,
        mosquitto.port,
        {
            "store": {"kind": "influx"},
            "influx": {"url": influx.url, "token_file": str(secrets / "pipeline.token")},
        },
    )
    own.register(Device(id=name, kind=KIND.name, district="青山区", site="S1") for name in DEVICES)
    yield own
    own.close()


def publish(port: int, device: str, values: dict[str, float], at_ms: int, publisher: Publisher) -> None:
    body = json.dumps({"v": 1, "id": device, "t": at_ms, "m": values}).encode()
    publisher.send(f"city/qingshan/{KIND.name}/{device}/up", [body])


def answered(influx: Influxd, folder: Path, query: str) -> list[dict[str, object]]:
    """What a board is told, asked with the token that boards have."""
    token = (folder / "secrets" / "grafana.token").read_text().strip()
    now = time.time()
    for name, value in {
        "v.timeRangeStart": f"{int(now) - 3600}",
        "v.timeRangeStop": f"{int(now) + 60}",
        "v.windowPeriod": "1s",
        "${device:regex}": MOVED,
    }.items():
        query = query.replace(name, value)
    with InfluxDBClient(influx.url, token, org="undercity", timeout=20_000) as client:
        return [record.values for one in client.query_api().query(query) for record in one.records]


def test_readings_and_alerts_arrive_in_influx_also_over_an_outage(
    system: System, influx: Influxd, mosquitto: MosquittoBroker, tmp_path: Path
) -> None:
    system.start("ingest-0", "processor")
    until(lambda: system.status("ingest-0").get("connected") == 1, "the link")
    publisher = Publisher(mosquitto.port)
    calm = {quantity.name: sum(quantity.plausible) / 2 for quantity in KIND.quantities}
    calm |= {"tilt_deg": 0.5, "water_level_m": 0.1, "shock_g": 0.0}
    first_ms = int(time.time() * 1000) - 60_000
    for device in DEVICES:
        publish(mosquitto.port, device, calm, first_ms, publisher)
    publisher.wait()
    until(
        lambda: len(answered(influx, tmp_path, queries.course(KIND, KIND.quantity("tilt_deg")))) == 1, "a reading"
    )
    count = answered(influx, tmp_path, queries.reporting(KIND))
    assert [row["_value"] for row in count] == [len(DEVICES)]

    influx.stop()
    publish(mosquitto.port, MOVED, calm | {"tilt_deg": 60.0}, first_ms + 30_000, publisher)
    publish(mosquitto.port, MOVED, calm | {"tilt_deg": 60.0}, first_ms + 50_000, publisher)
    publisher.wait()
    publisher.close()
    book = AlertBook(open_database(system.settings))
    until(lambda: any(alert.device == MOVED for alert in book.active()), "the alert, while the server is away")

    influx.start()
    until(lambda: bool(answered(influx, tmp_path, queries.alert_marks(KIND, "zh"))), "the mark on the board")
    marks = answered(influx, tmp_path, queries.alert_marks(KIND, "zh"))
    alerts = [alert for alert in book.active() if alert.device == MOVED]
    titles = {use.rule: use.title.zh for use in KIND.detectors}
    assert {row["text"] for row in marks} == {f"{MOVED} {titles[alert.rule]}" for alert in alerts}
    assert {row["tags"] for row in marks} == {alert.severity for alert in alerts}
    until(
        lambda: len(answered(influx, tmp_path, queries.course(KIND, KIND.quantity("tilt_deg")))) == 3, "the rest"
    )
    system.stop()
    assert "Traceback" not in system.log("processor")
