"""One conversation with the ROM bootloader of an STM32: what to erase, what to write, what to compare.

From: `flash.flash`. To: `protocol.Rom`. The first block goes last: until all others are in flash the vector table is
blank, so a board whose flash was cut short does not run half an image.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from devices.errors import BootError, ExchangeError, RefusedError, VerifyError
from devices.firmware.driver import Board, Proof, Step, Told
from devices.firmware.drivers.stm32.chips import CHIPS, FLASH, Chip
from devices.firmware.drivers.stm32.protocol import BLOCK, PAGES_MAX, RefusedByBoardError, Rom
from devices.firmware.image import Image
from devices.firmware.link import Link, reopen_within

_BLANK: Final = 0xFF
_HOLD_S: Final = 0.05  # the reset line is held so long; its capacitor is 100 nF
_START_S: Final = 0.1  # from reset to a bootloader that listens
_KIB: Final = 1024
_ERASE_AT_ONCE: Final = 32 * _KIB  # so that progress is seen: a larger sector takes a second by itself


@dataclass(frozen=True, slots=True)
class Wire:
    """What a control line does to a pin. `line`: dtr or rts; `inverted`: the pin is active while the line is off."""

    line: str
    inverted: bool = False

    @classmethod
    def parse(cls, text: str) -> Wire | None:
        """`dtr`, `-rts` and so on; None for `none`."""
        return None if text == "none" else cls(text.removeprefix("-"), text.startswith("-"))


class Stm32:
    """A driver. `reset`, `boot0`: the wires to NRST and BOOT0, if any. `erase_all`: erase everything, not by sector."""

    def __init__(
        self, link: Link, *, reset: Wire | None = None, boot0: Wire | None = None, erase_all: bool = False
    ) -> None:
        self._link = link
        self._rom = Rom(link)
        self._reset = reset
        self._boot0 = boot0
        self._erase_all = erase_all
        self._loader = ""
        self._board = Board(chip="")
        self._chip: Chip | None = None
        self._protected = False

    @property
    def link(self) -> Link:
        """The line as it is."""
        return self._link

    def identify(self) -> Board:
        """Enter the bootloader; chip, unique id, bytes of flash. RefusedError is left to `write`: this only looks."""
        if not self._loader:
            self._enter()
        number = self._rom.chip_id()
        self._chip = CHIPS.get(number)
        self._board = Board(chip=f"stm32:0x{number:03x}", loader=self._loader)
        self._protected = self._asked(FLASH, 4) is None
        if self._protected:
            self._board = replace(self._board, loader=f"{self._loader}, flash read-protected")
        elif self._chip:
            serial, capacity = self._factory_bytes(self._chip)
            self._board = replace(self._board, serial=serial, capacity=capacity)
        return self._board

    def write(self, image: Image, told: Told) -> None:
        """Erase the sectors the image needs and write it, blank blocks left out; RefusedError before that."""
        base = self._base(image)
        self._erase(self._sectors(base, image), told)
        size = len(image.payload)
        blocks = list(_blocks(image.payload))
        done = 0
        for offset, block in (*blocks[1:], blocks[0]):
            if block.count(_BLANK) != BLOCK:
                self._rom.write(base + offset, block)
            done += min(BLOCK, size - offset)
            told(Step.WRITE, done, size)

    def verify(self, image: Image, told: Told) -> Proof | None:
        """Read every byte back; VerifyError at the first that differs."""
        base = self._base(image)
        size = len(image.payload)
        for offset in range(0, size, BLOCK):
            expected = image.payload[offset : offset + BLOCK]
            held = self._rom.read(base + offset, len(expected))
            if held != expected:
                at = next(i for i, (one, other) in enumerate(zip(held, expected, strict=True)) if one != other)
                raise VerifyError(
                    f"{self._who}: 0x{base + offset + at:08x}: expected {expected[at]:02x}, got {held[at]:02x}; it is "
                    "not called flashed"
                )
            told(Step.VERIFY, offset + len(expected), size)
        return Proof.READ_BACK

    def boot(self, image: Image) -> Proof | None:
        """Start the image: by a reset where a wire can, otherwise by the bootloader's GO."""
        if self._reset:
            self._set(self._boot0, active=False)
            self._pulse()
            return None
        try:
            self._rom.go(self._base(image))
        except ExchangeError as error:
            raise BootError(f"{error}; the image is written and compared: clear BOOT0 and press reset") from error
        return None

    def reconnect(self) -> None:
        """Open the line again once the plug is back, and bring the bootloader into step."""
        self._loader = ""
        reopen_within(self._link)
        self._enter()

    def close(self) -> None:
        """Let go of the line."""
        self._link.close()

    @property
    def _who(self) -> str:
        return f"{self._board.chip} {self._board.serial}".strip() or self._link.url

    def _enter(self) -> None:
        self._set(self._boot0, active=True)
        if self._reset:
            self._pulse()
        self._loader = self._rom.synchronise()

    def _pulse(self) -> None:
        self._set(self._reset, active=True)
        self._link.pause(_HOLD_S)
        self._set(self._reset, active=False)
        self._link.pause(_START_S)

    def _set(self, wire: Wire | None, *, active: bool) -> None:
        if wire:
            on = active != wire.inverted
            self._link.control(dtr=on) if wire.line == "dtr" else self._link.control(rts=on)

    def _asked(self, address: int, size: int) -> bytes | None:
        """Memory asked for twice, since nothing guards it on the wire; None where the bootloader refuses twice."""
        first, second = (self._tried(address, size) for _ in range(2))
        if first != second:
            raise ExchangeError(
                f"{self._link.url}: 0x{address:08x} reads differently each time; the line is not clean, nothing is "
                "believed"
            )
        return first

    def _tried(self, address: int, size: int) -> bytes | None:
        try:
            return self._rom.read(address, size)
        except RefusedByBoardError:
            return None

    def _factory_bytes(self, chip: Chip) -> tuple[str, int]:
        """Unique id and bytes of flash; empty where the bootloader does not let them be read, the largest chip then."""
        begin, end = chip.signature.span
        held = self._asked(begin, end - begin)
        if held is None:
            return "", chip.starts[-1]
        words = b"".join(held[at - begin : at - begin + 4] for at in chip.signature.unique_id)
        at = chip.signature.flash_kib - begin
        size = int.from_bytes(held[at : at + 2], "little") * _KIB
        # Value lines have no id there and read as blank.
        return words.hex() if len(set(words)) > 1 else "", size if 0 < size <= chip.starts[-1] else chip.starts[-1]

    def _base(self, image: Image) -> int:
        """Where the image goes; RefusedError when it cannot go there."""
        if not self._loader:
            self._refuse("expected to be asked who it is first")
        if self._protected:
            self._refuse(
                "its flash is read-protected, so it can be neither written nor compared; only its owner may lift that, "
                "which erases it whole"
            )
        base = image.manifest.base or FLASH
        end = base + len(image.payload)
        if base < FLASH or base % BLOCK or (self._board.capacity and end > FLASH + self._board.capacity):
            here = f"0x{FLASH:08x} to 0x{FLASH + self._board.capacity:08x} in steps of 256"
            self._refuse(f"flash is {here}, the image goes from 0x{base:08x} to 0x{end:08x}")
        return base

    def _sectors(self, base: int, image: Image) -> range | None:
        """Numbers of the sectors under the image; None for all there are. RefusedError where they are unknown."""
        if self._erase_all:
            return None
        if not self._chip:
            self._refuse(
                "how its flash is divided is not known here; with the option erase=all it is erased whole"
            )
        starts = self._chip.starts
        first = bisect_right(starts, base - FLASH) - 1
        if starts[first] != base - FLASH:
            self._refuse(
                f"the image begins inside the sector at 0x{FLASH + starts[first]:08x}, whose beginning would be lost"
            )
        return range(first, bisect_right(starts, base - FLASH + len(image.payload) - 1))

    def _erase(self, numbers: range | None, told: Told) -> None:
        if numbers is None or not self._chip:
            told(Step.ERASE, 0, 1)
            self._rom.erase_all()
            told(Step.ERASE, 1, 1)
            return
        sizes = self._chip.sectors
        total = sum(sizes[numbers.start : numbers.stop])
        done = 0
        told(Step.ERASE, 0, total)
        for some in _portions(numbers, sizes):
            size = sum(sizes[number] for number in some)
            self._rom.erase(some, size / _KIB, len(sizes))
            done += size
            told(Step.ERASE, done, total)

    def _refuse(self, why: str) -> NoReturn:
        raise RefusedError(f"{self._who}: {why}; nothing was written")


def _blocks(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, 256 bytes), the last filled up with what erased flash holds."""
    for offset in range(0, len(payload), BLOCK):
        yield offset, payload[offset : offset + BLOCK].ljust(BLOCK, bytes([_BLANK]))


def _portions(numbers: range, sizes: Sequence[int]) -> Iterator[list[int]]:
    """Sectors that are erased by one command."""
    some: list[int] = []
    for number in numbers:
        if some and (len(some) >= PAGES_MAX or sum(sizes[one] for one in some) + sizes[number] > _ERASE_AT_ONCE):
            yield some
            some = []
        some.append(number)
    yield some
