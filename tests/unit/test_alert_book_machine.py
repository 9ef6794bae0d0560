"""Any interleaving of raise, update, clear, acknowledge, repeats and restarts keeps the book's invariants."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Engine, select

from devices.database import METADATA, connect, sqlite_url
from processors.alerts.book import AlertBook
from processors.alerts.states import MOVES, AlertState
from processors.alerts.tables import ALERT
from processors.errors import AlertError
from processors.findings import Finding
from processors.notify.settings import Address, NotifySettings
from processors.notify.tables import OUTBOX
from tests.support.findings import T0, finding

SETTINGS = NotifySettings(
    addresses=(
        Address(name="all", url="json://127.0.0.1/", updates=True),
        Address(name="b", url="json://127.0.0.1/"),
    )
)
CONDITIONS = st.tuples(st.sampled_from(["W-1", "W-2"]), st.integers(0, 1))
PHASES = st.sampled_from(["raise", "update", "clear"])
OVER = {AlertState.CLEARED, AlertState.CLOSED}


class BookMachine(RuleBasedStateMachine):
    """The model is the list of findings told so far; the book must agree with it whatever the order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="undercity-book-")
        self.told: list[Finding] = []
        self.offset = 0
        self.was_over: set[str] = set()
        self.engine: Engine
        self.book: AlertBook

    @initialize()
    def start(self) -> None:
        self.engine = connect(sqlite_url(Path(self.folder.name) / "book.db"))
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
        METADATA.create_all(self.engine)
        self.book = AlertBook(self.engine, SETTINGS, now=lambda: T0)

    @rule(stories=st.lists(st.tuples(CONDITIONS, PHASES), min_size=1, max_size=5))
    def tell(self, stories: list[tuple[tuple[str, int], str]]) -> None:
        batch = []
        for (device, onset), phase in stories:
            self.offset += 1
            batch.append(finding(device, phase, onset_s=onset, offset=self.offset))
        self.told += batch
        self.book.apply(batch, self.offset + 1)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        """The journal is read from further back, or the same batch in another order."""
        start = data.draw(st.integers(0, len(self.told) - 1))
        batch = data.draw(st.permutations(self.told[start : start + 6]))
        assert self.book.apply(batch, start) == []

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from(sorted({f.id for f in self.told})))
        try:
            seen = self.book.acknowledge(alert, "王工", T0)
        except AlertError:
            known = self.book.get(alert)
            assert known
            assert known.state == AlertState.CLOSED  # over before anybody could see it
            assert known.acknowledged_us is None
        else:
            assert seen.acknowledged_by == "王工"

    @rule()
    def restart(self) -> None:
        self.engine.dispose()
        self.engine = connect(sqlite_url(Path(self.folder.name) / "book.db"))
        self.book = AlertBook(self.engine, SETTINGS, now=lambda: T0)

    @invariant()
    def one_alert_for_each_condition(self) -> None:
        with self.engine.connect() as connection:
            ids = list(connection.execute(select(ALERT.c.id)).scalars())
        assert sorted(ids) == sorted({f.id for f in self.told})

    @invariant()
    def what_is_over_stays_over(self) -> None:
        for alert in self.book.recent(1000):
            if alert.id in self.was_over:
                assert alert.state in OVER
            if alert.state in OVER:
                self.was_over.add(alert.id)
        cleared = {f.id for f in self.told if f.phase == "clear"}
        assert self.was_over == cleared

    @invariant()
    def every_history_is_a_path_through_the_table(self) -> None:
        sequences = []
        for alert in self.book.recent(1000):
            state = AlertState.NORMAL
            for change in self.book.history(alert.id):
                assert change.before == state
                assert MOVES[state][change.step] == change.after
                state = change.after
                sequences.append(change.sequence)
            assert alert.state == state
        assert sorted(sequences) == list(range(1, self.book.sequence() + 1))

    @invariant()
    def nobody_is_told_twice_and_nobody_of_an_end_without_a_beginning(self) -> None:
        with self.engine.connect() as connection:
            rows = connection.execute(select(OUTBOX.c.alert, OUTBOX.c.transition, OUTBOX.c.address)).all()
        told = Counter((alert, transition.split("-")[0], address) for alert, transition, address in rows)
        assert all(count == 1 for (_, step, _), count in told.items() if step != "update")
        begun = {alert for alert, transition, _ in rows if not transition.startswith("clear")}
        raised = {f.id for f in self.told if f.phase != "clear"}
        assert begun <= raised

    @invariant()
    def every_finding_is_kept_once(self) -> None:
        assert sorted(f.line() for f in self.book.findings()) == sorted(f.line() for f in self.told)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()
        self.folder.cleanup()


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
