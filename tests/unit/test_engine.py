"""The engine's claims about time, silence, gateways, order and restart."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import load as load_codecs
from devices.fleet import build
from ingest.journal import Delivery, Journal
from processors.engines.local import EngineSettings
from processors.engines.snapshots import SnapshotFolder, apply, capture
from processors.findings import Finding
from processors.replay import replay
from tests.support.city import T0, block, engine_for, in_order, reading, run, ticks
from tests.support.kinds import WELL, fleet_of, wells

ALONE = fleet_of(wells(3, registered_us=T0))
TOGETHER = fleet_of(wells(3, gateway="GW-1", registered_us=T0))


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.device, f.rule, f.phase.value) for f in findings]


def alive(device: int, until_s: int, *, every_s: int = 60, level: float = 1.0) -> list[Delivery]:
    return [reading(device, t + device, level, seq=i) for i, t in enumerate(range(0, until_s, every_s))]


def test_a_device_is_silent_after_three_of_its_own_periods_and_speaks_again():
    journal = in_order(alive(0, 600), alive(1, 121), [reading(1, 500, 1.0, seq=3)], alive(2, 600), ticks(0, 600))
    findings = run(engine_for(ALONE), [block(journal)])
    assert told(findings) == [("WE-1", "silent", "raise"), ("WE-1", "silent", "clear")]
    assert findings[0].at == "2023-11-14T22:18:21.000Z", "121 s + 3 x 60 s"
    assert findings[0].id == findings[1].id


def test_a_device_that_never_reported_is_silent_from_its_registration():
    findings = run(engine_for(ALONE), [block(in_order(alive(0, 600), alive(1, 600), ticks(0, 600)))])
    assert told(findings) == [("WE-2", "silent", "raise")]


def test_a_silent_gateway_is_one_notice_and_its_children_are_not_alarming():
    before = [d for device in range(3) for d in alive(device, 300)]
    after = [reading(d, 1000 + 60 * i + d, 1.0, seq=100 + i) for d in range(3) for i in range(5)]
    findings = run(engine_for(TOGETHER), [block(in_order(before, after, ticks(0, 1300)))])
    assert told(findings) == [("GW-1", "gateway_silent", "raise"), ("GW-1", "gateway_silent", "clear")]


def test_a_gateway_is_noticed_within_two_reporting_periods():
    before = [d for device in range(3) for d in alive(device, 300)]
    (notice,) = run(engine_for(TOGETHER), [block(in_order(before, ticks(0, 600)))])
    assert notice.at == "2023-11-14T22:19:22.000Z", "242 s, the last sign of life, + 2 x 60 s"


def test_our_own_outage_is_not_the_silence_of_the_city():
    before = in_order(*(alive(d, 300) for d in range(3)), ticks(0, 300))
    after = in_order(
        *([reading(d, 4000 + 60 * i, 1.0, seq=100 + i) for i in range(6)] for d in range(3)), ticks(3990, 4300)
    )
    assert run(engine_for(ALONE), [block([*before, *after])]) == []
    assert run(engine_for(TOGETHER), [block([*before, *after])]) == []


def test_a_condition_during_our_outage_still_alerts_when_the_broker_delivers_it():
    before = in_order(alive(0, 300), ticks(0, 300))
    kept = [reading(0, 300 + 60 * i, 20.0, seq=5 + i, received_s=4000 + 0.01 * i) for i in range(20)]
    findings = run(engine_for(ALONE), [block(in_order(before, kept, ticks(4000, 4003)))])
    assert ("WE-0", "high", "raise") in told(findings)


def test_a_backfill_of_old_readings_wakes_nobody():
    now = in_order(alive(0, 300), ticks(0, 300))
    old = [reading(0, -20_000 + 60 * i, 99.0, received_s=250 + 0.01 * i) for i in range(20)]
    findings = run(engine_for(ALONE), [block(in_order(now, old))])
    assert [f for f in findings if f.rule == "high"] == []


def flood(device: int) -> list[Delivery]:
    """Ten calm minutes, ten with high water, ten calm."""
    levels = [1.0] * 10 + [20.0] * 10 + [1.0] * 10
    return [reading(device, 60 * i + device, level, seq=i) for i, level in enumerate(levels)]


@pytest.fixture(scope="module")
def flooded() -> list[Delivery]:
    return in_order(flood(0), flood(1), alive(2, 1800), ticks(0, 1800))


def test_evidence_says_what_was_seen_and_against_which_limit(flooded):
    raised = run(engine_for(ALONE), [block(flooded)])[0]
    assert (raised.device, raised.rule, raised.severity) == ("WE-0", "high", "high")
    evidence = raised.evidence
    assert (evidence.observed, evidence.limit, evidence.hold_s, evidence.unit) == (20.0, 10.0, 120.0, "m")
    assert evidence.window == (raised.onset, raised.at)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_cut_anywhere_the_findings_are_the_same_bytes(flooded, data):
    whole = [f.line() for f in run(engine_for(ALONE), [block(flooded)])]
    engine = engine_for(ALONE)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(flooded) - 1), max_size=60)))
    lines = []
    for start, end in zip([0, *cuts], [*cuts, len(flooded)], strict=True):
        lines += [f.line() for f in run(engine, [block(flooded[start:end], start)])]
    assert lines == whole


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 1000))
def test_stopped_and_restored_anywhere_the_findings_are_the_same_bytes(tmp_path_factory, flooded, cut):
    whole = [f.line() for f in run(engine_for(TOGETHER), [block(flooded)])]
    first = engine_for(TOGETHER)
    lines = [f.line() for f in run(first, [block(flooded[:cut])])]
    folder = SnapshotFolder(tmp_path_factory.mktemp("snapshots"))
    folder.save(capture(first, cut))
    state, problems = folder.newest(ALONE)
    assert state is not None
    assert not problems
    second = engine_for(fleet_of(list(reversed(wells(3, gateway="GW-1", registered_us=T0)))))
    apply(second, state)
    lines += [f.line() for f in run(second, [block(flooded[cut:], cut)])]
    assert lines == whole


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_shuffled_repeated_and_delayed_the_alerts_are_the_same(data):
    """Within the waiting time; the arrival decides only when something is known, not what."""
    calm = in_order(flood(0), flood(1), flood(2), ticks(0, 1800))
    expected = {(f.id, f.phase, f.onset, f.at) for f in run(engine_for(ALONE), [block(calm)])}
    delays = st.floats(0, 4.5, allow_nan=False)
    mixed = []
    for delivery in calm:
        copies = data.draw(st.integers(1, 2)) if delivery.payload else 1
        for _ in range(copies):
            late_us = int(data.draw(delays) * 1e6) if delivery.payload else 0
            mixed.append(delivery._replace(received_us=delivery.received_us + late_us))
    mixed.sort(key=lambda d: d.received_us)
    got = {(f.id, f.phase, f.onset, f.at) for f in run(engine_for(ALONE), [block(mixed)])}
    assert got == expected


def test_a_damaged_snapshot_is_passed_over_for_the_one_before(tmp_path: Path, flooded):
    folder = SnapshotFolder(tmp_path)
    engine = engine_for(ALONE)
    run(engine, [block(flooded[:100])])
    folder.save(capture(engine, 100))
    newer = folder.save(capture(engine, 200))
    newer.write_bytes(newer.read_bytes()[:-3])
    state, problems = folder.newest(ALONE)
    assert state is not None
    assert state.offset == 100
    assert "checksum" in problems[0]


def test_a_registry_that_grows_keeps_what_is_known(flooded):
    engine = engine_for(ALONE)
    middle = len(flooded) // 2
    findings = run(engine, [block(flooded[:middle])])
    grown = build({"well": ALONE.kinds["well"].kind}, wells(4, registered_us=T0 + 10**12), previous=engine.fleet)
    engine.grow(grown)
    findings += run(engine, [block(flooded[middle:], middle)])
    assert told([f for f in findings if f.rule == "high"]) == [
        ("WE-0", "high", "raise"),
        ("WE-1", "high", "raise"),
        ("WE-0", "high", "clear"),
        ("WE-1", "high", "clear"),
    ]


def test_a_damaged_block_costs_its_own_deliveries_and_no_others(tmp_path: Path):
    rising = [reading(0, 60 * i, 20.0, seq=i) for i in range(20)]
    with closing(Journal(tmp_path / "journal.db")) as journal:
        for one in rising:
            journal.append([one])
        with closing(sqlite3.connect(journal.path)) as db, db:
            db.execute("UPDATE block SET data = x'00' WHERE first IN (0, 9)")
        engine = EngineSettings(max_gap_s=200)
        found = replay(journal=journal, fleet=ALONE, codecs=load_codecs(), settings=engine)
        assert ("WE-0", "high", "raise") in told(list(found))


def test_a_snapshot_of_a_kind_whose_quantities_changed_is_passed_over(tmp_path: Path):
    folder = SnapshotFolder(tmp_path)
    folder.save(capture(engine_for(ALONE), 100))
    first, *others = WELL.quantities
    renamed = replace(WELL, quantities=(replace(first, name="another"), *others), detectors=(), panels=())
    state, problems = folder.newest(fleet_of(wells(3), renamed))
    assert state is None
    assert "expected quantities another" in problems[0]


def test_a_gateway_with_one_child_leaves_the_word_to_the_child():
    single = fleet_of(wells(1, gateway="GW-1", registered_us=T0))
    findings = run(engine_for(single), [block(in_order(alive(0, 120), ticks(0, 600)))])
    assert told(findings) == [("WE-0", "silent", "raise")]


def test_time_does_not_go_back_with_a_stamp_from_before():
    engine = engine_for(ALONE)
    run(engine, [block(in_order(alive(0, 300), ticks(0, 300)))])
    now = engine.clock.now_us
    run(engine, [block([reading(1, 10, 1.0)], first=305)])
    assert engine.clock.now_us == now
