"""Numbers in registers: whole, floating and BCD, in the four byte orders of the field.

From: the bytes of a reply. To: plain floats, and back. Registers come high byte first; makers differ in which
register of a longer number comes first, and some swap the bytes too.
"""

from __future__ import annotations

import math
import struct
from typing import Final

TYPES: Final = {
    "bit": "",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
    "bcd16": "",
    "bcd32": "",
    "bcd48": "",
}
SIZES: Final = {
    name: int(name[3:]) // 8 if name.startswith("bcd") else struct.calcsize(code) for name, code in TYPES.items()
}


def arranged(data: bytes, order: str) -> bytes:
    """`data` between high-byte-first and `order`; the same step goes both ways.

    >>> arranged(bytes.fromhex("0A0B0C0D"), "cdab").hex()
    '0c0d0a0b'
    >>> arranged(bytes.fromhex("0A0B0C0D"), "badc").hex()
    '0b0a0d0c'
    """
    if order == "dcba":
        return data[::-1]
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if order == "cdab":
        words.reverse()
    elif order == "badc":
        words = [word[::-1] for word in words]
    return b"".join(words)


def read(data: bytes, kind: str, order: str) -> float | None:
    """The number in `data`; None when its BCD has digits above nine."""
    plain = arranged(data, order)
    if kind.startswith("bcd"):
        digits = plain.hex()
        return int(digits) if digits.isdecimal() else None
    number: float = struct.unpack(TYPES[kind], plain)[0]
    return _shortest(number, plain) if kind == "float32" else number


def _shortest(number: float, data: bytes) -> float:
    """The shortest decimal that is this float32: 103.4, where its bits as a double read 103.4000015258789."""
    if not math.isfinite(number) or number.is_integer():
        return number
    for digits in (6, 7, 8):
        short = float(f"{number:.{digits}g}")
        # Rounding may leave what a float32 can hold, at its very end; 1e38 keeps clear of it.
        if abs(short) < 1e38 and struct.pack(">f", short) == data:
            return short
    return number


def write(value: float, kind: str, order: str) -> bytes | None:
    """`value` as registers, whole types rounded; None when the type cannot hold it."""
    if kind.startswith("float"):
        try:
            return arranged(struct.pack(TYPES[kind], value), order)
        except OverflowError:
            return None
    try:
        whole = round(value)
        if not kind.startswith("bcd"):
            return arranged(struct.pack(TYPES[kind], whole), order)
    except (struct.error, OverflowError, ValueError):
        return None
    digits = f"{whole:0{2 * SIZES[kind]}d}"
    return arranged(bytes.fromhex(digits), order) if whole >= 0 and len(digits) == 2 * SIZES[kind] else None
