"""Frames among log text on one line.

    00 | COBS( version, type, sequence, body of 0 to 1024 bytes, CRC-16 high, low ) | 00

From: a serial line, on which a gateway also prints its log. To: `Frame`, `Words` and what was damaged, in order. Log
text never holds a byte below 08; COBS leaves the version as the second byte behind the delimiter, so one look there
tells text from a frame and text is passed on at once. CRC: CRC-16/CCITT-FALSE over version to body. COBS: Cheshire and
Baker, "Consistent overhead byte stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from devices.errors import PayloadError

VERSION: Final = 1
BODY_MAX: Final = 1024
HEAD: Final = 3  # version, type, sequence
CRC: Final = 2
_RAW_MAX: Final = HEAD + BODY_MAX + CRC
_WIRE_MAX: Final = _RAW_MAX + _RAW_MAX // 254 + 1
_VERSIONS_END: Final = 8  # versions stay below it, log text at or above it


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `type`, `sequence`: 0 to 255. `body`: up to 1024 bytes, not looked into. `version`: 1 to 7."""

    type: int
    sequence: int
    body: bytes = b""
    version: int = VERSION

    @property
    def wire(self) -> bytes:
        """The frame as it goes over the line, delimiters included."""
        if len(self.body) > BODY_MAX:
            raise PayloadError(
                f"frame: expected a body of at most {BODY_MAX} bytes, got {len(self.body)}; nothing was sent"
            )
        raw = bytes((self.version, self.type, self.sequence)) + self.body
        return b"\0" + cobs(raw + crc16(raw).to_bytes(CRC, "big")) + b"\0"

    def __repr__(self) -> str:
        # A body may hold a password on its way to the device.
        return f"Frame(type={self.type:#04x}, sequence={self.sequence}, body of {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of log text, not necessarily a whole line, as it came."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Damaged:
    """What began like a frame and is none; `reason` is a line's end for a person."""

    data: bytes
    reason: str

    def __repr__(self) -> str:
        return f"Damaged({len(self.data)} bytes: {self.reason})"  # it may be a frame that held a password


Item = Frame | Words | Damaged


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 1021, start FFFF, not reflected.

    >>> hex(crc16(b"123456789"))
    '0x29b1'
    """
    return crc_hqx(data, 0xFFFF)


def cobs(data: bytes) -> bytes:
    """`data` without a zero in it, at most one byte in 254 longer, and one.

    >>> cobs(bytes.fromhex("11002200000033")).hex()
    '0211022201010233'
    """
    coded = bytearray()
    for part in data.split(b"\0"):
        for start in range(0, len(part) - 253, 254):
            coded += b"\xff" + part[start : start + 254]
        rest = part[len(part) // 254 * 254 :]
        coded += bytes((len(rest) + 1,)) + rest
    return bytes(coded)


def uncobs(coded: bytes) -> bytes:
    """What `cobs` made; PayloadError with the offset where it cannot be that."""
    data = bytearray()
    at = 0
    while at < len(coded):
        code = coded[at]
        end = at + code
        if code == 0 or end > len(coded):
            left = len(coded) - at
            raise PayloadError(f"COBS: expected a count of 1 to {left} at byte {at}, got {code}", offset=at)
        data += coded[at + 1 : end]
        at = end
        if code != 0xFF and at < len(coded):
            data.append(0)
    return bytes(data)


def parse(coded: bytes) -> Frame:
    """The frame in `coded`, which is what stood between two delimiters; PayloadError when it is none."""
    if len(coded) > _WIRE_MAX:
        raise PayloadError(f"frame: expected at most {_WIRE_MAX} bytes, got {len(coded)}", offset=_WIRE_MAX)
    raw = uncobs(coded)
    if not HEAD + CRC <= len(raw) <= _RAW_MAX:
        raise PayloadError(f"frame: expected {HEAD + CRC} to {_RAW_MAX} bytes, got {len(raw)}", offset=0)
    stated, found = int.from_bytes(raw[-CRC:], "big"), crc16(raw[:-CRC])
    if stated != found:
        raise PayloadError(f"frame: expected CRC {found:04X}, got {stated:04X}", offset=len(raw) - CRC)
    version, kind, sequence = raw[:HEAD]
    if not 0 < version < _VERSIONS_END:
        raise PayloadError(f"frame: expected version 1 to {_VERSIONS_END - 1}, got {version}", offset=0)
    return Frame(kind, sequence, raw[HEAD:-CRC], version)


class FrameReader:
    """Takes a line apart as it comes, in pieces of any size; keeps at most one frame's bytes."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._behind = False  # a delimiter was seen and nothing since has shown that text follows it

    @property
    def inside(self) -> bool:
        """Whether the line is in the middle of what may become a frame."""
        return self._behind and bool(self._held)

    def feed(self, data: bytes) -> Iterator[Item]:
        """What `data` completes; text at once, frames with their last delimiter."""
        first, *others = data.split(b"\0")
        yield from self._more(first)
        for part in others:
            yield from self._delimiter()
            yield from self._more(part)

    def flush(self) -> Iterator[Item]:
        """What is held of a frame that will not be completed: the line fell silent, or is gone."""
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            yield Damaged(held, "frame: it was not completed") if len(held) > 1 else Words(held)
        self._behind = False

    def _more(self, data: bytes) -> Iterator[Item]:
        if not data:
            return
        if not self._behind:
            yield Words(data)
            return
        self._held += data
        if len(self._held) > 1 and self._held[1] >= _VERSIONS_END:
            held, self._held, self._behind = bytes(self._held), bytearray(), False
            yield Words(held)
        elif len(self._held) > _WIRE_MAX:
            held, self._held, self._behind = bytes(self._held), bytearray(), False
            yield Damaged(held, f"frame: expected at most {_WIRE_MAX} bytes, its end did not come")

    def _delimiter(self) -> Iterator[Item]:
        held, self._held, self._behind = bytes(self._held), bytearray(), True
        if not held:
            return
        if len(held) == 1:
            yield Words(held)
            return
        try:
            yield parse(held)
        except PayloadError as error:
            yield Damaged(held, str(error))
