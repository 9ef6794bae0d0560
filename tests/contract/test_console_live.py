"""What reaches an open page of the console, over a real socket, and how the console stops."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from dashboards.console.serve import ConsoleServer, run_console
from dashboards.console.settings import ConsoleSettings
from dashboards.errors import ConsoleError
from devices.spec import Kind
from ingest.timeseries.ports import Latest
from tests.support.console_fixture import FakeCity, console_app, wall_us
from tests.support.console_server import QUICK, first, hub_of, listen, wait_for


@pytest.fixture
def city() -> FakeCity:
    return FakeCity(wall_us, per_kind=30)


@pytest.fixture
def server(city: FakeCity) -> Iterator[ConsoleServer]:
    running = ConsoleServer(console_app(city, QUICK), QUICK)
    yield running
    running.close()


def test_an_alert_reaches_an_open_page_and_its_place_is_remembered(server: ConsoleServer, city: FakeCity) -> None:
    seen: list[tuple[Any, str]] = []
    for name, data, sequence in listen(server.url, "list=1&kind=water_pressure&since=0&lang=en"):
        if name == "beat" and not seen:
            seen.append((data, ""))
            city.raise_alert("WA-0004", "low_pressure", observed=121.5)
        if name == "alerts":
            seen.append((data, sequence))
            break
    data, sequence = seen[1]
    assert data["new"] == ["pressure too low · WA-0004 · 121.5 kPa < 140 kPa"]
    assert data["changed"][0][1] == "WA-0004"
    assert "pressure too low" in data["html"]
    assert sequence == "1"
    # Connecting again with that place: the same list is not sent twice.
    names = []
    for name, _, _ in listen(server.url, "list=1&since=0", {"Last-Event-ID": "1"}):
        names.append(name)
        if names.count("beat") == 3:
            break
    assert "alerts" not in names


def test_values_of_the_shown_rows_follow_and_unchanged_ones_are_not_repeated(
    server: ConsoleServer, city: FakeCity
) -> None:
    rows: list[Any] = []
    for name, data, _ in listen(server.url, "kind=water_pressure&device=WA-0001&device=WA-0002"):
        if name == "values":
            rows.append(data)
            if len(rows) == 1:
                city.report("WA-0002", "pressure_kpa", 333.3)
            else:
                break
    assert set(rows[0]) == {"WA-0001", "WA-0002"}
    assert set(rows[1]) == {"WA-0002"}
    assert rows[1]["WA-0002"]["cells"]["pressure_kpa"][0] == "333.3"


@pytest.mark.parametrize("ailment", ["pipeline", "link", "values"])
def test_the_beat_says_what_makes_the_picture_stale(server: ConsoleServer, city: FakeCity, ailment: str) -> None:
    beats = (data for name, data, _ in listen(server.url, "list=1&kind=water_pressure") if name == "beat")
    assert next(beats)["stale"] == []
    if ailment == "pipeline":
        city.stop()
    elif ailment == "link":
        city.link_up = False
    else:
        city.store_fails = True
    assert any(beat["stale"] == [ailment] for beat, _ in zip(beats, range(50), strict=False))


def test_forty_open_pages_cost_the_store_no_more_than_one(city: FakeCity, server: ConsoleServer) -> None:
    stop = threading.Event()

    def keep_open() -> None:
        for _ in listen(server.url, "list=1&kind=water_pressure&device=WA-0001"):
            if stop.is_set():
                return

    pages = [threading.Thread(target=keep_open, daemon=True) for _ in range(40)]
    for page in pages:
        page.start()
    wait_for(lambda: hub_of(server).__len__() == 40)
    before, start = city.asked, time.monotonic()
    wait_for(lambda: time.monotonic() - start > 1)
    asked = city.asked - before
    stop.set()
    for page in pages:
        page.join(5)
    assert asked <= 2 * 15  # two kinds, a read each 0.1 s at most
    wait_for(lambda: len(hub_of(server)) == 0)


class SlowCity(FakeCity):
    """Its store takes `takes_s` for each kind's newest values; `busy`: how many such reads ran at once, at most.

    `reads`: kind, start and end of each. `let_go` ends what hangs.
    """

    def __init__(self, takes_s: float) -> None:
        super().__init__(wall_us, per_kind=5)
        self.takes_s = takes_s
        self.let_go = threading.Event()
        self.running = self.busy = 0
        self.reads: list[tuple[str, float, float]] = []

    def latest(self, kind: Kind, now_us: int) -> Latest:
        with self._lock:
            self.running += 1
            self.busy = max(self.busy, self.running)
        start = time.monotonic()
        self.let_go.wait(self.takes_s)
        with self._lock:
            self.running -= 1
            self.reads.append((kind.name, start, time.monotonic()))
        return super().latest(kind, now_us)


def test_a_slow_store_is_asked_one_at_a_time_per_kind_and_left_alone_between() -> None:
    city = SlowCity(takes_s=0.3)
    running = ConsoleServer(console_app(city, QUICK), QUICK)
    stop = threading.Event()

    def keep_asking(n: int) -> None:
        query = "list=1&kind=water_pressure&device=WA-0001" if n % 2 else "kind=manhole_cover&device=MA-0001"
        for _ in listen(running.url, query):
            if stop.is_set():
                return
            httpx.get(f"{running.url}/api/latest", params={"kind": "water_pressure"}, timeout=10)

    pages = [threading.Thread(target=keep_asking, args=(n,), daemon=True) for n in range(10)]
    for page in pages:
        page.start()
    wait_for(lambda: sum(kind == "water_pressure" for kind, _, _ in city.reads) >= 3)
    stop.set()
    for page in pages:
        page.join(5)
    running.close()
    assert city.busy <= 2
    for name in city.kinds():
        own = [(start, end) for kind, start, end in city.reads if kind == name]
        # It may rest at least as long as it was busy: the poller never asks it more than half of the time.
        assert all(later - end >= city.takes_s for (_, end), (later, _) in pairwise(own))


def test_alerts_reach_an_open_page_while_the_store_hangs() -> None:
    city = SlowCity(takes_s=60)
    running = ConsoleServer(console_app(city, QUICK), QUICK)
    asking = [
        threading.Thread(
            target=httpx.get, args=(f"{running.url}/?kind={kind}",), kwargs={"timeout": 20}, daemon=True
        )
        for kind in city.kinds()
        for _ in range(6)
    ]
    for page in asking:
        page.start()
    wait_for(lambda: city.running == 2)
    raised, at = "", 0.0
    for name, data, _ in listen(running.url, "list=1&kind=water_pressure&device=WA-0001"):
        if name == "beat" and not raised:
            raised, at = city.raise_alert("WA-0001", "low_pressure"), time.monotonic()
        if raised and ((name == "alerts" and data["changed"]) or time.monotonic() - at > 5):
            break
    assert time.monotonic() - at < 2
    assert city.running == 2
    city.let_go.set()
    running.close()


def test_a_page_that_takes_nothing_is_dropped_and_the_others_go_on(city: FakeCity) -> None:
    settings = ConsoleSettings(
        port=0, heartbeat_s=0.005, alerts_every_s=0.05, values_every_s=0.05, queue_events=4, stale_after_s=1
    )
    running = ConsoleServer(console_app(city, settings), settings)
    host, port = running.url.removeprefix("http://").split(":")
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        lazy.connect((host, int(port)))
        lazy.sendall(b"GET /events?list=1&since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for n in range(40):
            city.raise_alert(f"WA-{n % 30:04d}", "low_pressure", ago_s=n)
        hub = hub_of(running)
        step = iter(range(100_000))
        wait_for(
            lambda: bool(city.raise_alert("WA-0001", "low_pressure", ago_s=100 + next(step))) and hub.dropped > 0,
            20,
        )
    beat, _ = first(running.url, "list=0", "beat")
    assert beat["stale"] == []
    running.close()


def test_stopping_does_not_wait_for_open_pages(city: FakeCity) -> None:
    running = ConsoleServer(console_app(city, QUICK), QUICK)
    events = listen(running.url, "list=1")
    next(events)
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 2
    assert not running.alive


def test_a_taken_port_is_said_in_one_line(city: FakeCity, server: ConsoleServer) -> None:
    taken = ConsoleSettings(port=int(server.url.rsplit(":", 1)[1]))
    with pytest.raises(ConsoleError, match=r"expected a free port, got: Address already in use; not started"):
        run_console(console_app(city, taken), taken, threading.Event())


def test_the_console_ends_when_told_to(city: FakeCity) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run_console, args=(console_app(city, QUICK), QUICK, stop))
    thread.start()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
