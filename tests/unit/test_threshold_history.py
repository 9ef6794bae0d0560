"""What holds at a moment: a preview, which asks one moment for all, judges as live will when that moment comes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.fleet import Entry
from processors.engines.local import Engine
from processors.thresholds.change import FOREVER, Change, Scope
from processors.thresholds.history import History
from tests.support.city import S, engine_for
from tests.support.kinds import fleet_of

END = 12  # moments in microseconds; few, so that many coincide
OWN = {"group": "g"}
ENTRIES = [
    Entry("WE-0", "well", district="d", street="s", site="A", settings=OWN),
    Entry("WE-1", "well", district="d", street="s", site="B"),
    Entry("WE-2", "well", district="e", street="s", settings=OWN),
    Entry("WE-3", "well"),
]
TARGETS = {
    Scope.KIND: ["well"],
    Scope.DISTRICT: ["d", "e"],
    Scope.STREET: ["s"],
    Scope.GROUP: ["g"],
    Scope.SITE: ["A", "B"],
    Scope.DEVICE: ["WE-0", "WE-1", "WE-3"],
}
PLACES = [(scope, target) for scope, targets in TARGETS.items() for target in targets]
DECLARED = {"high": 10.0, "hold_s": 120.0}


@st.composite
def change_of(draw: st.DrawFn) -> Change:
    # Mostly for the same few, so that many compete.
    scope, target = draw(
        st.sampled_from([(Scope.DEVICE, "WE-0"), (Scope.DISTRICT, "d")]) | st.sampled_from(PLACES)
    )
    begin = draw(st.integers(0, END))
    return Change(
        kind="well",
        rule="high",
        param=draw(st.sampled_from(["high", "high", "high", "hold_s"])),
        value=draw(st.sampled_from([3.0, 4.0, 5.0, 6.0, 7.0])),
        scope=scope,
        target=target,
        effective_us=begin,
        until_us=draw(st.one_of(st.just(FOREVER), st.integers(begin + 1, END + 1))),
        withdrawn_us=draw(st.one_of(st.just(FOREVER), st.integers(0, END + 1))),
        author="王工",
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    some = draw(st.lists(change_of(), max_size=8))
    return [replace(change, number=number) for number, change in enumerate(some, 1)]


def numbers(engine: Engine) -> list[list[float]]:
    """(parameter, device) of the rule `high` as its detector has them."""
    params = next(rule.detector.params for rule in engine.kinds["well"].rules if rule.use.rule == "high")
    return [[params.at(param, row) for row in range(len(ENTRIES))] for param in sorted(DECLARED)]


def engine_with(history: History) -> Engine:
    engine = engine_for(fleet_of(ENTRIES))
    engine.follow(history)
    return engine


def said(changes: list[Change], row: int, param: str, at_us: int) -> float:
    """The precedence as thresholds.md tells it, for one device: slow and plain."""
    entry = ENTRIES[row]
    names = {
        Scope.KIND: "well",
        Scope.DISTRICT: entry.district,
        Scope.STREET: entry.street,
        Scope.GROUP: str((entry.settings or {}).get("group", "")),
        Scope.SITE: entry.site,
        Scope.DEVICE: entry.id,
    }
    for scope in (Scope.DEVICE, Scope.SITE, Scope.GROUP, Scope.STREET, Scope.DISTRICT, Scope.KIND):
        mine = [c for c in changes if (c.param, c.scope, c.target) == (param, scope, names[scope])]
        there = [c for c in mine if c.effective_us <= at_us < min(c.until_us, c.withdrawn_us)]
        if there:
            return max(there, key=lambda c: (c.effective_us, c.number)).value
    return DECLARED[param]


@settings(max_examples=200, deadline=None)
@given(changes=histories(), moment=st.integers(0, END + 1))
def test_whoever_asks_one_moment_of_any_history_gets_what_live_has_at_that_moment(
    changes: list[Change], moment: int
) -> None:
    live = engine_with(History(changes))
    for now in range(moment + 1):  # as time passes for the living
        live.tune(now)
    looking = engine_with(History(changes).at(moment))
    looking.tune(moment - 3 * 86_400 * S)  # the past that is looked at
    expected = [[said(changes, row, param, moment) for row in range(len(ENTRIES))] for param in sorted(DECLARED)]
    assert numbers(live) == expected
    assert numbers(looking) == expected


@settings(max_examples=200, deadline=None)
@given(changes=histories(), draft=change_of(), days=st.integers(0, 3))
def test_a_preview_has_the_numbers_that_live_has_once_the_change_is_made_and_begins(
    changes: list[Change], draft: Change, days: int
) -> None:
    draft = replace(draft, withdrawn_us=FOREVER)
    looking = engine_with(History(changes).at(draft.effective_us).with_draft(draft))
    looking.tune(draft.effective_us - days * 86_400 * S)
    live = engine_with(History(changes))
    live.tune(0)
    live.follow(History([*changes, replace(draft, number=len(changes) + 1)]))  # as the book numbers it
    live.tune(draft.effective_us)
    assert numbers(looking) == numbers(live)


@settings(max_examples=200, deadline=None)
@given(changes=histories(), draft=change_of())
def test_a_draft_beats_whatever_holds_for_the_same_target(changes: list[Change], draft: Change) -> None:
    draft = replace(draft, withdrawn_us=FOREVER)
    history = History(changes).at(draft.effective_us).with_draft(draft)
    same = [
        change
        for change in history.holding("well", "high", draft.param, 0)
        if (change.scope, change.target) == (draft.scope, draft.target)
    ]
    assert replace(same[-1], number=0) == draft


def test_a_moment_asked_for_all_has_no_edges_and_does_not_move_with_time() -> None:
    change = Change(
        kind="well",
        rule="high",
        param="high",
        value=5.0,
        scope=Scope.KIND,
        target="well",
        effective_us=5,
        until_us=8,
        author="王工",
    )
    for moment, high in ((4, 10.0), (5, 5.0), (8, 10.0)):
        engine = engine_with(History([change]).at(moment))
        for now in (0, 5, 6, 9):
            engine.tune(now)
            assert numbers(engine)[0] == [high] * len(ENTRIES)
        assert engine.edges == []


def test_of_two_for_the_same_target_the_one_that_began_last_wins_and_of_two_that_began_together_the_newest() -> (
    None
):
    first = Change(
        number=1,
        kind="well",
        rule="high",
        param="high",
        value=5.0,
        scope=Scope.KIND,
        target="well",
        effective_us=5,
        author="王工",
    )
    earlier = replace(first, number=2, value=6.0, effective_us=4)
    together = replace(first, number=3, value=7.0)

    def wins(*changes: Change) -> float:
        return History(changes).holding("well", "high", "high", 9)[-1].value

    assert wins(first, earlier) == 5.0
    assert wins(first, earlier, together) == 7.0
