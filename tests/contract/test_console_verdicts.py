"""Crews and operators say on the alert's page whether it was true; the real book keeps it for the backtest."""

from __future__ import annotations

import html
from collections.abc import Iterator

import httpx
import pytest

from dashboards.console.serve import ConsoleServer
from tests.support.console_fixture import FakeCity, FakeVerdicts, console_app, wall_us
from tests.support.console_server import QUICK

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def city() -> FakeCity:
    return FakeCity(wall_us, per_kind=6)


@pytest.fixture
def verdicts() -> FakeVerdicts:
    return FakeVerdicts()


@pytest.fixture
def client(city: FakeCity, verdicts: FakeVerdicts) -> Iterator[httpx.Client]:
    server = ConsoleServer(console_app(city, QUICK, verdicts=verdicts), QUICK)
    with httpx.Client(base_url=server.url, follow_redirects=True, headers={"origin": server.url}) as client:
        client.get("/", params={"lang": "en"})
        yield client
    server.close()


def test_a_verdict_is_kept_with_its_author_and_the_newest_stands_first(
    client: httpx.Client, city: FakeCity, verdicts: FakeVerdicts
) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    assert "Nobody has said yet" in client.get(f"/alerts/{alert}").text
    path = f"/alerts/{alert}/verdict"
    client.post(path, data={"by": "养护一队", "verdict": "false", "note": "gauge iced up"})
    page = client.post(path, data={"by": HOSTILE, "verdict": "true", "note": HOSTILE}).text
    assert [(one.alert, one.true, one.by, one.note) for one in verdicts.said] == [
        (alert, False, "养护一队", "gauge iced up"),
        (alert, True, HOSTILE, HOSTILE),
    ]
    assert page.index("<b>true alarm</b>") < page.index(
        "<b>false alarm</b> · <bdi>养护一队</bdi> · <bdi>gauge iced up"
    )
    assert HOSTILE not in page


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"by": "", "verdict": "true"}, "Your name or staff number: expected 1 to 40 characters"),
        ({"by": "w"}, "What was found on the spot: expected true or false, got —; nothing was changed."),
        ({"by": "w", "verdict": "maybe"}, "expected true or false, got 'maybe'"),
        ({"by": "w", "verdict": "true", "note": "x" * 201}, "What was found: expected at most 200 characters"),
        ({"by": "w", "verdict": "true", "note": "a\u202eb"}, "What was found: expected at most 200 characters"),
    ],
)
def test_a_verdict_without_name_or_word_is_refused_in_one_line(
    client: httpx.Client, city: FakeCity, verdicts: FakeVerdicts, fields: dict[str, str], line: str
) -> None:
    answer = client.post(f"/alerts/{city.raise_alert('WA-0004', 'low_pressure')}/verdict", data=fields)
    assert answer.status_code == 400
    assert line in html.unescape(answer.text)
    assert verdicts.said == []


def test_a_verdict_of_another_site_or_on_no_alert_is_refused(
    client: httpx.Client, city: FakeCity, verdicts: FakeVerdicts
) -> None:
    path = f"/alerts/{city.raise_alert('WA-0004', 'low_pressure')}/verdict"
    fields = {"by": "w", "verdict": "true"}
    assert client.post(path, data=fields, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/alerts/NOPE/verdict", data=fields).status_code == 404
    assert verdicts.said == []


def test_a_console_without_verdicts_has_no_form_for_one(city: FakeCity) -> None:
    server = ConsoleServer(console_app(city, QUICK), QUICK)
    with httpx.Client(base_url=server.url, headers={"origin": server.url}) as client:
        alert = city.raise_alert("WA-0004", "low_pressure")
        assert "/verdict" not in client.get(f"/alerts/{alert}").text
        assert client.post(f"/alerts/{alert}/verdict", data={"by": "w", "verdict": "true"}).status_code == 404
    server.close()
