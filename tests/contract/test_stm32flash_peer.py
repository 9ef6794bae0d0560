"""Debian's stm32flash, a host that is not ours, and our driver leave the same bytes in the same simulated chip."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from devices.firmware.drivers import named
from devices.firmware.flash import flash
from devices.simulator.boards.serving import serve_pty, serve_tcp
from devices.simulator.boards.stm32 import Rom, Stm32Board
from tests.unit.test_stm32 import F1, KNOWN, Steps, image_of, program

PEER = shutil.which("stm32flash") or ""
pytestmark = pytest.mark.skipif(not PEER, reason="stm32flash is not installed: apt-get install stm32flash")
PAYLOAD = program(9_000) + b"\xff" * 2048 + program(1_001)


def run_peer(url: str, *more: str) -> subprocess.CompletedProcess[str]:
    # A pseudo-terminal has no parity; the bytes are the same.
    command = [PEER, "-m", "8n1", "-b", "115200", *more, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def written_by_us(rom: Rom) -> Stm32Board:
    board = Stm32Board(rom)
    with serve_tcp(board) as served:
        driver = named("stm32").connect(served.url, baud=115200, options={})
        flash(image_of(PAYLOAD), driver, KNOWN, told=lambda *_: None, record=Steps(), boot_check=lambda *_: None)
    return board


@pytest.mark.parametrize("rom", [Rom(), F1])
def test_both_hosts_write_the_same_and_start_it(rom: Rom, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(PAYLOAD)
    theirs, ours = Stm32Board(rom), written_by_us(rom)
    with serve_pty(theirs) as served:
        found = run_peer(served.url, "-w", str(image), "-v", "-g", "0x0")
    assert found.returncode == 0, found.stderr
    assert theirs.flash == ours.flash
    assert theirs.started_at == ours.started_at
    assert sorted(set(theirs.counts.erased)) == sorted(set(ours.counts.erased))


def test_the_other_host_reads_what_ours_wrote(tmp_path: Path) -> None:
    found = tmp_path / "read.bin"
    board = written_by_us(F1)
    board.power_cut()
    with serve_pty(board) as served:
        assert run_peer(served.url, "-r", str(found), "-S", f"0x08000000:{len(PAYLOAD)}").returncode == 0
    assert found.read_bytes() == PAYLOAD


def test_the_other_host_is_refused_by_a_protected_board_as_ours_is(tmp_path: Path) -> None:
    with serve_pty(Stm32Board(Rom(protected=True))) as served:
        assert run_peer(served.url, "-r", str(tmp_path / "read.bin")).returncode != 0
