"""Who says that it is there: the newest word counts, however often the journal is read."""

from __future__ import annotations

from ingest.decode import Presence
from processors.presence import Heard, PresenceBook
from tests.support.databases import operations


def presence(offset: int, device: str, *, online: bool) -> Presence:
    return Presence(offset, 1000 + offset, device, online)


def test_the_newest_word_counts(database_url: str) -> None:
    with operations(database_url) as engine:
        book = PresenceBook(engine)
        assert book.of("WE-0") is None
        book.note([presence(1, "WE-0", online=True), presence(2, "WE-1", online=True)])
        book.note([presence(5, "WE-0", online=False)])
        assert book.of("WE-0") == Heard(online=False, at_us=1005)
        assert book.of("WE-1") == Heard(online=True, at_us=1002)


def test_reading_the_journal_again_changes_nothing(database_url: str) -> None:
    with operations(database_url) as engine:
        book = PresenceBook(engine)
        book.note([presence(1, "WE-0", online=True), presence(5, "WE-0", online=False)])
        book.note([presence(1, "WE-0", online=True)])
        assert book.of("WE-0") == Heard(online=False, at_us=1005)


def test_a_node_that_dies_takes_its_devices_along_until_they_are_born_again(database_url: str) -> None:
    with operations(database_url) as engine:
        book = PresenceBook(engine)
        book.note([presence(1, "City/Edge1", online=True), presence(2, "City/Edge1/Tank", online=True)])
        book.note([presence(3, "City/Edge1", online=False)])
        assert book.of("city/edge1/tank") == Heard(online=False, at_us=1003)
        book.note([presence(4, "City/Edge1", online=True), presence(5, "City/Edge1/Tank", online=True)])
        assert book.of("City/Edge1/Tank") == Heard(online=True, at_us=1005)
        assert book.of("") is None


def test_a_node_that_is_there_says_nothing_of_a_device_that_died(database_url: str) -> None:
    with operations(database_url) as engine:
        book = PresenceBook(engine)
        book.note([presence(1, "City/Edge1/Tank", online=False), presence(2, "City/Edge1", online=True)])
        assert book.of("City/Edge1/Tank") == Heard(online=False, at_us=1001)
        assert book.of("City/Edge1/Pump") is None
