"""The console in a real headless Chromium: what an operator sees, without reloading."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboards.console.serve import ConsoleServer
from dashboards.console.settings import ConsoleSettings
from tests.support.console_fixture import FakeCity, console_app, wall_us
from tests.support.screen import Browser, Screen, browser, needs_browser, screen

__all__ = ["browser", "screen"]  # fixtures

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.browser,
    needs_browser,
]

SETTINGS = ConsoleSettings(port=0, alerts_every_s=0.2, values_every_s=0.5)


@pytest.fixture
def city() -> FakeCity:
    return FakeCity(wall_us, per_kind=20)


@pytest.fixture
def server(city: FakeCity) -> Iterator[ConsoleServer]:
    running = ConsoleServer(console_app(city, SETTINGS), SETTINGS)
    yield running
    running.close()


def test_every_page_loads_without_complaint_and_draws_its_charts(
    server: ConsoleServer, city: FakeCity, screen: Screen
) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    page = screen.open(server, "/?lang=en")
    page.wait_for_selector("tr[data-alert]")
    for path in ("/devices/WA-0004?hours=168", f"/alerts/{alert}"):
        screen.open(server, path)
        page.wait_for_selector("figure.chart[data-points] canvas")
        assert int(page.get_attribute("figure.chart", "data-points") or 0) > 10
        drawn = page.evaluate(
            """() => { const c = document.querySelector("figure.chart canvas");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""
        )
        assert drawn > 2000
    assert screen.clean()


def test_an_alert_rises_and_clears_on_the_open_page_without_reloading(
    server: ConsoleServer, city: FakeCity, screen: Screen
) -> None:
    page = screen.open(server, "/?lang=en&kind=water_pressure")
    page.evaluate("window.sameDocument = true")
    page.wait_for_selector(".pulse:text-is('LIVE')")
    alert = city.raise_alert("WA-0004", "low_pressure", observed=121.5)
    page.wait_for_selector(f"tr[data-alert='{alert}']")
    assert page.inner_text("#announce") == "New alert: pressure too low · WA-0004 · 121.5 kPa < 140 kPa"
    assert page.inner_text("#alert-count") == "1"
    assert page.title().startswith("(1) ")
    page.wait_for_selector("tr[data-device='WA-0004'] .state.alarming.r2")
    page.wait_for_function("document.querySelector('[data-kind=water_pressure] .alarming i').textContent === '1'")
    city.clear_alert(alert)
    page.wait_for_selector(f"tr[data-alert='{alert}']", state="detached")
    assert page.evaluate("window.sameDocument")
    assert screen.clean()


def test_values_follow_on_the_open_page(server: ConsoleServer, city: FakeCity, screen: Screen) -> None:
    page = screen.open(server, "/?lang=en&kind=water_pressure")
    page.wait_for_selector(".pulse:text-is('LIVE')")
    city.report("WA-0002", "pressure_kpa", 333.3)
    page.wait_for_selector("tr[data-device='WA-0002'] [data-quantity=pressure_kpa]:text-is('333.3')")
    assert screen.clean()


def test_an_acknowledgement_shows_on_another_open_page(
    server: ConsoleServer, city: FakeCity, screen: Screen, browser: Browser
) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    page = screen.open(server, f"/alerts/{alert}?lang=en")
    page.wait_for_selector(".pulse:text-is('LIVE')")
    colleague = browser.new_page()
    colleague.goto(f"{server.url}/alerts/{alert}?lang=en")
    colleague.fill("input[name=by]", "Li Gong")
    colleague.keyboard.press("Enter")
    colleague.wait_for_selector(".status:has-text('acknowledged by Li Gong')")
    page.wait_for_selector(".status:has-text('acknowledged by Li Gong')")
    colleague.close()
    assert screen.clean()


def test_the_language_switch_turns_the_whole_page(server: ConsoleServer, screen: Screen) -> None:
    page = screen.open(server, "/?lang=zh")
    assert page.get_attribute("html", "lang") == "zh-CN"
    page.click("a.language")
    page.wait_for_selector("html[lang=en]")
    assert page.inner_text("h2#h-alerts").startswith("Active alerts")
    page.wait_for_load_state("load")  # leaving earlier would break off what the page still fetches
    page.click("tbody th.who a")
    page.wait_for_selector("html[lang=en] h2#h-facts")
    page.wait_for_load_state("load")
    assert screen.clean()


def test_data_stale_appears_when_the_pipeline_stops_and_goes_when_it_is_back(
    server: ConsoleServer, city: FakeCity, screen: Screen
) -> None:
    page = screen.open(server, "/?lang=en")
    page.wait_for_selector(".pulse:text-is('LIVE')")
    assert page.is_hidden("#stale")
    city.stop()
    page.wait_for_selector("#stale:has-text('DATA STALE')", timeout=7_000)
    assert "the pipeline has shown no event for" in page.inner_text("#stale-why")
    assert page.evaluate("getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"
    city.stopped_us = None
    page.wait_for_selector("#stale", state="hidden")
    assert screen.clean()


def test_data_stale_appears_when_the_server_is_gone_and_the_clock_stands_still(
    city: FakeCity, screen: Screen
) -> None:
    server = ConsoleServer(console_app(city, SETTINGS), SETTINGS)
    page = screen.open(server, "/?lang=en")
    page.wait_for_selector(".pulse:text-is('LIVE')")
    server.close()
    page.wait_for_selector("#stale:has-text('connection to the server lost')", timeout=7_500)
    before = page.inner_text("#clock")
    page.wait_for_timeout(1_200)
    assert page.inner_text("#clock") == before


@pytest.mark.parametrize("path", ["/", "/devices/WA-0004", "alert"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_phone_never_scrolls_sideways(
    server: ConsoleServer, city: FakeCity, browser: Browser, path: str, language: str
) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(server.url + (f"/alerts/{alert}" if path == "alert" else path) + f"?lang={language}")
    page.wait_for_selector(".pulse")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_everything_can_be_reached_with_the_keyboard(
    server: ConsoleServer, city: FakeCity, screen: Screen
) -> None:
    alert = city.raise_alert("WA-0004", "low_pressure")
    page = screen.open(server, "/?lang=en")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == f"/alerts/{alert}":
            break
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/alerts/{alert}")
