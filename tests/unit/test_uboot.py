from __future__ import annotations

import contextlib
import itertools
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import BootError, ExchangeError, FirmwareError, RefusedError, VerifyError
from devices.firmware.driver import Proof
from devices.firmware.drivers import named
from devices.firmware.drivers.uboot import Plan, UBoot
from devices.simulator.boards.uboot import NOR_BASE, RAM_BASE, UBootBoard, UBootFaults
from devices.simulator.boards.ymodem import Manners
from tests.fakes.serial_line import Faults, SerialLine
from tests.support.flashing import flashed, image, outcome, pieces

NOR = {"address": f"{RAM_BASE:x}", "store": "nor", "at": f"{NOR_BASE:x}"}
SPI = {"address": f"{RAM_BASE:x}", "store": "sf", "at": "1000", "start": "none"}
SIZE = 3000


class Booting:
    """What the board runs once its countdown has ended."""

    def __init__(self, board: UBootBoard) -> None:
        self.board = board

    def __call__(self) -> bytes | None:
        self.board.elapse(3)
        return self.board.running


class Listening(UBootBoard):
    """Keeps every command line it was given."""

    given: ClassVar[list[str]] = []

    def _run(self, line: str) -> bytes:
        self.given.append(line)
        return super()._run(line)


def driver(board: UBootBoard, plan: dict[str, str], faults: Faults | None = None) -> UBoot:
    return UBoot(SerialLine(board, faults), Plan.of(plan))


def test_a_flash_is_proven_by_the_crc_of_what_was_stored() -> None:
    board = UBootBoard()
    done = flashed(driver(board, NOR), image(SIZE), Booting(board), names_digest=False)
    assert done.proof is Proof.DEVICE_DIGEST
    assert (done.board.chip, done.board.serial) == ("uboot:imx6", "0017A4C2")
    assert done.board.loader == "U-Boot 2023.01"
    assert board.running == board.nor[:SIZE] == image(SIZE).payload


def test_spi_flash_is_read_back_into_memory_that_held_something_else() -> None:
    board = UBootBoard()
    loader = driver(board, SPI)
    loader.identify()
    loader.write(image(SIZE), lambda *_: None)
    assert loader.verify(image(SIZE), lambda *_: None) is Proof.DEVICE_DIGEST
    assert board.spi[0x1000 : 0x1000 + SIZE] == image(SIZE).payload
    # What was not stored is not found in memory by mistake.
    board.faults = UBootFaults(store_fails=True)
    board.spi[:] = b"\xff" * len(board.spi)
    loader.write(image(SIZE), lambda *_: None)
    with pytest.raises(VerifyError, match=r"in the store at 0x40200000: expected CRC-32"):
        loader.verify(image(SIZE), lambda *_: None)


def test_a_store_that_cannot_be_read_is_not_taken_for_the_memory_it_came_from() -> None:
    board = UBootBoard(faults=UBootFaults(store_fails=True, read_fails=True))
    loader = driver(board, SPI)
    loader.identify()
    loader.write(image(SIZE), lambda *_: None)
    with pytest.raises(VerifyError, match="in the store at 0x40200000"):
        loader.verify(image(SIZE), lambda *_: None)


def test_a_bit_that_flash_does_not_take_is_seen() -> None:
    board = UBootBoard(faults=UBootFaults(stuck_at=1700))
    with pytest.raises(VerifyError, match="in flash at 0x4040000: expected CRC-32"):
        flashed(driver(board, NOR), image(SIZE), Booting(board))


def test_what_arrived_wrong_in_memory_is_never_stored() -> None:
    board = UBootBoard(manners=Manners(wrong_ack_at=1024))
    with pytest.raises(VerifyError, match=r"in memory at 0x40200000.*3 attempts failed"):
        flashed(driver(board, NOR), image(SIZE), Booting(board))
    assert set(board.nor) == {0xFF}


def test_an_image_in_memory_only_is_started_where_it_is() -> None:
    board = UBootBoard()
    plan = {"address": f"{RAM_BASE:x}", "store": "none", "start": "go"}
    assert flashed(driver(board, plan), image(SIZE), Booting(board)).proof is Proof.DEVICE_DIGEST
    assert set(board.nor) == {0xFF}


def test_what_the_application_says_at_once_is_not_lost() -> None:
    class Speaking(UBootBoard):
        def _go(self, words: list[str], memory: bytes) -> str:
            return super()._go(words, memory) + "gateway 1.2.3 runs\r\n"

    board = Speaking()
    loader = driver(board, {"address": f"{RAM_BASE:x}", "store": "none", "start": "go"})
    loader.identify()
    loader.write(image(SIZE), lambda *_: None)
    loader.boot(image(SIZE))
    assert b"gateway 1.2.3 runs" in loader.link.read(200, 1)


