"""kill -9 at any moment under load: nothing is lost, nothing comes twice, nobody is told of anything untrue."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.support.planned import Feed, plan
from tests.support.system import until
from tests.support.whole_city import WholeCity, assert_balanced, whole_city

pytestmark = pytest.mark.scenario
_KILLS = 3


def harass(city: WholeCity, feed: Feed, total: int, roles: tuple[str, ...], chance: random.Random) -> None:
    """Kill `roles` at random moments spread over the load, and start them again each time."""
    for number in range(_KILLS):
        due = total * (number + chance.random()) / (_KILLS + 1)
        until(lambda due=due: feed.acknowledged >= due, "the load to go on")  # type: ignore[misc]
        threading.Event().wait(chance.uniform(0.0, 0.6))  # the moment is random, not waited for
        city.system.kill(*roles)
        city.start(*roles)


@pytest.mark.parametrize(
    "roles", [("ingest-0",), ("processor",), ("ingest-0", "processor")], ids=["ingest", "processor", "both"]
)
def test_killed_at_random_moments_the_account_balances(tmp_path: Path, roles: tuple[str, ...]) -> None:
    load = plan(seed=len(roles))
    with whole_city(tmp_path) as city:
        city.system.register(load.registered())
        city.start()
        feed = city.feed(load.packets, rate=700.0)
        harass(city, feed, len(load.packets), roles, random.Random(f"{roles} 7"))
        until(lambda: feed.acknowledged == len(load.packets), "the broker to take everything")
        city.settle(load.last)
        assert_balanced(city, load)
        if "processor" in roles:
            said = [city.said("processor", event) for event in ("no_snapshot", "snapshot_restored")]
            assert sum(said) == 1 + _KILLS
            assert said[1] > 0
        if "ingest-0" in roles:
            ups = [one for one in city.entries("ingest-0") if one.get("event") == "broker_link_up"]
            assert [one["session"] for one in ups] == ["new"] + ["continued"] * _KILLS
