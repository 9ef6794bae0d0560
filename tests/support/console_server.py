"""A console on a real socket for tests, and how to listen to its live updates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from dashboards.console.live import Hub
from dashboards.console.serve import ConsoleServer
from dashboards.console.settings import ConsoleSettings
from tests.support.console_fixture import FakeCity, console_app

QUICK = ConsoleSettings(port=0, heartbeat_s=0.1, alerts_every_s=0.05, values_every_s=0.1, stale_after_s=1.0)


def listen(url: str, query: str, headers: dict[str, str] | None = None) -> Iterator[tuple[str, Any, str]]:
    """(name, data, id) of each server-sent event."""
    with httpx.stream("GET", f"{url}/events?{query}", headers=headers, timeout=10) as answer:
        assert answer.status_code == 200, answer.read()
        name = data = sequence = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
            elif line.startswith("id: "):
                sequence = line[4:]
            elif not line and name:
                yield name, json.loads(data), sequence
                name = data = sequence = ""


def first(url: str, query: str, wanted: str, headers: dict[str, str] | None = None) -> tuple[Any, str]:
    """Data and id of the first event called `wanted`."""
    for name, data, sequence in listen(url, query, headers):
        if name == wanted:
            return data, sequence
    raise AssertionError(wanted)


@contextmanager
def serving(city: FakeCity) -> Iterator[httpx.Client]:
    running = ConsoleServer(console_app(city, QUICK), QUICK)
    with httpx.Client(base_url=running.url) as client:
        yield client
    running.close()


def wait_for(condition: Callable[[], object], within_s: float = 8) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def hub_of(server: ConsoleServer) -> Hub:
    return server._console.hub
