"""Every question the boards ask is understood by a real InfluxDB and answered rightly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from dashboards.grafana import queries
from devices.spec import Kind
from ingest.timeseries.lines import mark_lines
from ingest.timeseries.ports import Mark
from tests.support.console_fixture import KINDS
from tests.support.influx import influx_server

pytestmark = [pytest.mark.influx, pytest.mark.scenario]

KIND = KINDS["water_pressure"]
PRESSURE, BATTERY = KIND.quantities
DEVICES = 30
SILENT = 7  # was heard an hour ago, and not since


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDBClient]:
    with influx_server(tmp_path_factory.mktemp("influx")) as server, server.client() as client:
        known = {bucket.name for bucket in client.buckets_api().find_buckets(limit=100).buckets}
        for name in {queries.RAW, queries.HOURLY} - known:
            client.buckets_api().create_bucket(bucket_name=name)
        writing = client.write_api(write_options=SYNCHRONOUS)
        writing.write(queries.RAW, record="\n".join(raw_lines(time.time_ns())))
        hour = time.time_ns() // 3_600_000_000_000 * 3_600_000_000_000
        means = [
            f"water_pressure,device=WA-3,district=青山区,stat={stat} pressure_kpa={value} {hour}"
            for stat, value in (("mean", 303.0), ("min", 1.0), ("max", 999.0), ("count", 60.0))
        ]
        writing.write(queries.HOURLY, record="\n".join(means))
        yield client


def raw_lines(now_ns: int) -> Iterator[str]:
    for device in range(DEVICES):
        for minute in range(60):
            at = now_ns - (minute * 60 + (3600 if device == SILENT else 0)) * 10**9
            # The sixth value is judged bad: an outlier no board may draw.
            value, judged = (9999.0, ",quality_pressure_kpa=3i") if minute == 5 else (300.0 + device, "")
            tags = f"device=WA-{device},district=青山区,site=S{device}"
            yield f"water_pressure,{tags} pressure_kpa={value},battery_v=3.6{judged} {at}"
    raised = Mark(
        kind="water_pressure",
        device="WA-3",
        rule="low_pressure",
        severity="medium",
        phase="raise",
        title_zh="水压过低",
        title_en="pressure too low",
        time_us=now_ns // 1000 - 60 * 10**6,
    )
    # Written twice, as after a crash: it stays one mark.
    yield from mark_lines([raised, raised]).decode().splitlines()


def ask(
    influx: InfluxDBClient, query: str, *, hours: int = 1, device: str = "(WA-3|WA-4)"
) -> list[dict[str, object]]:
    """The rows of `query`, its variables written in as Grafana does."""
    stop = datetime.now(UTC) + timedelta(seconds=1)
    text = query
    for name, value in {
        "v.timeRangeStart": f"{stop - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
        "v.timeRangeStop": f"{stop:%Y-%m-%dT%H:%M:%SZ}",
        "v.windowPeriod": "60000ms",
        "${device:regex}": device,
        "${district:regex}": ".*",
        "${search:regex}": "wa-1",
    }.items():
        text = text.replace(name, value)
    return [record.values for one in influx.query_api().query(text) for record in one.records]


def test_a_course_holds_the_chosen_devices_only_and_no_bad_value(influx: InfluxDBClient) -> None:
    rows = ask(influx, queries.course(KIND, PRESSURE))
    assert {row["device"] for row in rows} == {"WA-3", "WA-4"}
    assert {row["_value"] for row in rows} == {303.0, 304.0}
    assert ask(influx, queries.course(KIND, BATTERY))


def test_a_long_course_reads_the_hourly_means(influx: InfluxDBClient) -> None:
    rows = ask(influx, queries.course(KIND, PRESSURE), hours=24 * 20)
    assert [row["_value"] for row in rows] == [303.0]


def test_newest_and_last_seen(influx: InfluxDBClient) -> None:
    assert {row["_value"] for row in ask(influx, queries.newest(KIND, PRESSURE))} == {303.0, 304.0}
    ages = ask(influx, queries.last_seen(KIND), device=f"WA-{SILENT}")
    assert 3600 <= float(str(ages[0]["_value"])) < 3800
    assert ask(influx, queries.last_seen(KIND), device="never") == []


def test_the_district_s_extremes_counts_and_silent(influx: InfluxDBClient) -> None:
    highest = ask(influx, queries.extreme(KIND, PRESSURE, highest=True))
    assert [row["device"] for row in highest[:2]] == ["WA-29", "WA-28"]
    assert len(highest) == queries.TOP
    lowest = ask(influx, queries.extreme(KIND, PRESSURE, highest=False))
    assert lowest[0]["device"] == "WA-0"
    assert [row["device"] for row in ask(influx, queries.longest_silent(KIND))] == [f"WA-{SILENT}"]
    assert [row["_value"] for row in ask(influx, queries.reporting(KIND))] == [DEVICES - 1]
    assert float(str(ask(influx, queries.newest_age(KIND))[0]["_value"])) < 180


def test_alerts_as_marks_and_as_a_list(influx: InfluxDBClient) -> None:
    assert [row["text"] for row in ask(influx, queries.alert_marks(KIND, "zh"))] == ["WA-3 水压过低"]
    assert ask(influx, queries.alert_marks(KIND, "zh"), device="WA-4") == []
    assert [row["_value"] for row in ask(influx, queries.alert_list("en"))] == ["pressure too low"]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_variables_offer_districts_and_matching_devices(influx: InfluxDBClient, kind: Kind) -> None:
    there = kind is KIND
    assert [row["_value"] for row in ask(influx, queries.districts(kind))] == (["青山区"] if there else [])
    found = {row["_value"] for row in ask(influx, queries.devices(kind))}
    assert found == ({"WA-1", *(f"WA-{n}" for n in range(10, 20))} if there else set())
