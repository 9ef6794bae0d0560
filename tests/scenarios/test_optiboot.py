"""Our STK500 driver and avrdude on real bootloaders, in an emulated AVR that runs in real time."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.errors import BootError, FirmwareError, RefusedError
from devices.firmware.driver import Proof, Step
from devices.firmware.drivers.stk500 import Stk500, connect
from devices.firmware.flash import BootCheck, Flashed, flash
from devices.firmware.image import Image
from devices.firmware.link import Link, SerialLink
from devices.simulator.boards.serving import Served, serve_rfc2217
from devices.simulator.boards.stk500 import Stk500Board
from tests.fakes.serial_line import SerialLine
from tests.support.emulated_avr import (
    MEGA8,
    MEGA328P,
    MODELS,
    EmulatedAvr,
    Model,
    Workshop,
    application,
    emulated,
    needs_avr,
    needs_avrdude,
    workshop,
)
from tests.support.flashing import Kept
from tests.unit.test_stk500 import KNOWN, image_of

__all__ = ["workshop"]  # a fixture

pytestmark = [pytest.mark.scenario, needs_avr]
BOOT_S = 15.0  # patience for an application's first words, on a machine with other things to do


@pytest.fixture(params=MODELS, ids=lambda model: model.name)
def board(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[EmulatedAvr]:
    with emulated(workshop, request.param) as running:
        yield running


@pytest.fixture
def mega328p(workshop: Workshop) -> Iterator[EmulatedAvr]:
    with emulated(workshop, MEGA328P) as running:
        yield running


def image_for(model: Model, text: str, size: int) -> Image:
    return image_of(application(text, size, model), chip=f"avr:{model.signature}")


def says(text: str) -> BootCheck:
    """Looks whether the application says `text`."""

    def check(_image: Image, link: Link | None) -> None:
        assert link
        heard, deadline = b"", time.monotonic() + BOOT_S
        while text.encode() not in heard:
            heard = heard[-200:] + link.read(64, 0.2)
            if time.monotonic() > deadline:
                raise BootError(f"{link.url}: expected {text!r} within {BOOT_S} s, heard {heard!r}")

    return check


def flashed(url: str, model: Model, image: Image, text: str = "", attempts: int = 3) -> Flashed:
    return flash(
        image,
        connect(url, baud=model.baud, options={"boot": str(model.boot)} if model is MEGA328P else {}),
        KNOWN,
        told=lambda *_: None,
        record=Kept(),
        boot_check=says(text) if text else lambda *_: None,
        attempts=attempts,
    )


def avrdude(pty: str, model: Model, payload: bytes, folder: Path) -> str:
    source = folder / "payload.bin"
    source.write_bytes(payload)
    words = ["avrdude", "-c", "arduino", "-p", model.avrdude, "-P", pty, "-b", str(model.baud), "-D"]
    done = subprocess.run(
        [*words, "-U", f"flash:w:{source}:r"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@needs_avrdude
def test_our_driver_and_avrdude_leave_the_same_flash(
    board: EmulatedAvr, workshop: Workshop, tmp_path: Path
) -> None:
    image = image_for(board.model, "cabinet 7 alive\n", 5000)

    with serve_rfc2217(board) as served:
        done = flashed(served.url, board.model, image, "cabinet 7 alive")

    assert done.proof is Proof.READ_BACK
    assert done.board.loader == board.model.version
    ours = board.flash()
    assert ours[:5000] == image.payload
    with emulated(workshop, board.model) as other:
        avrdude(other.pty, board.model, image.payload, tmp_path)
        assert other.flash() == ours


def test_an_image_up_to_the_last_byte_before_the_bootloader_is_flashed_and_runs(workshop: Workshop) -> None:
    image = image_for(MEGA8, "whole\n", MEGA8.flash - MEGA8.boot)
    with emulated(workshop, MEGA8) as board, serve_rfc2217(board) as served:
        before = board.flash()

        flashed(served.url, MEGA8, image, "whole")

        assert board.flash() == image.payload + before[-MEGA8.boot :]


def test_an_image_one_byte_longer_is_refused_and_nothing_changes(board: EmulatedAvr) -> None:
    model = board.model
    before = board.flash()
    image = image_for(model, "too long\n", model.flash - model.boot + 1)
    with serve_rfc2217(board) as served, pytest.raises(RefusedError, match=r"nothing was written$"):
        flashed(served.url, model, image)
    assert board.flash() == before


def test_the_wrong_board_is_refused_and_nothing_changes(mega328p: EmulatedAvr) -> None:
    before = mega328p.flash()
    with serve_rfc2217(mega328p) as served, pytest.raises(RefusedError, match="image is for chip avr:1e9307"):
        flashed(served.url, MEGA328P, image_for(MEGA8, "hello\n", 1000))
    assert mega328p.flash() == before


@pytest.mark.parametrize("after", [1500, 3200], ids=["writing", "reading back"])
def test_power_cut_in_the_middle_runs_nothing_and_the_next_flash_is_good(
    mega328p: EmulatedAvr, after: int
) -> None:
    old = image_for(MEGA328P, "old one\n", 600)
    new = image_for(MEGA328P, "new one\n", 2900)
    with serve_rfc2217(mega328p) as served:
        flashed(served.url, MEGA328P, old, "old one")
        mega328p.cut_after(after)

        with pytest.raises(FirmwareError, match=r"attempts failed|no answer"):
            flashed(served.url, MEGA328P, new, attempts=1)

        half = mega328p.flash()
        assert half[: len(old.payload)] != old.payload
        assert half[: len(new.payload)] != new.payload
        mega328p.on()
        with pytest.raises(BootError, match=r"heard b''"):
            waits(served)
        flashed(served.url, MEGA328P, new, "new one")
    assert mega328p.flash()[: len(new.payload)] == new.payload


def waits(served: Served) -> None:
    """BootError: for two seconds of the board's time nothing is said."""
    link = SerialLink(served.url)
    try:
        heard = link.read(1, 2.0)
        if not heard:
            raise BootError(f"{served.url}: heard {heard!r}")
    finally:
        link.close()


