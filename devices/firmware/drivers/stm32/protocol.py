"""The commands of the STM32 ROM bootloader on a USART, one method each.

    host   command, its complement             board  0x79 (yes) or 0x1F (no)
    host   address, XOR of its bytes           board  0x79 or 0x1F
    host   length - 1, data, XOR of them all   board  0x79 when it is in flash

Source: ST AN3155. What it leaves to be known:

- 0x7F measures the baud rate, once after reset. Later it is the first half of a command, and whatever follows
  makes it a wrong one: 0x1F then means "was in step before".
- The bootloader has no time limit: a command cut in the middle waits for its rest for ever, so `synchronise` fills
  it up with bytes whose checksum cannot be right.
- Answers carry no checksum, and data neither: what matters is asked twice, and flash is read back.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, NoReturn

from devices.errors import ExchangeError
from devices.firmware.link import Link, gather

BLOCK: Final = 256
# Of one ERASE: 255 as a count means everything, and a page may be named again up to seven times.
PAGES_MAX: Final = 248

ACK, NACK = 0x79, 0x1F
_SYNC: Final = b"\x7f"
_GET, _GET_ID, _READ, _GO, _WRITE, _ERASE, _EXTENDED_ERASE = 0x00, 0x02, 0x11, 0x21, 0x31, 0x43, 0x44

_ANSWER_S: Final = 1.0
_SYNC_S: Final = 0.5
_QUIET_S: Final = 0.5
_FLUSH_S: Final = 0.02
# The longest command is an extended erase of 256 pages. Three different bytes in turn: a run of one byte, or of two,
# would be its own right checksum behind some lengths.
_FLUSH: Final = bytes(itertools.islice(itertools.cycle(b"\x7e\x6c\x5a"), 2 * 256 + 8))
_RECOVERY: Final = 2 * _SYNC + _FLUSH
# One sector of 128 KiB takes up to 4 s, 2 MiB up to 40 s.
_ERASE_S_PER_KIB: Final = 0.04
_ERASE_S: Final = 2.0


class RefusedByBoardError(ExchangeError):
    """Raised when the bootloader answered 0x1F: it heard, and will not, or found a checksum wrong."""


class Rom:
    """The bootloader at the other end of `link`. Every method raises ExchangeError or LinkError."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._commands: frozenset[int] = frozenset()

    def synchronise(self) -> str:
        """Bring host and bootloader into step, from whatever state it is in; its version, such as `3.1`."""
        answer = self._knock()
        if answer not in (ACK, NACK):
            self._flush(answer)
        try:
            return self._get()
        except ExchangeError:
            # A late answer may have been taken for another's. What is half a command now is filled up, once.
            self._flush(None)
            return self._get()

    def chip_id(self) -> int:
        """The product id, such as 0x413."""
        first, second = (self._chip_id() for _ in range(2))
        if first != second:
            raise ExchangeError(
                f"{self._link.url}: chip 0x{first:03x}, asked again 0x{second:03x}; the line is not clean, nothing is "
                "believed"
            )
        return first

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes from `address`, 1 to 256."""
        what = f"READ 0x{address:08x}"
        self._command(_READ, what)
        self._say(_checked(address.to_bytes(4, "big")), what)
        self._say(bytes([size - 1, size - 1 ^ 0xFF]), what)
        return self._data(size, what)

    def write(self, address: int, data: bytes) -> None:
        """Program `data`, a multiple of 4 up to 256 bytes; returns when it is in flash."""
        what = f"WRITE 0x{address:08x}"
        self._command(_WRITE, what)
        self._say(_checked(address.to_bytes(4, "big")), what)
        self._say(_checked(bytes([len(data) - 1]) + data), what)

    def erase(self, pages: Sequence[int], kib: float, of: int) -> None:
        """Erase up to PAGES_MAX pages or sectors, `kib` together, by number; there are `of` in all."""
        what = f"ERASE {pages[0]}" + (f" to {pages[-1]}" if len(pages) > 1 else "")
        patience = _ERASE_S + kib * _ERASE_S_PER_KIB
        extended = _EXTENDED_ERASE in self._commands
        self._command(_EXTENDED_ERASE if extended else _ERASE, what)
        self._say(_page_list(pages, of, 2 if extended else 1), what, patience)

    def erase_all(self) -> None:
        """Erase the whole flash."""
        if _EXTENDED_ERASE in self._commands:
            self._command(_EXTENDED_ERASE, "ERASE all")
            self._say(b"\xff\xff\x00", "ERASE all", 60.0)
        else:
            self._command(_ERASE, "ERASE all")
            self._say(b"\xff\x00", "ERASE all", 60.0)

    def go(self, address: int) -> None:
        """Start what is at `address`: its stack pointer, then its entry."""
        what = f"GO 0x{address:08x}"
        self._command(_GO, what)
        self._say(_checked(address.to_bytes(4, "big")), what)

    def _knock(self) -> int | None:
        """What 0x7F is answered with; None for silence."""
        self._link.discard()
        for _ in range(2):
            self._link.write(_SYNC)
            if found := self._link.read(1, _SYNC_S):
                return found[0]
        return None

    def _flush(self, heard: int | None) -> None:
        """Fill up what may be half a command, then let everything pass that still comes."""
        if heard is None:
            for at in range(len(_FLUSH)):
                self._link.write(_FLUSH[at : at + 1])
                if self._link.read(1, _FLUSH_S):
                    break
            else:
                self._nobody("no answer")
        deadline = self._link.now() + 10 * _QUIET_S
        while gather(self._link, 64, _QUIET_S):
            if self._link.now() >= deadline:
                self._nobody("something that does not stop sending")

    def _nobody(self, got: str) -> NoReturn:
        raise ExchangeError(
            f"{self._link.url}: expected the STM32 bootloader at {self._link.line.baud} baud 8E1, got {got}; set BOOT0 "
            "and press reset, look at port and cable; nothing was sent to be written"
        )

    def _get(self) -> str:
        """Version and commands."""
        self._command(_GET, "GET")
        size = self._data(1, "GET")[0]
        version, *commands = self._data(size + 1, "GET")
        self._answered("GET", _ANSWER_S)
        if not {_READ, _WRITE, _GO} <= set(commands):
            raise ExchangeError(
                f"{self._link.url}: GET: expected commands with 11, 21 and 31, got {bytes(commands).hex(' ')}; "
                "the exchange was given up"
            )
        self._commands = frozenset(commands)
        return f"{version >> 4}.{version & 15}"

    def _chip_id(self) -> int:
        self._command(_GET_ID, "GET ID")
        size = self._data(1, "GET ID")[0] + 1
        if size != 2:
            raise ExchangeError(
                f"{self._link.url}: GET ID: expected 2 bytes, got {size}; the exchange was given up"
            )
        found = int.from_bytes(self._data(size, "GET ID"), "big")
        self._answered("GET ID", _ANSWER_S)
        return found

    def _command(self, command: int, what: str) -> None:
        self._link.write(bytes([command, command ^ 0xFF]))
        self._answered(what, _ANSWER_S)

    def _say(self, data: bytes, what: str, patience_s: float = _ANSWER_S) -> None:
        self._link.write(data)
        self._answered(what, patience_s + len(data) * self._link.line.byte_s)

    def _answered(self, what: str, patience_s: float) -> None:
        found = self._link.read(1, patience_s)
        if found and found[0] == ACK:
            return
        if found and found[0] == NACK:
            raise RefusedByBoardError(
                f"{self._link.url}: {what}: expected 79, the bootloader refused it (1f); the exchange was given up"
            )
        got = found.hex() if found else f"nothing within {patience_s:.1f} s"
        raise ExchangeError(f"{self._link.url}: {what}: expected 79, got {got}; the exchange was given up")

    def _data(self, size: int, what: str) -> bytes:
        found = gather(self._link, size, _ANSWER_S + size * self._link.line.byte_s)
        if len(found) < size:
            raise ExchangeError(
                f"{self._link.url}: {what}: expected {size} bytes, got {len(found)}; the exchange was given up"
            )
        return found


def _checked(data: bytes) -> bytes:
    """`data` and the XOR of its bytes."""
    return data + bytes([_xor(data)])


def _xor(data: bytes) -> int:
    check = 0
    for byte in data:
        check ^= byte
    return check


def _page_list(pages: Sequence[int], of: int, width: int) -> bytes:
    """Count, pages, checksum; count and pages are `width` bytes each.

    Cut in the middle and filled up by `synchronise`, it could become a right list that names another of the `of` pages.
    Then the last page is named again, which costs its erasing time, until no part of the list can.
    """
    tries = 8 if of > min(_RECOVERY) else 1
    for again in range(tries):
        numbers = (len(pages) - 1 + again, *pages, *[pages[-1]] * again)
        message = _checked(b"".join(number.to_bytes(width, "big") for number in numbers))
        if not any(_completes(message[:cut], width) for cut in range(width, len(message))):
            break
    return message


def _completes(part: bytes, width: int) -> bool:
    """Whether what `synchronise` sends makes a right list of pages of `part`."""
    size = width * (int.from_bytes(part[:width], "big") + 2) + 1
    return _xor((part + _RECOVERY)[:size]) == 0
