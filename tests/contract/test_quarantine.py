"""Quarantine keeps its promises on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ingest.decode import Refused
from ingest.journal import Delivery, Journal
from ingest.quarantine import (
    Held,
    Quarantine,
    QuarantineError,
    QuarantineSettings,
    QuarantineState,
    hex_dump,
)
from ingest.timeseries.ports import Rejected
from tests.support.findings import T0, S

TOPIC = "city/pudong/well/WE-1/up"


def held(
    offset: int, payload: bytes = b"\xff\x00{", *, part: int = 0, topic: str = TOPIC, reason: str = "not JSON"
) -> Held:
    delivery = Delivery(topic, payload, T0 + offset * S)
    return Held.from_refused(Refused(offset, part, delivery, 0, reason, "WE-1", "well", "json"))


@pytest.fixture
def quarantine(database: Engine) -> Quarantine:
    return Quarantine(database)


def test_what_is_held_comes_back_with_bytes_offset_and_reason(quarantine: Quarantine) -> None:
    assert quarantine.add([held(7)]) == 1
    (entry,) = quarantine.find()
    assert (entry.payload, entry.byte_offset, entry.reason) == (b"\xff\x00{", 0, "not JSON")
    assert (entry.topic, entry.device, entry.kind, entry.codec) == (TOPIC, "WE-1", "well", "json")
    assert (entry.first_offset, entry.received_us, entry.state) == (7, T0 + 7 * S, QuarantineState.HELD)
    assert quarantine.get(entry.id) == entry


def test_reading_the_journal_again_adds_nothing(quarantine: Quarantine) -> None:
    entries = [held(i, b"x%d" % (i // 2), part=p) for i in range(10) for p in (0, 1)]
    assert quarantine.add(entries) == 20
    before = quarantine.find()
    for start in (0, 5, 19):
        assert quarantine.add(entries[start:]) == 0
    assert quarantine.find() == before


def test_the_same_bytes_share_one_row_that_counts_them(quarantine: Quarantine) -> None:
    quarantine.add([held(1), held(2), held(3, b"other")])
    quarantine.add([held(2), held(9)])
    same, other = sorted(quarantine.find(), key=lambda entry: entry.first_offset)
    assert (same.count, same.first_offset, same.last_offset, same.last_received_us) == (3, 1, 9, T0 + 9 * S)
    assert (other.count, other.payload) == (1, b"other")


def test_beyond_the_bound_the_oldest_go_and_are_counted(database: Engine) -> None:
    quarantine = Quarantine(database, QuarantineSettings(max_rows=3))
    quarantine.add([held(i, b"%d" % i) for i in range(3)])
    quarantine.drop(quarantine.find()[0].id)  # the newest, but dealt with
    quarantine.add([held(i, b"%d" % i) for i in range(3, 5)])
    assert sorted(entry.payload for entry in quarantine.find()) == [b"1", b"3", b"4"]
    assert quarantine.dropped() == 2


def test_a_device_stuck_on_one_frame_pushes_nobody_out(database: Engine) -> None:
    quarantine = Quarantine(database, QuarantineSettings(max_rows=2))
    quarantine.add([held(0, b"rare")])
    for i in range(20):
        quarantine.add([held(1 + i, b"stuck")])
    assert {entry.payload: entry.count for entry in quarantine.find()} == {b"rare": 1, b"stuck": 20}
    assert quarantine.dropped() == 0


def test_a_long_payload_is_cut_says_so_and_is_not_tried_again(database: Engine) -> None:
    quarantine = Quarantine(database, QuarantineSettings(max_payload_bytes=4))
    quarantine.add([held(1, b"123456789")])
    (entry,) = quarantine.find()
    assert (entry.payload, entry.size, entry.truncated) == (b"1234", 9, True)
    done = quarantine.redecode(lambda *_: None, lambda _: pytest.fail("half a payload was appended"))
    assert (done.tried, done.accepted, done.cut) == (1, 0, 1)


def test_after_the_fix_what_decodes_goes_into_the_journal_as_it_came(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal.db")
    quarantine.add([held(1, b"good", part=0), held(1, b"good", part=1), held(2, b"bad"), held(3, b"fine")])

    def decode(_topic: str, payload: bytes, received_us: int) -> str | None:
        assert received_us >= T0
        return "still not JSON" if payload == b"bad" else None

    done = quarantine.redecode(decode, journal.append)
    assert (done.tried, done.accepted, done.refused) == (3, 2, 1)
    (block,) = journal.read(0)
    assert (block.topics, block.payloads) == ([TOPIC, TOPIC], [b"good", b"fine"])
    assert block.received_us == [T0 + S, T0 + 3 * S]
    assert quarantine.counts() == {"redecoded": 3, "held": 1}
    assert quarantine.redecode(decode, journal.append).accepted == 0
    journal.close()


def test_nothing_is_marked_before_the_journal_has_it(quarantine: Quarantine) -> None:
    quarantine.add([held(1)])

    def full(_: object) -> None:
        raise QuarantineError("no space")

    with pytest.raises(QuarantineError, match="no space"):
        quarantine.redecode(lambda *_: None, full)
    assert quarantine.counts() == {"held": 1}


def test_the_same_bytes_refused_again_later_are_held_again(quarantine: Quarantine) -> None:
    quarantine.add([held(1)])
    quarantine.redecode(lambda *_: None, lambda _: None)
    quarantine.add([held(1)])
    assert quarantine.counts() == {"redecoded": 1}
    quarantine.add([held(5, reason="not registered")])
    (entry,) = quarantine.find()
    assert (entry.state, entry.reason, entry.count) == (QuarantineState.HELD, "not registered", 2)


def test_redecode_goes_through_more_than_fit_in_memory_at_once(quarantine: Quarantine) -> None:
    quarantine.add([held(i, b"%d" % i) for i in range(1201)])
    parts: list[int] = []
    done = quarantine.redecode(lambda *_: None, lambda deliveries: parts.append(len(deliveries)))
    assert (done.accepted, parts) == (1201, [500, 500, 201])


def test_a_point_the_store_refused_is_kept_once_and_never_redecoded(quarantine: Quarantine) -> None:
    rejected = Rejected("WE-1", "well", T0, "field type conflict")
    for later in range(2):
        quarantine.add([Held.from_rejected(rejected, T0 + later)])
    (entry,) = quarantine.find(device="WE-1")
    assert (entry.reason, entry.count) == ("field type conflict", 1)
    assert quarantine.redecode(lambda *_: None, lambda _: pytest.fail("appended")).tried == 0


def test_text_from_the_wire_that_a_database_refuses_is_kept_all_the_same(quarantine: Quarantine) -> None:
    quarantine.add([held(1, topic="city/\x00/\ud800", reason="got \x00")])
    assert quarantine.find(reason="got")[0].payload == b"\xff\x00{"


def test_filters_take_their_text_literally(quarantine: Quarantine) -> None:
    quarantine.add([held(1, b"a", reason="100% wrong"), held(2, b"b", reason="1000 wrong")])
    assert [entry.reason for entry in quarantine.find(reason="0% w")] == ["100% wrong"]
    assert quarantine.find(device="nobody") == []
    with pytest.raises(QuarantineError, match="there is no entry 99"):
        quarantine.get(99)


def test_adding_from_several_threads_counts_each_offset_once(database: Engine) -> None:
    quarantine = Quarantine(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: quarantine.add([held(i, b"%d" % i), held(99, b"same")]), range(12)))
    assert len(quarantine.find()) == 13
    assert {entry.count for entry in quarantine.find()} == {1}


def test_the_hex_dump_marks_the_byte_where_reading_stopped() -> None:
    assert hex_dump(b"0123456789abcdef\x00\xff", 17).splitlines() == [
        "  00000000   30  31  32  33  34  35  36  37  38  39  61  62  63  64  65  66   0123456789abcdef",
        "> 00000010   00 [ff]" + " " * 56 + "  ..",
    ]
    assert hex_dump(b"ab", 2).startswith("> 00000000   61  62 [  ]")
    assert "[" not in hex_dump(b"ab")
    assert hex_dump(b"") == "  00000000"
