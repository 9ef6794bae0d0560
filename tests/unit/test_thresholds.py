"""Rules as data: who is concerned, from when, and that live, restart and replay agree on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import load as load_codecs
from devices.fleet import Entry
from ingest.decode import Decoder, segments
from ingest.journal import Delivery
from processors.engines.local import Engine
from processors.engines.snapshots import apply, capture
from processors.errors import ThresholdError
from processors.findings import Finding
from processors.thresholds.book import LEAD_S, ThresholdBook
from processors.thresholds.change import Change, Scope, changeable, use_of
from processors.thresholds.history import History
from tests.support.city import T0, S, block, engine_for, in_order, reading, ticks
from tests.support.databases import operations, sqlite_file
from tests.support.kinds import WELL, fleet_of, wells

HIGH = Change(
    kind="well",
    rule="high",
    param="high",
    value=5.0,
    scope=Scope.KIND,
    target="well",
    effective_us=T0,
    author="王工",
)


def of(scope: Scope, target: str, value: float, **more: object) -> Change:
    return replace(HIGH, scope=scope, target=target, value=value, **more)


def test_the_narrowest_scope_wins_and_within_it_the_latest():
    own = {"group": "old town"}
    fleet = fleet_of(
        [
            Entry("WE-0", "well", district="d", street="s", site="A", settings=own),
            Entry("WE-1", "well", district="d", street="s", site="A"),
            Entry("WE-2", "well", district="d", street="s"),
            Entry("WE-3", "well", district="d", settings=own),
            Entry("WE-4", "well"),
        ]
    ).kinds["well"]
    changes = [
        of(Scope.DEVICE, "WE-0", 1.0),
        of(Scope.SITE, "A", 2.0),
        of(Scope.GROUP, "old town", 3.0),
        of(Scope.STREET, "s", 4.0),
        of(Scope.DISTRICT, "d", 5.0, effective_us=T0 + 5),
        of(Scope.DISTRICT, "d", 5.5),
        of(Scope.KIND, "well", 6.0),
    ]
    at = T0 + 10

    def numbers(some: list[Change], at_us: int) -> list[float]:
        (found,) = History(some).values(fleet, "high", {"high": 10.0, "low": 0.5}, at_us)
        assert found[0] == "high"
        return found[1].tolist()

    assert numbers(changes, at) == [1, 2, 4, 3, 6]
    assert numbers(changes[4:], at) == [5, 5, 5, 5, 6]
    assert numbers(changes, T0 - 1) == [10] * 5
    assert list(History(changes).values(fleet, "high", {"low": 0.5}, at)) == []


def test_a_change_holds_from_its_beginning_until_its_end_or_until_it_is_taken_back():
    change = replace(HIGH, effective_us=100, until_us=200)
    assert [change.holds(at) for at in (99, 100, 199, 200)] == [False, True, True, False]
    assert not replace(change, withdrawn_us=150).holds(150)
    some = [change, replace(change, withdrawn_us=150), replace(change, withdrawn_us=50)]
    assert History(some).edges() == [100, 150, 200]
    assert History(some).at(150).edges() == []


def test_a_threshold_changes_the_rule_for_that_device_alone_and_from_that_moment():
    journal = in_order(
        *([reading(d, t, 7.0, seq=i) for i, t in enumerate(range(0, 900, 60))] for d in range(2)), ticks(0, 900)
    )
    engine = engine_for(fleet_of(wells(2, registered_us=T0)))
    engine.follow(History([of(Scope.DEVICE, "WE-1", 5.0, effective_us=T0 + 300 * S, until_us=T0 + 600 * S)]))
    found = run_with_edges(engine, journal, [])
    assert [(f.device, f.phase.value, f.onset[11:19], f.at[11:19]) for f in found] == [
        ("WE-1", "raise", "22:18:20", "22:20:20"),
        ("WE-1", "clear", "22:18:20", "22:25:20"),
    ]
    assert found[0].evidence.limit == 5.0
    assert found[0].evidence.params["high"] == 5.0
    assert found[1].evidence.params["high"] == 10.0


def run_with_edges(engine: Engine, journal: list[Delivery], cuts: list[int]) -> list[Finding]:
    decoder = Decoder(engine.fleet, load_codecs())
    places = [0, *sorted(cuts), len(journal)]
    found = []
    for start, end in pairwise(places):
        if start == end:
            continue
        piece = [block(journal[start:end], start)]
        for segment in segments(piece, span_us=S, rows=4096, edges=engine.edges):
            found += engine.process(decoder.decode(segment)).findings
    return found


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 900), max_size=6), stop=st.integers(1, 899), edge=st.integers(0, 800))
def test_however_the_journal_is_cut_and_wherever_it_stops_a_change_takes_effect_alike(cuts, stop, edge):
    journal = in_order([reading(0, t, 7.0, seq=i) for i, t in enumerate(range(0, 400, 60))], ticks(0, 900))
    changes = [
        of(Scope.KIND, "well", 5.0, effective_us=T0 + edge * S, until_us=T0 + (edge + 200) * S),
        replace(HIGH, rule="silent", param="periods", value=2.0, effective_us=T0 + (edge // 2) * S),
    ]

    def fresh() -> Engine:
        engine = engine_for(fleet_of(wells(2, registered_us=T0)))
        engine.follow(History(changes))
        return engine

    whole = run_with_edges(fresh(), journal, [])
    assert any(f.rule == "silent" for f in whole)
    assert [f.line() for f in run_with_edges(fresh(), journal, [c for c in cuts if c < len(journal)])] == [
        f.line() for f in whole
    ]
    first, second = fresh(), fresh()
    found = run_with_edges(first, journal[:stop], [])
    apply(second, capture(first, stop))
    decoder = Decoder(second.fleet, load_codecs())
    for segment in segments([block(journal[stop:], stop)], span_us=S, rows=4096, edges=second.edges):
        found += second.process(decoder.decode(segment)).findings
    assert [f.line() for f in found] == [f.line() for f in whole]


CITY = [
    Entry("WE-0", "well", district="d", street="s", site="A", settings={"group": "old town"}),
    Entry("WE-1", "well", district="d"),
    Entry("TA-0", "tank", district="e"),
]


@pytest.fixture
def book(tmp_path: Path):
    with operations(sqlite_file(tmp_path)) as engine:
        yield ThresholdBook(engine, {"well": WELL}, now=lambda: T0, entries=lambda: CITY)


def test_a_change_never_reaches_back_and_is_kept_with_its_author(book):
    added = book.add(replace(HIGH, effective_us=0, reason="after the flood"))
    assert added.effective_us == T0 + int(LEAD_S * 1e6)
    assert (added.number, added.author, added.reason) == (1, "王工", "after the flood")
    assert book.changes() == [added]


def test_taking_a_change_back_leaves_it_in_the_history(book):
    before = book.revision()
    added = book.add(HIGH)
    between = book.revision()
    back = book.withdraw(added.number, "李工")
    assert (back.withdrawn_by, back.withdrawn_us) == ("李工", T0 + int(LEAD_S * 1e6))
    assert book.changes() == [back]
    assert book.withdraw(added.number, "another") == back
    assert len({before, between, book.revision()}) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replace(HIGH, kind="x"), "kind 'x': expected one of well"),
        (replace(HIGH, rule="x"), "rule 'x' of well: expected one of high, silent"),
        (replace(HIGH, param="colour"), "high.colour of well: expected one of"),
        (replace(HIGH, value=float("nan")), "expected a number"),
        (replace(HIGH, param="hold_s", value=-1.0), "hold_s >=0, got -1; nothing was changed"),
        (replace(HIGH, author=" "), "author: expected 1 to 64 printable characters"),
        (replace(HIGH, scope=Scope.DEVICE, target=""), "target: expected 1 to 128"),
        (replace(HIGH, reason="x" * 300), "reason: expected 0 to 200"),
        (replace(HIGH, until_us=T0), "expected an end after its beginning"),
        (of(Scope.DEVICE, "WE-9", 5.0), "device 'WE-9': expected a registered well, got an unknown id"),
        (of(Scope.DEVICE, "TA-0", 5.0), "device 'TA-0': expected a well, got a tank"),
        (
            of(Scope.DISTRICT, "e", 5.0),
            r"district 'e': expected one with devices of well \(d\); nothing was changed",
        ),
        (of(Scope.STREET, "x", 5.0), r"street 'x': expected one with devices of well \(s\)"),
        (of(Scope.SITE, "x", 5.0), r"site 'x': expected one with devices of well \(A\)"),
        (of(Scope.GROUP, "x", 5.0), r"group 'x': expected one with devices of well \(old town\)"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_not_written(book, change, said):
    with pytest.raises(ThresholdError, match=said):
        book.add(change)
    assert book.changes() == []


def test_two_numbers_of_different_scopes_must_make_sense_together(book):
    book.add(of(Scope.DISTRICT, "d", 40.0, effective_us=T0 + 500 * S))
    low = replace(HIGH, param="low", value=9.5, scope=Scope.DEVICE, target="WE-0")
    with pytest.raises(ThresholdError, match=r"hysteresis 1 between low 9\.5 and high 10, got none"):
        book.add(low)
    late = book.add(replace(low, effective_us=T0 + 600 * S))
    assert late.number == 2
    with pytest.raises(ThresholdError, match="room for hysteresis"):  # once the low number holds
        book.add(of(Scope.SITE, "A", 8.0))
    assert book.add(of(Scope.DEVICE, "WE-1", 8.0)).number == 3


def test_a_change_that_waited_for_the_database_until_its_beginning_came_near_is_not_made(tmp_path):
    clock = iter([T0, T0 + int(LEAD_S * 0.6 * S), T0])
    with operations(sqlite_file(tmp_path)) as engine:
        slow = ThresholdBook(engine, {"well": WELL}, now=lambda: next(clock))
        with pytest.raises(ThresholdError, match=r"write within 5 s, it took 6\.0 s; try again"):
            slow.add(HIGH)
        assert slow.changes() == []


def test_an_unknown_number_cannot_be_taken_back(book):
    with pytest.raises(ThresholdError, match="change 7: expected one in the book, there is none"):
        book.withdraw(7, "王工")


def test_every_rule_of_every_kind_offers_what_may_be_changed(kinds):
    for kind in kinds.values():
        for use in kind.detectors:
            for param in changeable(use):
                assert use_of(kinds, kind.name, use.rule, param) is use
            assert changeable(use)


@pytest.fixture
def kinds():
    from devices.kinds import load  # noqa: PLC0415

    return load()


def test_all_devices_with_one_number_cost_no_column():
    from processors.parameters import Parameters  # noqa: PLC0415

    params = Parameters({"high": 10.0, "hold_s": 1e300})
    params.grow(3)
    params.put("high", np.full(3, 10.0))
    assert params.of("high", np.array([0, 1])) == 10.0
    params.put("high", np.array([10.0, 5.0, 10.0]))
    assert params.of("high", np.array([0, 1])).tolist() == [10.0, 5.0]
    assert (params.changed(1), params.changed(0)) == (["high"], [])
    params.grow(5)
    assert params.at("high", 4) == 10.0
    assert params.us("hold_s", np.array([0])) == 3 * 10**18
