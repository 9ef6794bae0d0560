"""CRC-16/MODBUS: the check at the end of every RTU frame, low byte first.

From: the bytes before the check. To: `devices.codecs.modbus.frames`. Table-driven: one step per byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_POLYNOMIAL: Final = 0xA001  # x^16 + x^15 + x^2 + 1, bits reversed


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(map(_entry, range(256)))


def crc16(body: Iterable[int]) -> int:
    """The check of `body` as a number.

    >>> hex(crc16(bytes.fromhex("010300000001")))
    '0xa84'
    """
    crc = 0xFFFF
    for byte in body:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def sealed(body: bytes) -> bytes:
    """`body` with its check behind it.

    >>> sealed(bytes.fromhex("010300000001")).hex(" ")
    '01 03 00 00 00 01 84 0a'
    """
    return body + crc16(body).to_bytes(2, "little")
