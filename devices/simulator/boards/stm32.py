"""An STM32 with its ROM bootloader on a USART (ST AN3155), with the troubles a real one has.

From: `undercity gateway demo`, tests, benchmarks. To: whoever stands at the other end of the line: our driver, or
stm32flash. The protocol is written from the note, not from the driver; only the chips' sizes are read from the
driver's table. Kept from the real thing: one byte of receive buffer, so what comes while it is busy is lost; no time
limit inside a command; a first byte other than 0x7F leaves it deaf; flash bits are programmed from 1 to 0 only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Final

from devices.firmware.drivers.stm32.chips import CHIPS, FLASH
from devices.simulator.boards import SimulatedBoard

_ACK: Final = b"\x79"
_NACK: Final = b"\x1f"
_RAM: Final = 0x2000_0000

# Yields None to get the next byte, or the seconds it is busy; returns the address where the application starts.
_Talk = Generator[float | None, int, int]
_Part = Generator[float | None, int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rom:
    """What chip it is, and how long it takes.

    `extended`: it knows 0x44 instead of 0x43. `reset`, `boot0`: control lines wired to these pins, such as `dtr` or
    `-rts` (inverted). `strapped`: BOOT0 is high by a jumper. `block_s`: seconds to program a block.
    """

    chip: int = 0x413
    version: int = 0x31
    extended: bool = True
    unique_id: bytes = bytes.fromhex("3000430011513436 34383536")
    protected: bool = False
    reset: str = ""
    boot0: str = ""
    strapped: bool = True
    block_s: float = 0.0
    erase_s_per_kib: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong inside. Commands and writes are counted from 1 over the board's whole life.

    `refused`: commands answered with 0x1F. `stuck`: a command after which it is busy for ever, -1: none. `misheard`:
    writes whose checksum it finds wrong. `weak`: offset of a byte of flash that keeps a 0 in its lowest bit, -1: none.
    """

    refused: frozenset[int] = frozenset()
    stuck: int = -1
    misheard: frozenset[int] = frozenset()
    weak: int = -1


@dataclass(slots=True)
class _Pins:
    reset: bool = False
    boot0: bool = False


@dataclass(slots=True)
class _Counts:
    commands: int = 0
    writes: int = 0
    erased: list[int] = field(default_factory=list)