def test_the_countdown_after_a_reset_is_not_disturbed() -> None:
    board = UBootBoard()
    loader = driver(board, NOR)
    loader.identify()
    loader.write(image(SIZE), lambda *_: None)
    loader.boot(image(SIZE))
    loader.link.write(b"hello")
    assert board.running == image(SIZE).payload


def test_a_start_command_that_comes_back_is_no_boot() -> None:
    board = UBootBoard()
    plan = {"address": f"{RAM_BASE:x}", "store": "none", "start": "bootm"}
    with pytest.raises(BootError, match=r"expected bootm to start the image, U-Boot came back.*Unknown command"):
        flashed(driver(board, plan), image(SIZE), Booting(board))


def test_a_command_the_line_changed_is_never_sent_off() -> None:
    for seed in range(20):
        board = Listening()
        line = SerialLine(board)
        loader = UBoot(line, Plan.of(NOR))
        loader.identify()
        board.given.clear()
        line.faults = Faults(garble=0.05)
        line._chance.seed(seed)
        with contextlib.suppress(ExchangeError):
            loader._command("erase 0x4040000 +0xbb8")
        assert set(board.given) <= {"erase 0x4040000 +0xbb8", ""}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"address": "40200000; reset"}, "option address: expected a hexadecimal number"),
        ({"store": "nand"}, "option store: expected one of none, nor, sf, mmc"),
        ({"start": "run:a;b"}, "option start: expected reset, go"),
        ({"device": "0;"}, "option device: expected one digit"),
        ({"prompt": "=>\n"}, "option prompt: expected up to 30 printable"),
        ({"command": "sf erase"}, "option 'command': expected one of address, store"),
    ],
)
def test_no_option_brings_a_command_of_its_own(wrong: dict[str, str], expected: str) -> None:
    with pytest.raises(RefusedError, match=expected):
        named("uboot").connect("/dev/not-there", baud=115200, options=NOR | wrong)


def test_a_store_needs_a_place() -> None:
    with pytest.raises(RefusedError, match="option at: expected a hexadecimal number"):
        Plan.of({"address": "0", "store": "mmc"})


def test_a_board_without_a_prompt_is_told_of_in_one_line() -> None:
    board = UBootBoard()
    board.elapse(3)
    with pytest.raises(ExchangeError, match=r"expected U-Boot's prompt '=> ' within 30 s, got 'nothing'"):
        driver(board, NOR).identify()


def test_a_board_that_still_waits_for_an_earlier_file_is_brought_back() -> None:
    board = UBootBoard()
    board.receive(b"\x03loady 40200000\r")
    board.receive(bytes([2, 0, 255]) + bytes(300))
    board.receive(bytes([3]) * 3)
    assert driver(board, NOR).identify().loader == "U-Boot 2023.01"


def boundaries_of_a_clean_flash() -> list[int]:
    board = UBootBoard()
    line = SerialLine(board)
    starts = pieces(line)
    flashed(UBoot(line, Plan.of(NOR)), image(SIZE), Booting(board))
    return starts


BOUNDARIES = boundaries_of_a_clean_flash()


FIRST_BLOCK = next(at for at, then in itertools.pairwise(BOUNDARIES) if then - at == 133)


@pytest.mark.parametrize("power_too", [True, False])
@pytest.mark.parametrize("into", [0, 1, 60])
@pytest.mark.parametrize("boundary", BOUNDARIES[1:])
def test_unplugged_at_every_boundary_in_turn_it_starts_anew_and_ends_right(
    boundary: int, into: int, *, power_too: bool
) -> None:
    board = UBootBoard()
    faults = Faults(unplug_at=[boundary + into], power_too=power_too, away_s=1.5)
    done = outcome(driver(board, NOR, faults), image(SIZE), Booting(board))
    if isinstance(done, FirmwareError):
        # Before anything was written, and when the image was about to start: there it ends, as it should.
        assert boundary < FIRST_BLOCK or boundary + into > BOUNDARIES[-2]
    else:
        assert board.running == board.nor[:SIZE] == image(SIZE).payload


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
        away_s=st.sampled_from((0.0, 1.0, 60.0)),
        seed=st.integers(0, 2**16),
    ),
    size=st.sampled_from((1, 1024, 3000)),
    stuck_at=st.sampled_from((-1, -1, -1, 0, 2000)),
    plan=st.sampled_from((NOR, SPI | {"at": "0"})),
)
def test_whatever_the_line_does_success_means_the_store_holds_the_image(
    faults: Faults, size: int, stuck_at: int, plan: dict[str, str]
) -> None:
    board = UBootBoard(size=8 * 1024, faults=UBootFaults(stuck_at=stuck_at))
    done = outcome(driver(board, plan, faults), image(size), lambda: b"", names_digest=False)
    if isinstance(done, FirmwareError):
        return
    store = board.nor if plan["store"] == "nor" else board.spi
    assert bytes(store[:size]) == image(size).payload
