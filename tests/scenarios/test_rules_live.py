"""A threshold is changed while readings flow, the processor killed around it: each is judged by the number in force."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.demo.count import alerts_of
from deploy.wiring import open_database
from devices.kinds import load as load_kinds
from devices.registry import Device
from ingest.journal import Journal
from processors.thresholds.book import ThresholdBook
from processors.thresholds.change import FOREVER, Change, Scope
from tests.benchmarks.load import DISTRICT, payload
from tests.support.planned import publish_packet
from tests.support.system import until
from tests.support.whole_city import WholeCity, whole_city

pytestmark = pytest.mark.scenario
KIND, RULE = "water_pressure", "pressure_low"
DEVICES = [f"WP-{i:04d}" for i in range(25)]  # one burst of the feed
OWN = DEVICES[7]  # has a number of its own
ROUNDS, PACE_MS = 104, 500
PRESSURE = 200.0  # above the declared 140 kPa, below what the change asks for
HOLD_S, CLEAR_S = 2.0, 3.0


def load() -> list[tuple[str, bytes]]:
    """(device, payload): every device at the same pressure, twice a second from now on."""
    start_ms = int(time.time() * 1000)
    return [
        (device, payload(device, start_ms + slot * PACE_MS, slot + 1, [("pressure_kpa", PRESSURE)]))
        for slot in range(ROUNDS)
        for device in DEVICES
    ]


def everywhere(param: str, value: float) -> Change:
    """`param` of the rule for the whole kind, as soon as possible."""
    return Change(
        kind=KIND,
        rule=RULE,
        param=param,
        value=value,
        scope=Scope.KIND,
        target=KIND,
        effective_us=0,
        author="test",
    )


@contextmanager
def opened(city: WholeCity) -> Iterator[ThresholdBook]:
    database = open_database(city.system.settings)
    yield ThresholdBook(database, load_kinds())
    database.dispose()


def undercity(city: WholeCity, *words: str) -> str:
    """The command, as a person types it."""
    command = [sys.executable, "-m", "deploy", "rules", *words, "--config", str(city.system.config)]
    return subprocess.run(command, check=True, capture_output=True, timeout=60, text=True).stdout


def kill_around(city: WholeCity, moment_us: int) -> None:
    """The processor is dead when the moment comes, and learns of it from the book afterwards."""
    until(lambda: time.time() * 1e6 > moment_us - 300_000, "the change to come near")
    city.system.kill("processor")
    until(lambda: time.time() * 1e6 > moment_us + 300_000, "the change to be past")
    city.start("processor")


def arrivals(city: WholeCity) -> dict[str, list[tuple[int, int]]]:
    """(received, event time) of every reading by device, as the journal has them."""
    found: dict[str, list[tuple[int, int]]] = {device: [] for device in DEVICES}
    journal = Journal(city.system.settings.journal_path, read_only=True)
    try:
        offset = journal.start()
        while blocks := journal.read(offset, limit=1000):
            for block in blocks:
                for topic, body, at in zip(block.topics, block.payloads, block.received_us, strict=True):
                    if topic.endswith("/up"):
                        found[topic.split("/")[-2]].append((at, json.loads(body)["t"] * 1000))
            offset = blocks[-1].next
    finally:
        journal.close()
    return found


def first_since(readings: list[tuple[int, int]], moment_us: int) -> int:
    """Event time of the first reading that arrived when `moment_us` had come."""
    return next(event for received, event in readings if received >= moment_us)


@pytest.mark.soak
def test_every_reading_is_judged_by_the_number_in_force_when_it_came_and_replay_says_the_same(
    tmp_path: Path,
) -> None:
    with whole_city(tmp_path) as city:
        city.system.register(Device(id=name, kind=KIND, district=DISTRICT) for name in DEVICES)
        with opened(city) as book:
            for param, value in (("hold_s", HOLD_S), ("clear_s", CLEAR_S)):
                book.add(everywhere(param, value))
        undercity(city, "set", KIND, f"{RULE}.low", "150", "--device", OWN, "--by", "test")
        city.start()
        sent = load()
        packets = [publish_packet(device, body, number, KIND) for number, (device, body) in enumerate(sent)]
        feed = city.feed(packets, rate=len(DEVICES) * 1000 / PACE_MS)
        undercity(city, "set", KIND, f"{RULE}.low", "250", "--by", "test", "--reason", "while readings flow")
        with opened(city) as book:
            low = book.changes()[-1]
        kill_around(city, low.effective_us)
        undercity(city, "withdraw", str(low.number), "--by", "test")
        with opened(city) as book:
            low = book.changes()[-1]
        assert low.withdrawn_us != FOREVER
        kill_around(city, low.withdrawn_us)
        until(lambda: feed.acknowledged == len(packets), "the broker to take everything", within_s=60)
        city.settle(sent[-1][1])

        came = arrivals(city)
        assert min(received for received, _ in came[OWN]) < low.effective_us - 3_000_000
        alerts = {one.device: one for one in alerts_of(city.system.settings) if one.rule == RULE}
        assert set(alerts) == set(DEVICES) - {OWN}
        assert len([one for one in alerts_of(city.system.settings) if one.rule == RULE]) == len(alerts)
        for device, alert in alerts.items():
            assert alert.onset_us == first_since(came[device], low.effective_us)
            assert (alert.evidence.limit, alert.evidence.params["low"]) == (250.0, 250.0)
            assert alert.raised_us - alert.onset_us == HOLD_S * 1e6
            back = first_since(came[device], low.withdrawn_us)
            assert alert.cleared_us is not None
            assert alert.cleared_us - back == CLEAR_S * 1e6
        replayed = city.replay("--compare")
        assert (replayed.returncode, replayed.stdout) == (0, b"")
        said = replayed.stderr.decode().splitlines()[-1]
        assert said.endswith(", 0 differ")
        assert int(said.split()[0]) >= 2 * len(alerts)
