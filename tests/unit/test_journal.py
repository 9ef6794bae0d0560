from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import JournalCorrupt, JournalError, JournalFull
from ingest.journal import Delivery, Journal, JournalSettings

DAY_US = 86_400_000_000


def delivery(number: int, received_us: int | None = None) -> Delivery:
    return Delivery(
        f"city/a/b/{number}/up", b"payload %d" % number, number if received_us is None else received_us
    )


@pytest.fixture
def journal(tmp_path: Path):
    with_journal = Journal(tmp_path / "journal.db")
    yield with_journal
    with_journal.close()


def contents(journal: Journal, offset: int = 0) -> list[Delivery]:
    found = []
    while blocks := journal.read(offset, limit=2):
        for block in blocks:
            assert block.first == offset
            found += map(Delivery, block.topics, block.payloads, block.received_us)
            offset = block.next
    return found


def test_offsets_are_dense_and_reading_gives_back_what_was_appended(journal: Journal):
    assert journal.append([delivery(i) for i in range(3)]) == range(3)
    assert journal.append([delivery(i) for i in range(3, 5)]) == range(3, 5)
    assert contents(journal) == [delivery(i) for i in range(5)]
    assert contents(journal, offset=1) == [delivery(i) for i in range(1, 5)]
    assert contents(journal, offset=4) == [delivery(4)]
    assert contents(journal, offset=5) == []


@settings(max_examples=30, deadline=None)
@given(groups=st.lists(st.lists(st.binary(max_size=40), max_size=5), max_size=8), data=st.data())
def test_any_bytes_in_any_grouping_come_back_from_any_offset(tmp_path_factory, groups, data):
    journal = Journal(tmp_path_factory.mktemp("j") / "journal.db")
    everything = [Delivery("t", payload, i) for i, payload in enumerate(p for group in groups for p in group)]
    rest = list(everything)
    for group in groups:
        journal.append([rest.pop(0) for _ in group])
    offset = data.draw(st.integers(0, len(everything)))
    assert contents(journal, offset) == everything[offset:]
    journal.close()


def test_two_writers_never_share_an_offset(journal: Journal):
    other = Journal(journal.path)
    offsets = [*journal.append([delivery(0)]), *other.append([delivery(1)]), *journal.append([delivery(2)])]
    assert offsets == [0, 1, 2]
    assert [d.payload for d in contents(other)] == [b"payload 0", b"payload 1", b"payload 2"]
    other.close()


def test_a_cursor_survives_reopening(journal: Journal):
    journal.append([delivery(i) for i in range(3)])
    journal.move_cursor("store", 2)
    again = Journal(journal.path)
    assert (again.cursor("store"), again.cursor("new consumer")) == (2, 0)
    again.close()


def test_retention_waits_for_the_slowest_cursor_and_never_reuses_offsets(tmp_path: Path):
    journal = Journal(tmp_path / "journal.db", JournalSettings(retention_days=1))
    for day in range(4):
        journal.append([delivery(day, received_us=day * DAY_US)])
    assert journal.retain(now_us=10 * DAY_US) == 0, "nobody has read anything yet"
    journal.move_cursor("fast", 4)
    journal.move_cursor("slow", 2)
    assert journal.retain(now_us=10 * DAY_US) == 2
    assert journal.start() == 2
    journal.move_cursor("slow", 4)
    assert journal.retain(now_us=10 * DAY_US) == 2
    assert journal.append([delivery(4)]) == range(4, 5)
    journal.close()


def test_a_flipped_byte_is_found_and_never_delivered(journal: Journal):
    journal.append([delivery(0)])
    with sqlite3.connect(journal.path) as db:
        (data,) = db.execute("SELECT data FROM block").fetchone()
        db.execute("UPDATE block SET data = ?", (data[:-1] + bytes([data[-1] ^ 1]),))
    db.close()
    with pytest.raises(JournalCorrupt, match="expected CRC"):
        journal.read(0)
    assert "expected CRC" in journal.check()[0]


def test_what_is_whole_around_a_damaged_block_stays_readable(journal: Journal):
    for i in range(3):
        journal.append([delivery(2 * i), delivery(2 * i + 1)])
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE block SET data = x'00' WHERE first = 2")
    db.close()
    assert [block.first for block in journal.read(0)] == [0]
    with pytest.raises(JournalCorrupt) as raised:
        journal.read(2)
    assert [block.first for block in journal.read(raised.value.next)] == [4]


def test_a_whole_journal_has_no_faults_and_a_missing_block_is_named(journal: Journal):
    for i in range(3):
        journal.append([delivery(i)])
    assert journal.check() == []
    with sqlite3.connect(journal.path) as db:
        db.execute("DELETE FROM block WHERE first = 1")
    db.close()
    assert journal.check() == ["block at 2: expected offset 1: deliveries are missing between"]


def test_a_full_disk_stores_nothing_says_so_and_recovers(journal: Journal):
    journal.append([delivery(0)])
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalFull, match="no space left"):
        journal.append([Delivery("t", random.Random(i).randbytes(9000), i) for i in range(50)])
    journal._db.execute("PRAGMA max_page_count = 100000")
    assert journal.append([delivery(1)]) == range(1, 2)
    assert contents(journal) == [delivery(0), delivery(1)]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(JournalError, match=r"journal .*file/journal\.db: "):
        Journal(tmp_path / "file" / "journal.db")


def test_stats_tell_span_size_and_cursors(journal: Journal):
    journal.append([delivery(5), delivery(7)])
    journal.move_cursor("store", 1)
    stats = journal.stats()
    assert (stats.first, stats.next, stats.blocks, stats.deliveries) == (0, 2, 1, 2)
    assert (stats.from_us, stats.to_us, stats.cursors) == (5, 7, {"store": 1})
    assert stats.bytes_on_disk > 0
