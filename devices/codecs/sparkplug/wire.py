"""Protocol Buffers on the wire, as far as Sparkplug needs it: tagged fields, read in one pass and written.

From: payload bytes. To: `payload`, which knows what the numbers mean. A message is a row of fields; each begins with a
varint of `number << 3 | type`:

    type 0  varint                     type 2  varint length, then so many bytes (text, bytes, a message)
    type 1  8 bytes, little-endian     type 5  4 bytes, little-endian

Read by hand and not with the `protobuf` package, because a refusal must say at which byte reading stopped, messages
that carry no readings are stepped over without building them, and the work that hostile bytes can cause is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from devices.errors import PayloadError

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_TYPES: Final = "a varint, 8 bytes, a length or 4 bytes"
_MASK: Final = 2**64 - 1
_VARINT_BITS: Final = 63
_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")


class Budget:
    """How many more fields may be read out of one payload."""

    def __init__(self, fields: int) -> None:
        self.most = self.left = fields


def refusal(reason: str, at: int) -> PayloadError:
    """A refusal of the whole payload because of what stands at byte `at`."""
    return PayloadError(f"sparkplug: {reason}; nothing was used", offset=at)


def fields(data: bytes, at: int, end: int, budget: Budget) -> Iterator[tuple[int, int, int]]:
    """The fields of the message at `data[at:end]`: tag, value, stop.

    `value` is the number itself for a varint, for all others where the bytes begin, which end at `stop`. PayloadError
    where the bytes are no message or the budget is used up.
    """
    while at < end:
        start = at
        tag, at = _varint(data, at, end) if data[at] > 0x7F else (data[at], at + 1)
        if budget.left <= 0:
            raise refusal(f"expected at most {budget.most} fields in a payload, got more", start)
        budget.left -= 1
        kind = tag & 7
        if kind == VARINT:
            if at < end and data[at] < 0x80:
                value, at = data[at], at + 1
            else:
                value, at = _varint(data, at, end)
            stop = at
        else:
            if kind == BYTES:
                size, at = _varint(data, at, end)
            elif kind == FIXED64:
                size = 8
            elif kind == FIXED32:
                size = 4
            else:
                raise refusal(f"expected {_TYPES} as the type of a field, got type {kind}", start)
            value, stop = at, at + size
            if stop > end:
                raise refusal(f"expected {size} bytes of a field, got {end - at}", at)
            at = stop
        if tag < 8:
            raise refusal("expected fields numbered from 1, got number 0", start)
        yield tag, value, stop


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at `at`, cut to 64 bits as every reader does, and where it ends."""
    start, value, shift = at, 0, 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
        shift += 7
        if shift > _VARINT_BITS:
            raise refusal("expected a varint of at most 10 bytes, got a longer one", start)
    raise refusal("expected a whole varint, got the end of the message", start)


def float32(data: bytes, at: int) -> float:
    """The 4 bytes at `at` as a number."""
    return float(_FLOAT.unpack_from(data, at)[0])


def float64(data: bytes, at: int) -> float:
    """The 8 bytes at `at` as a number."""
    return float(_DOUBLE.unpack_from(data, at)[0])


def varint(value: int) -> bytes:
    """`value`, 0 to 2^64-1, as a varint.

    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field that holds a whole number, not below 0."""
    return varint(field << 3 | VARINT) + varint(value)


def double(field: int, value: float) -> bytes:
    """A field that holds a floating-point number of 8 bytes."""
    return varint(field << 3 | FIXED64) + _DOUBLE.pack(value)


def block(field: int, content: bytes) -> bytes:
    """A field that holds bytes: a text, or another message."""
    return varint(field << 3 | BYTES) + varint(len(content)) + content
