"""An AVR board with optiboot, as a state machine over bytes.

Behaves as optiboot 4.4 does in the tests' emulated CPU, quirks included: entered by an external reset
alone, a watchdog of one second, an answer of 3 to parameters it does not know, a page erased when its programming
begins and written after the closing space. Nothing on the wire is checked, so nothing is checked here either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devices.firmware.avr import PARTS

_EOP: Final = 0x20
_INSYNC, _OK = b"\x14", b"\x10"
_WATCHDOG_S: Final = 1.0
_BLANK: Final = b"\xff"
_NOTHING_RUNS: Final = (b"\xff\xff", b"\xff\xcf")  # blank, and a jump to itself

# Bytes that follow a command before its closing space; what is not here has none.
_ARGUMENTS: Final = {0x41: 1, 0x42: 20, 0x45: 5, 0x55: 2, 0x56: 4, 0x64: 3, 0x74: 3}


class Stk500Board:
    """One board. `signature`: as in `devices.firmware.avr`. `banner`: what its application says when it starts.

    `flash` outlives a power cut. `locked`: lock bits keep the boot section from being written, as on boards sold
    ready to use.
    """

    def __init__(
        self,
        signature: str = "1e950f",
        *,
        version: tuple[int, int] = (4, 4),
        banner: bytes = b"",
        locked: bool = True,
    ) -> None:
        self.part = PARTS[signature]
        self.flash = bytearray(_BLANK * self.part.flash)
        self.signature = bytes.fromhex(signature)
        self.version = version
        self.banner = banner
        self.locked = locked
        self.in_bootloader = False
        self.pages_written = 0
        self._received = bytearray()
        self._address = 0
        self._silent_s = 0.0
        self._leaving = False
        self._dtr = False
        self._said = bytearray()
        self._answers: dict[int, Callable[[], bytes]] = {
            0x41: self._parameter,
            0x51: self._leave,
            0x55: self._load_address,
            0x56: lambda: b"\x00",
            0x64: self._program,
            0x74: self._read,
            0x75: lambda: self.signature,
        }

    @property
    def runs(self) -> bool:
        """An application runs, rather than the bootloader or nothing."""
        return not self.in_bootloader and bytes(self.flash[:2]) not in _NOTHING_RUNS

    def receive(self, data: bytes) -> bytes:
        """Bytes from the host; an application passes them over."""
        answer = bytearray(self._taken())
        for byte in data:
            if self.in_bootloader and not self._leaving:
                answer += self._take(byte)
        return bytes(answer)

    def elapse(self, seconds: float) -> bytes:
        """Time passes; the watchdog starts the application when it was silent for too long."""
        self._silent_s += seconds
        if self.in_bootloader and (self._leaving or self._silent_s >= _WATCHDOG_S):
            self._start()
        return self._taken()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:  # noqa: ARG002
        """DTR reaches reset through a capacitor: its edge resets, its level does not."""
        if dtr is None:
            return
        if dtr and not self._dtr:
            self.reset()
        self._dtr = dtr

    def reset(self) -> None:
        """The reset pin: the bootloader listens."""
        self._forget()
        self.in_bootloader = True

    def power_cut(self) -> None:
        """Power goes and returns: without an external reset the application starts."""
        self._start()

    def _start(self) -> None:
        self._forget()
        self.in_bootloader = False
        if self.runs:
            self._said += self.banner

    def _forget(self) -> None:
        self._received.clear()
        self._said.clear()
        self._address = 0
        self._silent_s = 0.0
        self._leaving = False

    def _taken(self) -> bytes:
        said = bytes(self._said)
        self._said.clear()
        return said

    def _take(self, byte: int) -> bytes:
        self._silent_s = 0.0
        self._received.append(byte)
        command = self._received[0]
        arguments = _ARGUMENTS.get(command, 0)
        if command == 0x64 and len(self._received) == 1 + arguments:
            self._erase()
        if command == 0x64 and len(self._received) > arguments:
            arguments += self._length()
        if len(self._received) < 2 + arguments:
            return b""
        if byte != _EOP:
            self._leaving = True
            return b""
        answer = self._answers.get(command, lambda: b"")()
        self._received.clear()
        return _INSYNC + answer + _OK

    def _length(self) -> int:
        """The lower byte alone; 0 goes round to 256."""
        return self._received[2] or 256

    def _parameter(self) -> bytes:
        asked = {0x81: self.version[0], 0x82: self.version[1]}
        return bytes([asked.get(self._received[1], 3)])

    def _leave(self) -> bytes:
        self._leaving = True
        return b""

    def _load_address(self) -> bytes:
        self._address = 2 * int.from_bytes(self._received[1:3], "little")
        return b""

    def _read(self) -> bytes:
        length = self._length()
        found = bytes(self.flash[(self._address + i) % self.part.flash] for i in range(length))
        self._address += length
        return found

    def _erase(self) -> None:
        at = self._page()
        if at is not None:
            self.flash[at : at + self.part.page] = _BLANK * self.part.page

    def _program(self) -> bytes:
        at = self._page()
        if at is not None:
            data = bytes(self._received[4 : 4 + self._length()])[: self.part.page]
            # A short page takes what lay behind it in RAM; nobody can rely on that being blank.
            self.flash[at : at + self.part.page] = data.ljust(self.part.page, b"\x00")
            self.pages_written += 1
        return b""

    def _page(self) -> int | None:
        """Where the page at the loaded address begins; None where lock bits keep it."""
        at = self._address % self.part.flash // self.part.page * self.part.page
        return None if self.locked and at >= self.part.flash - self.part.boot else at
