"""Real MCUboot and real Zephyr on an emulated board: QEMU's mps2-an385 with the images of smpclient's own tests.

From: smpclient's source distribution, which set-up puts into `.setup`. Its flash is memory, so the debugger's port of
QEMU puts the first image there before the start, and damages a byte where a test wants one damaged. This MCUboot is
built without a key: it checks an image's SHA-256 before it starts it, no signature. It copies the image with the
highest version to memory and starts it there. A second board has an MCUboot that wants a mark and overwrites.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from devices.errors import LinkError
from devices.firmware.link import SerialLink
from devices.firmware.mcuboot import looked_into
from devices.firmware.mcuboot_keys import PrivateKey, signed

_ARCHIVE: Final = Path(__file__).parents[2] / ".setup" / "smpclient-7.3.0.tar.gz"
_SHA256: Final = "86aa4bc1c621805d97f449793a4077f049aa88a98a1e916bf59423d072bd2a3b"
_FOLDER: Final = "smpclient-7.3.0/tests/fixtures/smp-server/"
# The one has large buffers and is quick; the other's serial recovery names its buffer.
APPLICATION: Final = "zephyr_4.4.0_smp_server_0eae053d_mps2_an385_serial_recovery_buf2048"
RECOVERY: Final = "zephyr_f33aa2bc4a43_smp_server_27c54835_mps2_an385_serial_recovery"
# A small chip whose MCUboot copies the second slot over the first; its images lie in emulated flash.
OVERWRITING: Final = "zephyr_4.4.0_smp_server_0eae053d_qemu_cortex_m0_serial"
SLOTS: Final = (0x20050000, 0x200D0000)
_QEMU: Final = shutil.which("qemu-system-arm")
_START_S: Final = 20.0


def missing() -> str:
    """What a test on it lacks; empty when all is there."""
    if _QEMU is None:
        return "needs qemu-system-arm, to emulate a board: apt-get install qemu-system-arm"
    if not _ARCHIVE.exists():
        return "needs smpclient's source distribution for its MCUboot: run 'make setup' where PyPI can be reached"
    if hashlib.sha256(_ARCHIVE.read_bytes()).hexdigest() != _SHA256:
        return (
            f"expected {_ARCHIVE.name} with digest {_SHA256[:16]}…, another is there: remove it, run 'make setup'"
        )
    return ""


@cache
def member(name: str) -> bytes:
    """A file of the archive."""
    with tarfile.open(_ARCHIVE) as archive:
        file = archive.extractfile(_FOLDER + name)
        if file is None:
            raise FileNotFoundError(name)
        return file.read()


def first_image(build: str) -> bytes:
    """What the board runs at first, version 0.0.0."""
    return member(f"{build}.signed.bin")


def our_image(build: str, key: PrivateKey, version: str) -> bytes:
    """The same application as our own image: another version, signed with our key."""
    content = first_image(build)
    header = looked_into(content, build)
    body = content[header.header_size : header.header_size + header.size]
    return signed(body, key, version=version, header_size=header.header_size, load_address=header.load_address)


class EmulatedBoard:
    """The board; `url` is its console."""

    def __init__(self, build: str, folder: Path) -> None:
        self.url = f"socket://127.0.0.1:{_free_port()}"
        self._debugger, self._control = folder / "debugger", folder / "control"
        loader = folder / "board.hex"
        overwriting = build == OVERWRITING
        loader.write_bytes(member(f"{build}.merged.hex" if overwriting else f"{build}.hex"))
        console = f"socket,id=con,host=127.0.0.1,port={self.url.rpartition(':')[2]},server=on,wait=off"
        words = [
            "-machine",
            "microbit" if overwriting else "mps2-an385",
            "-display",
            "none",
            "-monitor",
            "none",
            "-S",
        ]
        words += ["-serial", "chardev:con", "-chardev", console, "-device", f"loader,file={loader}"]
        words += ["-gdb", f"unix:{self._debugger},server=on,wait=off"]
        words += ["-qmp", f"unix:{self._control},server=on,wait=off"]
        self._process = subprocess.Popen([str(_QEMU), *words], stdin=subprocess.DEVNULL)
        with self._halted() as debugger:
            content = b"" if overwriting else first_image(build)
            for at in range(0, len(content), 1024):
                _written(debugger, SLOTS[0] + at, content[at : at + 1024])

    def damage(self, slot: int, offset: int) -> None:
        """Turn a bit of what a slot holds."""
        with self._halted() as debugger:
            before = self._read(debugger, SLOTS[slot] + offset, 1)
            _written(debugger, SLOTS[slot] + offset, bytes([before[0] ^ 1]))

    def held(self, slot: int, size: int) -> bytes:
        """What a slot holds."""
        with self._halted() as debugger:
            return b"".join(
                self._read(debugger, SLOTS[slot] + at, min(1024, size - at)) for at in range(0, size, 1024)
            )

    def power_cut(self) -> None:
        """Everything but the slots begins anew."""
        with closing(_connected(self._control)) as control, control.makefile("rw") as lines:
            lines.readline()
            for command in ("qmp_capabilities", "system_reset"):
                lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
                lines.readline()

    def stop(self) -> None:
        """Switch it off."""
        self._process.kill()
        self._process.wait(10)

    @contextmanager
    def _halted(self) -> Iterator[socket.socket]:
        """QEMU halts the board while a debugger is there, and lets it run when it goes."""
        with closing(_connected(self._debugger)) as debugger:
            yield debugger
            _asked(debugger, "D")

    @staticmethod
    def _read(debugger: socket.socket, address: int, size: int) -> bytes:
        return bytes.fromhex(_asked(debugger, f"m{address:x},{size:x}"))


class CutLink(SerialLink):
    """A line whose plug is pulled once, after `cut_at` bytes were written; `power_too`: the board loses its power."""

    def __init__(self, board: EmulatedBoard, cut_at: int, *, power_too: bool = False) -> None:
        super().__init__(board.url)
        self._board, self._left, self._power_too = board, cut_at, power_too

    def write(self, data: bytes) -> None:
        if 0 < self._left <= len(data):
            super().write(data[: self._left])
            self._left = 0
            self.close()
            if self._power_too:
                self._board.power_cut()
            raise LinkError(f"{self.url}: the line is gone: unplugged")
        self._left -= len(data)
        super().write(data)


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _connected(path: Path) -> socket.socket:
    until = time.monotonic() + _START_S
    while True:
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(_START_S)
        try:
            one.connect(str(path))
        except OSError:
            one.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.05)  # QEMU makes it while it starts
        else:
            return one


def _written(debugger: socket.socket, address: int, data: bytes) -> None:
    answer = _asked(debugger, f"M{address:x},{len(data):x}:{data.hex()}")
    if answer != "OK":
        raise AssertionError(f"debugger: expected OK, got {answer!r}")


def _asked(debugger: socket.socket, command: str) -> str:
    """One exchange of the remote serial protocol; that the board halted is told in between, and passed over."""
    debugger.sendall(f"${command}#{sum(command.encode()) % 256:02x}".encode())
    answer = b""
    while True:
        while b"#" not in answer[:-2]:
            answer += debugger.recv(8192)
        debugger.sendall(b"+")
        packet, _, rest = answer[answer.index(b"$") + 1 :].partition(b"#")
        if not packet.startswith(b"T"):
            return packet.decode()
        answer = rest[2:]
