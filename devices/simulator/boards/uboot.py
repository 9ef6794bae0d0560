"""A board with U-Boot at its prompt, as far as flashing goes: environment, memory, NOR flash and SPI flash.

From: `undercity gateway demo` and tests. To: whoever stands at the other end of the line. Output is worded as
U-Boot 2023.01 words it; the real one is in `tests/contract/test_uboot.py`. Nothing here knows the driver.
"""

from __future__ import annotations

import binascii
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from devices.simulator.boards.ymodem import Manners, TakesFiles, YmodemReceiver

RAM_BASE: Final = 0x40200000
NOR_BASE: Final = 0x04040000
_COUNTDOWN_S: Final = 2.0
_PROMPT: Final = "=> "
_VERSION: Final = "U-Boot 2023.01 (Jan 09 2023 - 16:07:33 +0000)"
_CTRL_C, _CANCEL_LINE = 0x03, 0x18


@dataclass(slots=True)
class UBootFaults:
    """What goes wrong with its stores.

    `stuck_at`: byte of each that cannot be programmed, -1: none. `store_fails`, `read_fails`: `sf update`, `sf read` do
    nothing.
    """

    stuck_at: int = -1
    store_fails: bool = False
    read_fails: bool = False


@dataclass(slots=True)
class UBootBoard(TakesFiles):
    """Stores survive a power cut, memory does not. `running`: the image that was started, None at the prompt."""

    size: int = 256 * 1024
    environment: dict[str, str] = field(default_factory=lambda: {"soc": "imx6", "serial#": "0017A4C2"})
    manners: Manners = field(default_factory=Manners)
    faults: UBootFaults = field(default_factory=UBootFaults)
    ram: bytearray = field(init=False)
    nor: bytearray = field(init=False)
    spi: bytearray = field(init=False)
    stored: int = 0
    running: bytes | None = None
    _line: bytearray = field(default_factory=bytearray)
    _receiver: YmodemReceiver | None = None
    _load_to: int = RAM_BASE
    _countdown_s: float = _COUNTDOWN_S
    _counting: bool = True
    _spi_probed: bool = False

    def __post_init__(self) -> None:
        self.ram = bytearray(self.size)
        self.nor = bytearray(b"\xff" * self.size)
        self.spi = bytearray(b"\xff" * self.size)

    def elapse(self, seconds: float) -> bytes:
        """Time passes: the countdown ends, a receiver asks again."""
        if self._receiver:
            return self._receiver.elapse(seconds) + self._after()
        if self._counting:
            self._countdown_s -= seconds
            if self._countdown_s <= 0:
                self._counting = False
                return self._start(bytes(self.nor[: self.stored]))
        return b""

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Its control lines go nowhere."""

    def power_cut(self) -> None:
        """Memory is gone, the countdown begins."""
        self.ram[:] = bytes(self.size)
        self._line.clear()
        self._receiver = None
        self._counting, self._countdown_s = True, _COUNTDOWN_S
        self._spi_probed = False
        self.running = None

    def _key(self, key: int) -> bytes:
        if self.running is not None:
            return b""
        if self._counting:
            self._counting = False
            return f"\r\n{_PROMPT}".encode()
        if key in {_CTRL_C, _CANCEL_LINE, *b"\r\n"}:
            line = self._line.decode("latin-1")
            self._line.clear()
            return self._line_ended(key, line)
        if not 0x20 <= key < 0x7F:
            return b"\a"
        self._line.append(key)
        return bytes([key])

    def _line_ended(self, key: int, line: str) -> bytes:
        if key == _CTRL_C:
            return f"<INTERRUPT>\r\n{_PROMPT}".encode()
        return b"\b \b" * len(line) if key == _CANCEL_LINE else b"\r\n" + self._run(line)

    def _run(self, line: str) -> bytes:
        try:
            words = shlex.split(line)
            said = self._commands()[words[0]](words[1:]) if words else ""
        except KeyError:
            said = f"Unknown command '{line.split(maxsplit=1)[0]}' - try 'help'\r\n"
        except (ValueError, IndexError):
            said = "\r\nUsage:\r\n" + line + "\r\n"
        if self._receiver:
            return said.encode() + self._receiver.start()
        if self.running is not None or self._counting:
            return said.encode()
        return (said + _PROMPT).encode("latin-1")

    def _commands(self) -> dict[str, Callable[[list[str]], str]]:
        return {
            "version": lambda _: f"{_VERSION}\r\n\r\ngcc 12.2.0\r\n",
            "printenv": self._printenv,
            "loady": self._loady,
            "crc32": self._crc32,
            "mw.b": self._fill,
            "cp.b": self._copy,
            "erase": self._erase,
            "protect": lambda _: "Un-Protect Flash Sectors\r\n",
            "sf": self._sf,
            "go": lambda words: self._go(words, bytes(self.ram)),
            "reset": self._reset,
        }

    def _printenv(self, words: list[str]) -> str:
        name = words[0]
        if name not in self.environment:
            return f'## Error: "{name}" not defined\r\n'
        return f"{name}={self.environment[name]}\r\n"

    def _loady(self, words: list[str]) -> str:
        self._load_to = int(words[0], 16)
        self._receiver = YmodemReceiver(self.manners, self.size)
        return f"## Ready for binary (ymodem) download to 0x{self._load_to:08X} at 115200 bps...\r\n"

    def _crc32(self, words: list[str]) -> str:
        address, size = int(words[0], 16), int(words[1], 16)
        memory, start = self._at(address, size)
        crc = binascii.crc32(memory[start : start + size])
        return f"crc32 for {address:08x} ... {address + size - 1:08x} ==> {crc:08x}\r\n"

    def _fill(self, words: list[str]) -> str:
        address, value, size = (int(word, 16) for word in words)
        memory, start = self._at(address, size)
        memory[start : start + size] = bytes([value]) * size
        return ""

    def _copy(self, words: list[str]) -> str:
        source, target, size = (int(word, 16) for word in words)
        memory, start = self._at(source, size)
        self._program(self.nor, target - NOR_BASE, memory[start : start + size])
        return "Copy to Flash... done\r\n"

    def _erase(self, words: list[str]) -> str:
        start, size = int(words[0], 16) - NOR_BASE, int(words[1].lstrip("+"), 16)
        if start < 0 or start + size > self.size:
            raise ValueError(words)
        self.nor[start : start + size] = b"\xff" * size
        return ". done\r\nErased 1 sectors\r\n"

    def _sf(self, words: list[str]) -> str:
        if words[0] == "probe":
            self._spi_probed = True
            return "SF: Detected w25q128 with page size 256 Bytes, erase size 4 KiB, total 16 MiB\r\n"
        if not self._spi_probed:
            return "No SPI flash selected. Please run `sf probe'\r\n"
        address, offset, size = (int(word, 16) for word in words[1:])
        memory, start = self._at(address, size)
        if words[0] == "read" and self.faults.read_fails:
            return "SPI flash read failed\r\n"
        if words[0] == "read":
            memory[start : start + size] = self.spi[offset : offset + size]
            return f"device 0 offset 0x{offset:x}, size 0x{size:x}\r\nSF: {size} bytes @ 0x{offset:x} Read: OK\r\n"
        if self.faults.store_fails:
            return "SPI flash failed in erase step\r\n"
        self.spi[offset : offset + size] = b"\xff" * size
        self._program(self.spi, offset, memory[start : start + size])
        return f"device 0 offset 0x{offset:x}, size 0x{size:x}\r\n{size} bytes written, 0 bytes skipped\r\n"

    def _program(self, store: bytearray, start: int, data: bytearray) -> None:
        if start < 0 or start + len(data) > self.size:
            raise ValueError(start)
        for index, byte in enumerate(data):
            # Programming clears bits; only erasing sets them.
            store[start + index] &= byte
        if start <= self.faults.stuck_at < start + len(data):
            store[self.faults.stuck_at] = 0xFF
        self.stored = len(data)

    def _at(self, address: int, size: int) -> tuple[bytearray, int]:
        for base, memory in ((RAM_BASE, self.ram), (NOR_BASE, self.nor)):
            if base <= address and address + size <= base + len(memory):
                return memory, address - base
        raise ValueError(address)

    def _go(self, words: list[str], memory: bytes) -> str:
        start = int(words[0], 16) - RAM_BASE
        self.running = memory[start:]
        return f"## Starting application at {words[0]} ...\r\n"

    def _start(self, image: bytes) -> bytes:
        self.running = image
        return b"\r\nStarting kernel ...\r\n"

    def _reset(self, _words: list[str]) -> str:
        self.power_cut()
        return "resetting ...\r\n\r\nU-Boot 2023.01\r\n\r\nHit any key to stop autoboot:  2 "

    def _after(self) -> bytes:
        receiver = self._receiver
        if not receiver or not receiver.ended:
            return b""
        self._receiver = None
        if not receiver.complete:
            return f"## Binary (ymodem) download aborted\r\n{_PROMPT}".encode()
        memory, start = self._at(self._load_to, len(receiver.data))
        memory[start : start + len(receiver.data)] = receiver.data
        size = len(receiver.data)
        return f"## Total Size      = 0x{size:08x} = {size} Bytes\r\n{_PROMPT}".encode()
