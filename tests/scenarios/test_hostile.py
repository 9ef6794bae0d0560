"""Senders that are broken, wrong or malicious cost nobody but themselves."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.wiring import open_database
from devices.kinds import load as load_kinds
from devices.readings import Quality
from ingest.journal import REFUSED, Journal
from ingest.quarantine import Entry, Quarantine
from ingest.timeseries.embedded import EmbeddedStore
from tests.support.planned import KIND, Plan, plan, publish_packet, reading
from tests.support.whole_city import WholeCity, assert_balanced, whole_city

pytestmark = pytest.mark.scenario
_DAY_MS = 86_400_000
_COVER = load_kinds()[KIND]


class Bad(NamedTuple):
    """A payload nobody can use, and what its reason must say."""

    body: bytes
    reason: str


_GOOD = reading("MC-000000", 1_790_000_000_000, 1)
_TOO_LARGE = b'{"v":1,' + b" " * 300_000 + b"}"
BAD = {
    "empty": Bad(b"", "expected whole JSON, got 0 bytes"),
    "cut short": Bad(_GOOD[:60], "expected whole JSON, got 60 bytes"),
    "binary": Bad(bytes(range(128, 256)) * 4, "expected JSON, got invalid character"),
    "nested deeply": Bad(b"[" * 100_000 + b"]" * 100_000, "expected one sample object"),
    "nested in a member unknown": Bad(b'{"x":' * 5_000 + b"1" + b"}" * 5_000, "got deep nesting"),
    "not a number": Bad(_GOOD.replace(b"1.50", b"NaN"), "got invalid character at b'NaN"),
    "infinite": Bad(_GOOD.replace(b"1.50", b"1e999"), "m.tilt_deg: expected a finite number"),
    "of another device": Bad(_GOOD.replace(b"MC-000000", b"MC-000001"), "under its own id only"),
    "of another century": Bad(_GOOD.replace(b'"t":1790000000000', b'"t":5000000000000'), "from 2000 to 2099"),
    "named twice": Bad(_GOOD.replace(b'"m":{', b'"m":{"tilt_deg":1,'), "expected each key once, got 'tilt_deg'"),
    "larger than we read": Bad(_TOO_LARGE, f"expected up to 262144 bytes of payload, got {len(_TOO_LARGE)}"),
}


def entries(city: WholeCity) -> list[Entry]:
    """What lies in quarantine, oldest first."""
    database = open_database(city.system.settings)
    try:
        return Quarantine(database).find()[::-1]
    finally:
        database.dispose()


def run(city: WholeCity, load: Plan, packets: list[bytes], *others: Plan) -> None:
    """Send `packets`, of which the last is the last of `load`, and stop when all is stored."""
    for one in (load, *others):
        city.system.register(one.registered())
    city.start()
    city.send(packets)
    city.settle(load.last)


def test_every_unusable_payload_is_kept_with_offset_and_reason_between_good_readings(tmp_path: Path) -> None:
    load = plan(count=100, rounds=20)
    packets = list(load.packets)
    for number, bad in enumerate(BAD.values()):
        packets.insert(150 * (number + 1), publish_packet("MC-000000", bad.body, 60_000 + number))
    with whole_city(tmp_path) as city:
        run(city, load, packets)
        assert_balanced(city, load)
        held = entries(city)
        assert [entry.size for entry in held] == [len(bad.body) for bad in BAD.values()]
        for bad, entry in zip(BAD.values(), held, strict=True):
            assert bad.reason in entry.reason
            assert bad.body.startswith(entry.payload)
            assert (entry.device, entry.kind, entry.count) == ("MC-000000", KIND, 1)
            assert entry.truncated == (bad.body is _TOO_LARGE)
            assert delivery_at(city, entry.first_offset) in {bad.body, None}
        assert city.said("ingest-0", "delivery_refused") == 1


def delivery_at(city: WholeCity, offset: int) -> bytes | None:
    """The payload at a journal offset; None where the journal has only its beginning."""
    journal = Journal(city.system.settings.journal_path, read_only=True)
    try:
        block = journal.read(offset, limit=1)[0]
    finally:
        journal.close()
    return None if block.topics[0] == REFUSED else block.payloads[0]


def test_a_stranger_a_stray_kind_and_a_stray_topic_are_kept_too(tmp_path: Path) -> None:
    load = plan(count=20, rounds=18)
    body = reading("MC-STRANGER", 1_790_000_000_000, 1)
    strays = [
        publish_packet("MC-STRANGER", body, 60_000),
        publish_packet("MC-000001", body, 60_001, kind="dragon"),
        publish_packet("MC 000001", body, 60_002),
    ]
    with whole_city(tmp_path) as city:
        run(city, load, strays * 3 + load.packets)
        assert_balanced(city, load)
        assert [entry.count for entry in entries(city)] == [3, 3, 3]


def test_a_clock_that_is_a_day_off_is_marked_and_still_raises_alerts(tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000) - 20 * 5_000
    right = plan(count=40, rounds=20, start_ms=now_ms)
    behind = plan(count=40, rounds=20, start_ms=now_ms - _DAY_MS, first=1_000)
    ahead = plan(count=40, rounds=20, start_ms=now_ms + _DAY_MS, first=2_000)
    mixed = [one for three in zip(behind.packets, ahead.packets, right.packets, strict=True) for one in three]
    with whole_city(tmp_path) as city:
        run(city, right, mixed, behind, ahead)
        assert_balanced(city, right, behind, ahead)
        assert set(qualities(city, right)) == {Quality.GOOD}
        assert set(qualities(city, ahead)) == {Quality.SUSPECT}
        told = qualities(city, behind)
        assert set(told) == {Quality.GOOD, Quality.SUSPECT}
        # A device's first reading may as well be a backlog's; from the second on the clock is known to be wrong.
        assert told[Quality.GOOD] == len(behind.devices)


def qualities(city: WholeCity, some: Plan) -> Counter[Quality]:
    """How the tilts of these devices were judged."""
    store = EmbeddedStore(city.system.settings.embedded)
    try:
        found = [store.history(_COVER, one, "tilt_deg", 0, 2**52).quality for one in some.devices]
    finally:
        store.close()
    return Counter(Quality(int(one)) for quality in found for one in quality)


def test_the_same_message_twice_at_once_and_much_later_is_one_reading(tmp_path: Path) -> None:
    load = plan(count=100, rounds=20)
    *early, last = load.packets
    with whole_city(tmp_path) as city:
        run(city, load, [twice for one in early for twice in (one, one)] + early + [last])
        assert_balanced(city, load)
