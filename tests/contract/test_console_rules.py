"""The console's page of rules: what it shows, what it changes and what it refuses, over a real book of thresholds."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from dashboards.console.serve import ConsoleServer
from dashboards.console.text import Words
from processors.thresholds.book import LEAD_S
from processors.thresholds.change import FOREVER
from tests.support.console_fixture import FakeCity, console_app, wall_us
from tests.support.console_server import QUICK
from tests.support.rule_desk import RuleDesk, rule_desk

HOSTILE = '<script>alert("x")</script>'
ARABIC = "\u0627\u0644\u0645\u0647\u0646\u062f\u0633"
SET = {"kind": "water_pressure", "what": "low_pressure.low", "value": "150", "by": "王工", "do": "set"}
LOOK = {**SET, "do": "preview", "days": "7"}


class Clock:
    """Our clock, which a test may set forward."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return wall_us() + self.ahead_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[RuleDesk]:
    city = FakeCity(clock, per_kind=6, hostile=HOSTILE)
    with rule_desk(tmp_path, city) as desk:
        yield desk


@contextmanager
def served(desk: RuleDesk) -> Iterator[httpx.Client]:
    """A browser of ours that reads English."""
    server = ConsoleServer(console_app(desk.city, QUICK, thresholds=desk), QUICK)
    own = {"origin": server.url}
    with httpx.Client(base_url=server.url, follow_redirects=True, headers=own) as client:
        client.get("/rules", params={"lang": "en"})
        yield client
    server.close()


@pytest.fixture
def client(desk: RuleDesk) -> Iterator[httpx.Client]:
    with served(desk) as client:
        yield client


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, RuleDesk]]:
    """A desk where nothing is ever changed, shared by the tests of what is refused."""
    with rule_desk(tmp_path_factory.mktemp("calm"), FakeCity(wall_us, per_kind=6)) as desk, served(desk) as client:
        yield client, desk


