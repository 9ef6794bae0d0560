"""A sixth kind is one file: dropped into the folder, every other layer follows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import devices.kinds
from dashboards.grafana.boards import build_all
from devices.census import read
from devices.codecs import load as load_codecs
from devices.fleet import build
from devices.simulator.city import City
from devices.simulator.example import example
from devices.spec import Kind
from ingest.decode import Decoder
from ingest.journal import Delivery
from processors.findings import Phase
from tests.support.city import block
from tests.support.simulated import START_US, observed

RAIN_GAUGE = '''
"""Rain gauge."""
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Shape, Text, Use

RAIN = Quantity(name="rain_mmh", unit="mm/h", label=Text("雨强", "Rain"), physical=(0, 500), plausible=(0, 200))
KIND = Kind(
    name="rain_gauge",
    label=Text("雨量计", "Rain gauge"),
    prefix="RG",
    quantities=(RAIN,),
    cadence_s=300,
    lateness_s=900,
    detectors=(
        Use(rule="downpour", detector="limit", quantity=RAIN, params={"high": 50}, title=Text("暴雨", "Downpour")),
    ),
    panels=(Panel(type="timeseries", quantity=RAIN),),
    simulate=Profile(
        shapes={"rain_mmh": Shape(level=2, noise=0.2, clamp=(0, 10))},
        faults=(
            Fault(
                name="cloudburst",
                label=Text("暴雨", "Cloudburst"),
                effects=(Effect("rain_mmh", Change.STEP, 90),),
                rules=("downpour",),
            ),
        ),
    ),
)
'''


@pytest.fixture
def kinds(tmp_path: Path) -> Iterator[dict[str, Kind]]:
    (tmp_path / "rain_gauge.py").write_text(RAIN_GAUGE, encoding="utf-8")
    devices.kinds.__path__.append(str(tmp_path))
    devices.kinds.load.cache_clear()
    yield devices.kinds.load()
    devices.kinds.__path__.remove(str(tmp_path))
    devices.kinds.load.cache_clear()
    sys.modules.pop("devices.kinds.rain_gauge", None)


def test_it_is_found_beside_the_others(kinds: dict[str, Kind]) -> None:
    assert len(kinds) == 6
    assert kinds["rain_gauge"].prefix == "RG"


def test_the_simulator_and_the_decoder_follow(kinds: dict[str, Kind]) -> None:
    entries = example(kinds, 100, seed=1).entries()
    gauges = [entry.id for entry in entries if entry.kind == "rain_gauge"]
    assert gauges
    city = City(kinds, entries, seed=1, start_us=START_US)
    reports = [Delivery(e.topic, e.payload, e.due_us) for e in city.emissions(START_US, START_US + 300_000_000)]
    decoded = Decoder(build(kinds, entries), load_codecs()).decode(block(reports))
    assert decoded.refused == []
    rain = next(batch for batch in decoded.batches if batch.fleet.kind.name == "rain_gauge")
    assert len(rain) == len(gauges)
    assert ((rain.values > 1) & (rain.values < 3)).all()


def test_the_census_takes_it_by_its_chinese_name(kinds: dict[str, Kind]) -> None:
    assert read("设备编号,类型\nRG-1,雨量计\n".encode(), kinds).devices[0].kind == "rain_gauge"


def test_detection_follows(kinds: dict[str, Kind]) -> None:
    kind = kinds["rain_gauge"]
    assert observed(kind, 3.0) == []
    found = observed(kind, 3.0, fault=kind.simulate.faults[0])
    assert [(f.rule, f.phase) for f in found] == [("downpour", Phase.RAISE), ("downpour", Phase.CLEAR)]


def test_boards_follow(kinds: dict[str, Kind]) -> None:
    boards = build_all(kinds)
    assert any("rain_mmh" in json.dumps(board) for board in boards)
