"""The broker or the time-series store goes away under load and comes back: nobody loses anything by it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deploy.demo.count import alerts_of
from tests.support.influx import Influxd, InfluxServer, onboarded, require_influxd
from tests.support.planned import KIND, plan
from tests.support.system import until
from tests.support.whole_city import WholeCity, assert_alerts, assert_balanced, whole_city

pytestmark = pytest.mark.scenario


def test_a_broker_restart_under_load_loses_nothing(tmp_path: Path) -> None:
    load = plan(seed=3)
    with whole_city(tmp_path) as city:
        city.system.register(load.registered())
        city.start()
        feed = city.feed(load.packets, rate=1_500.0)
        until(lambda: feed.acknowledged > len(load.packets) / 3, "a third of the load")
        city.broker.stop()
        city.broker.start()
        until(lambda: feed.acknowledged == len(load.packets), "the broker to take everything")
        city.settle(load.last)
        assert feed.repeated > 0
        assert_balanced(city, load)
        assert city.said("ingest-0", "broker_link_down") >= 1
        assert sessions(city) == ["new", "continued"]


def test_a_broker_that_is_killed_forgets_us_and_we_come_back_by_ourselves(tmp_path: Path) -> None:
    """What it had not yet handed over dies with it; all else stays, and what is sent afterwards arrives."""
    before, after = plan(count=60, rounds=18), plan(count=60, rounds=18, first=1_000)
    with whole_city(tmp_path) as city:
        city.system.register(before.registered() + after.registered())
        city.start()
        city.send(before.packets)
        until(lambda: city.place(before.last) is not None, "the first load in the journal")
        city.broker.kill()
        city.broker.start()
        until(lambda: len(sessions(city)) == 2, "ingest to find the broker again")
        city.send(after.packets)
        city.settle(after.last)
        assert_balanced(city, before, after)
        assert city.said("ingest-0", "broker_link_down") >= 1


def sessions(city: WholeCity) -> list[object]:
    """What the broker knew of us at each connection."""
    return [one["session"] for one in city.entries("ingest-0") if one.get("event") == "broker_link_up"]


@pytest.mark.influx
def test_alerts_go_on_while_influxdb_is_down_and_all_readings_arrive_after(tmp_path: Path) -> None:
    require_influxd()
    before, during = plan(count=60, rounds=18), plan(count=60, rounds=18, first=1_000)
    folder = tmp_path / "influx"
    folder.mkdir()
    influxd = Influxd(folder)
    influxd.start()
    try:
        server = onboarded(influxd.url)
        with whole_city(tmp_path, influx_settings(server, tmp_path)) as city:
            city.system.register(before.registered() + during.registered())
            city.start()
            city.send(before.packets)
            until(lambda: points(server) == Counter(before.readings), "the first load in InfluxDB")
            influxd.stop()
            city.send(during.packets)
            until(lambda: raised(city) >= during.alerts, "the alerts of the outage")
            city.system.kill("processor")  # even then
            city.start("processor")
            influxd.start()
            until(lambda: points(server) == Counter(before.readings | during.readings), "all readings in InfluxDB")
            until(lambda: city.said("processor", "influx_recovered") == 1, "the log to say so")
            city.settle(during.last)
            assert_alerts(city, (before, during))
            assert city.said("processor", "influx_unavailable") >= 1
    finally:
        influxd.stop()


def influx_settings(server: InfluxServer, folder: Path) -> dict[str, dict[str, object]]:
    """Sections of the settings file that make `server` the store."""
    token = folder / "influx.token"
    token.write_text(server.token)
    with server.client() as client:
        client.buckets_api().create_bucket(bucket_name="raw", org=server.org)
    influx = {"url": server.url, "org": server.org, "bucket": "raw", "token_file": str(token)}
    return {"store": {"kind": "influx"}, "influx": influx}


def points(server: InfluxServer) -> Counter[tuple[str, int]]:
    """(device, event time us) of every reading that the server has."""
    query = (
        f'from(bucket: "raw") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "{KIND}" '
        'and r._field == "tilt_deg") |> keep(columns: ["_time", "device"])'
    )
    with server.client() as client:
        records = list(client.query_api().query_stream(query))
    return Counter((one["device"], round(one.get_time().timestamp() * 1000) * 1000) for one in records)


def raised(city: WholeCity) -> set[tuple[str, int]]:
    """(device, onset us) of every alert so far."""
    return {(alert.device, alert.onset_us) for alert in alerts_of(city.system.settings)}
