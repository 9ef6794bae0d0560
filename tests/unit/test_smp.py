"""MCUboot over SMP: what proves an upload, resuming, restarts; and no fault of a line gives a wrong success."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import BootError, ExchangeError, FirmwareError, ImageError, RefusedError, VerifyError
from devices.firmware.driver import Proof
from devices.firmware.drivers import load, named
from devices.firmware.drivers.smp import OPTIONS, SmpDriver, connect
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image
from devices.firmware.mcuboot import image, looked_into
from devices.firmware.options import Options
from devices.firmware.smp_console import Reassembly
from devices.simulator.boards.smp import Build, SmpBoard
from tests.fakes.serial_line import Faults, SerialLine
from tests.support.flashing import Kept
from tests.support.mcuboot import maker_key, mcuboot_image

OLD = mcuboot_image(version="1.0.0", counter=1, body=b"\x01old" * 300)
NEW = mcuboot_image(version="1.2.3", counter=2, body=b"\x02new" * 700)
KNOWN = Known(board="GW-100", revision="r2", source="the engineer")


def _untold(*_: object) -> None:
    """Nobody looks at the progress."""


def _image(content: bytes = NEW, boot: str = "loader") -> Image:
    return image(content, maker_key().public, name="gw.bin", board="GW-100", revisions=["r2"], boot=boot)


def _driver(line: SerialLine, options: Mapping[str, str] | None = None, *, keyed: bool = True) -> SmpDriver:
    return SmpDriver(line, maker_key().public if keyed else None, Options("smp", options or {}, OPTIONS))


def _flash(
    board: SmpBoard,
    faults: Faults | None = None,
    options: Mapping[str, str] | None = None,
    content: Image | None = None,
) -> Flashed:
    return flash(
        content or _image(),
        _driver(SerialLine(board, faults), options),
        KNOWN,
        told=_untold,
        record=Kept(),
        boot_check=lambda *_: None,
    )


def test_an_application_takes_the_image_starts_it_and_it_is_confirmed() -> None:
    board = SmpBoard(OLD)
    flashed = _flash(board)
    assert board.running == NEW
    assert flashed.proof is Proof.DEVICE_DIGEST
    assert (flashed.board.version, flashed.board.revision, flashed.board.chip) == (
        "1.0.0",
        "r2",
        "zephyr:gw100:stm32",
    )
    board.power_cut()
    board.elapse(1.0)
    assert board.running == NEW, "it was confirmed, nothing is rolled back"


def test_a_board_whose_mcuboot_has_a_key_is_proven_by_the_signature_it_checked() -> None:
    board = SmpBoard(OLD, Build(trusts=maker_key().public))
    assert _flash(board, options={"checks": "signature"}).proof is Proof.SIGNATURE


def test_an_image_left_unconfirmed_is_rolled_back_at_the_next_start() -> None:
    board = SmpBoard(OLD)
    _flash(board, options={"confirm": "no"})
    assert board.running == NEW
    board.power_cut()
    board.elapse(1.0)
    assert board.running == OLD


def test_serial_recovery_writes_the_first_slot_and_the_start_proves_it() -> None:
    board = SmpBoard(OLD, recovery=True)
    flashed = _flash(board)
    assert board.running == NEW
    assert (flashed.proof, flashed.board.loader) == (Proof.DEVICE_DIGEST, "MCUboot serial recovery")


def test_an_application_is_asked_into_serial_recovery() -> None:
    board = SmpBoard(OLD)
    assert _flash(board, options={"mode": "recovery"}).board.loader == "MCUboot serial recovery"
    assert bytes(board.slots[0]) == NEW
    assert not board.slots[1]


def test_an_application_that_cannot_enter_recovery_is_refused_before_anything_is_written() -> None:
    board = SmpBoard(OLD, Build(enters_recovery=False))
    with pytest.raises(RefusedError, match=r"hold the board's button.*nothing was written"):
        _flash(board, options={"mode": "recovery"})
    assert board.offsets == []


def test_the_digest_in_an_applications_list_proves_nothing() -> None:
    board = SmpBoard(OLD, Build(rots_at=1500))
    line = SerialLine(board)
    driver = _driver(line)
    driver.identify()
    driver.write(_image(), _untold)
    assert any(one["hash"] == looked_into(NEW, "").digest for one in board._listed()), "though a byte is wrong"
    assert driver.verify(_image(), _untold) is None
    with pytest.raises(BootError, match=r"expected image 1\.2\.3 .* to run, it runs 1\.0\.0"):
        driver.boot(_image())
    driver.close()


def test_an_application_that_computes_the_digest_finds_a_rotten_byte() -> None:
    with pytest.raises(VerifyError, match="what was written is not the image"):
        _flash(SmpBoard(OLD, Build(computes=True, rots_at=1500)))


def test_an_image_with_a_rotten_byte_is_not_started_from_serial_recovery_though_it_is_listed() -> None:
    board = SmpBoard(OLD, Build(rots_at=1500), recovery=True)
    with pytest.raises(BootError, match=r"expected image 1\.2\.3 .* to run, it runs none"):
        _flash(board)
    assert board.recovery


def test_a_board_that_checks_nothing_before_a_start_proves_nothing_by_starting() -> None:
    with pytest.raises(VerifyError, match="neither bootloader nor application can show that it is complete"):
        _flash(SmpBoard(OLD), options={"checks": "none"})


def test_an_application_without_smp_is_left_to_the_boot_check() -> None:
    board = SmpBoard(OLD, Build(serves=False), recovery=True)
    with pytest.raises(BootError, match=r"expected it to answer within 60 s"):
        _flash(board)
    board = SmpBoard(OLD, Build(serves=False), recovery=True)
    assert _flash(board, content=_image(boot="hello")).proof is Proof.DEVICE_DIGEST
    board.elapse(1.0)
    board.elapse(1.0)
    assert board.running == NEW


def test_a_start_proves_nothing_where_another_slot_has_a_newer_image() -> None:
    board = SmpBoard(OLD, Build(serves=False), recovery=True)
    board.slots[1][:] = mcuboot_image(version="2.0.0", counter=2)
    with pytest.raises(VerifyError, match="neither bootloader nor application can show that it is complete"):
        _flash(board, content=_image(boot="text:up"))


def test_an_image_of_another_maker_never_reaches_the_board() -> None:
    board = SmpBoard(OLD)
    other = mcuboot_image(which=1)
    foreign = image(other, maker_key(which=1).public, name="x", board="GW-100", revisions=["r2"])
    with pytest.raises(ImageError, match="none fits"):
        _flash(board, content=foreign)
    assert board.offsets == []


def test_an_image_that_mcuboot_does_not_trust_is_never_a_success() -> None:
    board = SmpBoard(OLD, Build(trusts=maker_key(which=1).public))
    board.slots[0][:] = mcuboot_image(version="1.0.0", which=1)
    with pytest.raises(BootError, match="not signed with the key it trusts"):
        _flash(board)
    assert looked_into(board.running, "").version == "1.0.0"


def test_nothing_is_written_without_the_key_but_a_board_is_identified() -> None:
    board = SmpBoard(OLD)
    driver = _driver(SerialLine(board), keyed=False)
    assert driver.identify().version == "1.0.0"
    with pytest.raises(ImageError, match="say --option key=FILE; nothing was written"):
        driver.write(_image(), _untold)
    driver.close()
    assert board.offsets == []


def test_an_image_that_runs_already_is_not_sent_again() -> None:
    board = SmpBoard(NEW)
    assert _flash(board).proof is Proof.DEVICE_DIGEST
    assert board.offsets == []


@pytest.mark.parametrize("recovery", [False, True])
def test_an_upload_that_was_cut_goes_on_where_the_board_stopped(recovery: bool) -> None:  # noqa: FBT001
    board = SmpBoard(OLD, recovery=recovery)
    flashed = _flash(board, Faults(unplug_at=[2500], power_too=False, away_s=3.0))
    assert flashed.attempts == 2
    assert board.running == NEW
    assert board.offsets.count(0) == 1
    assert board.offsets == sorted(set(board.offsets))


@pytest.mark.parametrize("recovery", [False, True])
def test_the_last_answer_lost_costs_no_second_upload(recovery: bool) -> None:  # noqa: FBT001
    class Muted(SmpBoard):
        muted = False

        def receive(self, data: bytes) -> bytes:
            answer = super().receive(data)
            if not self.muted and len(self.slots[0 if recovery else 1]) == len(NEW):
                self.muted = True
                return b""
            return answer

    board = Muted(OLD, recovery=recovery)
    assert _flash(board).attempts == 1
    assert board.running == NEW
    assert board.offsets == sorted(set(board.offsets))


def test_an_upload_cut_with_the_power_begins_anew() -> None:
    board = SmpBoard(OLD)
    assert _flash(board, Faults(unplug_at=[2500], away_s=1.0)).attempts == 2
    assert board.offsets.count(0) == 2
    assert board.running == NEW


def test_power_lost_in_serial_recovery_is_followed_by_serial_recovery() -> None:
    board = SmpBoard(OLD)
    _flash(board, Faults(unplug_at=[3000], away_s=1.0), {"mode": "recovery"})
    assert board.running == NEW


@pytest.mark.parametrize("buffer", [96, 128, 256, 1024, 2048])
def test_messages_fill_the_buffer_the_board_names(buffer: int) -> None:
    board = SmpBoard(OLD, Build(buffer=buffer))
    longer = mcuboot_image(version="1.2.3", counter=2, body=b"\x02new" * 2000)
    _flash(board, content=_image(longer))
    assert board.running == longer
    biggest = max(b - a for a, b in zip(board.offsets, board.offsets[1:], strict=False))
    assert buffer - 48 < biggest < buffer


def test_less_of_the_buffer_is_used_on_demand() -> None:
    board = SmpBoard(OLD, Build(buffer=1024))
    _flash(board, options={"buffer": "200"})
    assert board.running == NEW
    assert max(b - a for a, b in zip(board.offsets, board.offsets[1:], strict=False)) < 200


def test_a_board_that_names_nothing_gets_small_messages() -> None:
    board = SmpBoard(OLD, Build(names=False))
    _flash(board)
    assert board.running == NEW


def test_an_image_too_large_for_the_slot_is_refused_by_its_code() -> None:
    says = r"upload at byte 0: it was refused, INVALID_IMAGE_TOO_LARGE \(30\); nothing was written"
    with pytest.raises(RefusedError, match=says):
        _flash(SmpBoard(OLD, Build(slot=1000)))


def test_a_line_where_nobody_answers_says_so_with_the_speed() -> None:
    board = SmpBoard(OLD, Build(starts_s=1e9))
    board.power_cut()
    with pytest.raises(ExchangeError, match=r"expected an answer within 2\.5 s, got none 3 times at 115200 baud"):
        _flash(board)


def test_log_lines_between_and_before_answers_are_passed_over() -> None:
    seen = Reassembly()
    frame = b"\x06\x09AAwJAAAAAAAABkkl\n"
    whole = seen.feed(b"[00:00:01] <inf> boot\r\n<wrn> half a line " + frame + b"\x06\x09!!!\n" + frame)
    assert whole == Reassembly().feed(frame) * 2


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_on_the_console_are_passed_over(pieces: list[bytes]) -> None:
    seen = Reassembly()
    for piece in pieces:
        seen.feed(piece)
        seen.feed(b"\x06\x09" + piece + b"\n")


@given(st.binary(max_size=80), st.integers(0, 2))
@settings(max_examples=60)
def test_a_board_that_answers_nonsense_gives_one_line(nonsense: bytes, times: int) -> None:
    class Odd(SmpBoard):
        def _commands(self):
            answers = super()._commands()
            return {which: (lambda _: {"images": nonsense, "off": -times}) for which in answers}

    with pytest.raises(FirmwareError) as caught:
        _flash(Odd(OLD))
    assert str(caught.value).isprintable()


@settings(max_examples=120, deadline=None)
@given(
    recovery=st.booleans(),
    faults=st.builds(
        Faults,
        lose=st.sampled_from([0.0, 0.0, 0.001, 0.05]),
        garble=st.sampled_from([0.0, 0.0, 0.0005, 0.02]),
        drip=st.sampled_from([0, 1, 3]),
        delay_s=st.sampled_from([0.0, 0.4, 3.0]),
        unplug_at=st.lists(st.integers(1, 7000), max_size=3, unique=True).map(sorted),
        power_too=st.booleans(),
        away_s=st.sampled_from([0.0, 1.0, 30.0]),
        seed=st.integers(0, 2**16),
    ),
)
def test_whatever_the_line_does_it_is_the_image_or_an_error(recovery: bool, faults: Faults) -> None:  # noqa: FBT001
    board = SmpBoard(OLD, Build(trusts=maker_key().public), recovery=recovery)
    _the_image_or_an_error(board, faults)


def _the_image_or_an_error(board: SmpBoard, faults: Faults) -> bool:
    powered = not faults.power_too
    try:
        _flash(board, faults)
    except FirmwareError as error:
        refused = str(error)
    else:
        assert board.running == NEW
        last = len(board.offsets) - board.offsets[::-1].index(0) - 1
        assert not powered or not any(board.offsets[:last]), "resumed, not begun anew"
        return True
    assert refused.isprintable(), "one line"
    return False


def _chunk_ends(recovery: bool) -> list[int]:  # noqa: FBT001
    board = SmpBoard(OLD, recovery=recovery)
    line = SerialLine(board)
    ends: list[int] = []
    driver = _driver(line)
    driver.identify()
    driver.write(_image(), lambda *_: ends.append(line.written))
    driver.close()
    return ends


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("recovery", [False, True])
def test_a_plug_pulled_at_every_chunk_boundary_in_turn_is_survived(recovery: bool, power: bool) -> None:  # noqa: FBT001
    ends = _chunk_ends(recovery)
    for at in (end + aside for end in ends for aside in (-1, 0, 1, 200)):
        board = SmpBoard(OLD, recovery=recovery)
        done = _the_image_or_an_error(board, Faults(unplug_at=[at], power_too=power, away_s=0.5))
        # Before the upload nothing was written, and behind it the start is not repeated by itself.
        assert done or not ends[0] < at <= ends[-1], f"cut at byte {at}"


def test_the_driver_is_found_and_refuses_options_it_does_not_know(tmp_path: Path) -> None:
    assert "smp" in load()
    assert named("smp").traits.resumes
    with pytest.raises(RefusedError, match="expected one of key, mode, buffer, image, confirm, checks, start"):
        connect("socket://127.0.0.1:9", baud=115200, options={"speed": "1"})
    with pytest.raises(ImageError, match="No such file"):
        connect("socket://127.0.0.1:9", baud=115200, options={"key": str(tmp_path / "none.pem")})


def test_the_digest_by_which_a_board_names_an_image_is_not_the_files() -> None:
    assert looked_into(NEW, "gw.bin").digest != hashlib.sha256(NEW).digest()
