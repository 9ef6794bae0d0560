"""A replay of a live run's journal states what the live run stated, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.offline import stated
from ingest.journal import Journal
from processors.findings import iso
from tests.support.planned import plan
from tests.support.system import until
from tests.support.whole_city import WholeCity, whole_city

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCity]:
    """A city that has lived, with a processor that was killed halfway."""
    load = plan(count=150, rounds=20, seed=5)
    with whole_city(tmp_path_factory.mktemp("lived")) as city:
        city.system.register(load.registered())
        city.start()
        feed = city.feed(load.packets, rate=1_200.0)
        until(lambda: feed.acknowledged > len(load.packets) / 2, "half of the load")
        city.system.kill("processor")
        city.start("processor")
        until(lambda: feed.acknowledged == len(load.packets), "the broker to take everything")
        city.settle(load.last)
        yield city


def test_replay_prints_what_the_live_run_stored_and_finds_no_difference(lived: WholeCity) -> None:
    live = stated(lived.system.settings, None, None)
    printed = lived.replay()
    assert printed.returncode == 0
    assert printed.stdout == b"".join(line + b"\n" for line in live)
    compared = lived.replay("--compare")
    assert (compared.returncode, compared.stdout) == (0, b"")
    said = f"{len(live)} findings replayed, {len(live)} stated live, 0 differ"
    assert compared.stderr.decode().splitlines()[-1] == said
    assert len(live) >= 2 * 30


def test_a_stretch_begins_at_a_snapshot_and_states_the_same(lived: WholeCity) -> None:
    journal = Journal(lived.system.settings.journal_path, read_only=True)
    try:
        start, end = journal.start(), journal.end()
        middle = [journal.read(start + (end - start) * part // 4, limit=1)[0].received_us[0] for part in (2, 3)]
    finally:
        journal.close()
    span = ("--from", iso(middle[0]), "--to", iso(middle[1]))
    compared = lived.replay("--compare", *span)
    assert (compared.returncode, compared.stdout) == (0, b""), compared.stderr
    assert not compared.stderr.startswith(b"0 findings")
