"""A crew says on its phone whether an alert was true, in a real headless Chromium."""

from __future__ import annotations

import pytest

from dashboards.console.serve import ConsoleServer
from dashboards.console.settings import ConsoleSettings
from tests.support.console_fixture import FakeCity, FakeVerdicts, console_app, wall_us
from tests.support.screen import Browser, browser, needs_browser

__all__ = ["browser"]  # a fixture
pytestmark = [pytest.mark.scenario, pytest.mark.browser, needs_browser]
SETTINGS = ConsoleSettings(port=0, alerts_every_s=0.2, values_every_s=0.5)


@pytest.mark.parametrize(("language", "word"), [("zh", "误报"), ("en", "false alarm")])
def test_a_crew_says_on_its_phone_that_an_alarm_was_false(browser: Browser, language: str, word: str) -> None:
    city, verdicts = FakeCity(wall_us, per_kind=6), FakeVerdicts()
    server = ConsoleServer(console_app(city, SETTINGS, verdicts=verdicts), SETTINGS)
    alert = city.raise_alert("WA-0004", "low_pressure")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{server.url}/alerts/{alert}?lang={language}")
    page.fill("section[aria-labelledby=h-verdict] input[name=note]", "x" * 200)
    page.fill("section[aria-labelledby=h-verdict] input[name=by]", "Crew 1")
    page.click(f"button:text-is('{word}')")
    page.wait_for_selector(f"section[aria-labelledby=h-verdict] dl:has-text('{word}')")
    assert [(one.true, one.by, one.note) for one in verdicts.said] == [(False, "Crew 1", "x" * 200)]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    server.close()
