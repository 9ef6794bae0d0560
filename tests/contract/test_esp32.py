"""Our ESP32 driver and the simulated ROM loader, with the real esptool between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devices.errors import ExchangeError, FirmwareError, RefusedError, VerifyError
from devices.firmware import esptool
from devices.firmware.driver import Board, Driver, Proof, Step
from devices.firmware.drivers import named
from devices.firmware.flash import Flashed, flash
from devices.firmware.link import Line
from devices.simulator.boards.esp32 import Esp32Board
from devices.simulator.boards.serving import serve_rfc2217, serve_tcp
from tests.support.flashing import KNOWN, Kept, image

try:
    esptool.program()
    MISSING = ""
except FirmwareError as error:
    MISSING = str(error)
needs_esptool = pytest.mark.skipif(bool(MISSING), reason=MISSING)

# A plain socket carries no reset lines, and the ROM alone is simulated.
BY_HAND = {"stub": "no", "before": "no-reset", "after": "no-reset"}
SIZE = 20_000
BASE = 0x10000


def connect(url: str, **options: str) -> Driver:
    return named("esp32").connect(url, baud=115200, options=BY_HAND | options)


def flashed(driver: Driver, kept: Kept, *, attempts: int = 1) -> Flashed:
    return flash(
        image(SIZE, base=BASE, chip="esp32:esp32"),
        driver,
        KNOWN,
        told=kept.progress,
        record=kept,
        boot_check=lambda *_: None,
        attempts=attempts,
    )


@needs_esptool
def test_a_flash_is_proven_by_the_md5_the_chip_computes() -> None:
    board = Esp32Board()
    kept = Kept()
    with serve_tcp(board) as served:
        done = flashed(connect(served.url), kept)
    assert done.proof is Proof.DEVICE_DIGEST
    assert (done.board.chip, done.board.serial) == ("esp32:esp32", "24:6f:28:a1:b2:c3")
    assert board.flash[BASE : BASE + SIZE] == image(SIZE).payload
    shares = [done for step, done, whole in kept.told if step is Step.WRITE and whole == SIZE]
    assert len(shares) > 15
    assert shares == sorted(shares)
    assert shares[-1] == SIZE


@needs_esptool
def test_a_running_board_is_reset_into_its_loader_and_out_of_it_again() -> None:
    # Through RFC 2217, which carries both lines; pyserial is slow there, so one run has to show both ways.
    board = Esp32Board(in_loader=False)
    board.flash[BASE : BASE + SIZE] = image(SIZE).payload
    with serve_rfc2217(board) as served:
        connect(served.url, before="default-reset", after="hard-reset").boot(image(SIZE, base=BASE))
    assert board.starts == [True, False]
    assert board.running is not None
    assert board.running[BASE : BASE + SIZE] == image(SIZE).payload


class Pulling(Kept):
    """Pulls the plug twice, when half is written: esptool itself makes good for one."""

    def __init__(self, pull: Callable[[], None]) -> None:
        super().__init__()
        self.pull = pull
        self.pulls = 2

    def progress(self, step: Step, done: int, whole: int) -> None:
        before = self.told[-1][1] if self.told else 0
        super().progress(step, done, whole)
        if step is Step.WRITE and before * 2 <= whole < done * 2 and self.pulls:
            self.pulls -= 1
            self.pull()


@needs_esptool
@pytest.mark.soak
def test_a_board_unplugged_in_the_middle_is_written_anew() -> None:
    board = Esp32Board()
    with serve_tcp(board, Line(115200)) as served:
        kept = Pulling(lambda: served.unplug(power_too=True))
        assert flashed(connect(served.url), kept, attempts=2).attempts == 2
    assert kept.pulls == 0
    assert board.flash[BASE : BASE + SIZE] == image(SIZE).payload
    assert any("attempt 2 after" in detail for _, detail in kept.steps)


@needs_esptool
def test_a_byte_that_flash_does_not_take_is_seen() -> None:
    board = Esp32Board(stuck_at=BASE + 5000)
    with serve_tcp(board) as served, pytest.raises(VerifyError, match="expected the image's digest from the chip"):
        flashed(connect(served.url), Kept())


@needs_esptool
def test_another_image_than_the_one_in_flash_has_another_digest() -> None:
    board = Esp32Board()
    board.flash[BASE : BASE + SIZE] = image(SIZE).payload
    with serve_tcp(board) as served:
        driver = connect(served.url)
        assert driver.verify(image(SIZE, base=BASE), lambda *_: None) is Proof.DEVICE_DIGEST
        with pytest.raises(VerifyError, match="expected the image's digest"):
            driver.verify(image(SIZE - 1, base=BASE), lambda *_: None)


@needs_esptool
def test_a_board_that_does_not_answer_is_told_of_with_what_to_press() -> None:
    with (
        serve_tcp(Esp32Board(in_loader=False)) as served,
        pytest.raises(ExchangeError, match=r"Failed to connect.*hold BOOT, press and let go RESET"),
    ):
        connect(served.url).identify()


@needs_esptool
def test_an_image_behind_the_end_of_flash_is_refused() -> None:
    board = Esp32Board(flash_id=0x1240EF, capacity=256 * 1024)
    with serve_tcp(board) as served:
        driver = connect(served.url)
        assert driver.identify() == Board(
            chip="esp32:esp32",
            serial="24:6f:28:a1:b2:c3",
            loader="ROM of ESP32-D0WD (revision v1.0)",
            capacity=256 * 1024,
        )
        with pytest.raises(RefusedError, match=r"ends behind the flash of 262144 bytes; nothing was written"):
            driver.write(image(SIZE, base=0x3F000), lambda *_: None)
    assert set(board.flash) == {0xFF}


def test_without_esptool_one_line_says_how_to_get_it() -> None:
    with pytest.raises(FirmwareError, match=r"expected the program /not/there, found none; install it with `pipx"):
        connect("socket://127.0.0.1:1", esptool="/not/there")


def test_an_esptool_whose_commands_are_others_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "esptool"
    old.write_text("#!/bin/sh\necho 'esptool.py v4.8.1'\n")
    old.chmod(0o755)
    with pytest.raises(FirmwareError, match=r"expected esptool 5 or newer.*v4\.8\.1.*nothing was sent"):
        connect("socket://127.0.0.1:1", esptool=str(old)).identify()


def test_options_are_checked_first() -> None:
    with pytest.raises(RefusedError, match="option after: expected one of hard-reset, watchdog-reset, no-reset"):
        connect("socket://127.0.0.1:1", after="soft; reboot")
