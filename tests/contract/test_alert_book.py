"""The alert book keeps its promises on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, event, func, select

from processors.alerts.book import AlertBook
from processors.alerts.states import AlertState
from processors.errors import AlertError
from processors.notify.outbox import Outbox
from processors.notify.settings import Address, NotifySettings, Place
from processors.notify.tables import OUTBOX
from tests.support.findings import MINUTE, T0, finding

SETTINGS = NotifySettings(addresses=(Address(name="duty", url="json://127.0.0.1/"),))


@pytest.fixture
def book(database: Engine) -> AlertBook:
    return AlertBook(database, SETTINGS, now=lambda: T0 + 5 * MINUTE)


def owed(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return sorted((r[0], r[1]) for r in connection.execute(select(OUTBOX.c.alert, OUTBOX.c.transition)))


def test_a_raise_makes_one_active_alert_with_its_evidence(book: AlertBook) -> None:
    changes = book.apply([finding()], offset=11)
    (alert,) = book.active()
    assert [(c.before, c.after) for c in changes] == [(AlertState.NORMAL, AlertState.ACTIVE)]
    assert (alert.device, alert.severity, alert.raised_offset) == ("WP-0412", "high", 10)
    assert (alert.onset_us, alert.raised_us, alert.recorded_us) == (T0, T0 + MINUTE, T0 + 5 * MINUTE)
    assert (alert.evidence.observed, alert.evidence.limit, alert.evidence.unit) == (120.5, 10.0, "m")
    assert alert.cleared_us is None


def test_reading_the_journal_again_from_further_back_changes_nothing(book: AlertBook, database: Engine) -> None:
    story = [finding(), finding(phase="update", offset=20), finding(phase="clear", offset=30)]
    book.apply(story[:2], offset=21)
    book.apply(story[2:], offset=31)
    before = (book.recent(), book.sequence(), owed(database), list(book.findings()))
    for start in range(3):
        assert book.apply(story[start:], offset=25) == []
    assert (book.recent(), book.sequence(), owed(database), list(book.findings())) == before
    assert book.progress() == 31


def test_a_raise_that_comes_again_after_the_clear_does_not_wake_anyone(book: AlertBook, database: Engine) -> None:
    book.apply([finding(), finding(phase="clear", offset=30)], offset=31)
    assert book.apply([finding(offset=40)], offset=41) == []  # another statement, the same condition
    assert [alert.state for alert in book.recent()] == [AlertState.CLEARED]
    assert [transition for _, transition in owed(database)] == ["clear", "raise"]


def test_a_clear_heard_before_its_raise_keeps_the_alert_closed_and_silent(
    book: AlertBook, database: Engine
) -> None:
    book.apply([finding(phase="clear", offset=30)], offset=31)
    book.apply([finding()], offset=31)
    assert [alert.state for alert in book.recent()] == [AlertState.CLOSED]
    assert owed(database) == []


def test_an_update_shows_the_latest_evidence_and_a_clear_keeps_it(book: AlertBook) -> None:
    book.apply([finding(), finding(phase="update", offset=20, observed=55.0)], offset=21)
    book.apply([finding(phase="clear", offset=30, observed=3.0)], offset=31)
    (alert,) = book.recent()
    assert (alert.evidence.observed, alert.updates, alert.cleared_us) == (55.0, 1, T0 + 10 * MINUTE)


def test_alert_evidence_and_message_are_stored_together_or_not_at_all(database: Engine) -> None:
    def fails(_device: str) -> Place | None:
        raise AlertError("the registry is away")

    picky = NotifySettings(addresses=(Address(name="duty", url="json://127.0.0.1/", districts=("pudong",)),))
    book = AlertBook(database, picky, where=fails)
    with pytest.raises(AlertError):
        book.apply([finding()], offset=11)
    assert (book.recent(), list(book.findings()), book.sequence(), book.progress()) == ([], [], 0, 0)


def test_the_most_severe_come_first_then_the_newest(book: AlertBook) -> None:
    book.apply(
        [
            finding("A", severity="low", onset_s=50),
            finding("B", severity="high", onset_s=10),
            finding("C", severity="medium", onset_s=90),
            finding("D", severity="high", onset_s=20),
        ],
        offset=11,
    )
    assert [alert.device for alert in book.active()] == ["D", "B", "C", "A"]
    assert book.counts() == {"high": 2, "medium": 1, "low": 1}


def test_pages_of_the_past_neither_skip_nor_repeat(book: AlertBook) -> None:
    book.apply([finding(f"W-{i}", onset_s=i // 3, offset=i) for i in range(20)], offset=20)
    seen: list[str] = []
    before = None
    while page := book.recent(3, before=before):
        seen += [alert.device for alert in page]
        before = (page[-1].onset_us, page[-1].id)
    assert len(seen) == 20
    assert len(set(seen)) == 20
    assert [alert.device for alert in book.recent(device="W-7")] == ["W-7"]


def test_changes_since_a_sequence_are_those_alerts_as_they_are_now(book: AlertBook) -> None:
    book.apply([finding("A"), finding("B")], offset=11)
    seen = book.sequence()
    book.apply([finding("A", "update", offset=20), finding("A", "clear", offset=30)], offset=31)
    (changed,) = book.changes_since(seen)
    assert (changed.device, changed.state, changed.sequence) == ("A", AlertState.CLEARED, 4)
    assert book.changes_since(changed.sequence) == []
    assert [alert.device for alert in book.changes_since(0)] == ["B", "A"]


def test_an_acknowledgement_names_the_person_and_survives_repetition(book: AlertBook) -> None:
    book.apply([finding()], offset=11)
    alert = book.active()[0].id
    first = book.acknowledge(alert, "王工", T0 + 6 * MINUTE, "去现场")
    again = book.acknowledge(alert, "somebody else", T0 + 7 * MINUTE)
    assert again == first
    assert (first.state, first.acknowledged_by, first.note) == (AlertState.ACKNOWLEDGED, "王工", "去现场")
    book.apply([finding(phase="clear", offset=30)], offset=31)
    assert [(c.step, c.after, c.by) for c in book.history(alert)] == [
        ("raise", "active", ""),
        ("acknowledge", "acknowledged", "王工"),
        ("clear", "closed", ""),
    ]
    assert book.unacknowledged() == []


def test_what_cleared_unseen_stays_on_the_list_until_someone_saw_it(book: AlertBook) -> None:
    book.apply([finding(), finding(phase="clear", offset=30)], offset=31)
    assert book.active() == []
    (alert,) = book.unacknowledged()
    assert book.acknowledge(alert.id, "王工", T0).state == AlertState.CLOSED
    assert book.unacknowledged() == []


def test_acknowledging_nothing_or_as_nobody_is_refused(book: AlertBook) -> None:
    book.apply([finding(phase="clear", offset=30)], offset=31)
    (over,) = book.recent()
    with pytest.raises(AlertError, match="there is none with this id"):
        book.acknowledge("feed", "王工", T0)
    with pytest.raises(AlertError, match="expected the name"):
        book.acknowledge(over.id, " ", T0)
    with pytest.raises(AlertError, match="is closed; it cannot take 'acknowledge'"):
        book.acknowledge(over.id, "王工", T0)


def test_findings_come_back_byte_for_byte_in_the_engines_order(book: AlertBook) -> None:
    story = [
        finding("B", offset=10),
        finding("A", offset=20),
        finding("B", "update", offset=20, after_s=70.5),
        finding("B", "update", offset=20, after_s=71.5),
        finding("B", "clear", offset=21),
    ]
    book.apply(story[2:], offset=22)
    book.apply(story[:2], offset=22)
    assert [f.line() for f in book.findings()] == [f.line() for f in story]
    assert [f.line() for f in book.findings(20, 21)] == [f.line() for f in story[1:4]]
    assert [f.phase for f in book.evidence(story[0].id)] == ["raise", "update", "update", "clear"]


def test_an_empty_batch_does_not_touch_the_database(book: AlertBook, database: Engine) -> None:
    asked = []
    event.listen(database, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert book.apply([], offset=99) == []
    assert asked == []


def test_writers_in_parallel_lose_no_change_and_number_them_without_gaps(database: Engine) -> None:
    books = [AlertBook(database, SETTINGS) for _ in range(4)]
    together = threading.Barrier(4)

    def write(index: int) -> None:
        together.wait(10)
        for i in range(10):
            mine = finding(f"{index}-{i}", offset=i)
            books[index].apply([mine, finding("shared", offset=i)], offset=i + 1)
            books[index].acknowledge(mine.id, "王工", T0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    changes = [change for alert in books[0].recent(1000) for change in books[0].history(alert.id)]
    assert sorted(change.sequence for change in changes) == list(range(1, 4 * 10 * 2 + 2))
    assert books[0].sequence() == 81
    assert len(owed(database)) == 41


def test_addresses_are_owed_only_what_they_asked_for(database: Engine) -> None:
    url = "json://127.0.0.1/"
    addresses = (
        Address(name="all", url=url, updates=True),
        Address(name="severe", url=url, severity="high"),  # type: ignore[arg-type]
        Address(name="fume", url=url, kinds=("kitchen_exhaust",)),
        Address(name="east", url=url, districts=("pudong",)),
        Address(name="quiet", url=url, clears=False),
    )
    places = {"W-1": Place(district="pudong"), "W-2": Place(district="xuhui")}
    book = AlertBook(database, NotifySettings(addresses=addresses), where=places.get)
    book.apply(
        [finding("W-1"), finding("W-1", "update", offset=20), finding("W-1", "clear", offset=30)], offset=31
    )
    book.apply(
        [finding("W-2", severity="medium", offset=40), finding("W-3", severity="low", offset=41)], offset=42
    )
    with database.connect() as connection:
        query = select(OUTBOX.c.address, func.count()).group_by(OUTBOX.c.address)
        assert dict(connection.execute(query).all()) == {"all": 5, "severe": 2, "east": 3, "quiet": 3}


def test_the_outbox_never_holds_a_url(database: Engine) -> None:
    secret = Address(name="chat", url="wecombot://s3cr3t-key")
    book = AlertBook(database, NotifySettings(addresses=(secret,)))
    book.apply([finding()], offset=11)
    (message,) = Outbox(database, SETTINGS).messages()
    assert message.key.address == "chat"
    assert "s3cr3t" not in repr(message) + repr(secret) + repr(NotifySettings(addresses=(secret,)))


def test_the_same_update_twice_in_one_batch_counts_once(book: AlertBook) -> None:
    twice = finding(phase="update", offset=20)
    changes = book.apply([finding(), twice, twice], offset=21)
    assert [change.step for change in changes] == ["raise", "update"]
    assert book.active()[0].updates == 1
