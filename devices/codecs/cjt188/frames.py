"""CJ/T 188 framing: where replies begin and end in a payload, and which frames are readings.

From: payload bytes. To: `codec`, which decodes readings only. Requests are passed over where a reading follows (DTUs
echo what they asked); writes and valve commands are recognised so that they can be refused by name.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from devices.errors import PayloadError

PAYLOAD_MAX: Final = 16 * 1024  # some 300 heat meters' replies, more than one bus carries
START: Final = 0x68
STOP: Final = 0x16
READING: Final = 0x81
_READINGS: Final = (READING, 0xA1)  # one maker of water meters sets bit 5
_OVERHEAD: Final = 13  # 68 T A0..A6 C L, then CS 16
_METERS: Final = (*range(0x10, 0x1A), *range(0x20, 0x2A), *range(0x30, 0x3A))
_SILENT: Final = (0x01, 0x03, 0x09, 0x83, 0x89)  # a request to read; of address and key version also the replies
_VALVE: Final = (b"\xa0\x17", b"\x17\xa0")
_PREAMBLE: Final = re.compile(rb"\xfe*")
_NOTHING: Final = "nothing was used"


class Reply(NamedTuple):
    """One reading: `offset` of its data, the meter's `kind` (T), `address` high byte first, and the `data`."""

    offset: int
    kind: int
    address: str
    data: bytes


def replies(payload: bytes) -> list[Reply]:
    """The readings in `payload`, in its order; none where there are only requests.

    PayloadError with the offset where a frame does not hold, and where a write stands.
    """
    size = len(payload)
    if not 0 < size <= PAYLOAD_MAX:
        raise PayloadError(f"cjt188: expected 1 to {PAYLOAD_MAX} bytes, got {size}; {_NOTHING}", offset=0)
    found: list[Reply] = []
    at = 0
    while at < size:
        start = at
        if payload[start] == 0xFE:
            start = _PREAMBLE.match(payload, at).end()  # type: ignore[union-attr]  # it matches the empty string too
        end = _end(payload, start, size)
        if payload[start + 9] in _READINGS:
            address = payload[start + 2 : start + 9][::-1].hex().upper()
            found.append(Reply(start + 11, payload[start + 1], address, payload[start + 11 : end - 2]))
        elif payload[start + 9] not in _SILENT:
            raise _refusal(payload, start)
        at = end
    return found


def _end(payload: bytes, start: int, size: int) -> int:
    """End of the frame at `start`, its edges and checksum verified."""
    if start + _OVERHEAD > size:
        if start < size and payload[start] != START:
            raise PayloadError(f"cjt188: expected 68, got {payload[start]:02X}; {_NOTHING}", offset=start)
        raise PayloadError(
            f"cjt188: expected a frame of at least {_OVERHEAD} bytes from byte {start}, got {size - start}; {_NOTHING}",
            offset=size,
        )
    if payload[start] != START:
        raise PayloadError(f"cjt188: expected 68, got {payload[start]:02X}; {_NOTHING}", offset=start)
    end = start + _OVERHEAD + payload[start + 10]
    if end > size:
        raise PayloadError(
            f"cjt188: expected {payload[start + 10]} bytes of data, got a frame that ends early; {_NOTHING}",
            offset=size,
        )
    expected = sum(payload[start : end - 2]) & 0xFF
    if payload[end - 2] != expected:
        raise PayloadError(
            f"cjt188: expected checksum {expected:02X}, got {payload[end - 2]:02X}, in the frame at byte {start}; "
            f"{_NOTHING}",
            offset=end - 2,
        )
    if payload[end - 1] != STOP:
        raise PayloadError(
            f"cjt188: expected 16 as the last byte, got {payload[end - 1]:02X}; {_NOTHING}", offset=end - 1
        )
    if payload[start + 1] not in _METERS:
        raise PayloadError(
            f"cjt188: expected a water, heat or gas meter (type 10 to 39), got type {payload[start + 1]:02X}; "
            f"{_NOTHING}",
            offset=start + 1,
        )
    return end


def _refusal(payload: bytes, start: int) -> PayloadError:
    """What a frame is that carries more than a request to read."""
    control = payload[start + 9]
    if control >= 0xC0:
        said = f"the meter's report of an error (C={control:02X}), no reading"
    elif control >= 0x80:
        said = f"a reply to a control frame (C={control:02X}), which monitoring neither sends nor reads"
    else:
        valve = payload[start + 10] >= 2 and payload[start + 11 : start + 13] in _VALVE
        what = "valve" if valve else f"C={control:02X}"
        said = f"a control frame ({what}), which monitoring neither sends nor reads"
    return PayloadError(f"cjt188: expected a reading, got {said}; {_NOTHING}", offset=start + 9)
