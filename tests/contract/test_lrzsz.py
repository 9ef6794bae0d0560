"""Our YMODEM sender against `rb` of lrzsz, a receiver that nobody here wrote."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from devices.errors import ExchangeError
from devices.firmware import ymodem
from devices.firmware.link import SerialLink
from devices.simulator.boards.serving import serve_pty, serve_tcp
from tests.support.program_board import ProgramBoard

RB = shutil.which("rb")
pytestmark = pytest.mark.skipif(RB is None, reason="needs rb, to receive as others do: apt-get install lrzsz")
# Names as sent, unrestricted; answers after one second of silence.
COMMAND = [RB or "rb", "--binary", "--quiet", "--timeout", "10"]


def payload(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def quiet(*_: object) -> None:
    """Progress that nobody looks at."""


@pytest.mark.parametrize("size", [1, 4096, 100_001])
def test_rb_keeps_exactly_the_file_that_was_sent(tmp_path: Path, size: int) -> None:
    with ProgramBoard(COMMAND, tmp_path) as board, serve_tcp(board) as served:
        link = SerialLink(served.url)
        ymodem.send(link, "image.bin", payload(size), quiet)
        link.close()
        assert board.program.wait(10) == 0
    assert (tmp_path / "image.bin").read_bytes() == payload(size)


def test_rb_behind_a_pseudo_terminal_keeps_the_file_too(tmp_path: Path) -> None:
    with ProgramBoard(COMMAND, tmp_path) as board, serve_pty(board) as served:
        link = SerialLink(served.url)
        ymodem.send(link, "image.bin", payload(5000), quiet)
        link.close()
        assert board.program.wait(10) == 0
    assert (tmp_path / "image.bin").read_bytes() == payload(5000)


class Noisy(ProgramBoard):
    """Garbles every 4,000th byte on the way to the program, and swallows its fifth answer."""

    passed = 0
    garbled = 0
    answers = 0

    def receive(self, data: bytes) -> bytes:
        spoilt = bytearray(data)
        for index in range(-self.passed % 4000, len(data), 4000):
            spoilt[index] ^= 0x10
            self.garbled += 1
        self.passed += len(data)
        answer = super().receive(bytes(spoilt))
        self.answers += bool(answer)
        return b"" if self.answers == 5 else answer


@pytest.mark.soak
def test_rb_keeps_the_file_over_a_line_that_garbles_blocks_and_loses_answers(tmp_path: Path) -> None:
    with Noisy(COMMAND, tmp_path) as board, serve_tcp(board) as served:
        link = SerialLink(served.url)
        ymodem.send(link, "image.bin", payload(12_000), quiet)
        link.close()
        assert board.program.wait(10) == 0
        assert board.garbled > 1
    assert (tmp_path / "image.bin").read_bytes() == payload(12_000)


def test_rb_that_is_killed_in_the_middle_is_an_error_and_a_good_transfer_follows(tmp_path: Path) -> None:
    with ProgramBoard(COMMAND, tmp_path) as board, serve_tcp(board) as served:
        link = SerialLink(served.url)

        def kill(done: int, _whole: int) -> None:
            if done > 20_000:
                board.program.kill()

        with pytest.raises(ExchangeError, match="got no answer within 2 s"):
            ymodem.send(link, "image.bin", payload(40_000), kill, ymodem.Receiver(answer_s=2))
        link.close()
    with ProgramBoard(COMMAND, tmp_path) as board, serve_tcp(board) as served:
        link = SerialLink(served.url)
        ymodem.send(link, "again.bin", payload(40_000), quiet)
        link.close()
        assert board.program.wait(10) == 0
    assert (tmp_path / "again.bin").read_bytes() == payload(40_000)


def test_rb_that_gives_up_is_understood(tmp_path: Path) -> None:
    with ProgramBoard(COMMAND, tmp_path) as board, serve_tcp(board) as served:
        link = SerialLink(served.url)
        ymodem._Sending(link, ymodem.Receiver()).begin("image.bin", 5000)
        assert ymodem.cancel(link, quiet_s=0.5)
        link.close()
        assert board.program.wait(10) != 0
