"""Our SMP driver on the real thing: MCUboot and Zephyr's SMP server on an emulated board.

The board's MCUboot was built without a key: what it refuses is an image whose SHA-256 does not fit. That our own check
refuses a foreign signature is shown here too; that an MCUboot with a key does, only on our simulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.errors import BootError, ExchangeError, ImageError, LinkError
from devices.firmware.driver import Board, Proof, Step
from devices.firmware.drivers.smp import OPTIONS, SmpDriver
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image
from devices.firmware.link import Link, SerialLink
from devices.firmware.mcuboot import image
from devices.firmware.options import Options
from tests.support.emulated_mcuboot import (
    APPLICATION,
    OVERWRITING,
    RECOVERY,
    CutLink,
    EmulatedBoard,
    missing,
    our_image,
)
from tests.support.flashing import Kept
from tests.support.mcuboot import maker_key

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=missing() or "nothing"),
]


@pytest.fixture
def application(tmp_path: Path) -> Iterator[EmulatedBoard]:
    board = EmulatedBoard(APPLICATION, tmp_path)
    yield board
    board.stop()


@pytest.fixture
def recovery(tmp_path: Path) -> Iterator[EmulatedBoard]:
    board = EmulatedBoard(RECOVERY, tmp_path)
    yield board
    board.stop()


@pytest.fixture
def overwriting(tmp_path: Path) -> Iterator[EmulatedBoard]:
    board = EmulatedBoard(OVERWRITING, tmp_path)
    yield board
    board.stop()


def ours(build: str, version: str = "1.2.3") -> Image:
    content = our_image(build, maker_key(), version)
    return image(content, maker_key().public, name="gw.bin", board="GW-10", revisions=["B"], chip="")


def driver(link: Link, **options: str) -> SmpDriver:
    return SmpDriver(link, maker_key().public, Options("smp", options, OPTIONS))


def flashed(link: Link, what: Image, kept: Kept, **options: str) -> Flashed:
    return flash(
        what,
        driver(link, start="30", **options),
        Known(board="GW-10", revision="B", source="test"),
        told=kept.progress,
        record=kept,
        boot_check=lambda *_: None,
    )


def runs(board: EmulatedBoard) -> Board:
    """What the board says of itself, once it answers."""
    asked = driver(SerialLink(board.url))
    try:
        for _ in range(10):
            try:
                return asked.identify()
            except (ExchangeError, LinkError):
                asked.reconnect()
        return asked.identify()
    finally:
        asked.close()


def test_an_upload_is_cut_goes_on_where_the_board_stopped_and_our_image_runs(application: EmulatedBoard) -> None:
    what, kept = ours(APPLICATION), Kept()
    assert runs(application).version == "0.0.0"
    done = flashed(CutLink(application, 100_000), what, kept)
    assert done.attempts == 2
    assert done.proof is Proof.DEVICE_DIGEST
    assert done.board.chip == "zephyr:mps2:an385"
    offsets = [at for step, at, _ in kept.told if step is Step.WRITE]
    again = offsets.index(0, 1)  # it asks with the first bytes once more, and is told where it was
    assert offsets[again + 1] > 60_000
    assert application.held(1, len(what.payload)) == what.payload
    assert runs(application).version == "1.2.3"


@pytest.mark.soak
def test_an_mcuboot_that_overwrites_is_given_its_mark_and_starts_our_image(overwriting: EmulatedBoard) -> None:
    what = ours(OVERWRITING)
    assert runs(overwriting).chip == "zephyr:qemu_cortex_m0:nrf51822"
    # QEMU's chip hangs on a message of more than three lines, though it names a buffer of 384 bytes.
    done = flashed(CutLink(overwriting, 30_000), what, Kept(), buffer="200")
    assert (done.attempts, done.proof) == (2, Proof.DEVICE_DIGEST)
    asked = driver(SerialLink(overwriting.url))
    asked.identify()
    (kept,) = asked._session.states(0)
    asked.close()
    assert (kept.version, kept.active, kept.confirmed) == ("1.2.3", True, True)


def test_power_is_cut_the_upload_begins_anew_and_an_image_damaged_then_is_never_a_success(
    application: EmulatedBoard,
) -> None:
    what, kept = ours(APPLICATION), Kept()
    runs(application)
    plain = kept.progress

    def damaging(step: Step, done: int, whole: int) -> None:
        plain(step, done, whole)
        if step is Step.VERIFY and done == whole:
            application.damage(1, 70_000)

    kept.progress = damaging  # type: ignore[method-assign]
    with pytest.raises(BootError, match=r"expected image 1\.2\.3 .* to run, it runs 0\.0\.0"):
        flashed(CutLink(application, 20_000, power_too=True), what, kept)
    offsets = [at for step, at, _ in kept.told if step is Step.WRITE]
    assert 0 < offsets[offsets.index(0, 1) + 1] < 3_000
    assert runs(application).version == "0.0.0"


def test_an_image_of_another_maker_is_refused_before_a_byte_is_written(application: EmulatedBoard) -> None:
    runs(application)
    content = our_image(APPLICATION, maker_key(which=1), "9.9.9")
    what = image(content, maker_key(which=1).public, name="x", board="GW-10", revisions=["B"])
    with pytest.raises(ImageError, match="none fits"):
        flashed(SerialLink(application.url), what, Kept())
    assert application.held(1, 32) in {b"\xff" * 32, bytes(32)}


@pytest.mark.soak
def test_serial_recovery_resumes_its_list_proves_nothing_and_the_start_does(recovery: EmulatedBoard) -> None:
    what, offsets = ours(RECOVERY), list[int]()
    runs(recovery)
    by_us = driver(CutLink(recovery, 60_000), mode="recovery", start="10")
    assert by_us.identify().loader == "MCUboot serial recovery"
    with pytest.raises(LinkError):
        by_us.write(what, lambda _step, at, _whole: offsets.append(at))
    by_us.reconnect()
    assert by_us.identify().loader == "MCUboot serial recovery"
    cut = len(offsets)
    by_us.write(what, lambda _step, at, _whole: offsets.append(at))
    assert offsets[cut] == offsets[cut - 1] > 30_000
    assert recovery.held(0, len(what.payload)) == what.payload
    recovery.damage(0, 70_000)
    assert by_us.verify(what, lambda *_: None) is None, "listed all the same"
    recovery.damage(0, 70_000)
    assert by_us.boot(what) is Proof.DEVICE_DIGEST
    recovery.damage(0, 70_000)
    with pytest.raises(BootError, match=r"expected image 1\.2\.3 .* to run, it runs none"):
        by_us.boot(what)
    by_us.close()
