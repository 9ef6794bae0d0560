"""An ESP32 as far as flashing goes: the serial loader in its ROM, a flash chip, and the two lines that reset it.

From: `undercity gateway demo` and tests, which let the real esptool talk to it. To: whoever stands at the other end
of the line. A request and its answer, SLIP-framed (0xC0, escapes 0xDB 0xDC and 0xDB 0xDD), little-endian:

    00 op length:u16 checksum:u32 data    ->    01 op length:u16 value:u32 data status error 00 00

Source: Espressif, "Serial Protocol" of the ESP32 and the ESP32 Technical Reference Manual. The ROM alone is simulated:
no program can be loaded into RAM, so esptool is to be run with `--no-stub`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Final

_END, _ESC, _ESC_END, _ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
_FLASH_BEGIN, _FLASH_DATA, _FLASH_END = 0x02, 0x03, 0x04
_SYNC, _WRITE_REG, _READ_REG = 0x08, 0x09, 0x0A
_SPI_SET_PARAMS, _SPI_ATTACH, _READ_FLASH_SLOW, _CHANGE_BAUD = 0x0B, 0x0D, 0x0E, 0x0F
_DEFL_BEGIN, _DEFL_DATA, _DEFL_END, _SPI_FLASH_MD5 = 0x10, 0x11, 0x12, 0x13
_INVALID, _FAILED, _BAD_CHECKSUM = 0x05, 0x06, 0x07
_SYNC_DATA: Final = b"\x07\x07\x12\x20" + b"\x55" * 32
_SYNCED: Final = 0x20120707
_CHECKSUM_SEED: Final = 0xEF
_SECTOR: Final = 0x1000

_MAGIC: Final = 0x40001000  # a word of the ROM that differs from chip to chip
_EFUSE: Final = 0x3FF5A000
_UART_CLKDIV: Final = 0x3FF40014
_RTC_CALIBRATION: Final = 0x3FF5F06C
_SPI_CMD, _SPI_USR2, _SPI_W0 = 0x3FF42000, 0x3FF42024, 0x3FF42080
_SPI_GO: Final = 1 << 18
_READ_ID: Final = 0x9F


class _LoaderError(Exception):
    """Raised when a command fails; `code` is what the ROM answers."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Esp32Board:
    """Flash survives a power cut.

    `running`: what flash held when it was started, None in the loader. `starts`: each reset, True where it came up in
    the loader. `stuck_at`: a byte of flash that cannot be programmed, -1: none.
    """

    mac: bytes = bytes.fromhex("246f28a1b2c3")
    flash_id: int = 0x1640EF  # Winbond, 4 MB
    capacity: int = 4 * 1024 * 1024
    in_loader: bool = True
    stuck_at: int = -1
    flash: bytearray = field(init=False)
    running: bytes | None = None
    starts: list[bool] = field(default_factory=list)
    _registers: dict[int, int] = field(init=False)
    _frame: bytearray | None = None
    _at: int = 0
    _left: int = 0
    _inflate: zlib._Decompress | None = None
    _dtr: bool = False
    _rts: bool = False
    _says: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.flash = bytearray(b"\xff" * self.capacity)
        self._registers = {
            _MAGIC: 0x00F01D83,
            _EFUSE + 4: int.from_bytes(self.mac[2:], "big"),
            _EFUSE + 8: int.from_bytes(self.mac[:2], "big"),
            _EFUSE + 12: (1 << 15) | (1 << 9),  # revision 1, package ESP32-D0WD
            _EFUSE + 16: 0x80,  # frequency of the 8 MHz clock
            _UART_CLKDIV: 40_000_000 // 115_200,
            _RTC_CALIBRATION: 800 << 7,
        }
        if not self.in_loader:
            self.running = bytes(self.flash)

    def receive(self, data: bytes) -> bytes:
        """Bytes of requests; the answers to those that are complete."""
        answer = bytearray(self._heard())
        for byte in data:
            if byte != _END:
                if self._frame is not None:
                    self._frame.append(byte)
            elif self._frame:
                answer += self._answer(_unescaped(bytes(self._frame)))
                self._frame = None
            else:
                self._frame = bytearray()
        return bytes(answer)

    def elapse(self, seconds: float) -> bytes:  # noqa: ARG002 - it does nothing by itself
        """Time passes; what it had to say."""
        return self._heard()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """RTS holds it in reset; when RTS is let go, DTR tells whether it comes up in the loader.

        Two transistors undo both lines while both are set. A capacitor bridges that moment of a host's sequence.
        """
        self._dtr = self._dtr if dtr is None else dtr
        held, self._rts = self._rts, self._rts if rts is None else rts
        if held and not self._rts:
            self._start(loader=self._dtr)

    def power_cut(self) -> None:
        """Back into the loader: somebody holds its button."""
        self._start(loader=True)

    def _start(self, *, loader: bool) -> None:
        self.in_loader = loader
        self.starts.append(loader)
        self.running = None if loader else bytes(self.flash)
        self._frame, self._left, self._inflate = None, 0, None
        self._says += b"ets Jun  8 2016 00:22:57\r\n\r\nrst:0x1 (POWERON_RESET),"
        self._says += (
            b"boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\nwaiting for download\r\n"
            if loader
            else b"boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
        )

    def _heard(self) -> bytes:
        said = bytes(self._says)
        self._says.clear()
        return said

    def _answer(self, request: bytes) -> bytes:
        if not self.in_loader or len(request) < 8 or request[0] != 0:
            return b""
        _, op, length, checksum = struct.unpack("<BBHI", request[:8])
        try:
            value, found = self._done(op, request[8:], length, checksum)
        except (_LoaderError, struct.error, zlib.error) as error:
            code = error.code if isinstance(error, _LoaderError) else _INVALID
            return _escaped(struct.pack("<BBHI", 1, op, 4, 0) + bytes([1, code, 0, 0]))
        answer = _escaped(struct.pack("<BBHI", 1, op, len(found) + 4, value) + found + bytes(4))
        return answer * 8 if op == _SYNC else answer

    def _done(self, op: int, data: bytes, length: int, checksum: int) -> tuple[int, bytes]:
        command = self._commands().get(op)
        if command is None or len(data) != length:
            raise _LoaderError(_INVALID)
        if op in {_FLASH_DATA, _DEFL_DATA} and checksum != reduce(xor, data[16:], _CHECKSUM_SEED):
            raise _LoaderError(_BAD_CHECKSUM)
        return command(data)

    def _commands(self) -> dict[int, Callable[[bytes], tuple[int, bytes]]]:
        return {
            _SYNC: self._sync,
            _READ_REG: lambda data: (self._registers.get(struct.unpack("<I", data)[0], 0), b""),
            _WRITE_REG: self._write_register,
            _SPI_ATTACH: lambda _: (0, b""),
            _SPI_SET_PARAMS: lambda _: (0, b""),
            _CHANGE_BAUD: lambda _: (0, b""),
            _FLASH_BEGIN: lambda data: self._begin(data, deflated=False),
            _FLASH_DATA: self._data,
            _FLASH_END: self._end,
            _DEFL_BEGIN: lambda data: self._begin(data, deflated=True),
            _DEFL_DATA: self._data,
            _DEFL_END: self._end,
            _READ_FLASH_SLOW: self._read,
            _SPI_FLASH_MD5: self._md5,
        }

    def _sync(self, data: bytes) -> tuple[int, bytes]:
        if data != _SYNC_DATA:
            raise _LoaderError(_INVALID)
        return _SYNCED, b""

    def _write_register(self, data: bytes) -> tuple[int, bytes]:
        address, value, mask, _ = struct.unpack("<4I", data[:16])
        self._registers[address] = (self._registers.get(address, 0) & ~mask) | (value & mask)
        if address == _SPI_CMD and value & _SPI_GO:
            # The SPI controller has done what it was told when the register reads 0.
            asked = self._registers.get(_SPI_USR2, 0) & 0xFF
            self._registers[_SPI_W0] = self.flash_id if asked == _READ_ID else 0
            self._registers[_SPI_CMD] = 0
        return 0, b""

    def _begin(self, data: bytes, *, deflated: bool) -> tuple[int, bytes]:
        size, _, _, offset = struct.unpack("<4I", data[:16])
        first, last = offset // _SECTOR * _SECTOR, -(-(offset + size) // _SECTOR) * _SECTOR
        if last > self.capacity:
            raise _LoaderError(_FAILED)
        self.flash[first:last] = b"\xff" * (last - first)
        self._at, self._left = offset, last - offset
        self._inflate = zlib.decompressobj() if deflated else None
        return 0, b""

    def _data(self, data: bytes) -> tuple[int, bytes]:
        size = struct.unpack("<I", data[:4])[0]
        part = data[16 : 16 + size]
        if self._inflate:
            part = self._inflate.decompress(part)
        if len(part) > self._left:
            raise _LoaderError(_FAILED)
        self.flash[self._at : self._at + len(part)] = part
        if self._at <= self.stuck_at < self._at + len(part):
            self.flash[self.stuck_at] = 0xFF
        self._at, self._left = self._at + len(part), self._left - len(part)
        return 0, b""

    def _end(self, data: bytes) -> tuple[int, bytes]:
        if struct.unpack("<I", data[:4])[0] == 0:
            self._start(loader=False)
        return 0, b""

    def _read(self, data: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack("<2I", data[:8])
        return 0, bytes(self.flash[offset : offset + size].ljust(64, b"\0"))

    def _md5(self, data: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack("<2I", data[:8])
        digest = hashlib.md5(self.flash[offset : offset + size], usedforsecurity=False)
        return 0, digest.hexdigest().encode()


def _escaped(packet: bytes) -> bytes:
    inner = packet.replace(bytes([_ESC]), bytes([_ESC, _ESC_ESC])).replace(bytes([_END]), bytes([_ESC, _ESC_END]))
    return bytes([_END]) + inner + bytes([_END])


def _unescaped(frame: bytes) -> bytes:
    return frame.replace(bytes([_ESC, _ESC_END]), bytes([_END])).replace(bytes([_ESC, _ESC_ESC]), bytes([_ESC]))
