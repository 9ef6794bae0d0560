"""Which message counts as a gateway's first valid reading, and what a person is told of those that do not."""

from __future__ import annotations

import json
from typing import cast

import pytest

from deploy.errors import DeployError
from deploy.gateways.first_reading import First, Judge, Listener, Message, wait_first
from devices.codecs import load as load_codecs
from devices.fleet import Entry, build
from devices.kinds import load as load_kinds
from ingest.rules import BUILT_IN

NOW_US = 1_767_600_000_000_000
ENTRIES = [
    Entry("WP-1", "water_pressure", "d", gateway="GW-1"),
    Entry("WP-2", "water_pressure", "d", gateway="GW-2"),
]
UP = "city/d/gateway/GW-1/up"


def reading(device: str = "WP-1", *, time_us: int = NOW_US, **values: float) -> bytes:
    return json.dumps(
        {"v": 1, "id": device, "t": time_us // 1000, "m": values or {"pressure_kpa": 400.0}}
    ).encode()


def judged(payload: bytes, topic: str = UP) -> First | str:
    judge = Judge("GW-1", build(load_kinds(), ENTRIES), load_codecs(), BUILT_IN)
    return judge.judge(Message(topic, payload, NOW_US + 500_000))


def test_a_good_reading_of_a_registered_child_counts() -> None:
    found = judged(reading())
    assert isinstance(found, First)
    assert (found.device, found.time_us, found.values) == ("WP-1", NOW_US, {"pressure_kpa": 400.0})


def test_one_good_reading_among_bad_ones_counts() -> None:
    both = b"[" + reading("WP-9") + b"," + reading() + b"]"
    assert isinstance(judged(both), First)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b'{"v":1,', "(stopped at byte 7 of 7)"),
        (reading("WP-9"), "WP-9: not registered; gateway GW-1 reported it"),
        (reading("WP-2"), "WP-2: registered under gateway GW-2, not GW-1"),
        (reading(no_such_thing=1.0), "expected a quantity of water_pressure, got no_such_thing"),
        (reading(pressure_kpa=9e9), "pressure_kpa 9e+09 kPa is bad: physical range"),
        (reading(time_us=NOW_US + 3_600_000_000), "is suspect: future clock"),
        (reading(time_us=NOW_US - 86_400_000_000), "is suspect: stale clock"),
    ],
)
def test_what_does_not_count_says_why(payload: bytes, why: str) -> None:
    found = judged(payload)
    assert isinstance(found, str)
    assert why in found


def test_a_gateway_under_a_topic_that_is_not_its_own_is_named() -> None:
    assert "not registered as water_pressure" in str(judged(reading(), "city/d/water_pressure/GW-1/up"))


def test_a_good_reading_of_somebody_elses_device_does_not_count() -> None:
    assert judged(reading("WP-2"), "city/d/water_pressure/WP-2/up") == "WP-2: not a child of GW-1"


class Heard:
    """A listener that has heard these messages."""

    def __init__(self, *messages: Message) -> None:
        import queue  # noqa: PLC0415

        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        for message in messages:
            self.messages.put(message)


def waited(*messages: Message, said: str = "") -> tuple[First, list[str]]:
    told: list[str] = []
    judge = Judge("GW-1", build(load_kinds(), ENTRIES), load_codecs(), BUILT_IN)
    first = wait_first(
        cast("Listener", Heard(*messages)),
        judge,
        since_us=NOW_US,
        within_s=0.6,
        status=lambda: said,
        told=told.append,
    )
    return first, told


def test_what_came_before_the_commit_does_not_count() -> None:
    with pytest.raises(DeployError, match="nothing came under"):
        waited(Message(UP, reading(), NOW_US - 1))


def test_the_first_good_reading_ends_the_wait_and_what_was_wrong_before_is_told_once() -> None:
    bad = Message(UP, reading("WP-9"), NOW_US + 1)
    first, told = waited(bad, bad, Message(UP, reading(), NOW_US + 2))
    assert first.device == "WP-1"
    assert told == ["WP-9: not registered; gateway GW-1 reported it"]


def test_nothing_at_all_says_what_the_gateway_says_of_itself() -> None:
    with pytest.raises(DeployError) as refused:
        waited(said="the broker's port is open; user name or password is wrong")
    assert "nothing came under city/+/+/GW-1/up; it says: the broker's port is open; user name or password" in str(
        refused.value
    )
    assert str(refused.value).endswith("the gateway is configured and not done")


def test_messages_without_a_good_reading_are_counted_and_explained() -> None:
    with pytest.raises(DeployError) as refused:
        waited(*[Message(UP, reading("WP-9"), NOW_US + 1)] * 3, Message(UP, b"?", NOW_US + 2))
    assert (
        "4 messages came and none had one: WP-9: not registered; gateway GW-1 reported it (3 times); json v1"
        in str(refused.value)
    )
