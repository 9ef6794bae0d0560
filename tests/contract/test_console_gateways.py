"""The page of gateways: firmware, who flashed it, how it was shown, and whether what is behind it reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from dashboards.console.ports import GatewayFacts
from dashboards.console.serve import ConsoleServer
from deploy.console_adapters import Gateways, Registry
from deploy.schema import upgrade
from devices.catalog import SqlRegistry
from devices.database import connect, sqlite_url
from devices.firmware.driver import Board, Proof
from devices.firmware.flash import Flashed, Known
from devices.firmware.journal import Flash, FlashBook, Provisioned, Result
from devices.kinds import load as load_kinds
from devices.registry import Device, Gateway, Site
from processors.presence import PresenceBook
from tests.support.console_fixture import FakeCity, FakeGateways, console_app, wall_us
from tests.support.console_server import QUICK

HOSTILE = '<script>alert("x")</script>\u202e'
FACTS = GatewayFacts(
    id="GW-0001",
    label="cabinet 7",
    board="GW-1",
    revision="r2",
    serial="0042",
    version="1.2.3",
    proof=Proof.READ_BACK.value,
    flashed_us=1_767_600_000_000_000,
    who="li",
    provisioned="MC-1",
)


@pytest.fixture
def gateways() -> FakeGateways:
    city = FakeCity(wall_us, per_kind=5)
    name = next(iter(city.fleet().gateways))
    return FakeGateways([FACTS, GatewayFacts(id=name), replace(FACTS, id="GW-0002", version="1.2.2")])


@pytest.fixture
def client(gateways: FakeGateways) -> Iterator[httpx.Client]:
    running = ConsoleServer(console_app(FakeCity(wall_us, per_kind=5), QUICK, gateways), QUICK)
    with httpx.Client(base_url=running.url, follow_redirects=True) as client:
        yield client
    running.close()


def test_a_gateway_shows_its_firmware_and_who_flashed_it_when_and_shown_by_what(client: httpx.Client) -> None:
    page = client.get("/gateways", params={"lang": "en"}).text
    row = next(part for part in page.split("<tr") if "GW-0001" in part)
    for said in ("1.2.3", "GW-1", "r2", "0042", "li", "read back", "2026-01-05 16:00:00", "MC-1"):
        assert said in row, said


def test_what_is_behind_a_gateway_is_counted(client: httpx.Client, gateways: FakeGateways) -> None:
    name = gateways.known[1].id
    page = client.get("/gateways", params={"lang": "en", "q": name}).text
    found = re.search(r"(\d+) / (\d+)</td>", page)
    assert found
    reporting, devices = map(int, found.groups())
    assert 0 < reporting <= devices


def test_a_gateway_without_devices_is_not_called_healthy(client: httpx.Client) -> None:
    page = client.get("/gateways", params={"q": "GW-0001", "lang": "en"}).text
    assert 'data-state="waiting"' in page
    assert 'data-state="reporting"' not in page


def test_versions_are_counted_and_each_can_be_looked_at_alone(client: httpx.Client) -> None:
    page = client.get("/gateways", params={"lang": "en"}).text
    assert "1.2.3 × 1" in page
    assert "no flash on record × 1" in page
    alone = client.get("/gateways", params={"version": "1.2.2"}).text
    assert "GW-0002" in alone
    assert "GW-0001" not in alone


def test_an_unfinished_flash_stands_above_all(client: httpx.Client, gateways: FakeGateways) -> None:
    gateways.cut = [Flash(id="a", begun_us=1, board="GW-1", port="/dev/ttyUSB3", step="write", who="li")]
    page = client.get("/gateways", params={"lang": "en"}).text
    assert "cut while it was at “write”" in page
    assert page.index("ttyUSB3") < page.index("GW-0001")


@pytest.mark.parametrize(
    ("provisioned", "zh", "en"),
    [
        (f"{Provisioned.READING}: WP-7, 2026-11-29", "WP-7, 2026-11-29", "WP-7, 2026-11-29"),
        (Provisioned.NOT_WAITED, "已配置，未等待数据", "configured, nobody waited"),
        (f"{Provisioned.NO_READING}: refused", "已配置，未见有效数据", "configured, no valid reading"),
        (f"{Provisioned.NOT_CONNECTED}: login", "已配置，未连上", "configured, not connected"),
    ],
)
def test_how_a_gateway_was_seen_to_report_is_said_in_either_language(
    client: httpx.Client, gateways: FakeGateways, provisioned: str, zh: str, en: str
) -> None:
    gateways.known = [replace(FACTS, provisioned=provisioned)]
    assert zh in client.get("/gateways", params={"lang": "zh"}).text
    assert en in client.get("/gateways", params={"lang": "en"}).text


@pytest.mark.parametrize("field", ["label", "board", "revision", "serial", "version", "who", "provisioned"])
def test_hostile_text_is_shown_and_does_nothing(client: httpx.Client, gateways: FakeGateways, field: str) -> None:
    gateways.known = [replace(FACTS, **{field: HOSTILE})]
    page = client.get("/gateways").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_a_console_without_gateways_has_no_such_page() -> None:
    running = ConsoleServer(console_app(FakeCity(wall_us, per_kind=2), QUICK), QUICK)
    with httpx.Client(base_url=running.url) as client:
        assert client.get("/gateways").status_code == 404
        assert "/gateways" not in client.get("/").text
    running.close()


def test_the_real_registry_and_journal_answer_together(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "ops.db"))
    upgrade(engine)
    registry, flashes = SqlRegistry(engine), FlashBook(engine, wall_us)
    registry.put(
        [Device(id="MC-1", kind="manhole_cover", gateway="GW-B")],
        sites=[Site(id="S-1", name="pump house")],
        gateways=[Gateway(id="GW-A", site="S-1", label="by the river")],
    )
    log = flashes.begin(
        Flash(id="", begun_us=0, port="p", board="GW-1", version="2.0.0", gateway="GW-C", who="wang")
    )
    log.identified(Board(chip="stm32:0x413", serial="77"), Known(board="GW-1", revision="r3"))
    log.done(Flashed(board=Board(chip="stm32:0x413", serial="77"), proof=Proof.READ_BACK, attempts=1))
    flashes.begin(Flash(id="", begun_us=0, port="q")).ended(Result.INTERRUPTED, "Ctrl-C")
    view = Gateways(registry, Registry(registry, PresenceBook(engine), load_kinds()), flashes)
    found = {one.id: one for one in view.gateways()}
    assert list(found) == ["GW-A", "GW-B", "GW-C"]
    assert found["GW-A"].label == "by the river"
    assert (found["GW-C"].version, found["GW-C"].serial, found["GW-C"].who) == ("2.0.0", "77", "wang")
    assert [one.port for one in view.unfinished()] == ["q"]