def text_of(answer: httpx.Response) -> str:
    """What a person reads, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def refusal_in(answer: httpx.Response) -> str:
    (line,) = re.findall(r'<p class="refused" role="alert">(.*?)</p>', answer.text)
    return html.unescape(line)


def test_every_rule_is_listed_with_its_declared_numbers_and_nothing_is_changed_yet(client: httpx.Client) -> None:
    page = client.get("/rules").text
    for part in ("pressure too low", "hold_s = 120, hysteresis = 10, low = 140", "device silent", "Nobody has"):
        assert part in page
    assert "cover moved" in client.get("/rules", params={"kind": "manhole_cover"}).text


def test_a_change_is_made_with_its_author_waits_then_holds_and_stands_in_the_history(
    client: httpx.Client, desk: RuleDesk, clock: Clock
) -> None:
    page = client.post("/rules", data={**SET, "scope": "district", "target": "青山区", "reason": "高层小区"})
    assert (page.status_code, str(page.url).split("?")[1][:19]) == (200, "kind=water_pressure")
    (made,) = desk.changes()
    assert (made.value, made.scope, made.target, made.author, made.reason) == (
        150,
        "district",
        "青山区",
        "王工",
        "高层小区",
    )
    assert made.effective_us - made.recorded_us == int(LEAD_S * 1e6)
    said = text_of(page)
    assert "low = 150 · district 青山区 not yet · from" in said
    assert "#1 low_pressure low = 150 · district 青山区 高层小区 王工 ·" in said
    clock.ahead_us = int(LEAD_S * 1e6)
    assert "low = 150 · district 青山区 holds · from" in text_of(client.get("/rules"))


def test_from_and_until_are_times_of_the_city(client: httpx.Client, desk: RuleDesk) -> None:
    said = text_of(client.post("/rules", data={**SET, "from": "2099-01-05 08:00", "until": "2099-03-15T00:00"}))
    (made,) = desk.changes()
    assert made.effective_us == 4_071_254_400 * 10**6  # 2099-01-05T00:00:00Z
    assert "not yet · from 2099-01-05 08:00:00 until 2099-03-15 00:00:00" in said


def test_a_change_is_taken_back_with_a_name_and_stays_in_the_history(
    client: httpx.Client, desk: RuleDesk, clock: Clock
) -> None:
    client.post("/rules", data=SET)
    assert client.post("/rules/1/withdraw", data={"by": " "}).status_code == 400
    assert desk.changes()[0].withdrawn_us == FOREVER
    page = client.post("/rules/1/withdraw", data={"by": "李工"})
    assert page.status_code == 200
    assert desk.changes()[0].withdrawn_by == "李工"
    assert "taken back by 李工" in text_of(page)
    assert "/rules/1/withdraw" not in page.text
    assert client.post("/rules/1/withdraw", data={"by": "another"}).status_code == 200
    assert desk.changes()[0].withdrawn_by == "李工"
    clock.ahead_us = 2 * int(LEAD_S * 1e6)
    assert "王工 · " in text_of(client.get("/rules"))
    assert "ended · from" in text_of(client.get("/rules"))


def test_a_preview_says_what_would_be_gained_changes_nothing_and_keeps_the_form(
    client: httpx.Client, desk: RuleDesk
) -> None:
    page = client.post("/rules", data={**LOOK, "reason": "夜间", "until": "2099-03-15"})
    said = text_of(page)
    assert "Preview: low_pressure low = 150 · all of the kind" in said
    assert "1 alerts by the rule as it is, 2 with the change. Nothing is changed yet." in said
    assert desk.changes() == []
    assert desk.asked == [7.0]
    for kept in ('value="150"', 'value="王工"', 'value="夜间"', 'value="2099-03-15"', "<option selected>7"):
        assert kept in page.text
    assert 'value="low_pressure.low" selected' in page.text
    same = text_of(client.post("/rules", data={**LOOK, "value": "141"}))
    assert "The alerts are the same." in same


@pytest.mark.parametrize(
    ("wrong", "status", "line"),
    [
        ({"what": "nosuch.low"}, 409, "rule 'nosuch' of water_pressure: expected one of low_pressure, silent"),
        ({"what": "low_pressure.nosuch"}, 409, "low_pressure.nosuch of water_pressure: expected one of"),
        ({"what": ""}, 409, "rule '' of water_pressure: expected one of"),
        ({"value": "much"}, 400, "Value: expected a number, got 'much'; nothing was changed."),
        ({"value": ""}, 400, "Value: expected a number, got —; nothing was changed."),
        ({"value": "nan"}, 400, "Value: expected a number, got 'nan'"),
        ({"what": "low_pressure.hold_s", "value": "-1"}, 409, "hold_s >=0, got -1; nothing was changed"),
        ({"by": ""}, 400, "Your name or staff number: expected 1 to 40 characters, got —; nothing was changed."),
        ({"by": "x" * 41}, 400, "Your name or staff number: expected 1 to 40 characters"),
        ({"by": "a\u202eb"}, 400, "Your name or staff number: expected 1 to 40 characters"),
        ({"reason": "x" * 201}, 409, "reason: expected 0 to 200 printable characters"),
        ({"scope": "planet"}, 400, "For: expected one of kind, district, street, group, site, device"),
        ({"scope": "device", "target": "NOPE"}, 409, "device 'NOPE': expected a registered water_pressure"),
        (
            {"scope": "device", "target": "MA-0001"},
            409,
            "device 'MA-0001': expected a water_pressure, got a manhole",
        ),
        ({"scope": "device"}, 409, "target: expected 1 to 128 printable characters, got ''"),
        ({"scope": "site", "target": "S-9999"}, 409, "site 'S-9999': expected one with devices of water_pressure"),
        ({"scope": "group", "target": "g"}, 409, "group 'g': expected one with devices of water_pressure"),
        ({"scope": "street", "target": "x" * 129}, 409, "target: expected 1 to 128"),
        ({"from": "soon"}, 400, "From (empty: now): expected a time such as 2026-01-05 08:00, got 'soon'"),
        (
            {"until": "2020-01-01"},
            409,
            "low_pressure.low: expected an end after its beginning; nothing was changed",
        ),
        ({"days": "3", "do": "preview"}, 400, "Days to look at: expected one of 1, 7, 30, got '3'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_and_the_form_stays_filled(
    calm: tuple[httpx.Client, RuleDesk], wrong: dict[str, str], status: int, line: str
) -> None:
    client, desk = calm
    client.get("/rules", params={"lang": "en"})
    answer = client.post("/rules", data={**SET, "reason": "kept", **wrong})
    assert answer.status_code == status
    assert line in refusal_in(answer)
    assert desk.changes() == []
    assert 'value="kept"' in answer.text or "reason" in wrong
    chinese = refusal_in(client.post("/rules", data={**SET, **wrong}, params={"lang": "zh"}))
    assert re.search(r"[一-鿿]", chinese)


@pytest.mark.parametrize(
    ("method", "path", "status", "line"),
    [
        (
            "GET",
            "/rules?kind=nosuch",
            404,
            "There is no kind nosuch; expected one of water_pressure, manhole_cover.",
        ),
        ("GET", "/rules?colour=red", 400, "Unknown parameter colour"),
        ("POST", "/rules/7/withdraw", 409, "change 7: expected one in the book, there is none with this number"),
        ("POST", "/rules/99999999999999999999/withdraw", 404, "There is no page /rules/9999"),
        ("POST", "/rules/x/withdraw", 404, "There is no page /rules/x/withdraw."),
    ],
)
def test_what_there_is_not_is_said_in_one_line(
    calm: tuple[httpx.Client, RuleDesk], method: str, path: str, status: int, line: str
) -> None:
    answer = calm[0].request(method, path, data={"by": "王工"} if method == "POST" else None)
    assert answer.status_code == status
    assert line in html.unescape(answer.text)


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}])
@pytest.mark.parametrize("path", ["/rules", "/rules/1/withdraw"])
def test_a_form_of_another_site_changes_nothing(
    client: httpx.Client, desk: RuleDesk, path: str, headers: dict[str, str]
) -> None:
    client.post("/rules", data=SET)
    answer = client.post(path, data={**SET, "by": "Mallory"}, headers=headers)
    assert answer.status_code == 403
    assert "came from another site" in answer.text
    assert [(one.author, one.withdrawn_by) for one in desk.changes()] == [("王工", "")]


def test_a_form_without_any_origin_or_of_endless_length_changes_nothing(
    client: httpx.Client, desk: RuleDesk
) -> None:
    with httpx.Client(base_url=client.base_url) as bare:
        assert bare.post("/rules", data=SET).status_code == 403
    assert client.post("/rules", data={**SET, "reason": "x" * 9000}).status_code == 400
    assert desk.changes() == []


@pytest.mark.parametrize("text", [HOSTILE, "\"'><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", ARABIC, "a&b=c;d"])
def test_hostile_text_is_shown_as_text_wherever_it_was_typed(
    client: httpx.Client, desk: RuleDesk, text: str
) -> None:
    fields = {**SET, "by": text[:40], "reason": text, "scope": "device", "target": HOSTILE}
    page = client.post("/rules", data=fields)
    assert page.status_code == 200, refusal_in(page)
    looked = client.post("/rules", data={**fields, "do": "preview", "value": text})
    looked_well = client.post("/rules", data={**fields, "do": "preview"})
    back = client.post("/rules/1/withdraw", data={"by": text[:40]})
    for answer in (page, looked, looked_well, back):
        assert "<script>" not in answer.text
        assert "<img" not in answer.text
    assert desk.changes()[0].reason == text
    assert (
        f"<bdi>{html.escape(text, quote=True).replace('&#x27;', '&#39;').replace('&quot;', '&#34;')}</bdi>"
        in page.text
    )


def test_a_console_without_a_book_has_no_page_of_rules(tmp_path: Path) -> None:
    server = ConsoleServer(console_app(FakeCity(wall_us, per_kind=2), QUICK), QUICK)
    with httpx.Client(base_url=server.url, headers={"origin": server.url}) as client:
        assert client.get("/rules").status_code == 404
        assert client.post("/rules", content=urlencode(SET)).status_code == 404
        assert 'href="/rules"' not in client.get("/").text
    server.close()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_is_whole_in_either_language(client: httpx.Client, language: str) -> None:
    client.post("/rules", data=SET)
    page = client.post("/rules", data=LOOK, params={"lang": language}).text
    words = Words(language)
    for key in ("rules", "threshold", "scope", "from_when", "set_now", "preview", "rule_history", "change_waits"):
        assert words(key) in page
