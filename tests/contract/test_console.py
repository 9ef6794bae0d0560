"""The console's pages, endpoints and live updates over a city in memory, through its real ASGI app or a real socket."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

import httpx
import numpy as np
import pytest

import dashboards.console
from dashboards.console.serve import ConsoleServer
from dashboards.console.settings import ConsoleSettings
from dashboards.console.shown import free_number, measured, number
from dashboards.console.state import STATES, Surveyor, find
from dashboards.console.text import TEXTS, Words
from dashboards.console.views.api import bucket_s
from dashboards.errors import ConsoleError
from devices.fleet import Entry, build
from ingest.timeseries.ports import Latest
from tests.support.console_fixture import KINDS, FakeCity, console_app, wall_us
from tests.support.console_server import QUICK, serving, wait_for

HOSTILE = '<script>alert("x")</script>'
BANNER = "DATA STALE · 数据中断"  # said in both languages wherever it is said
FOLDER = Path(dashboards.console.__file__).parent


@pytest.fixture
def city() -> FakeCity:
    return FakeCity(wall_us, per_kind=30, hostile=HOSTILE)


@pytest.fixture
def server(city: FakeCity) -> Iterator[ConsoleServer]:
    running = ConsoleServer(console_app(city, QUICK), QUICK)
    yield running
    running.close()


@pytest.fixture
def client(server: ConsoleServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, follow_redirects=True) as client:
        yield client


@pytest.fixture(scope="module")
def calm_server() -> Iterator[ConsoleServer]:
    """A console over a city where nothing happens, shared by the tests that only look."""
    running = ConsoleServer(console_app(FakeCity(wall_us, per_kind=30, hostile=HOSTILE), QUICK), QUICK)
    yield running
    running.close()


@pytest.fixture
def reader(calm_server: ConsoleServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=calm_server.url, follow_redirects=True) as client:
        yield client


# texts


@pytest.mark.parametrize("key", TEXTS)
def test_every_text_exists_in_both_languages_with_the_same_fields(key: str) -> None:
    text = TEXTS[key]
    fields = [{name for _, name, _, _ in Formatter().parse(side) if name} for side in text]
    assert all(side.strip() for side in text)
    # Chinese names what was expected in Chinese.
    assert {name.removesuffix("_zh") for name in fields[0]} == fields[1]


def test_templates_and_scripts_use_known_texts_only_and_hold_none_of_their_own() -> None:
    used = set()
    for path in (FOLDER / "templates").iterdir():
        source = path.read_text("utf-8")
        used |= set(re.findall(r"""\bt\(\s*["'](\w+)["'][,)]""", source))
        source = re.sub(r"{% block (events|watch_\w+) %}.*?{% endblock %}", "", source, flags=re.DOTALL)
        visible = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}|<[^>]*>", "", source, flags=re.DOTALL).replace(
            "DATA STALE · 数据中断", ""
        )
        assert not re.search(r"[A-Za-z一-鿿]{2,}", visible), path.name
    for path in (FOLDER / "static").glob("*.js"):
        source = path.read_text("utf-8")
        used |= {f"js_{key}" for key in re.findall(r"""\bsay\("(\w+)"[,)]""", source)}
        assert not re.search(r"[一-鿿]", source), path.name
    assert used - set(TEXTS) == set()
    assert len(used) > 60


def test_a_number_has_the_decimals_of_its_quantity_and_nothing_is_a_dash() -> None:
    assert number(412.45, 1) == "412.4"
    assert number(float("nan"), 1) == "—"
    assert free_number(None) == "—"
    assert measured(12.0, "degC") == "12°C"
    assert measured(0.5, "m3/h") == "0.5 m³/h"


# pages


@pytest.mark.parametrize(
    "path", ["/", "/devices/WA-0003", "/devices/WA-0003?hours=168", "/?kind=manhole_cover&q=12"]
)
@pytest.mark.parametrize(("language", "tag"), [("zh", "zh-CN"), ("en", "en")])
def test_a_page_is_whole_in_either_language(reader: httpx.Client, path: str, language: str, tag: str) -> None:
    answer = (
        reader.get(path, params={"lang": language}) if "?" not in path else reader.get(f"{path}&lang={language}")
    )
    assert answer.status_code == 200
    assert f'<html lang="{tag}">' in answer.text
    assert Words(language)("product") in answer.text


def test_a_language_once_chosen_is_kept(reader: httpx.Client) -> None:
    reader.get("/", params={"lang": "en"})
    assert '<html lang="en">' in reader.get("/devices/WA-0003").text


