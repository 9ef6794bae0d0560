"""Our U-Boot driver against Debian's unmodified U-Boot on an emulated ARM board."""

from __future__ import annotations

import binascii
import hashlib
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from devices.errors import BootError, VerifyError
from devices.firmware.driver import Driver, Proof, Step
from devices.firmware.drivers import named
from devices.firmware.flash import flash
from devices.firmware.image import Image, Manifest
from devices.firmware.link import Link
from tests.support.flashing import KNOWN, Kept, image

QEMU = shutil.which("qemu-system-arm")
UBOOT = Path("/usr/lib/u-boot/qemu_arm/u-boot.bin")
pytestmark = [
    pytest.mark.skipif(
        QEMU is None, reason="needs qemu-system-arm, to emulate a board: apt-get install qemu-system-arm"
    ),
    pytest.mark.skipif(not UBOOT.exists(), reason="needs a U-Boot for it: apt-get install u-boot-qemu"),
]
# Memory begins at 0x40000000; the second flash bank at 0x04000000, its first sectors hold the environment.
OPTIONS = {"address": "40200000", "store": "nor", "at": "0x04100000", "start": "bootm"}
# This U-Boot says "done" and leaves out the end of some sizes in this QEMU's flash, which verifying tells.
SIZE = 4096
SAYS = b"gateway 1.2.3 runs\r\n\0"


def application() -> Image:
    """ARM code that writes SAYS to the board's UART at 0x09000000 for ever, and two kilobytes behind it.

    Started by `bootm`: the `go` of this U-Boot (2023.01) waits for ever for its own UART.
    """
    code = struct.pack(
        "<11I",
        0xE59F0020,  # ldr r0, uart
        0xE28F1020,  # again: adr r1, text
        0xE4D12001,  # next: ldrb r2, [r1], #1
        0xE3520000,  # cmp r2, #0
        0x15802000,  # strne r2, [r0]
        0x1AFFFFFB,  # bne next
        0xE3A03501,  # mov r3, #0x400000
        0xE2533001,  # wait: subs r3, r3, #1
        0x1AFFFFFD,  # bne wait
        0xEAFFFFF6,  # b again
        0x09000000,  # uart
    )
    payload = wrapped(code + SAYS + bytes(range(256)) * 8)
    manifest = Manifest(
        board="GW-10",
        revisions=("B",),
        version="1.2.3",
        security_counter=1,
        sha256=hashlib.sha256(payload).hexdigest(),
        size=len(payload),
        boot="text:gateway 1.2.3 runs",
    )
    return Image(manifest, payload)


def wrapped(program: bytes) -> bytes:
    """A legacy uImage: an uncompressed ARM program, loaded to and entered at 0x40400000."""

    def header(crc: int) -> bytes:
        kinds = (18, 2, 2, 0)  # RTEMS, which is entered without more ado; ARM, kernel, not compressed
        place = (0x40400000, 0x40400000, binascii.crc32(program))
        return struct.pack(">7I4B32s", 0x27051956, crc, 0, len(program), *place, *kinds, b"gateway")

    return header(binascii.crc32(header(0))) + program


class Emulated:
    """The board; `power_cut` kills it and starts it again on the same port, its flash kept."""

    def __init__(self, folder: Path) -> None:
        self._flash = folder / "flash"
        with self._flash.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"socket://127.0.0.1:{self._port}"
        self._program = self._start()

    def power_cut(self) -> None:
        self.close()
        self._program = self._start()

    def close(self) -> None:
        self._program.kill()
        self._program.wait(10)

    def _start(self) -> subprocess.Popen[bytes]:
        bank = f"if=pflash,index=1,format=raw,file={self._flash}"
        serial = f"tcp:127.0.0.1:{self._port},server=on,wait=on"
        board = ["-M", "virt", "-m", "128", "-display", "none", "-monitor", "none", "-nic", "none"]
        program = subprocess.Popen(
            [QEMU or "qemu-system-arm", *board, "-bios", UBOOT, "-drive", bank, "-serial", serial],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # It says so when it listens; a connection made to find out would be the one it waits for.
        assert program.stdout is not None
        with program.stdout:
            assert b"waiting for connection" in program.stdout.readline()
        return program


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Emulated]:
    emulated = Emulated(tmp_path)
    yield emulated
    emulated.close()


def connect(board: Emulated, **options: str) -> Driver:
    return named("uboot").connect(board.url, baud=115200, options=OPTIONS | options)


def runs(link: Link | None) -> None:
    assert link
    heard = link.read(1000, 5)
    if SAYS.rstrip(b"\0") not in heard:
        raise BootError(f"expected the application, got {heard!r}")


def test_an_image_is_stored_proven_by_uboots_crc_and_runs(board: Emulated) -> None:
    kept = Kept()

    def boot_check(_image: Image, link: Link | None) -> None:
        runs(link)

    done = flash(application(), connect(board), KNOWN, told=kept.progress, record=kept, boot_check=boot_check)
    assert done.proof is Proof.DEVICE_DIGEST
    assert done.attempts == 1
    assert done.board.loader.startswith("U-Boot 20")
    assert (Step.WRITE, application().manifest.size, application().manifest.size) in kept.told


def test_another_image_than_the_one_stored_has_another_crc(board: Emulated) -> None:
    payload = image(SIZE).payload[:-1] + b"?"
    other = Image(replace(image(SIZE).manifest, sha256=hashlib.sha256(payload).hexdigest()), payload)
    with closing(connect(board)) as loader:
        loader.identify()
        loader.write(image(SIZE), lambda *_: None)
        assert loader.verify(image(SIZE), lambda *_: None) is Proof.DEVICE_DIGEST
        with pytest.raises(
            VerifyError, match=r"in flash at 0x4100000: expected CRC-32 [0-9a-f]{8}, the board has"
        ):
            loader.verify(other, lambda *_: None)


def test_a_board_that_loses_its_power_in_the_middle_is_written_anew(board: Emulated) -> None:
    kept = Kept()
    cuts = []

    def told(step: Step, done: int, whole: int) -> None:
        kept.progress(step, done, whole)
        if step is Step.WRITE and done > 10_000 and not cuts:
            cuts.append(done)
            board.power_cut()

    done = flash(
        image(8 * SIZE),
        connect(board, store="none", start="none"),
        KNOWN,
        told=told,
        record=kept,
        boot_check=lambda *_: None,
    )
    assert cuts
    assert done.attempts == 2
    assert done.proof is Proof.DEVICE_DIGEST
    assert any("attempt 2 after" in detail for _, detail in kept.steps)
