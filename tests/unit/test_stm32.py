"""The STM32 driver against the simulated ROM bootloader: every fault of a line, in virtual time."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import BootError, ExchangeError, FirmwareError, RefusedError, VerifyError
from devices.firmware.driver import Board, Proof, Step
from devices.firmware.drivers import named
from devices.firmware.drivers.stm32 import connect
from devices.firmware.drivers.stm32.chips import CHIPS, FLASH
from devices.firmware.drivers.stm32.driver import Stm32, Wire
from devices.firmware.drivers.stm32.protocol import _page_list
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image
from devices.firmware.link import Line
from devices.simulator.boards.stm32 import Rom, Stm32Board, Trouble
from tests.fakes.serial_line import Faults, SerialLine

KNOWN = Known(board="cabinet", revision="r2", source="the test")
F1 = Rom(chip=0x410, version=0x22, extended=False)
VECTORS = (0x2002_0000).to_bytes(4, "little") + (FLASH + 0x101).to_bytes(4, "little")


class Steps:
    def __init__(self) -> None:
        self.seen: list[Step] = []

    def reached(self, step: Step, _detail: str, /) -> None:
        self.seen.append(step)

    def identified(self, board: Board, known: Known) -> None:
        assert board.chip.startswith("stm32:0x")
        assert known == KNOWN


def image_of(payload: bytes, chip: str = "", base: int = 0) -> Image:
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


def program(size: int) -> bytes:
    """A vector table and bytes that differ from block to block."""
    return (VECTORS + hashlib.shake_256(b"program").digest(size))[:size]


def driver_of(board: Stm32Board, faults: Faults | None = None, **options: object) -> Stm32:
    return Stm32(SerialLine(board, faults, Line(115200, "E")), **options)  # type: ignore[arg-type]


def flashed(board: Stm32Board, image: Image, faults: Faults | None = None, **options: object) -> Flashed:
    return flash(
        image,
        driver_of(board, faults, **options),
        KNOWN,
        told=lambda _step, _done, _total: None,
        record=Steps(),
        boot_check=lambda *_: None,
    )


def holds(board: Stm32Board, image: Image, base: int = FLASH) -> bool:
    at = base - FLASH
    return bytes(board.flash[at : at + len(image.payload)]) == image.payload


@pytest.mark.parametrize("rom", [Rom(), F1])
def test_an_image_is_written_read_back_and_started(rom: Rom) -> None:
    board, image = Stm32Board(rom), image_of(program(5_001), f"stm32:0x{rom.chip:03x}")
    assert flashed(board, image).proof is Proof.READ_BACK
    assert holds(board, image)
    assert board.started_at == FLASH


def test_a_board_says_chip_unique_id_and_size() -> None:
    found = driver_of(Stm32Board()).identify()
    assert found == Board(
        chip="stm32:0x413", serial="300043001151343634383536", loader="3.1", capacity=1024 * 1024
    )


def test_words_of_the_unique_id_that_lie_apart_are_read_together() -> None:
    rom = Rom(chip=0x447)
    assert driver_of(Stm32Board(rom)).identify().serial == rom.unique_id.hex()


def test_a_blank_unique_id_is_no_serial_number() -> None:
    assert not driver_of(Stm32Board(Rom(unique_id=b"\xff" * 12))).identify().serial


@pytest.mark.parametrize(
    ("size", "sectors"), [(1, [0]), (16 * 1024, [0]), (16 * 1024 + 1, [0, 1]), (70_000, [0, 1, 2, 3, 4])]
)
def test_only_the_sectors_under_the_image_are_erased(size: int, sectors: list[int]) -> None:
    board = Stm32Board()
    board.flash[-1] = 0x42
    flashed(board, image_of(program(size)))
    assert board.counts.erased == sectors
    assert board.flash[-1] == 0x42


def test_an_application_behind_a_bootloader_of_its_own_leaves_that_alone() -> None:
    board = Stm32Board()
    board.flash[: 16 * 1024] = b"\x42" * (16 * 1024)
    image = image_of(program(40_000), base=FLASH + 16 * 1024)
    flashed(board, image)
    assert holds(board, image, FLASH + 16 * 1024)
    assert set(board.flash[: 16 * 1024]) == {0x42}


def test_erase_all_erases_everything() -> None:
    board = Stm32Board()
    board.flash[-1] = 0x42
    flashed(board, image_of(program(100)), erase_all=True)
    assert board.flash[-1] == 0xFF


def test_blank_blocks_are_not_written_but_compared() -> None:
    board, image = Stm32Board(), image_of(program(256) + b"\xff" * 2048 + program(256))
    flashed(board, image)
    assert board.counts.writes == 2
    assert holds(board, image)


def test_a_board_cut_short_has_no_vector_table() -> None:
    board, image = Stm32Board(trouble=Trouble(stuck=40)), image_of(program(20_000))
    with pytest.raises(ExchangeError):
        flashed(board, image)
    assert board.flash[512:768] == image.payload[512:768]
    assert board.flash[:256] == b"\xff" * 256


def test_a_read_protected_board_is_identified_refused_and_never_unprotected() -> None:
    board = Stm32Board(Rom(protected=True))
    board.flash[:4] = b"keep"
    assert driver_of(board).identify() == Board(chip="stm32:0x413", loader="3.1, flash read-protected")
    with pytest.raises(RefusedError, match=r"flash is read-protected.*nothing was written$"):
        flashed(board, image_of(program(100)))
    assert board.protected
    assert board.flash[:4] == b"keep"


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (image_of(program(100), base=FLASH + 1024), "begins inside the sector at 0x08000000"),
        (image_of(program(100), base=FLASH + 1), "in steps of 256, the image goes from 0x08000001"),
        (image_of(program(100), base=0x1000), "flash is 0x08000000 to 0x08100000"),
        (image_of(program(300), base=FLASH + 1024 * 1024 - 256), "goes from 0x080fff00 to 0x0810002c"),
        (image_of(program(100), chip="stm32:0x410"), "image is for chip stm32:0x410"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_erased(image: Image, says: str) -> None:
    board = Stm32Board()
    with pytest.raises(RefusedError, match=f"{says}.*nothing was written$"):
        flashed(board, image)
    assert not board.counts.erased


def test_a_chip_without_a_map_is_erased_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    board, image = Stm32Board(), image_of(program(3000))
    known = dict(CHIPS)
    del known[0x413]
    monkeypatch.setattr("devices.firmware.drivers.stm32.driver.CHIPS", known)
    with pytest.raises(RefusedError, match="with the option erase=all it is erased whole; nothing was written"):
        flashed(board, image)
    flashed(board, image, erase_all=True)
    assert holds(board, image)


def test_a_byte_that_flash_does_not_take_is_named() -> None:
    board = Stm32Board(trouble=Trouble(weak=299))
    with pytest.raises(VerifyError, match=r"0x0800012b: expected 01, got 00"):
        flashed(board, image_of(program(299) + b"\x01" + program(99)))


@pytest.mark.parametrize("trouble", [Trouble(refused=frozenset({20})), Trouble(misheard=frozenset({5}))])
def test_a_refused_command_begins_anew_with_erasing(trouble: Trouble) -> None:
    board, image = Stm32Board(trouble=trouble), image_of(program(4000))
    assert flashed(board, image).attempts == 2
    assert board.counts.erased == [0, 0]
    assert holds(board, image)


def test_a_bootloader_that_stays_busy_ends_in_an_error() -> None:
    with pytest.raises(ExchangeError, match=r"ERASE 0: expected 79, got nothing within 2.6 s|got no answer"):
        flashed(Stm32Board(trouble=Trouble(stuck=18)), image_of(program(4000)))


def test_a_slow_erase_is_waited_for() -> None:
    board, image = Stm32Board(Rom(erase_s_per_kib=0.03, block_s=0.02)), image_of(program(200_000))
    flashed(board, image)
    assert holds(board, image)


def test_a_refused_go_says_that_the_image_is_written() -> None:
    board, image = Stm32Board(), image_of(program(100))
    driver = driver_of(board)
    driver.identify()
    driver.write(image, lambda *_: None)
    board.protected = True
    with pytest.raises(BootError, match="the image is written and compared: clear BOOT0 and press reset"):
        driver.boot(image)


@pytest.mark.parametrize(("reset", "boot0"), [("dtr", "rts"), ("rts", "-dtr"), ("-dtr", "-rts")])
def test_control_lines_bring_a_running_board_into_its_bootloader_and_out_again(reset: str, boot0: str) -> None:
    board = Stm32Board(Rom(reset=reset, boot0=boot0, strapped=False))
    board.flash[: len(VECTORS)] = VECTORS
    image = image_of(program(3000))
    flashed(board, image, reset=Wire.parse(reset), boot0=Wire.parse(boot0))
    assert holds(board, image)
    assert board.started_at == FLASH


@pytest.mark.parametrize(
    "half", [b"", b"\x7f", b"\x31", b"\x31\xce", b"\x31\xce\x08\x00", b"\x31\xce\x08\x00\x00\x00\x08"]
)
@pytest.mark.parametrize("more", [b"", b"\xff" + bytes(100)])
def test_a_command_cut_in_the_middle_is_brought_into_step(half: bytes, more: bytes) -> None:
    board = Stm32Board()
    board.receive(b"\x7f" + half + (more if len(half) == 7 else b""))
    assert driver_of(board).identify().chip == "stm32:0x413"


@pytest.mark.parametrize("half", [b"\x43\xbc", b"\x43\xbc\x20", b"\x43\xbc\x03\x01\x02"])
def test_half_an_erase_is_not_completed_by_bringing_it_into_step(half: bytes) -> None:
    board = Stm32Board(F1)
    board.receive(b"\x7f" + half)
    assert driver_of(board).identify().chip == "stm32:0x410"
    assert not board.counts.erased


def test_a_board_that_runs_its_application_is_told_from_a_bootloader() -> None:
    with pytest.raises(ExchangeError, match="expected the STM32 bootloader at 115200 baud 8E1, got no answer"):
        driver_of(Stm32Board(Rom(strapped=False, boot0="rts"))).identify()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("first", range(0, 240, 7))
def test_no_part_of_a_page_list_becomes_another_list_by_bringing_it_into_step(first: int, size: int) -> None:
    pages = list(range(first, first + size))
    message = _page_list(pages, 256, 1)
    for cut in range(1, len(message)):
        board = Stm32Board(Rom(chip=0x414, extended=False))
        board.receive(b"\x7f\x43\xbc" + message[:cut])
        driver_of(board).identify()
        assert not board.counts.erased


class Counted(SerialLine):
    """Counts what the line carried either way."""

    carried = 0

    def read(self, size: int, timeout_s: float) -> bytes:
        found = super().read(size, timeout_s)
        self.carried += len(found)
        return found

    def write(self, data: bytes) -> None:
        super().write(data)
        self.carried += len(data)


def test_writing_and_comparing_leave_more_than_nine_tenths_of_the_line_to_the_payload() -> None:
    image = image_of(program(48 * 1024))
    line = Counted(Stm32Board(), line=Line(921600, "E"))
    driver = Stm32(line)
    driver.identify()
    driver.write(image, lambda *_: None)
    assert len(image.payload) / line.carried > 0.94
    line.carried = 0
    driver.verify(image, lambda *_: None)
    assert len(image.payload) / line.carried > 0.94


def every_cut(size: int) -> int:
    """How many bytes the host writes for one whole flash."""
    line = SerialLine(Stm32Board(F1), line=Line(115200, "E"))
    flash(
        image_of(program(size)),
        Stm32(line),
        KNOWN,
        told=lambda *_: None,
        record=Steps(),
        boot_check=lambda *_: None,
    )
    return line.written


@pytest.mark.parametrize("power_too", [True, False])
def test_a_plug_pulled_at_any_byte_ends_in_the_image_after_it_is_back(power_too: bool) -> None:  # noqa: FBT001
    image = image_of(program(700))
    for at in range(1, every_cut(700) + 1):
        board = Stm32Board(F1)
        try:
            flashed(board, image, Faults(unplug_at=[at], power_too=power_too, away_s=2))
        except FirmwareError:
            # Before the first write there is nothing to begin anew, after the last there is nothing to tell.
            assert not board.counts.erased or holds(board, image), at
        else:
            assert holds(board, image), at
        assert set(board.counts.erased) <= {0}, at


@settings(max_examples=120)
@given(
    cuts=st.lists(st.integers(1, 4000), max_size=3, unique=True).map(sorted),
    power_too=st.booleans(),
    away_s=st.sampled_from([0.0, 3.0, 20.0]),
    drip=st.sampled_from([0, 1, 3]),
    delay_s=st.sampled_from([0.0, 0.02, 0.3, 0.7]),
    lose=st.sampled_from([0.0, 0.0005, 0.05]),
    garble=st.sampled_from([0.0, 0.0005, 0.05]),
    seed=st.integers(0, 10_000),
    rom=st.sampled_from([Rom(), F1, Rom(block_s=0.01, erase_s_per_kib=0.02)]),
)
def test_whatever_the_line_does_success_means_the_board_holds_the_image(rom: Rom, **faults: object) -> None:
    board, image = Stm32Board(rom), image_of(program(1500))
    faults["unplug_at"] = faults.pop("cuts")
    try:
        done = flashed(board, image, Faults(**faults))  # type: ignore[arg-type]
    except FirmwareError:
        return
    assert done.proof is Proof.READ_BACK
    assert holds(board, image)


@given(noise=st.binary(max_size=600))
def test_any_bytes_leave_the_simulated_board_standing(noise: bytes) -> None:
    board = Stm32Board()
    board.receive(b"\x7f" + noise)
    assert len(board.flash) == 1024 * 1024


@pytest.mark.parametrize("number", sorted(CHIPS))
def test_a_chip_is_divided_without_a_gap(number: int) -> None:
    chip = CHIPS[number]
    assert chip.starts[-1] == sum(chip.sectors)
    assert all(start % 128 == 0 for start in chip.starts)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speed": "1"}, "option 'speed': expected one of reset, boot0, erase"),
        ({"reset": "cts"}, "option reset: expected one of none, dtr, -dtr, rts, -rts, got 'cts'"),
        ({"erase": "some"}, "option erase: expected one of needed, all, got 'some'"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, str], says: str) -> None:
    with pytest.raises(RefusedError, match=says + ".*; nothing was sent$"):
        connect("/dev/does-not-exist", baud=115200, options=options)


def test_it_is_found_by_its_name() -> None:
    assert named("stm32").traits.parity == "E"
