"""`undercity gateway flash` as an engineer uses it, with simulated boards behind RFC 2217 ports."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from devices.simulator.boards.serving import Served, serve_rfc2217
from devices.simulator.boards.stk500 import Stk500Board
from tests.support.bench import PAYLOAD, Bench, board

BOARD = ("--board", "GW-AVR", "--revision", "r1")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def plugged(*boards: Stk500Board, paced: bool = False) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serve_rfc2217(one, paced=paced)) for one in boards]


def holds(one: Stk500Board, payload: bytes = PAYLOAD) -> bool:
    return bytes(one.flash[: len(payload)]) == payload


def under_way(*boards: Stk500Board) -> None:
    """Wait until each board holds some pages of an image, and not yet all."""
    deadline = time.monotonic() + 60
    while min(one.pages_written for one in boards) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_board_is_flashed_verified_started_and_written_down(bench: Bench) -> None:
    one = board()
    with plugged(one) as (port,):
        done = bench.run("flash", bench.bundle(), port.url, *BOARD, "--who", "李工", "--gateway", "GW-0001")
    assert done.returncode == 0, done.stderr
    assert "1.2.3 is on it and runs, shown by read back" in done.stdout
    assert holds(one)
    (entry,) = json.loads(bench.run("journal", "list", "--json").stdout)
    assert (entry["result"], entry["who"], entry["gateway"], entry["proof"]) == (
        "done",
        "李工",
        "GW-0001",
        "read back",
    )
    assert entry["security_counter"] == 2
    assert len((bench.folder / "data" / "flashes.jsonl").read_text().splitlines()) >= 5


@pytest.mark.parametrize(
    ("values", "words", "says"),
    [
        ({"board": "GW-OTHER"}, BOARD, "image is for board GW-OTHER, this is GW-AVR"),
        ({"revisions": ("r9",)}, BOARD, "image is for revision r9, this board is r1"),
        ({}, (), "nobody else did; say --board and --revision"),
        ({}, (*BOARD, "--option", "nosuch=1"), "expected NAME=VALUE with a name of stk500"),
        ({}, (*BOARD, "--bootloader", "nosuch"), "expected one of"),
        ({}, (*BOARD, "--attempts", "0"), "expected at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(
    bench: Bench, values: dict[str, object], words: tuple[str, ...], says: str
) -> None:
    one = board()
    before = bytes(one.flash)
    with plugged(one) as (port,):
        done = bench.run("flash", bench.bundle(**values), port.url, *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("undercity:")]) == 1
    assert "Traceback" not in done.stderr
    assert bytes(one.flash) == before


def test_a_board_of_another_chip_is_refused(bench: Bench) -> None:
    one = board("1e9705")
    with plugged(one) as (port,):
        done = bench.run("flash", bench.bundle(), port.url, *BOARD)
    assert "image is for chip avr:1e950f, this board has avr:1e9705" in done.stderr
    assert one.pages_written == 0


def test_an_altered_image_is_refused_before_the_port_is_opened(bench: Bench) -> None:
    name = bench.bundle()
    content = bytearray((bench.folder / name).read_bytes())
    content[-1] ^= 1
    (bench.folder / name).write_bytes(content)
    done = bench.run("flash", name, "socket://127.0.0.1:9", *BOARD)
    assert done.returncode == 1
    assert "expected 6000 bytes with digest" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("flash", "nosuch.ucb", "/dev/ttyX"), "nosuch.ucb: No such file"),
        (("flash", "app.ucb"), "port: expected one to be named; ports are:"),
        (("flash", "app.ucb", "/dev/nosuch", *BOARD), "it is not there; ports are:"),
        (("flash", "app.ucb", "socket://127.0.0.1:1", *BOARD), "cannot be opened"),
        (("flash", "app.ucb", "socket://nowhere", *BOARD), "cannot be opened"),
        (("flash", "app.ucb", "/dev/null", *BOARD), "/dev/null"),
        (("flash", "app.ucb", "--all"), "not every port of this machine is a board"),
        (("flash", "app.ucb", "--all", "--match", "FFFF:FFFF"), "no adapter has this VID:PID"),
        (("flash", "app.ucb", "--all", "--ports", "/dev/null", "--groups", "0"), "expected sizes such as 1,4"),
        (("flash", "app.ucb", "--all", "--ports", "/dev/null,/dev/null"), "expected each port once"),
        (("flash", "app.ucb", "--all", "--ports", "/dev/null", "--report", "a.txt"), "ends in .json or .csv"),
        (("flash", "app.ucb", "--all", "--ports", "/dev/null", "--report", "no/a.csv"), "no such folder"),
        (("identify", "/dev/null"), "expected one of"),
        (("identify", "/dev/null", "--bootloader", "stk500"), "/dev/null"),
        (("image", "verify", "undercity.toml"), "undercity.toml"),
        (("journal", "import", "nosuch"), "nosuch"),
    ],
)
def test_wrong_words_are_answered_in_one_line(bench: Bench, words: tuple[str, ...], says: str) -> None:
    bench.bundle()
    done = bench.run(*words)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("undercity:")]) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_a_flash_that_was_killed_is_found_offered_and_finished(bench: Bench) -> None:
    one = board()
    with plugged(one, paced=True) as (port,):
        flashing = bench.start("flash", bench.bundle(), port.url, *BOARD)
        under_way(one)
        flashing.kill()
        flashing.communicate()
        assert not holds(one)
        found = bench.run("interrupted")
        assert found.returncode == 1
        assert "was cut while it was at 'write'; the board may hold half an image" in found.stdout
        assert "finish it with 'undercity gateway interrupted --finish'" in found.stdout
        assert "unfinished:" in bench.run("flash", "app.ucb", "/dev/nosuch", *BOARD).stderr
        again = bench.run("interrupted", "--finish")
    assert again.returncode == 0, again.stderr
    assert holds(one)
    assert bench.run("interrupted").stdout == "no flash is unfinished\n"


def test_a_flash_ended_by_a_signal_writes_down_that_it_was(bench: Bench) -> None:
    one = board()
    with plugged(one, paced=True) as (port,):
        flashing = bench.start("flash", bench.bundle(), port.url, *BOARD)
        under_way(one)
        flashing.terminate()
        _, error = flashing.communicate(timeout=60)
    assert flashing.returncode == 130
    assert error.splitlines()[-1] == "undercity: interrupted"
    (entry,) = json.loads(bench.run("journal", "list", "--json").stdout)
    assert entry["result"] == "interrupted"


def test_of_many_one_that_fails_stops_no_other_and_the_report_says_each(bench: Bench) -> None:
    boards = [board(), board("1e9705"), board()]
    with plugged(*boards) as ports:
        urls = ",".join(port.url for port in ports)
        words = ("--all", "--ports", urls, "--report", "report.csv", *BOARD)
        done = bench.run("flash", bench.bundle(), *words)
    assert done.returncode == 1
    assert [holds(one) for one in boards] == [True, False, True]
    rows = list(csv.DictReader((bench.folder / "report.csv").read_text().splitlines()))
    assert [row["result"] for row in rows] == ["done", "refused", "done"]
    assert "this board has avr:1e9705" in rows[1]["why"]
    assert [row["proof"] for row in rows] == ["read back", "", "read back"]


def test_of_many_one_whose_process_is_killed_is_called_interrupted(bench: Bench) -> None:
    boards = [board(), board()]
    longer = PAYLOAD * 5
    with plugged(*boards, paced=True) as ports:
        urls = ",".join(port.url for port in ports)
        flashing = bench.start(
            "flash", bench.bundle(payload=longer), "--all", "--ports", urls, "--report", "report.json", *BOARD
        )
        under_way(*boards)
        entries = map(json.loads, (bench.folder / "data" / "flashes.jsonl").read_text().splitlines())
        victim = next(one for one in entries if one["port"] == ports[0].url)
        os.kill(int(victim["process"].split(":")[-2]), signal.SIGKILL)
        flashing.communicate(timeout=100)
    assert flashing.returncode == 1
    report = {row["port"]: row["result"] for row in json.loads((bench.folder / "report.json").read_text())}
    assert report == {ports[0].url: "interrupted", ports[1].url: "done"}
    assert [holds(one, longer) for one in boards] == [False, True]


def test_progress_and_result_can_be_had_as_json_lines(bench: Bench) -> None:
    with plugged(board()) as (port,):
        done = bench.run("flash", bench.bundle(), port.url, *BOARD, "--json-lines")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert next(line["step"] for line in lines if "step" in line) == "identify"
    assert lines[-1]["result"] == "done"
    assert lines[-1]["proof"] == "read back"


def test_a_roll_out_halts_behind_the_group_that_failed(bench: Bench) -> None:
    boards = [board("1e9705"), board(), board()]
    with plugged(*boards) as ports:
        urls = ",".join(port.url for port in ports)
        words = ("--all", "--ports", urls, "--groups", "1,1", "--report", "report.json", *BOARD)
        done = bench.run("flash", bench.bundle(), *words)
    assert done.returncode == 1
    assert [one.pages_written for one in boards] == [0, 0, 0]
    report = json.loads((bench.folder / "report.json").read_text())
    assert [(row["group"], row["result"]) for row in report] == [
        (1, "refused"),
        (2, "not begun"),
        (3, "not begun"),
    ]


def test_a_laptops_journal_is_carried_home(bench: Bench, tmp_path: Path) -> None:
    with plugged(board()) as (port,):
        bench.run("flash", bench.bundle(), port.url, *BOARD)
    (tmp_path / "home").mkdir()
    home = Bench(tmp_path / "home")
    lines = str(bench.folder / "data" / "flashes.jsonl")
    assert "were new or went further" in home.run("journal", "import", lines).stdout
    assert home.run("journal", "import", lines).stdout.endswith(": 0 entries were new or went further\n")
    assert len(json.loads(home.run("journal", "list", "--json").stdout)) == 1
