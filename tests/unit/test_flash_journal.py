"""The journal of flashes: every step is written down, what was cut is found, what a laptop brings is taken once."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from devices.database import METADATA, connect, sqlite_url
from devices.errors import FirmwareError
from devices.firmware import journal
from devices.firmware.driver import Board, Proof, Step
from devices.firmware.flash import Flashed, Known
from devices.firmware.journal import Flash, FlashBook, Result
from devices.firmware.tables import FLASH

BOARD = Board(chip="stm32:0x413", serial="0042")
PLAN = Flash(
    id="",
    begun_us=0,
    who="li",
    port="/dev/ttyUSB0",
    usb="1A86:7523 A1",
    bootloader="stm32",
    board="GW-1",
    file="/images/a.ucb",
    version="1.2.3",
    security_counter=4,
    digest="ab" * 32,
    gateway="GW-0001",
)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = connect(sqlite_url(tmp_path / "ops.db"))
    METADATA.create_all(made, tables=[FLASH])
    return made


@pytest.fixture
def book(engine: Engine, tmp_path: Path) -> FlashBook:
    ticks = itertools.count(1_000_000, 1_000_000)
    return FlashBook(engine, lambda: next(ticks), lines=tmp_path / "flashes.jsonl")


def flashed(book: FlashBook, plan: Flash = PLAN) -> Flash:
    log = book.begin(plan)
    log.reached(Step.IDENTIFY, "")
    log.identified(BOARD, Known(revision="r2"))
    log.reached(Step.WRITE, "")
    log.done(Flashed(board=BOARD, proof=Proof.READ_BACK, attempts=1))
    return log.flash


def test_a_flash_is_written_down_before_anything_happens_to_the_board(book: FlashBook) -> None:
    log = book.begin(PLAN)
    (found,) = book.newest(5)
    assert found == log.flash
    assert (found.result, found.step) == (Result.RUNNING, "identify")


def test_a_good_flash_says_who_when_which_board_and_what_showed_it(book: FlashBook) -> None:
    found = flashed(book)
    assert book.newest(1) == [found]
    assert (found.who, found.serial, found.revision, found.proof) == ("li", "0042", "r2", "read back")
    assert found.ended_us > found.begun_us
    assert book.by_gateway() == {"GW-0001": found}


def test_the_lines_tell_the_same_as_the_database(book: FlashBook, tmp_path: Path) -> None:
    found = flashed(book)
    lines = [json.loads(line) for line in (tmp_path / "flashes.jsonl").read_text().splitlines()]
    assert [line["result"] for line in lines] == ["running"] * (len(lines) - 1) + ["done"]
    assert Flash(**lines[-1] | {"result": Result(lines[-1]["result"])}) == found


def test_a_laptops_lines_are_taken_once(book: FlashBook, tmp_path: Path) -> None:
    flashed(book)
    lines = (tmp_path / "flashes.jsonl").read_bytes().splitlines()
    other = connect(sqlite_url(tmp_path / "city.db"))
    METADATA.create_all(other, tables=[FLASH])
    city = FlashBook(other, lambda: 9)
    assert city.take(lines, "flashes.jsonl") > 0
    assert city.newest(5) == book.newest(5)
    assert city.take(lines, "flashes.jsonl") == 0


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"id": 5}', b"\xff\xfe"])
def test_a_line_that_is_none_is_named(book: FlashBook, line: bytes) -> None:
    with pytest.raises(FirmwareError, match=r"flashes\.jsonl line 2"):
        book.take([b"", line], "flashes.jsonl")


def test_a_flash_whose_process_is_gone_was_interrupted(book: FlashBook, engine: Engine) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    stamp = f"{journal.socket.gethostname()}:{gone.pid}:1"
    gone.wait()
    mine = book.begin(PLAN).flash
    with engine.begin() as connection:
        values = {**journal.asdict(mine), "id": "cut", "process": stamp}
        connection.execute(insert(FLASH).values(values))
    cut = book.interrupted()
    assert [one.id for one in cut] == ["cut"]
    assert cut[0].result is Result.INTERRUPTED
    assert book.interrupted() == cut, "it stays on the list until it is mended"


def test_a_later_good_flash_of_the_same_port_mends_what_was_cut(book: FlashBook) -> None:
    log = book.begin(PLAN)
    log.ended(Result.INTERRUPTED, "Ctrl-C")
    assert len(book.interrupted()) == 1
    flashed(book)
    assert book.interrupted() == []


def test_a_later_good_flash_of_another_board_mends_nothing(book: FlashBook) -> None:
    log = book.begin(PLAN)
    log.identified(replace(BOARD, serial="0099"), Known())
    log.ended(Result.INTERRUPTED, "Ctrl-C")
    flashed(book)
    assert len(book.interrupted()) == 1


def test_the_journal_recalls_the_highest_counter_a_board_may_hold_even_of_a_failed_flash(book: FlashBook) -> None:
    flashed(book)
    log = book.begin(replace(PLAN, security_counter=7))
    log.identified(BOARD, Known(board="GW-1", revision="r2"))
    log.ended(Result.FAILED, "unplugged")
    assert book.recall(BOARD) == Known(
        board="GW-1", revision="r2", security_counter=7, source="journal of flashes"
    )


def test_a_refused_flash_says_nothing_of_the_board(book: FlashBook) -> None:
    log = book.begin(replace(PLAN, security_counter=7, board="GW-9"))
    log.identified(BOARD, Known())
    log.ended(Result.REFUSED, "wrong board")
    assert book.recall(BOARD) == Known()


def test_a_board_without_a_serial_number_is_nobody(book: FlashBook) -> None:
    flashed(book)
    assert book.recall(replace(BOARD, serial="")) == Known()


def test_how_a_gateway_was_seen_to_report_is_written_to_its_flash(book: FlashBook) -> None:
    done = flashed(book, replace(PLAN, gateway=""))
    book.provisioned(done.id, "GW-0007", "first reading MC-1 after 4 s")
    assert book.by_gateway()["GW-0007"].provisioned == "first reading MC-1 after 4 s"


def test_texts_of_any_length_fit(book: FlashBook) -> None:
    log = book.begin(replace(PLAN, who="x" * 500))
    log.ended(Result.FAILED, "y" * 5000)
    (found,) = book.newest(1)
    assert (len(found.who), len(found.detail)) == (64, 500)