def test_the_overview_lists_the_most_severe_alert_first_with_shape_number_and_words(
    client: httpx.Client, city: FakeCity
) -> None:
    city.raise_alert("WA-0004", "low_pressure", observed=121.5)
    city.raise_alert("MA-0002", "cover_moved", observed=31.0)
    page = client.get("/", params={"lang": "en"}).text
    assert page.index("cover moved") < page.index("pressure too low")
    assert re.search(
        r'class="priority p1"><span aria-hidden="true">1</span><span class="unseen">priority 1, high',
        page,
        re.IGNORECASE,
    )
    assert "121.5 kPa &lt; 140 kPa" in page


def test_the_overview_counts_silent_and_alarming_devices(client: httpx.Client, city: FakeCity) -> None:
    city.raise_alert("WA-0004", "low_pressure")
    rows = client.get("/api/latest", params={"kind": "water_pressure", "limit": 1000}).json()
    states = [row["state"] for row in rows["devices"].values()]
    assert states.count("alarming") == 1
    assert states.count("silent") == 1
    assert rows["found"] == 31


def test_times_are_shown_in_the_city_s_zone() -> None:
    at = 1_767_600_000 * 1_000_000  # 2026-01-05T08:00:00Z
    city = FakeCity(lambda: at, per_kind=3)
    alert = city.raise_alert("WA-0001", "low_pressure", ago_s=0)
    with serving(city) as client:
        assert "2026-01-05 16:00:00" in client.get(f"/alerts/{alert}").text


def test_an_alert_s_page_shows_why_where_since_when_and_the_evidence(client: httpx.Client, city: FakeCity) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure", observed=121.5)
    page = client.get(f"/alerts/{alert}", params={"lang": "en"}).text
    for part in (
        "low_pressure · v1 · limit",
        "121.5 kPa",
        "140 kPa",
        "2 min",
        "hold_s = 120",
        "泵站 S-0004",
        "青山区养护一队",
        alert,
    ):
        assert part in page
    assert 'data-quantity="pressure_kpa"' in page


def test_a_hostile_name_is_text_everywhere(client: httpx.Client, city: FakeCity) -> None:
    city.raise_alert(HOSTILE, "low_pressure")
    pages = [
        client.get("/"),
        client.get("/", params={"q": HOSTILE}),
        client.get(f"/devices/{HOSTILE.replace('/', '%2F')}"),
    ]
    pages += [client.get("/devices/" + "%3Cscript%3E"), client.get("/", params={"kind": "<script>"})]
    for page in pages:
        assert "<script>alert" not in page.text
        assert "<script>" not in page.text


def test_an_empty_city_says_how_devices_come_in() -> None:
    with serving(FakeCity(wall_us, per_kind=0)) as client:
        page = client.get("/").text
    assert "undercity devices import census.csv" in page
    assert "没有告警" in page


def test_a_store_that_fails_is_said_on_the_page_and_the_alerts_stay(client: httpx.Client, city: FakeCity) -> None:
    city.raise_alert("WA-0004", "low_pressure")
    city.store_fails = True
    page = client.get("/", params={"lang": "en"})
    assert page.status_code == 200
    assert "Latest values cannot be read: store: it is switched off" in page.text
    assert "pressure too low" in page.text


def test_a_page_of_a_stopped_pipeline_says_data_stale_before_any_script_runs(
    client: httpx.Client, city: FakeCity
) -> None:
    assert 'role="alert" hidden' in client.get("/").text
    city.stop()
    wait_for(lambda: 'role="alert" hidden' not in client.get("/").text)
    assert 'class="is-stale"' in client.get("/").text


def test_ten_thousand_devices_are_filtered_and_paged_within_a_second() -> None:
    city = FakeCity(wall_us, per_kind=10_000)
    with serving(city) as client:
        client.get("/")
        start = time.monotonic()
        page = client.get("/", params={"kind": "water_pressure", "q": "WA-99", "page": "2"}).text
        assert time.monotonic() - start < 1
    assert len(re.findall(r'<tr data-device="WA-99\d\d"', page)) == 50
    assert "第 2 / 2 页，共 100 台" in page


# refusals and security


