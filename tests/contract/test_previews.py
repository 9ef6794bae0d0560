"""Previews from the console's adapter over a real journal: one at a time, and the same whoever else looks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import deploy.console_adapters
from dashboards.console.serve import ConsoleServer
from deploy.console_adapters import Thresholds, console_app
from deploy.preview import previewed
from deploy.wiring import open_database
from devices.kinds import load as load_kinds
from devices.registry import Device
from ingest.journal import TICK, Delivery, Journal
from processors.backtest.preview import Preview
from processors.errors import ThresholdError
from processors.thresholds.change import Change, Scope
from tests.support.console_fixture import wall_us
from tests.support.system import System

S = 1_000_000


def lower(value: float, **more: object) -> Change:
    given = {"scope": Scope.KIND, "target": "water_pressure", "effective_us": 0, **more}
    return Change(kind="water_pressure", rule="pressure_low", param="low", value=value, author="Wang", **given)


@pytest.fixture
def city(tmp_path: Path) -> System:
    """Two loggers; an hour at 160 and 170 kPa ends now."""
    system = System(tmp_path, 1)
    system.register([Device(id=f"WP-{i}", kind="water_pressure") for i in (1, 2)])
    end_s = wall_us() // S
    deliveries = []
    for at_s in range(end_s - 3600, end_s, 5):
        deliveries.append(Delivery(TICK, b"", at_s * S))
        for i in (1, 2) if at_s % 60 < 5 else ():
            body = {"v": 1, "id": f"WP-{i}", "t": at_s * 1000, "m": {"pressure_kpa": 150 + 10 * i + at_s % 7 / 10}}
            deliveries.append(Delivery(f"city/d/water_pressure/WP-{i}/up", json.dumps(body).encode(), at_s * S))
    system.settings.journal_path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(system.settings.journal_path, system.settings.journal)
    for first in range(0, len(deliveries), 500):
        journal.append(deliveries[first : first + 500])
    journal.close()
    return system


@pytest.fixture
def thresholds(city: System) -> Iterator[Thresholds]:
    database = open_database(city.settings)
    yield Thresholds(city.settings, database)
    database.dispose()


def counted(found: Preview) -> tuple[int, int, list[str]]:
    return found.before, found.after, [span.device for span in found.gained]


def test_two_threads_that_preview_at_once_find_what_each_finds_alone(city: System, thresholds: Thresholds) -> None:
    drafts = [thresholds.drafted(lower(165.0)), thresholds.drafted(lower(175.0))]
    alone = [counted(previewed(city.settings, draft, 1.0)) for draft in drafts]
    assert alone == [(0, 1, ["WP-1"]), (0, 2, ["WP-1", "WP-2"])]
    together = threading.Barrier(2)

    def look(draft: Change) -> tuple[int, int, list[str]]:
        together.wait(10)
        return counted(previewed(city.settings, draft, 1.0))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(look, drafts)) == alone
    assert thresholds.changes() == []


def test_the_console_looks_once_at_a_time_and_again_after_a_look_that_failed(
    thresholds: Thresholds, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, finish = threading.Event(), threading.Event()

    def slow(*given: object, **more: object) -> Preview:
        begun.set()
        assert finish.wait(10)
        raise ThresholdError("the look failed", "预演失败")

    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as pool:
        patched.setattr(deploy.console_adapters, "previewed", slow)
        first = pool.submit(thresholds.preview, lower(165.0), 1.0)
        assert begun.wait(10)
        with pytest.raises(ThresholdError, match="another is under way; try again soon; nothing was changed"):
            thresholds.preview(lower(165.0), 1.0)
        finish.set()
        with pytest.raises(ThresholdError, match="the look failed"):
            first.result(10)
    assert counted(thresholds.preview(lower(165.0), 1.0)) == (0, 1, ["WP-1"])


def test_a_preview_beats_what_holds_for_the_same_target_and_yields_to_what_is_narrower(
    thresholds: Thresholds,
) -> None:
    thresholds.add(lower(165.0))
    later = thresholds.changes()[0].effective_us + 3600 * S  # when that already holds
    assert counted(thresholds.preview(lower(175.0, effective_us=later), 1.0)) == (1, 2, ["WP-2"])
    thresholds.add(lower(100.0, scope=Scope.DEVICE, target="WP-2"))
    assert counted(thresholds.preview(lower(175.0, effective_us=later), 1.0)) == (1, 1, [])
    assert len(thresholds.changes()) == 2


@pytest.mark.parametrize("kind", sorted(load_kinds()))
def test_the_real_console_previews_and_changes_by_the_real_parts(
    city: System, thresholds: Thresholds, kind: str
) -> None:
    database = open_database(city.settings)
    server = ConsoleServer(console_app(city.settings, database), city.settings.console)
    draft = {"kind": "water_pressure", "what": "pressure_low.low", "value": "165", "by": "Wang"}
    with httpx.Client(base_url=server.url, headers={"origin": server.url}, follow_redirects=True) as client:
        page = client.get("/rules", params={"kind": kind, "lang": "en"})
        assert page.status_code == 200
        assert all(use.title.en in page.text for use in load_kinds()[kind].detectors)
        if kind == "water_pressure":
            looked = client.post("/rules", data={**draft, "do": "preview", "days": "1"})
            assert "0 alerts by the rule as it is, 1 with the change" in looked.text
            assert thresholds.changes() == []
            assert client.post("/rules", data={**draft, "do": "set"}).status_code == 200
            assert [one.author for one in thresholds.changes()] == ["Wang"]
            unknown = client.post("/rules", data={**draft, "scope": "device", "target": "WP-9", "do": "set"})
            assert unknown.status_code == 409
            assert client.post("/alerts/NOPE/verdict", data={"by": "Wang", "verdict": "true"}).status_code == 404
    server.close()
    database.dispose()
