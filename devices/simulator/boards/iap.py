"""A microcontroller with its maker's in-application programming menu: press a key, send a file by YMODEM.

From: `undercity gateway demo` and tests. To: whoever stands at the other end of the line. Nothing here knows the
driver.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final

from devices.simulator.boards.ymodem import Manners, TakesFiles, YmodemReceiver

_DOWNLOAD: Final = ord("1")
_START: Final = ord("2")


@dataclass(frozen=True, slots=True, kw_only=True)
class IapMenu:
    """What the menu says. `shows_crc`: reads its flash back after a file and prints the CRC-32 of it."""

    board: str = "GW-10"
    revision: str = "B"
    shows_crc: bool = True
    stuck_at: int = -1  # a byte of flash that cannot be programmed; -1: none


class IapBoard(TakesFiles):
    """Its flash, and the image that runs; `running` is None while the menu is shown."""

    def __init__(
        self, menu: IapMenu | None = None, manners: Manners | None = None, *, capacity: int = 256 * 1024
    ) -> None:
        self.menu = menu or IapMenu()
        self.manners = manners or Manners()
        self.flash = bytearray(b"\xff" * capacity)
        self.stored = 0
        self.running: bytes | None = None
        self._receiver: YmodemReceiver | None = None

    def elapse(self, seconds: float) -> bytes:
        """Time passes."""
        if not self._receiver:
            return b""
        return self._receiver.elapse(seconds) + self._after()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Its control lines go nowhere."""

    def power_cut(self) -> None:
        """Back to the menu, with whatever flash holds."""
        self._keep()
        self._receiver = None
        self.running = None

    def _key(self, key: int) -> bytes:
        if self.running is not None:
            return b""
        if key == _DOWNLOAD:
            self.flash[:] = b"\xff" * len(self.flash)
            self.stored = 0
            self._receiver = YmodemReceiver(self.manners, len(self.flash))
            return b"\r\nWaiting for the file (Cancel with a)\r\n" + self._receiver.start()
        if key == _START:
            self.running = bytes(self.flash[: self.stored])
            return b"\r\nStarting\r\n"
        return self._menu() if key in b"\r\n" else b""

    def _menu(self) -> bytes:
        return (
            f"\r\n==== IAP loader 2.4 ====\r\nBoard: {self.menu.board}\r\nRevision: {self.menu.revision}\r\n"
            "1 Download image\r\n2 Start application\r\n"
        ).encode()

    def _after(self) -> bytes:
        """What is printed when a transfer has ended."""
        receiver = self._receiver
        if not receiver or not receiver.ended:
            return b""
        self._keep()
        self._receiver = None
        if not receiver.complete:
            return b"\r\nCancelled\r\n" + self._menu()
        said = f"\r\nProgramming completed\r\nName: {receiver.name}\r\nSize: {receiver.size}\r\n"
        if self.menu.shows_crc:
            said += f"CRC32: {binascii.crc32(self.flash[: self.stored]):08X}\r\n"
        return said.encode() + self._menu()

    def _keep(self) -> None:
        """What arrived is in flash, also when the rest never came."""
        if not self._receiver:
            return
        data = self._receiver.data[: len(self.flash)]
        if 0 <= self.menu.stuck_at < len(data):
            data[self.menu.stuck_at] = 0xFF
        self.flash[: len(data)] = data
        self.stored = len(data)