@pytest.mark.parametrize(
    ("path", "status", "line"),
    [
        ("/nothing", 404, "There is no page /nothing."),
        ("/devices/NOPE", 404, "Device NOPE is not registered; check the id."),
        ("/alerts/NOPE", 404, "There is no alert NOPE."),
        ("/?lang=fr", 400, "Parameter lang: expected one of zh, en, got &#39;fr&#39;; nothing was looked up."),
        ("/?page=0", 400, "Parameter page: expected a whole number from 1 to 1000000"),
        ("/?colour=red", 400, "Unknown parameter colour; expected one of kind, q, state, page, lang."),
        ("/?q=a&q=b", 400, "Parameter q: expected one value"),
        ("/devices/WA-0003?hours=5", 400, "Parameter hours: expected one of 1, 6, 24, 168"),
    ],
)
def test_a_wrong_address_is_one_clear_line_in_both_languages(
    reader: httpx.Client, path: str, status: int, line: str
) -> None:
    answer = reader.get(path)
    assert answer.status_code == status
    assert line in answer.text
    assert '<p lang="zh-CN">' in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "",
        "device=WA-0003",
        "device=WA-0003&quantity=nope",
        "device=WA-0003&quantity=tilt_deg",
        "device=WA-0003&quantity=pressure_kpa&hours=2",
        "device=WA-0003&quantity=pressure_kpa&from=5",
        "device=WA-0003&quantity=pressure_kpa&from=9&to=5",
        "device=WA-0003&quantity=pressure_kpa&from=0&to=99999999999",
        "device=WA-0003&quantity=pressure_kpa&from=1&to=2&hours=6",
        "device=WA-0003&quantity=pressure_kpa&hours=6&hours=1",
        "device=WA-0003&quantity=pressure_kpa&from=１&to=2",
    ],
)
def test_a_bad_history_question_is_a_400_in_one_line(reader: httpx.Client, query: str) -> None:
    answer = reader.get(f"/api/history?{query}")
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]
    assert answer.json()["error_zh"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.example", "127.0.0.1@evil", "", "[::1"]
)
def test_a_foreign_host_name_is_refused(reader: httpx.Client, host: str) -> None:
    answer = reader.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "Refused" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8400", "localhost", "LOCALHOST:9", "[::1]:8400"])
def test_our_own_names_are_answered(reader: httpx.Client, host: str) -> None:
    assert reader.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/alerts", "/static/console.css", "/static/nothing"])
def test_every_answer_carries_the_security_headers(reader: httpx.Client, path: str) -> None:
    headers = reader.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] in {"no-store", "no-cache"}


