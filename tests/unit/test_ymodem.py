from __future__ import annotations

import random
from dataclasses import replace

import pytest

from devices.errors import ExchangeError, LinkError
from devices.firmware import ymodem
from devices.simulator.boards.iap import IapBoard, IapMenu
from devices.simulator.boards.ymodem import Manners
from tests.fakes.serial_line import Faults, SerialLine

SIZES = (1, 127, 128, 129, 1023, 1024, 1025, 2048, 3000, 5 * 1024 + 128, 300 * 1024)


def payload(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def board(manners: Manners | None = None) -> IapBoard:
    return IapBoard(IapMenu(shows_crc=False), manners, capacity=512 * 1024)


def send(line: SerialLine, data: bytes, receiver: ymodem.Receiver | None = None) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    line.write(b"1")
    ymodem.send(line, "gw.bin", data, lambda done, whole: told.append((done, whole)), receiver)
    return told


@pytest.mark.parametrize("size", SIZES)
def test_what_arrives_is_what_was_sent(size: int) -> None:
    target = board()
    told = send(SerialLine(target), payload(size))
    assert bytes(target.flash[: target.stored]) == payload(size)
    assert told[0] == (0, size)
    assert told[-1] == (size, size)
    assert told == sorted(told)


@pytest.mark.parametrize(
    "manners",
    [Manners(doubts_eot=False), Manners(asks_first=False), Manners(closes=False), Manners(repeats_ok=False)],
)
def test_receivers_that_differ_are_served(manners: Manners) -> None:
    target = board(manners)
    send(SerialLine(target), payload(3000), ymodem.Receiver(closes=manners.closes))
    assert bytes(target.flash[: target.stored]) == payload(3000)


def test_a_receiver_of_short_blocks_gets_no_long_one() -> None:
    target = board()
    line = SerialLine(target)
    send(line, payload(3000), ymodem.Receiver(block=128))
    assert bytes(target.flash[: target.stored]) == payload(3000)
    # Block 0, 24 of data, the closing one; EOT twice; the key.
    assert line.written == 26 * (128 + 5) + 2 + 1


class Spoiling:
    """Garbles the n-th frame that is written, or swallows the n-th answer."""

    def __init__(self, line: SerialLine, *, frame: int = -1, answer: int = -1) -> None:
        self.line, self.frame, self.answer = line, frame, answer

    def __getattr__(self, name: str) -> object:
        return getattr(self.line, name)

    def write(self, data: bytes) -> None:
        self.frame -= 1
        self.line.write(data if self.frame else data[:9] + bytes([data[9] ^ 1]) + data[10:])
        self.answer -= 1
        if not self.answer:
            self.line.discard()


@pytest.mark.parametrize("frame", [1, 2, 3, 4])
def test_a_garbled_block_is_asked_for_again(frame: int) -> None:
    target = board()
    line = SerialLine(target)
    line.write(b"1")
    ymodem.send(Spoiling(line, frame=frame), "gw.bin", payload(3000), lambda *_: None)  # type: ignore[arg-type]
    assert bytes(target.flash[: target.stored]) == payload(3000)


@pytest.mark.parametrize("answer", range(1, 8))
def test_a_lost_answer_costs_a_pause_and_nothing_else(answer: int) -> None:
    target = board()
    line = SerialLine(target)
    line.write(b"1")
    ymodem.send(Spoiling(line, answer=answer), "gw.bin", payload(3000), lambda *_: None)  # type: ignore[arg-type]
    assert bytes(target.flash[: target.stored]) == payload(3000)
    assert line.now() < 20


def test_a_c_within_text_is_no_request() -> None:
    # The board's own line "(Cancel with a)" stands between the key and the request.
    target = board()
    line = SerialLine(target, Faults(delay_s=0.2))
    send(line, payload(10))
    assert target.stored == 10


def test_a_receiver_that_cancels_ends_the_exchange() -> None:
    small = IapBoard(capacity=1024)
    with pytest.raises(ExchangeError, match=r"the receiver cancelled the transfer"):
        send(SerialLine(small), payload(2000))


def test_no_request_for_a_file_says_so_and_nothing_is_sent() -> None:
    line = SerialLine(board())
    with pytest.raises(ExchangeError, match=r"expected 'C', a request for a file, got no answer within 5 s"):
        ymodem.send(line, "gw.bin", b"x", lambda *_: None, ymodem.Receiver(start_s=5))
    assert line.written == 8  # CAN, so that whatever listens stops


def test_a_block_that_never_gets_through_is_given_up() -> None:
    target = board(Manners(patience=99))
    line = SerialLine(target)
    line.write(b"1")
    line.faults = replace(line.faults, lose=0.05)
    with pytest.raises(ExchangeError):
        ymodem.send(line, "gw.bin", payload(3000), lambda *_: None)


def test_a_lost_line_is_not_tried_again_here() -> None:
    line = SerialLine(board(), Faults(unplug_at=[1500]))
    with pytest.raises(LinkError):
        send(line, payload(3000))


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "a\0b"])
def test_a_name_a_board_might_stumble_over_is_refused(name: str) -> None:
    with pytest.raises(ExchangeError, match="file name"):
        ymodem.send(SerialLine(board()), name, b"x", lambda *_: None)


def test_a_receiver_in_the_middle_of_a_block_is_brought_back_to_its_menu() -> None:
    target = board()
    line = SerialLine(target)
    line.write(b"1")
    line.write(ymodem.frame(0, b"gw.bin\x002000\0".ljust(128, b"\0")))
    line.write(ymodem.frame(1, bytes(1024))[:500])
    assert ymodem.cancel(line)
    line.discard()
    line.write(b"\r")
    assert b"1 Download image" in line.read(400, 1)


def test_a_frame_is_as_the_reference_draws_it() -> None:
    # CRC-16/XMODEM of "123456789" is 0x31c3, the catalogue's check value.
    block = ymodem.frame(257, b"123456789".ljust(128, b"\x1a"))
    assert block[:3] == bytes([1, 1, 0xFE])
    assert len(block) == 133
    assert len(ymodem.frame(1, bytes(1024))) == 1029
