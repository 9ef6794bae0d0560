"""A real headless Chromium for the console's tests; they are skipped with the reason where there is none.

A test file imports `needs_browser` and the fixtures `browser` and `screen`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.console.serve import ConsoleServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ImportError:
    CHROMIUM = None

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="console not tried in a browser: install chromium and playwright"
)

ARGS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []),
]
WATCH = """
window.violations = [];
const note = (e) => window.violations.push(e.violatedDirective + " " + e.blockedURI);
document.addEventListener("securitypolicyviolation", note);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield running
        running.close()


class Screen:
    """One page and everything the browser complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.add_init_script(WATCH)
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._failed)

    def _failed(self, request: Any) -> None:
        if "/events" not in request.url:  # a stream ends by being cut off
            self.complaints.append(f"{request.url}: {request.failure}")

    def open(self, server: ConsoleServer, path: str) -> Page:
        self.page.goto(server.url + path)
        return self.page

    def clean(self) -> bool:
        violations = self.page.evaluate("window.violations")
        assert not violations, violations
        assert not self.complaints, self.complaints
        return True


@pytest.fixture
def screen(browser: Browser) -> Iterator[Screen]:
    context = browser.new_context(viewport={"width": 1600, "height": 900})
    context.set_default_timeout(10_000)
    yield Screen(context.new_page())
    context.close()
