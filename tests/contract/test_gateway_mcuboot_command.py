"""`undercity gateway mcuboot` and `flash` over SMP as an engineer uses them, with a simulated board behind a port."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from devices.firmware.link import Line
from devices.firmware.mcuboot import looked_into
from devices.simulator.boards.serving import serve_tcp
from devices.simulator.boards.smp import SmpBoard
from tests.support.bench import Bench, Ended
from tests.support.mcuboot import BODY, maker_key, mcuboot_image, public_pem

OLD = mcuboot_image(version="1.0.0", counter=1)
NEW = mcuboot_image(version="1.2.3", counter=2)
SAID = ("--board", "GW-SMP", "--revision", "r2", "--option", "key=maker.pem")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    one = Bench(tmp_path)
    (tmp_path / "maker.pem").write_bytes(public_pem(maker_key()))
    (tmp_path / "app.signed.bin").write_bytes(NEW)
    return one


def flashed(bench: Bench, board: SmpBoard, *words: str) -> Ended:
    with serve_tcp(board) as port:
        return bench.run("flash", words[0], port.url, *words[1:])


def test_a_bundle_around_an_mcuboot_image_has_both_signatures_checked_and_is_flashed(bench: Bench) -> None:
    board = SmpBoard(OLD)
    bundle = bench.bundle(payload=NEW, board="GW-SMP", revisions=("r2",), chip="zephyr:gw100:stm32", boot="loader")
    done = flashed(bench, board, bundle, *SAID)
    assert done.returncode == 0, done.stderr
    assert "1.2.3 is on it and runs, shown by device digest" in done.stdout
    assert board.running == NEW


def test_a_bundle_whose_payload_another_key_signed_is_refused_and_nothing_is_written(bench: Bench) -> None:
    board = SmpBoard(OLD)
    other = mcuboot_image(version="1.2.3", counter=2, which=1)
    bundle = bench.bundle(
        payload=other, board="GW-SMP", revisions=("r2",), chip="zephyr:gw100:stm32", boot="loader"
    )
    done = flashed(bench, board, bundle, *SAID)
    assert done.returncode == 1
    assert "a signature of this key, none fits" in done.stderr
    assert board.offsets == []


def test_a_bare_image_is_flashed_as_what_the_engineer_says_it_is_for_and_the_record_says_so(bench: Bench) -> None:
    board = SmpBoard(OLD)
    done = flashed(bench, board, "app.signed.bin", *SAID)
    assert done.returncode == 0, done.stderr
    assert "board and revision as the engineer said" in done.stderr
    (entry,) = json.loads(bench.run("journal", "list", "--json").stdout)
    assert (entry["board"], entry["version"], entry["bootloader"]) == ("GW-SMP", "1.2.3", "smp")
    # A bundle is recorded with the id of its key; this one with MCUboot's, for nobody signed what it is for.
    assert f"key mcuboot:{maker_key().public.id}" in (bench.folder / "data" / "flashes.jsonl").read_text()
    assert board.running == NEW


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (SAID[4:], "expected --board and --revision: an MCUboot image names no board"),
        (SAID[:4], "expected the public key that its board's MCUboot trusts, got none"),
        ((*SAID, "--bootloader", "stk500"), "expected NAME=VALUE with a name of stk500"),
        ((*SAID[:4], "--option", "key=none.pem"), "none.pem: No such file"),
    ],
)
def test_a_bare_image_without_what_it_needs_is_refused_in_one_line(
    bench: Bench, words: tuple[str, ...], says: str
) -> None:
    board = SmpBoard(OLD)
    done = flashed(bench, board, "app.signed.bin", *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert board.offsets == []


@pytest.mark.parametrize("passphrase", ["", "long enough"])
def test_an_application_is_signed_and_looked_into(bench: Bench, passphrase: str) -> None:
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    pem = maker_key().imgtool.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    (bench.folder / "private.pem").write_bytes(pem)
    (bench.folder / "app.bin").write_bytes(BODY)
    (bench.folder / "phrase").write_text(passphrase + "\n")
    words = ("--key", "private.pem", "--version", "1.2.3", "--counter", "2", "--out", "new.bin")
    done = bench.run("mcuboot", "sign", "app.bin", *words, "--passphrase-file", "phrase")
    assert done.returncode == 0, done.stderr
    assert looked_into((bench.folder / "new.bin").read_bytes(), "new.bin").security_counter == 2
    shown = bench.run("mcuboot", "inspect", "new.bin", "--key", "maker.pem")
    assert "yes: digest and signature of maker.pem" in shown.stdout
    assert "unknown: only --key can tell" in bench.run("mcuboot", "inspect", "new.bin").stdout


def test_an_image_of_another_key_is_told_with_exit_code_1(bench: Bench) -> None:
    (bench.folder / "other.bin").write_bytes(mcuboot_image(which=1))
    done = bench.run("mcuboot", "inspect", "other.bin", "--key", "maker.pem")
    assert done.returncode == 1
    assert "NO: other.bin: expected a signature of this key" in done.stdout


def test_a_bundle_that_would_contradict_its_image_is_not_signed(bench: Bench) -> None:
    (bench.folder / "phrase").write_text("long enough\n")
    bench.run("image", "keygen", "k", "--passphrase-file", "phrase")
    words = (
        "--board",
        "GW-SMP",
        "--revision",
        "r2",
        "--key",
        "k",
        "--out",
        "a.ucb",
        "--passphrase-file",
        "phrase",
    )
    done = bench.run("image", "sign", "app.signed.bin", "--version", "9.9.9", *words)
    assert "expected version 9.9.9 as its manifest says, got 1.2.3" in done.stderr
    assert not (bench.folder / "a.ucb").exists()


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_flash_that_is_ended_in_the_middle_is_written_down_as_interrupted(bench: Bench, ended_by: int) -> None:
    board = SmpBoard(OLD)
    longer = mcuboot_image(version="1.2.3", counter=2, body=BODY * 10)
    (bench.folder / "long.bin").write_bytes(longer)
    with serve_tcp(board, Line(57600)) as port:
        flashing = bench.start("flash", "long.bin", port.url, *SAID)
        deadline = time.monotonic() + 30
        while len(board.offsets) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        flashing.send_signal(ended_by)
        _, error = flashing.communicate(timeout=60)
    assert flashing.returncode == 130
    assert error.splitlines()[-1] == "undercity: interrupted"
    (entry,) = json.loads(bench.run("journal", "list", "--json").stdout)
    assert entry["result"] == "interrupted"
    assert board.running == OLD