class Stm32Board:
    """The chip with power. `flash` survives everything; `started_at` is where the application runs, None: it does not.

    `application`: makes the board that speaks once the flash is started, from what the flash holds.
    """

    def __init__(
        self,
        rom: Rom | None = None,
        trouble: Trouble | None = None,
        application: Callable[[bytes], SimulatedBoard] | None = None,
    ) -> None:
        self.rom = rom or Rom()
        self.trouble = trouble or Trouble()
        self.chip = CHIPS[self.rom.chip]
        self.flash = bytearray(b"\xff" * self.chip.starts[-1])
        self.started_at: int | None = None
        self.counts = _Counts()
        self.protected = self.rom.protected
        self._application = application
        self._running: SimulatedBoard | None = None
        self._said = bytearray()
        self._busy_s = 0.0
        self._held: int | None = None  # the receive buffer while it is busy
        self._listens = False  # the bootloader runs
        self._pins = _Pins()
        self._signature = self._factory_bytes()
        self._handlers = self._commands()
        self._restart()

    def receive(self, data: bytes) -> bytes:
        """Bytes from the host."""
        if self._running:
            return self._running.receive(data)
        for byte in data:
            if self._busy_s:
                self._held = byte if self._held is None else self._held
            else:
                self._step(byte)
        return self._spoken()

    def elapse(self, seconds: float) -> bytes:
        """Time passes: flash gets ready."""
        if self._running:
            return self._running.elapse(seconds)
        if self._busy_s:
            self._busy_s = max(self._busy_s - seconds, 0.0)
            if not self._busy_s:
                self._go_on()
        return self._spoken()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """The host moved a control line; a reset that is let go restarts the chip."""
        was = self._pins.reset
        for line, on in (("dtr", dtr), ("rts", rts)):
            for pin in ("reset", "boot0"):
                wire = getattr(self.rom, pin)
                if on is not None and wire.removeprefix("-") == line:
                    setattr(self._pins, pin, on != wire.startswith("-"))
        if self._pins.reset or was:
            self._restart()

    def power_cut(self) -> None:
        """Power goes and returns."""
        self._restart()

    def _restart(self) -> None:
        self._said = bytearray()
        self._busy_s = 0.0
        self._held = None
        self._running = None
        self.started_at = None
        self._talk = self._listen()
        self._listens = True
        next(self._talk)
        if not (self.rom.strapped or self._pins.boot0 or self._pins.reset):
            self._start(FLASH)

    def _start(self, address: int) -> None:
        self._listens = False
        stack = int.from_bytes(self.flash[address - FLASH : address - FLASH + 4], "little")
        if stack >> 28 != _RAM >> 28:
            return  # an empty vector table: the core faults and says nothing
        self.started_at = address
        if self._application:
            self._running = self._application(bytes(self.flash))

    def _spoken(self) -> bytes:
        said, self._said = bytes(self._said), bytearray()
        if self._running:
            said += self._running.elapse(0.0)
        return b"" if self._pins.reset else said

    def _step(self, byte: int) -> None:
        if self._listens and not self._pins.reset:
            self._advance(lambda: self._talk.send(byte))

    def _go_on(self) -> None:
        self._advance(lambda: next(self._talk))
        if self._held is not None and not self._busy_s:
            byte, self._held = self._held, None
            self._step(byte)

    def _advance(self, step: Callable[[], float | None]) -> None:
        try:
            wanted = step()
            while wanted == 0.0:
                wanted = next(self._talk)
            self._busy_s = wanted or 0.0
        except StopIteration as started:
            self._start(started.value)

    def _listen(self) -> _Talk:
        if (yield None) != 0x7F:
            while True:  # it measured a baud rate that nobody uses
                yield None
        self._said += _ACK
        while True:
            command = yield None
            complement = yield None
            handler = self._handlers.get(command)
            self.counts.commands += 1
            if command ^ complement != 0xFF or not handler or self.counts.commands in self.trouble.refused:
                self._said += _NACK
                continue
            if self.counts.commands == self.trouble.stuck:
                yield math.inf
            if (started := (yield from handler())) is not None:
                return started

    def _commands(self) -> dict[int, Callable[[], _Part]]:
        guarded = {0x11: self._read, 0x21: self._go, 0x31: self._write, 0x92: self._unprotect}
        guarded[0x44 if self.rom.extended else 0x43] = self._extended_erase if self.rom.extended else self._erase
        return {0x00: self._get, 0x01: self._get_version, 0x02: self._get_id, **guarded}

    def _get(self) -> _Part:
        known = bytes(sorted(self._handlers))
        self._said += _ACK + bytes([len(known), self.rom.version]) + known + _ACK
        yield 0.0
        return None

    def _get_version(self) -> _Part:
        self._said += _ACK + bytes([self.rom.version, 0, 0]) + _ACK
        yield 0.0
        return None

    def _get_id(self) -> _Part:
        self._said += _ACK + b"\x01" + self.rom.chip.to_bytes(2, "big") + _ACK
        yield 0.0
        return None

    def _read(self) -> _Part:
        if (address := (yield from self._allowed_address())) is None:
            return None
        size = yield None
        if size ^ (yield None) != 0xFF:
            self._said += _NACK
            return None
        held = self._memory(address, size + 1)
        self._said += _NACK if held is None else _ACK + held
        return None

    def _write(self) -> _Part:
        if (address := (yield from self._allowed_address())) is None:
            return None
        size = yield None
        data = yield from self._take(size + 1)
        check = yield None
        self.counts.writes += 1
        offset = address - FLASH
        wrong = check != reduce(xor, data, size) or self.counts.writes in self.trouble.misheard
        if wrong or not 0 <= offset <= len(self.flash) - len(data) or len(data) % 4 or address % 4:
            self._said += _NACK
            return None
        yield self.rom.block_s * len(data) / 256
        held = self.flash[offset : offset + len(data)]
        self.flash[offset : offset + len(data)] = bytes(one & other for one, other in zip(held, data, strict=True))
        if 0 <= self.trouble.weak - offset < len(data):
            self.flash[self.trouble.weak] &= 0xFE
        self._said += _ACK
        return None

    def _go(self) -> _Part:
        return (yield from self._allowed_address())

    def _erase(self) -> _Part:
        if self._is_protected():
            return None
        self._said += _ACK
        count = yield None
        pages = b"" if count == 0xFF else (yield from self._take(count + 1))
        check = yield None
        # Everything is a count of 255 and its complement.
        expected = 0x00 if count == 0xFF else reduce(xor, pages, count)
        yield from self._erased(list(pages) if pages else None, right=check == expected)
        return None

    def _extended_erase(self) -> _Part:
        if self._is_protected():
            return None
        self._said += _ACK
        head = yield from self._take(2)
        count = int.from_bytes(head, "big")
        whole = count == 0xFFFF
        body = b"" if count >= 0xFFF0 else (yield from self._take(2 * (count + 1)))
        check = yield None
        pages = [int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2)]
        right = check == reduce(xor, head + body, 0) and (whole or bool(pages))
        yield from self._erased(None if whole else pages, right=right)
        return None

    def _erased(self, pages: list[int] | None, *, right: bool) -> Generator[float | None, int, None]:
        sizes, starts = self.chip.sectors, self.chip.starts
        if not right or (pages and max(pages) >= len(sizes)):
            self._said += _NACK
            return
        for page in range(len(sizes)) if pages is None else pages:
            yield self.rom.erase_s_per_kib * sizes[page] / 1024
            self.flash[starts[page] : starts[page + 1]] = b"\xff" * sizes[page]
            self.counts.erased.append(page)
        self._said += _ACK

    def _unprotect(self) -> _Part:
        """Lift the protection, which erases everything; the chip then restarts."""
        self._said += _ACK
        self.flash[:] = b"\xff" * len(self.flash)
        self.protected = False
        self._said += _ACK
        yield 0.0
        return None

    def _is_protected(self) -> bool:
        if self.protected:
            self._said += _NACK
        return self.protected

    def _allowed_address(self) -> Generator[float | None, int, int | None]:
        """Acknowledge the command and take an address; None when either was refused."""
        if self._is_protected():
            return None
        self._said += _ACK
        raw = yield from self._take(5)
        address = int.from_bytes(raw[:4], "big")
        if reduce(xor, raw) or self._memory(address, 1) is None:
            self._said += _NACK
            return None
        self._said += _ACK
        return address

    def _take(self, count: int) -> Generator[float | None, int, bytes]:
        found = bytearray()
        for _ in range(count):
            found.append((yield None))
        return bytes(found)

    def _memory(self, address: int, size: int) -> bytes | None:
        if FLASH <= address <= FLASH + len(self.flash) - size:
            return bytes(self.flash[address - FLASH : address - FLASH + size])
        held = [self._signature.get(address + i) for i in range(size)]
        known = bytes(one for one in held if one is not None)
        return known if len(known) == size else None

    def _factory_bytes(self) -> dict[int, int]:
        signature = self.chip.signature
        words = [self.rom.unique_id[at : at + 4] for at in (0, 4, 8)]
        kib = (len(self.flash) // 1024).to_bytes(2, "little")
        found = dict.fromkeys(range(*signature.span), 0xFF)
        for at, word in zip((*signature.unique_id, signature.flash_kib), (*words, kib), strict=True):
            found.update(enumerate(word, at))
        return found