def test_a_plug_pulled_while_writing_is_reconnected_and_the_flash_completes(mega328p: EmulatedAvr) -> None:
    image = image_for(MEGA328P, "back again\n", 2900)
    with serve_rfc2217(mega328p) as served:
        pulled: list[int] = []

        def told(step: Step, done: int, _total: int) -> None:
            if step is Step.WRITE and done > 1000 and not pulled:
                pulled.append(done)
                served.unplug(power_too=True)

        done = flash(
            image,
            connect(served.url, baud=115200, options={"boot": "1024"}),
            KNOWN,
            told=told,
            record=Kept(),
            boot_check=says("back again"),
        )

    assert done.attempts == 2
    assert mega328p.flash()[: len(image.payload)] == image.payload


class Noisy:
    """Loses or spoils one byte in 3,000, both ways."""

    def __init__(self, board: EmulatedAvr, seed: int) -> None:
        self._board = board
        self._chance = random.Random(seed)
        self.spoilt = 0
        self.control = board.control
        self.power_cut = board.power_cut

    def receive(self, data: bytes) -> bytes:
        return self._pass(self._board.receive(self._pass(data)))

    def elapse(self, seconds: float) -> bytes:
        return self._pass(self._board.elapse(seconds))

    def _pass(self, data: bytes) -> bytes:
        kept = bytearray()
        for byte in data:
            if self._chance.random() > 1 / 3000:
                kept.append(byte)
                continue
            self.spoilt += 1
            if self._chance.random() < 0.5:
                kept.append(byte ^ 1 << self._chance.randrange(8))
        return bytes(kept)


def test_a_noisy_line_ends_in_the_right_flash_or_in_an_error(mega328p: EmulatedAvr) -> None:
    # An application that says nothing: so the same bytes are spoilt every time.
    image = image_of(b"\xff\xcf" + random.Random(0).randbytes(700))
    for seed in (0, 5, 7):  # each spoils at least one byte of a flash
        noisy = Noisy(mega328p, seed)
        with serve_rfc2217(noisy) as served:
            try:
                flashed(served.url, MEGA328P, image)
            except FirmwareError:
                pass
            else:
                assert mega328p.flash()[: len(image.payload)] == image.payload
        assert noisy.spoilt


def test_it_leaves_by_its_watchdog_after_a_second_and_is_entered_again(mega328p: EmulatedAvr) -> None:
    image = image_for(MEGA328P, "slow records\n", 1000)
    with serve_rfc2217(mega328p) as served:
        driver = Stk500(SerialLink(served.url), boot=1024)
        try:
            driver.identify()
            time.sleep(2.5)  # the time itself is what is tested: the board's watchdog runs on it
            assert not driver._synced(1)
            driver.write(image, lambda *_: None)
            assert driver.verify(image, lambda *_: None) is Proof.READ_BACK
        finally:
            driver.close()


def test_the_simulated_board_answers_as_optiboot_does(mega328p: EmulatedAvr) -> None:
    """What the property tests stand on: the same questions, the same answers, byte for byte."""
    page = bytes(range(128))
    questions = [
        (b"\x30\x20", 2),  # get sync
        (b"\x31\x20", 2),  # get sign-on, which it does not know
        (b"\x41\x80\x20", 3),
        (b"\x41\x81\x20", 3),
        (b"\x41\x82\x20", 3),
        (b"\x41\x98\x20", 3),
        (b"\x42" + bytes(20) + b"\x20", 2),
        (b"\x45" + bytes(5) + b"\x20", 2),
        (b"\x50\x20", 2),
        (b"\x56\xa0\x03\xfc\x00\x20", 3),  # universal
        (b"\x75\x20", 5),
        (b"\x55\x40\x00\x20", 2),
        (b"\x64\x00\x80F" + page + b"\x20", 2),
        (b"\x55\x00\x00\x20", 2),
        (b"\x74\x01\x00F\x20", 258),  # 256 bytes at once
        (b"\x74\x00\x10F\x20", 18),  # and on from there
        (b"\x99\x20", 2),  # no command at all
        (b"\x52\x20", 2),  # chip erase, which it does not do
        (b"\x51\x20", 2),  # leave
    ]
    with serve_rfc2217(mega328p) as served:
        real = SerialLink(served.url)
        simulated = SerialLine(Stk500Board())
        answers = []
        for link, patience_s in ((real, 5.0), (simulated, 0.1)):
            driver = Stk500(link)
            driver._enter()
            heard = []
            for question, size in questions:
                link.write(question)
                heard.append((question.hex(), link.read(size, patience_s).hex()))
            answers.append(heard)
            driver.close()
    assert answers[0] == answers[1]
