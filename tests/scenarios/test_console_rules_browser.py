"""The page of rules in a real headless Chromium: changed with the mouse, read on a phone, fed with hostile text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.console.serve import ConsoleServer
from dashboards.console.settings import ConsoleSettings
from tests.support.console_fixture import FakeCity, console_app, wall_us
from tests.support.rule_desk import RuleDesk, rule_desk
from tests.support.screen import Browser, Page, Screen, browser, needs_browser, screen

__all__ = ["browser", "screen"]  # fixtures
pytestmark = [pytest.mark.scenario, pytest.mark.browser, needs_browser]
SETTINGS = ConsoleSettings(port=0, alerts_every_s=0.2, values_every_s=0.5)
HOSTILE = '<img src=x onerror="window.hacked=1">'
ARABIC = "\u0627\u0644\u0645\u0647\u0646\u062f\u0633"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[RuleDesk]:
    with rule_desk(tmp_path, FakeCity(wall_us, per_kind=20, hostile=HOSTILE)) as desk:
        yield desk


@pytest.fixture
def server(desk: RuleDesk) -> Iterator[ConsoleServer]:
    running = ConsoleServer(console_app(desk.city, SETTINGS, thresholds=desk), SETTINGS)
    yield running
    running.close()


def fill(page: Page, value: str, *, by: str = "Wang", reason: str = "") -> None:
    """The form: the pressure below which an alert rises, for the whole kind."""
    page.select_option("form.change select[name=what]", "low_pressure.low")
    page.fill("form.change input[name=value]", value)
    page.fill("form.change input[name=by]", by)
    page.fill("form.change input[name=reason]", reason)


def test_a_change_is_previewed_then_made_then_taken_back(
    server: ConsoleServer, desk: RuleDesk, screen: Screen
) -> None:
    page = screen.open(server, "/?lang=en")
    page.click("header a[href='/rules']")
    fill(page, "150", reason="high houses")
    page.click("button[value=preview]")
    page.wait_for_selector("#h-preview:has-text('low_pressure low = 150')")
    assert "1 alerts by the rule as it is, 2 with the change" in page.inner_text("main")
    assert desk.changes() == []
    assert page.input_value("form.change input[name=value]") == "150"
    assert page.input_value("form.change select[name=what]") == "low_pressure.low"
    page.click("button[value=set]")  # the form is still filled in
    page.wait_for_selector("table.cards:has-text('#1')")
    (made,) = desk.changes()
    assert (made.value, made.author, made.reason) == (150.0, "Wang", "high houses")
    assert "not yet" in page.inner_text("table.rules")
    page.fill("form.acknowledge input[name=by]", "Li")
    page.click("form.acknowledge button")
    page.wait_for_selector("table.cards:has-text('taken back by Li')")
    assert desk.changes()[0].withdrawn_by == "Li"
    assert screen.clean()


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "device 'WA-9999': expected a registered water_pressure, got an unknown id; nothing was changed"),
        ("zh", "设备 'WA-9999' 没有登记；未作任何修改"),
    ],
)
def test_a_refusal_stands_above_the_form_which_stays_filled_in(
    server: ConsoleServer, desk: RuleDesk, screen: Screen, language: str, said: str
) -> None:
    page = screen.open(server, f"/rules?lang={language}")
    fill(page, "150")
    page.select_option("form.change select[name=scope]", "device")
    page.fill("form.change input[name=target]", "WA-9999")
    page.click("button[value=set]")
    page.wait_for_selector(".refused")
    assert page.inner_text(".refused") == said
    assert page.input_value("form.change input[name=target]") == "WA-9999"
    assert desk.changes() == []
    screen.complaints.clear()  # the browser notes an answer of 409
    assert screen.clean()


@pytest.mark.parametrize("text", [HOSTILE, "'\"></table><script>window.hacked=1</script>", ARABIC + " 123"])
def test_hostile_text_does_nothing_and_reads_as_it_was_typed(
    server: ConsoleServer, desk: RuleDesk, screen: Screen, text: str
) -> None:
    page = screen.open(server, "/rules?lang=en")
    fill(page, "150", by=text[:40], reason=text)
    page.select_option("form.change select[name=scope]", "device")
    page.fill("form.change input[name=target]", HOSTILE)
    page.click("button[value=preview]")
    page.wait_for_selector("#h-preview")
    page.click("button[value=set]")
    page.wait_for_selector("table.cards:has-text('#1')")
    assert desk.changes()[0].reason == text
    assert text in page.inner_text("section[aria-labelledby=h-history]")
    assert page.evaluate("window.hacked") is None
    assert screen.clean()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_on_a_phone_nothing_scrolls_sideways_and_every_control_can_be_hit(
    server: ConsoleServer, desk: RuleDesk, browser: Browser, language: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{server.url}/rules?lang={language}")
    fill(page, "150", by="W" * 40, reason="x" * 200)
    page.click("button[value=preview]")
    page.wait_for_selector("#h-preview")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("button[value=set]")
    page.wait_for_selector("form.acknowledge")
    assert desk.changes()[0].reason == "x" * 200
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every((e) => e.scrollWidth <= e.clientWidth)")
    for control in page.query_selector_all("main input:not([type=hidden]), main select, main button"):
        box = control.bounding_box()
        assert box is not None
        assert (box["x"] >= 0, box["x"] + box["width"] <= 390, box["height"] >= 32) == (True, True, True)
    page.close()
