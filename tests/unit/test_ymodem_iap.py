from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import BootError, ExchangeError, FirmwareError, RefusedError, VerifyError
from devices.firmware.driver import Proof
from devices.firmware.drivers import named
from devices.firmware.drivers.ymodem_iap import Menu, YmodemIap
from devices.simulator.boards.iap import IapBoard, IapMenu
from devices.simulator.boards.ymodem import Manners
from tests.fakes.serial_line import Faults, SerialLine
from tests.support.flashing import flashed, image, outcome, pieces

OPTIONS = {"menu": "1 Download image", "start": "2", "crc32": "CRC32:", "board": "Board:", "revision": "Revision:"}
SIZE = 3000


def driver(board: IapBoard, faults: Faults | None = None, **options: str) -> YmodemIap:
    return YmodemIap(SerialLine(board, faults), Menu.of(OPTIONS | options))


def test_a_flash_is_proven_by_the_crc_the_loader_prints() -> None:
    board = IapBoard()
    done = flashed(driver(board), image(SIZE), lambda: board.running, names_digest=False)
    assert done.proof is Proof.DEVICE_DIGEST
    assert (done.board.board, done.board.revision) == ("GW-10", "B")
    assert board.running == image(SIZE).payload


def test_without_a_printed_crc_the_application_must_name_its_digest() -> None:
    board = IapBoard(IapMenu(shows_crc=False))
    quiet = driver(board, crc32="", ok="Programming completed")
    assert flashed(quiet, image(SIZE), lambda: board.running).proof is Proof.APPLICATION
    board.power_cut()
    with pytest.raises(VerifyError, match="it is not called flashed"):
        flashed(driver(board, crc32=""), image(SIZE), lambda: board.running, names_digest=False)


def test_a_byte_that_flash_does_not_take_is_seen() -> None:
    board = IapBoard(IapMenu(stuck_at=1700))
    with pytest.raises(VerifyError, match=r"expected CRC-32 [0-9a-f]{8} in flash, the loader has [0-9a-f]{8}"):
        flashed(driver(board), image(SIZE), lambda: board.running)


def test_a_block_acknowledged_and_not_kept_is_seen() -> None:
    board = IapBoard(IapMenu(shows_crc=False), Manners(wrong_ack_at=1024))
    with pytest.raises(BootError, match="names another digest"):
        flashed(driver(board, crc32=""), image(SIZE), lambda: board.running)


def test_another_board_than_the_image_is_for_is_refused_before_a_byte_is_sent() -> None:
    board = IapBoard(IapMenu(board="GW-20"))
    board.flash[:3] = b"old"
    with pytest.raises(RefusedError, match=r"GW-20.*nothing was written"):
        flashed(driver(board), image(SIZE), lambda: board.running)
    assert board.flash[:3] == b"old"


def test_a_loader_that_says_nothing_is_told_of_in_one_line() -> None:
    board = IapBoard()
    board.running = b"an application"
    with pytest.raises(
        ExchangeError, match=r"expected the menu with '1 Download image' within 30 s, got 'nothing'"
    ):
        driver(board).identify()


def test_a_file_that_stops_the_loader_half_way_is_sent_again() -> None:
    # The session before this one died in the middle of a block: the loader takes keys for data.
    board = IapBoard()
    board.receive(b"1")
    board.receive(bytes([2, 0, 255]) + bytes(300))
    assert flashed(driver(board), image(SIZE), lambda: board.running).attempts == 1


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"menu": "ab"}, "option menu: expected 3 to 60 printable"),
        ({"key": "12"}, "option key: expected one printable character"),
        ({"block": "512"}, "option block: expected one of 1024, 128"),
        ({"name": "a;b"}, "option name: expected letters"),
        ({"speed": "9"}, "option 'speed': expected one of menu, wake"),
    ],
)
def test_options_are_checked_before_the_port_is_opened(wrong: dict[str, str], expected: str) -> None:
    with pytest.raises(RefusedError, match=expected):
        named("ymodem-iap").connect("/dev/not-there", baud=115200, options=OPTIONS | wrong)


class Once:
    """Loses the last digit of the board's name, once."""

    def __init__(self, board: IapBoard) -> None:
        self.board, self.armed = board, True

    def __getattr__(self, name: str) -> object:
        return getattr(self.board, name)

    def receive(self, data: bytes) -> bytes:
        said = self.board.receive(data)
        if self.armed and b"GW-100" in said:
            self.armed = False
            said = said.replace(b"GW-100", b"GW-10")
        return said


def test_a_lost_digit_does_not_make_another_board_the_right_one() -> None:
    board = Once(IapBoard(IapMenu(board="GW-100")))
    with pytest.raises(RefusedError, match="GW-100"):
        flashed(driver(board), image(SIZE), lambda: board.board.running)  # type: ignore[arg-type]
    assert not board.armed


def boundaries_of_a_clean_flash() -> list[int]:
    board = IapBoard()
    line = SerialLine(board)
    starts = pieces(line)
    flashed(YmodemIap(line, Menu.of(OPTIONS)), image(SIZE), lambda: board.running)
    return starts


BOUNDARIES = boundaries_of_a_clean_flash()


@pytest.mark.parametrize("power_too", [True, False])
@pytest.mark.parametrize("into", [0, 1, 60])
@pytest.mark.parametrize("boundary", BOUNDARIES[1:])
def test_unplugged_at_every_boundary_in_turn_it_starts_anew_and_ends_right(
    boundary: int, into: int, *, power_too: bool
) -> None:
    board = IapBoard()
    faults = Faults(unplug_at=[boundary + into], power_too=power_too, away_s=4.0)
    done = outcome(driver(board, faults), image(SIZE), lambda: board.running)
    if isinstance(done, FirmwareError):
        # Before anything was written, and when the application was about to start: there it ends, as it should.
        assert boundary <= BOUNDARIES[2] or boundary >= BOUNDARIES[-3]
    else:
        assert board.running == image(SIZE).payload


@settings(max_examples=60, deadline=None)
@given(
    faults=st.builds(
        Faults,
        lose=st.sampled_from((0.0, 0.0, 0.0001, 0.001, 0.05)),
        garble=st.sampled_from((0.0, 0.0, 0.0001, 0.001, 0.05)),
        drip=st.sampled_from((0, 1, 3)),
        delay_s=st.sampled_from((0.0, 0.02, 0.4, 1.5)),
        unplug_at=st.lists(st.integers(1, 9000), max_size=3).map(sorted),
        power_too=st.booleans(),
        away_s=st.sampled_from((0.0, 4.0, 60.0)),
        seed=st.integers(0, 2**16),
    ),
    size=st.sampled_from((1, 128, 1024, 3000)),
    manners=st.builds(
        Manners,
        doubts_eot=st.booleans(),
        asks_first=st.booleans(),
        repeats_ok=st.booleans(),
        wrong_ack_at=st.sampled_from((-1, -1, 0, 2000)),
    ),
    shows_crc=st.booleans(),
)
def test_whatever_the_line_does_success_means_the_board_runs_the_image(
    faults: Faults, size: int, manners: Manners, *, shows_crc: bool
) -> None:
    board = IapBoard(IapMenu(shows_crc=shows_crc), manners, capacity=8 * 1024)
    proving = {} if shows_crc else {"crc32": ""}
    done = outcome(driver(board, faults, **proving), image(size), lambda: board.running)
    if isinstance(done, FirmwareError):
        return
    assert done.proof in {Proof.DEVICE_DIGEST, Proof.APPLICATION}
    assert bytes(board.flash[:size]) == image(size).payload
    assert board.running == image(size).payload
