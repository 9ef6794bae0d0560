"""The STK500 driver against the simulated board: every fault of a line, in virtual time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import ExchangeError, FirmwareError, LinkError, RefusedError, VerifyError
from devices.firmware.avr import PARTS
from devices.firmware.driver import Proof, Step
from devices.firmware.drivers import named
from devices.firmware.drivers.stk500 import Stk500, connect
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image
from devices.simulator.boards.stk500 import Stk500Board
from tests.fakes.serial_line import Faults, SerialLine
from tests.support.flashing import Kept

KNOWN = Known(board="cabinet", revision="r2", source="the test")
HOLD = b"\xff\xcf"


def image_of(payload: bytes, chip: str = "avr:1e950f", base: int = 0) -> Image:
    return Image.of(
        payload,
        board="cabinet",
        revisions=("r2",),
        version="1.2.3",
        security_counter=1,
        chip=chip,
        base=base,
        boot="loader",
    )


def program(size: int, seed: int = 1) -> bytes:
    """An application: a jump over the vectors, and bytes that differ from page to page."""
    rest = hashlib.shake_256(seed.to_bytes(4, "big")).digest(size)
    return (b"\x0c\x94\x34\x00" + rest)[:size]


def flashed(board: Stk500Board, image: Image, faults: Faults | None = None, **options: object) -> Flashed:
    line = SerialLine(board, faults)
    driver = Stk500(line, **options)  # type: ignore[arg-type]
    return flash(image, driver, KNOWN, told=lambda *_: None, record=Kept(), boot_check=lambda *_: None, attempts=3)


def holds(board: Stk500Board, image: Image) -> bool:
    return board.flash[: len(image.payload)] == image.payload


@contextmanager
def refused(*, says: str) -> Iterator[None]:
    with pytest.raises(RefusedError, match=says) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("nothing was written")


@pytest.mark.parametrize("signature", PARTS)
def test_every_part_is_flashed_and_read_back(signature: str) -> None:
    board = Stk500Board(signature)
    image = image_of(program(board.part.page * 3 + 5), chip=f"avr:{signature}")

    done = flashed(board, image)

    assert holds(board, image)
    assert (done.proof, done.attempts) == (Proof.READ_BACK, 1)
    assert (done.board.chip, done.board.loader) == (f"avr:{signature}", "4.4")
    assert done.board.capacity == board.part.flash - board.part.boot


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 256, 257, 32768 - 512])
def test_an_image_of_any_size_up_to_the_bootloader_is_whole(size: int) -> None:
    board = Stk500Board()
    image = image_of(program(size))

    flashed(board, image)

    assert holds(board, image)


def test_the_application_runs_afterwards() -> None:
    board = Stk500Board(banner=b"cabinet 1.2.3")
    line = SerialLine(board)
    flash(
        image_of(program(300)),
        Stk500(line),
        KNOWN,
        told=lambda *_: None,
        record=Kept(),
        boot_check=lambda *_: None,
    )

    line.reopen()

    assert line.read(20, 1.0) == b"cabinet 1.2.3"
    assert board.runs


def test_an_image_that_reaches_into_the_bootloader_is_refused_before_a_byte_is_written() -> None:
    board = Stk500Board()
    with refused(says=r"image has 32257 bytes, the board takes 32256"):
        flashed(board, image_of(program(32768 - 512 + 1)))
    assert board.pages_written == 0


def test_an_old_bootloader_keeps_two_kibibytes() -> None:
    with refused(says=r"image has 30721 bytes, the board takes 30720"):
        flashed(Stk500Board(version=(1, 16)), image_of(program(30721)))


def test_a_larger_boot_section_can_be_said() -> None:
    with refused(says=r"the board takes 30720"):
        flashed(Stk500Board(), image_of(program(30721)), boot=2048)


def test_the_driver_itself_refuses_what_its_caller_let_through() -> None:
    board = Stk500Board()
    driver = Stk500(SerialLine(board))
    driver.identify()
    with refused(says="image ends at 0x07e01, the bootloader begins at 0x07e00"):
        driver.write(image_of(program(0x7E01)), lambda *_: None)
    with refused(says="image begins at 0x100, an AVR starts at 0"):
        driver.write(image_of(program(10), base=0x100), lambda *_: None)
    assert board.pages_written == 0


def test_another_chip_is_refused() -> None:
    board = Stk500Board("1e9406")
    with refused(says="image is for chip avr:1e950f, this board has avr:1e9406"):
        flashed(board, image_of(program(300)))
    assert board.pages_written == 0


def test_a_signature_nobody_knows_is_refused() -> None:
    board = Stk500Board()
    board.signature = b"\x1e\x00\x01"
    with refused(says="signature 1e0001 is no AVR this driver knows"):
        flashed(board, image_of(program(300)))


def test_a_board_that_is_not_there_says_what_to_look_at() -> None:
    board = Stk500Board()
    line = SerialLine(board, Faults(lose=1.0))
    with pytest.raises(ExchangeError, match=r"no answer in 3 resets; look at port, speed and cable"):
        Stk500(line).identify()


def test_reset_by_hand_is_waited_for() -> None:
    class Pressed(SerialLine):
        """No control lines; somebody presses reset after twelve seconds."""

        def control(self, **_: object) -> None:
            pass

        def _pass(self, seconds: float) -> None:
            before = self._clock
            super()._pass(seconds)
            if before < 12 <= self._clock:
                board.reset()

    board = Stk500Board()
    line = Pressed(board)

    assert Stk500(line, by_hand=True).identify().chip == "avr:1e950f"
    assert 12 < line.now() < 14


def test_a_caller_that_takes_seconds_over_its_records_finds_the_bootloader_again() -> None:
    class Slow(Kept):
        def reached(self, step: Step, detail: str) -> None:
            super().reached(step, detail)
            line.pause(3.0)

    board = Stk500Board()
    line = SerialLine(board)
    image = image_of(program(700))

    done = flash(image, Stk500(line), KNOWN, told=lambda *_: None, record=Slow(), boot_check=lambda *_: None)

    assert holds(board, image)
    assert done.attempts == 1


def test_another_board_plugged_in_meanwhile_is_not_written() -> None:
    board, other = Stk500Board(), Stk500Board("1e9514")
    line = SerialLine(board)
    driver = Stk500(line)
    driver.identify()
    line.board = other
    with pytest.raises(ExchangeError, match="expected signature 1e950f, got 1e9514"):
        driver.write(image_of(program(300)), lambda *_: None)
    assert other.pages_written == 0


def test_a_signature_that_changes_when_asked_again_is_not_believed() -> None:
    class Noisy(SerialLine):
        def read(self, size: int, timeout_s: float) -> bytes:
            found = super().read(size, timeout_s)
            self.answers = getattr(self, "answers", 0) + (size == 5)
            return b"\x14\x1e\x95\x14\x10" if size == 5 and self.answers == 1 else found

    with pytest.raises(ExchangeError, match="signature 1e9514, asked again 1e950f; the line is not clean"):
        Stk500(Noisy(Stk500Board())).identify()


@pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.5])
def test_answers_later_than_a_question_s_patience_do_not_put_it_out_of_step(delay_s: float) -> None:
    board = Stk500Board()

    done = flashed(board, IMAGE, Faults(delay_s=delay_s))

    assert holds(board, IMAGE)
    assert done.attempts == 1


def test_the_last_words_of_an_application_do_not_hide_the_answer() -> None:
    class Talking(Stk500Board):
        def receive(self, data: bytes) -> bytes:
            answer = super().receive(data)
            return b"pressure 412 kPa\x14" + answer if data == b"\x30\x20" else answer

    assert Stk500(SerialLine(Talking())).identify().chip == "avr:1e950f"


def test_a_page_that_does_not_take_is_found_and_named() -> None:
    class Worn(Stk500Board):
        def _program(self) -> bytes:
            answer = super()._program()
            self.flash[0x123] = 0x00
            return answer

    board = Worn()
    payload = b"\x55" * 600
    with pytest.raises(VerifyError, match=r"address 0x00123: expected 55, the board holds 00; .* 3 attempts"):
        flashed(board, image_of(payload))
    assert board.flash[:2] == HOLD
    assert not board.runs


def test_progress_ends_at_the_size_of_the_image_and_never_goes_back() -> None:
    kept = Kept()
    driver = Stk500(SerialLine(Stk500Board()))
    image = image_of(program(1000))

    flash(image, driver, KNOWN, told=kept.progress, record=kept, boot_check=lambda *_: None)

    for step in (Step.WRITE, Step.VERIFY):
        done = [at for told, at, _ in kept.told if told is step]
        assert done == sorted(done)
        assert done[-1] == 1000


IMAGE = image_of(program(128 * 3 + 40))


def _boundaries() -> list[int]:
    """Bytes the host has written after each of its writes in a flash without faults."""
    found: list[int] = []

    class Watched(SerialLine):
        def write(self, data: bytes) -> None:
            super().write(data)
            found.append(self.written)

    flash(
        IMAGE,
        Stk500(Watched(Stk500Board())),
        KNOWN,
        told=lambda *_: None,
        record=Kept(),
        boot_check=lambda *_: None,
    )
    return found


@pytest.mark.parametrize("power_too", [True, False], ids=["power", "plug"])
@pytest.mark.parametrize("before", [0, 1], ids=["after", "within"])
def test_unplugged_at_every_chunk_in_turn_it_is_flashed_or_refused_and_never_left_in_between(
    *, power_too: bool, before: int
) -> None:
    old = program(900, seed=7)
    boundaries = _boundaries()
    for at in boundaries:
        board = Stk500Board()
        board.flash[: len(old)] = old
        faults = Faults(unplug_at=[at - before], power_too=power_too, away_s=2.0)
        try:
            flashed(board, IMAGE, faults)
        except FirmwareError:
            # Cut before it was known which board it is, or when the image was proven and its start not seen.
            assert at in boundaries[:7] + boundaries[-1:]
            assert board.flash[: len(old)] == old or holds(board, IMAGE)
        else:
            assert holds(board, IMAGE)


@pytest.mark.parametrize("before", [0, 1], ids=["after", "within"])
def test_a_board_cut_for_good_runs_the_old_image_or_the_new_or_waits(before: int) -> None:
    old = program(900, seed=7)
    for at in _boundaries():
        board = Stk500Board()
        board.flash[: len(old)] = old
        faults = Faults(unplug_at=[at - before], away_s=1e9)
        with pytest.raises(LinkError):
            flashed(board, IMAGE, faults)
        board.power_cut()
        untouched = board.flash[: len(old)] == old
        assert untouched or holds(board, IMAGE) or not board.runs


FAULTS = st.builds(
    Faults,
    lose=st.sampled_from([0.0, 0.0, 0.0005, 0.05]),
    garble=st.sampled_from([0.0, 0.0, 0.0005, 0.05]),
    drip=st.sampled_from([0, 1, 3]),
    delay_s=st.sampled_from([0.0, 0.01, 0.3, 2.0]),
    unplug_at=st.lists(st.integers(1, 1500), max_size=3, unique=True).map(sorted),
    power_too=st.booleans(),
    away_s=st.sampled_from([0.0, 1.0, 20.0]),
    seed=st.integers(0, 2**16),
)


@given(faults=FAULTS, size=st.integers(1, 700), same=st.booleans(), locked=st.booleans())
def test_whatever_the_line_does_success_means_the_board_holds_the_image(
    *, faults: Faults, size: int, same: bool, locked: bool
) -> None:
    image = image_of(b"\x0c\x94" * (size // 2 + 1) if same else program(size))
    board = Stk500Board(locked=locked)
    try:
        flashed(board, image, faults)
    except FirmwareError:
        return
    assert holds(board, image)


@given(noise=st.binary(max_size=400))
def test_any_bytes_leave_the_simulated_board_standing(noise: bytes) -> None:
    board = Stk500Board()
    board.reset()
    board.receive(noise)
    board.elapse(2.0)
    assert len(board.flash) == board.part.flash
    assert Stk500(SerialLine(board)).identify().chip == "avr:1e950f"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speed": "1"}, "option 'speed': expected one of reset, boot"),
        ({"reset": "rts"}, "option reset: expected one of dtr, hand, got 'rts'"),
        ({"boot": "600"}, "option boot: expected one of 0, 256, 512, .*, got '600'"),
    ],
)
def test_an_option_that_means_nothing_is_refused_before_the_port_is_opened(
    options: dict[str, str], says: str
) -> None:
    with pytest.raises(RefusedError, match=says + ".*; nothing was sent$"):
        connect("/dev/does-not-exist", baud=115200, options=options)


def test_it_is_found_by_its_name() -> None:
    assert named("stk500").traits.proves == (Proof.READ_BACK,)
