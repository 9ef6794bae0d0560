"""The reference gateway on an emulated STM32F405: QEMU, with a TCP port for its console and a modem.

From: `devices.firmware.reference`. To: `undercity gateway demo` and tests: a board whose code is not Python. What its
flash holds is kept in a folder over power cuts; QEMU itself cannot write flash, see the reference's README.

    with EmulatedBoard(folder) as board:
        driver = named("stm32").connect(board.url, baud=115200, options={})
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from devices.errors import FirmwareError
from devices.firmware import reference
from devices.simulator.boards.modem import ServedModem

QEMU: Final = "qemu-system-arm"
FLASH_SIZE: Final = 96 * 1024
_FLASH_AT: Final = 0x2000_8000  # the RAM that stands for flash 0x08008000 to 0x0801ffff
_BOOT_SIZE: Final = 32 * 1024
_UNIQUE_ID_AT: Final = 0x7FF0
_TIMEOUT_S: Final = 20.0
_CONSOLE: Final = re.compile(r"127\.0\.0\.1:(\d+)")
# Whatever ends us, even a kill, closes this shell's input, and it ends the emulator.
_GUARD: Final = '"$@" & read -r _; kill -9 $! 2>/dev/null; wait'


def missing() -> str:
    """Why there can be no emulated board here, one line; empty when there can."""
    if shutil.which(QEMU) is None:
        return f"emulated board: {QEMU} is not installed (apt-get install qemu-system-arm)"
    return ""


class EmulatedBoard:
    """A board that has power from `start` to `stop`; FirmwareError when the emulator does not start.

    `url` is its console and bootloader, the same over power cuts. `flash`: the file that keeps what the flash holds.
    `boot0`: the pin is high, so it stays in its bootloader; a blank board does so anyway.
    """

    def __init__(
        self, folder: Path, *, unique_id: bytes = b"emulated-001", boot0: bool = False, port: int = 0
    ) -> None:
        self.flash = folder / "flash.bin"
        self.boot0 = boot0
        self._folder = folder
        self._unique_id = unique_id[:12].ljust(12, b"\0")
        self._port = port
        self._modem: ServedModem | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._monitor: _Monitor | None = None

    @property
    def url(self) -> str:
        """Where its console is, for pyserial."""
        return f"socket://127.0.0.1:{self._port}"

    @property
    def serial(self) -> str:
        """Its unique id, as bootloader and application say it."""
        return self._unique_id.hex()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Give it power."""
        if reason := missing():
            raise FirmwareError(f"{reason}; nothing was started")
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.flash.exists():
            self.flash.write_bytes(b"\xff" * FLASH_SIZE)
        self._modem = self._modem or ServedModem()
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.settimeout(_TIMEOUT_S)
            self._guard = self._emulator(door.getsockname()[1], self._modem.port)
            try:
                self._monitor = _Monitor(door.accept()[0])
                self._port = self._monitor.console_port()
            except (OSError, ValueError) as error:
                self.stop()
                said = " ".join((self._folder / "qemu.log").read_text(errors="replace").split())
                raise FirmwareError(
                    f"emulated board: expected {QEMU} to start, got {said[-300:] or error}; nothing runs"
                ) from None

    def power_cut(self) -> None:
        """Power goes at this very instruction and returns; what the flash held is kept."""
        self._off()
        self.start()

    def stop(self) -> None:
        """Take its power away for good; stopping twice is fine."""
        self._off()
        if self._modem:
            self._modem.close()
            self._modem = None

    def _off(self) -> None:
        if self._monitor:
            with contextlib.suppress(OSError, ValueError):
                self._monitor.save(_FLASH_AT, FLASH_SIZE, self.flash)
            self._monitor.close()
            self._monitor = None
        if self._guard:
            if self._guard.stdin:
                self._guard.stdin.close()
            self._guard.wait(_TIMEOUT_S)
            self._guard = None

    def _emulator(self, monitor_port: int, modem_port: int) -> subprocess.Popen[bytes]:
        kernel = self._folder / "bootloader.bin"
        head = reference.bootloader().ljust(_UNIQUE_ID_AT, b"\xff") + self._unique_id
        kernel.write_bytes((head + int(self.boot0).to_bytes(4, "little")).ljust(_BOOT_SIZE, b"\xff"))
        command = [
            *(QEMU, "-M", "netduinoplus2", "-display", "none", "-nodefaults", "-kernel", str(kernel)),
            *("-device", f"loader,file={_escaped(self.flash)},addr={_FLASH_AT:#x},force-raw=on"),
            *("-serial", f"tcp:127.0.0.1:{self._port},server=on,wait=off"),
            *("-serial", f"tcp:127.0.0.1:{modem_port}"),
            *("-qmp", f"tcp:127.0.0.1:{monitor_port}"),
        ]
        with (self._folder / "qemu.log").open("wb") as log:
            return subprocess.Popen(
                ["sh", "-c", _GUARD, "sh", *command], stdin=subprocess.PIPE, stdout=log, stderr=log
            )


class _Monitor:
    """QEMU's machine protocol: one JSON object a line, answers among events."""

    def __init__(self, peer: socket.socket) -> None:
        peer.settimeout(_TIMEOUT_S)
        self._peer = peer
        self._lines = peer.makefile("rb")
        try:
            self._lines.readline()
            self._ask("qmp_capabilities")
        except (OSError, ValueError):
            self.close()
            raise

    def console_port(self) -> int:
        """The TCP port of the first UART."""
        answer = self._ask("query-chardev")
        names = {one["label"]: one["filename"] for one in answer}
        found = _CONSOLE.search(names.get("serial0", ""))
        if not found:
            raise ValueError("no console")
        return int(found[1])

    def save(self, address: int, size: int, path: Path) -> None:
        """Stop the machine where it is and write memory to a file, all or nothing."""
        self._ask("stop")
        whole = path.with_suffix(".new")
        self._ask("pmemsave", {"val": address, "size": size, "filename": str(whole)})
        whole.replace(path)

    def close(self) -> None:
        """Leave it."""
        self._lines.close()
        self._peer.close()

    def _ask(self, command: str, arguments: Mapping[str, object] | None = None) -> list[dict[str, str]]:
        asked = {"execute": command, "arguments": arguments or {}}
        self._peer.sendall(json.dumps(asked).encode() + b"\n")
        while line := self._lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise ValueError(answer["error"].get("desc", command))
            if "return" in answer:
                found: list[dict[str, str]] = answer["return"] or []
                return found
        raise ValueError(f"{command}: the emulator is gone")


def _escaped(path: Path) -> str:
    """A path within a QEMU option, where a comma is written twice."""
    return str(path).replace(",", ",,")
