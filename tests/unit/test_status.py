"""Heartbeats, and what `/readyz` and `/metrics` make of them."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from deploy.errors import SupervisorError
from deploy.metrics import Health, build_app, listen, serve
from deploy.status import StatusWriter, clear, read_all
from ingest.journal import Delivery, Journal

ROLES = ("ingest-0", "processor")


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(tmp_path: Path, clock: Clock) -> Health:
    return Health(tmp_path, tmp_path / "journal.db", lambda: ROLES, lag_warn=10, now_s=clock)


class Client:
    """Asks the application without a socket."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._get(path))

    async def _get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path)


@pytest.fixture
def client(health: Health) -> Client:
    return Client(build_app(health))


def _beat(folder: Path, clock: Clock, **fields: float) -> None:
    for role in ROLES:
        StatusWriter(role, folder, clock).update(**fields)


def test_a_status_is_written_at_most_once_a_second(tmp_path: Path, clock: Clock) -> None:
    writer = StatusWriter("processor", tmp_path, clock)
    writer.update(rows=1)
    clock.s += 0.5
    writer.update(rows=2)
    assert read_all(tmp_path, clock())["processor"].status.fields == {"rows": 1.0}
    clock.s += 0.6
    writer.update(late=3)
    assert read_all(tmp_path, clock())["processor"].status.fields == {"rows": 2.0, "late": 3.0}


def test_a_new_reason_not_to_be_ready_is_written_at_once(tmp_path: Path, clock: Clock) -> None:
    writer = StatusWriter("processor", tmp_path, clock)
    writer.update()
    writer.update(not_ready=["catching up"])
    assert read_all(tmp_path, clock())["processor"].status.not_ready == ["catching up"]


def test_a_status_that_cannot_be_written_does_not_stop_the_role(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    StatusWriter("processor", tmp_path / "file", clock).update(rows=1)


def test_half_a_status_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "processor.json").write_text('{"role": "proc', encoding="utf-8")
    assert read_all(tmp_path, 0.0) == {}


def test_an_earlier_run_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    _beat(tmp_path, clock)
    clear(tmp_path)
    assert read_all(tmp_path, clock()) == {}


def test_ready_when_every_role_beats(client: Client, tmp_path: Path, clock: Clock) -> None:
    _beat(tmp_path, clock)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ready\n")


def test_not_ready_names_each_role_without_a_heartbeat(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.text.splitlines() == [f"{role}: expected a running role, found no sign of it" for role in ROLES]


def test_alive_even_when_nothing_is_ready(client: Client) -> None:
    assert client.get("/healthz").status_code == 200


def test_a_role_that_hangs_is_noticed(client: Client, tmp_path: Path, clock: Clock) -> None:
    _beat(tmp_path, clock)
    clock.s += 16
    StatusWriter("ingest-0", tmp_path, clock).update()
    assert client.get("/readyz").text == "processor: expected a heartbeat within 15 s, got none for 16 s\n"


def test_a_role_whose_process_is_gone_is_noticed_at_once(client: Client, tmp_path: Path, clock: Clock) -> None:
    _beat(tmp_path, clock)
    writer = StatusWriter("processor", tmp_path, clock)
    writer._status.pid = 2**22 + 1  # above the largest number Linux gives out
    writer.update()
    assert "processor: expected a running process" in client.get("/readyz").text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"connected": 0}, "expected a link to the broker"),
        ({"journal_full": 1}, "the disk is full"),
        ({"store_failing": 1, "offset": 30, "stored_upto": 10}, "20 deliveries wait in the journal"),
    ],
)
def test_what_a_role_says_about_its_surroundings_makes_it_not_ready(
    client: Client, tmp_path: Path, clock: Clock, fields: dict[str, float], says: str
) -> None:
    _beat(tmp_path, clock)
    StatusWriter("ingest-0", tmp_path, clock).update(**fields)
    assert says in client.get("/readyz").text


def test_a_cursor_far_behind_makes_the_system_not_ready(client: Client, tmp_path: Path, clock: Clock) -> None:
    _beat(tmp_path, clock)
    journal = Journal(tmp_path / "journal.db")
    journal.append([Delivery("t", b"x", 1)] * 20)
    journal.move_cursor("pipeline", 5)
    journal.close()
    assert client.get("/readyz").text == "cursor pipeline: expected at most 10 deliveries behind, got 15\n"
    assert 'undercity_cursor_lag{cursor="pipeline"} 15.0' in client.get("/metrics").text


def test_metrics_carry_each_role_and_its_numbers(client: Client, tmp_path: Path, clock: Clock) -> None:
    _beat(tmp_path, clock, rows=7, alerts_high=2, something_new=3)
    text = client.get("/metrics").text
    for line in (
        'undercity_role_up{role="processor"} 1.0',
        'undercity_processor_rows_total{role="processor"} 7.0',
        'undercity_alerts{role="processor",severity="high"} 2.0',
        'undercity_processor_something_new{role="processor"} 3.0',
    ):
        assert line in text
    assert 'undercity_process_resident_memory_bytes{role="ingest-0"}' in text


def test_the_endpoints_are_served_until_told_to_stop(health: Health) -> None:
    stop = threading.Event()
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=serve, args=(health, listener, stop))
    thread.start()
    try:
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).read() == b"alive\n"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10)
        caught.value.close()
        assert caught.value.code == 503
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_a_port_in_use_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SupervisorError, match=f"metrics 127.0.0.1:{port}: expected a free port"):
            listen("127.0.0.1", port)
