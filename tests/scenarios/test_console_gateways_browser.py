"""The page of gateways in a real headless Chromium, on a phone and on a desk, with hostile text in it."""

from __future__ import annotations

import pytest

from dashboards.console.ports import GatewayFacts
from dashboards.console.serve import ConsoleServer
from dashboards.console.settings import ConsoleSettings
from devices.firmware.journal import Provisioned
from tests.support.console_fixture import FakeCity, FakeGateways, console_app, wall_us
from tests.support.screen import Screen, browser, needs_browser, screen

__all__ = ["browser", "screen"]  # fixtures
pytestmark = [pytest.mark.scenario, pytest.mark.browser, needs_browser]
SETTINGS = ConsoleSettings(port=0, alerts_every_s=0.2, values_every_s=0.5)
LONG = "x" * 64
HOSTILE = "<img src=x onerror=document.title='owned'>\u202e" + LONG


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_gateways_fit_the_screen_and_do_what_they_show(screen: Screen, language: str, width: int) -> None:
    facts = GatewayFacts(
        id="GW-" + LONG[:61],
        label=HOSTILE,
        board=LONG,
        revision=LONG,
        serial=LONG,
        version="1.2.3",
        proof="read back",
        flashed_us=wall_us(),
        who=HOSTILE[:64],
        provisioned=f"{Provisioned.NO_READING}: {HOSTILE}",
    )
    gateways = FakeGateways([facts, GatewayFacts(id="GW-2", version="1.2.2")])
    server = ConsoleServer(console_app(FakeCity(wall_us, per_kind=4), SETTINGS, gateways=gateways), SETTINGS)
    screen.page.set_viewport_size({"width": width, "height": 900})
    page = screen.open(server, f"/gateways?lang={language}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "owned" not in page.title()
    assert page.locator("tbody tr").count() == 2
    page.click("a:text('1.2.2 × 1')")
    page.wait_for_selector("a[aria-current=true]:text('1.2.2 × 1')")
    assert page.locator("tbody tr").count() == 1
    assert screen.clean()
    server.close()