def test_pages_hold_no_inline_script_style_or_foreign_address(client: httpx.Client, city: FakeCity) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    for path in ("/", "/devices/WA-0004", f"/alerts/{alert}", "/nothing"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:", page)
        assert not re.search(r"""(src|href|action)="(https?:)?//""", page)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_reading_is_allowed(reader: httpx.Client, method: str) -> None:
    answer = reader.request(method, "/")
    assert answer.status_code == 405
    assert re.search(r"Refused: / takes [A-Z, ]*GET[A-Z, ]* only", answer.text)


def test_an_acknowledgement_is_recorded_with_its_person_and_only_from_our_own_page(
    client: httpx.Client, city: FakeCity
) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    path = f"/alerts/{alert}/acknowledge"
    foreign = client.post(path, data={"by": "Mallory"}, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert client.post(path, data={"by": "Nobody"}).status_code == 403
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.post(path, data={"by": "  "}, headers=own).status_code == 400
    assert client.post(path, data={"by": "x" * 5000}, headers=own).status_code == 400
    assert not city.get(alert).acknowledged_by  # type: ignore[union-attr]
    page = client.post(path, data={"by": "李 工"}, headers=own)
    assert page.status_code == 200
    assert "李 工" in page.text
    assert city.get(alert).acknowledged_by == "李 工"  # type: ignore[union-attr]
    assert 'name="by"' not in page.text
    city.clear_alert(alert)
    late = client.post(path, data={"by": "李 工"}, headers=own)
    assert (late.status_code, "it cannot be acknowledged" in late.text) == (409, True)


# data


def test_a_long_range_comes_as_a_band_and_a_short_one_raw(reader: httpx.Client) -> None:
    ask = {"device": "WA-0003", "quantity": "pressure_kpa"}
    long = reader.get("/api/history", params={**ask, "hours": "168"}).json()
    assert long["every_s"] == 1800
    assert len(long["low"]) == len(long["v"]) == len(long["t"]) > 300
    short = reader.get("/api/history", params={**ask, "hours": "6"}).json()
    assert (short["every_s"], short["low"]) == (0, None)
    assert short["limits"] == [{"rule": "low_pressure", "side": "low", "value": 140}]
    assert short["plausible"] == [100, 700]


def test_a_gap_in_the_readings_breaks_the_line(reader: httpx.Client) -> None:
    found = reader.get(
        "/api/history", params={"device": "WA-0003", "quantity": "pressure_kpa", "hours": "6"}
    ).json()
    breaks = [at for at, value in enumerate(found["v"]) if value is None]
    assert len(breaks) == 1
    assert found["t"][breaks[0] + 1] - found["t"][breaks[0] - 1] > 3500


@pytest.mark.parametrize(
    ("hours", "cadence_s", "bucket"),
    [(1, 60, None), (24, 60, None), (168, 60, 1800), (168, 1, 1800), (24 * 365, 60, 86400)],
)
def test_buckets_follow_range_and_cadence(hours: int, cadence_s: float, bucket: int | None) -> None:
    assert bucket_s(hours * 3600, cadence_s) == bucket


def test_alerts_are_not_sent_again_while_the_book_is_unchanged(client: httpx.Client, city: FakeCity) -> None:
    city.raise_alert("WA-0004", "low_pressure")
    answer = client.get("/api/alerts")
    assert answer.json()["alerts"][0]["title"] == {"zh": "水压过低", "en": "pressure too low"}
    assert answer.json()["alerts"][0]["evidence"]["limit"] == 140
    tag = {"if-none-match": answer.headers["etag"]}
    assert client.get("/api/alerts", headers=tag).status_code == 304
    city.raise_alert("WA-0005", "low_pressure")
    assert client.get("/api/alerts", headers=tag).status_code == 200


def test_a_device_that_never_reported_is_silent_and_a_departed_one_is_not_counted() -> None:
    city = FakeCity(wall_us, per_kind=6)
    found = city.latest(KINDS["water_pressure"], wall_us())
    latest = replace(found, devices=[*found.devices[1:], "GONE"])
    now = Surveyor(3).survey(city.fleet().kinds["water_pressure"], latest, {"WA-0001": 2, "X": 1}, wall_us())
    assert STATES[now.state[now.index["WA-0000"]]] == "silent"
    counts = now.counts()
    assert counts.reporting + counts.silent + counts.alarming + counts.waiting == 6
    assert counts.worst == 2
    assert now.ids[find(now, "", "")[0]] == "WA-0001"


@pytest.mark.parametrize(
    ("ago_s", "state"), [(-5.0, "waiting"), (0.0, "waiting"), (90.0, "waiting"), (90.1, "silent"), (1e9, "silent")]
)
def test_a_new_device_is_waited_for_three_of_its_own_periods_before_it_is_silent(ago_s: float, state: str) -> None:
    now_us = wall_us()
    new = Entry("WA-1", "water_pressure", cadence_s=30, registered_us=now_us - int(ago_s * 1e6))
    old = Entry("WA-2", "water_pressure", registered_us=1)
    fleet = build(KINDS, [new, old]).kinds["water_pressure"]
    kind = KINDS["water_pressure"]
    latest = Latest(kind, ["WA-2"], np.array([[now_us, 0]]), np.zeros((1, 2)), np.zeros((1, 2), dtype=np.uint8))
    now = Surveyor(3).survey(fleet, latest, {}, now_us)
    assert [STATES[one] for one in now.state] == [state, "reporting"]
    counts = now.counts()
    assert (counts.waiting, counts.silent, counts.reporting) == (state == "waiting", state == "silent", 1)


def test_a_new_device_that_already_alarms_is_alarming() -> None:
    fleet = build(KINDS, [Entry("WA-1", "water_pressure", registered_us=wall_us())]).kinds["water_pressure"]
    now = Surveyor(3).survey(fleet, Latest(KINDS["water_pressure"]), {"WA-1": 1}, wall_us())
    assert STATES[now.state[0]] == "alarming"


@pytest.mark.parametrize(("language", "said"), [("zh", "尚未上报"), ("en", "not yet heard from")])
def test_a_new_device_is_said_to_be_not_yet_heard_from(language: str, said: str) -> None:
    city = FakeCity(wall_us, per_kind=2)
    city.register("WA-NEW", "water_pressure")
    with serving(city) as client:
        overview = client.get("/", params={"lang": language}).text
        page = client.get("/devices/WA-NEW", params={"lang": language}).text
        chosen = client.get("/", params={"lang": language, "state": "waiting"}).text
    assert re.search(rf'class="n waiting"><i>1</i> <small>[^<]*{said}', overview)
    assert f'data-state="waiting" data-rank="0">{said}<' in page
    assert 'data-device="WA-NEW"' in chosen
    assert 'data-device="WA-0001"' not in chosen


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"language": "fr"}, "console.language"),
        ({"port": 70_000}, "console.port"),
        ({"time_zone": "Mars/Olympus"}, "console.time_zone"),
        ({"stale_after_s": 0.5}, "console.stale_after_s"),
        ({"page_rows": 0}, "console.page_rows"),
        ({"host": "0.0.0.0"}, "console.allowed_hosts"),  # noqa: S104  refused, which is the point
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConsoleError, match=said):
        ConsoleSettings(**wrong)
