"""M-Bus framing (EN 13757-2): where frames begin and end in a payload, and which of them are a meter's answer.

`68 L L 68 C A CI data CS 16`: L counts C to the last data byte, twice; CS is the sum of these bytes, modulo 256.
From: payload bytes. To: `codec`, which reads answers only; requests are passed over, commands are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from devices.errors import PayloadError

PAYLOAD_MAX: Final = 4096  # some twenty full frames, what a bus master collects in one round
LONG: Final = 0x68
SHORT: Final = 0x10
ACK: Final = 0xE5
STOP: Final = 0x16
VARIABLE: Final = (0x72, 0x76)
FIXED: Final = (0x73, 0x77)
NO_HEADER: Final = 0x78
_ANSWER: Final = 0x08  # RSP_UD once the flow bits (ACD, DFC: 0x30) are masked away
_DIRECTION: Final = 0x40
_EDGES: Final = 6  # 68 L L 68 and CS 16


class Frame(NamedTuple):
    """One answer: `offset` of its first 68, `ci`, and the `data` behind CI."""

    offset: int
    ci: int
    data: bytes

    @property
    def data_offset(self) -> int:
        """Place of `data` in the payload."""
        return self.offset + 7


def answers(payload: bytes) -> list[Frame]:
    """The meters' answers in `payload`, in its order; none where there are only requests and acknowledgements.

    PayloadError with the offset where a frame does not hold, and where a command stands.
    """
    if not 0 < len(payload) <= PAYLOAD_MAX:
        raise PayloadError(
            f"mbus: expected 1 to {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was used", offset=0
        )
    return [_answer(payload, start, end) for start, end in _bounds(payload) if payload[start] == LONG]


def _bounds(payload: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each frame, its edges and checksum verified."""
    start = 0
    while start < len(payload):
        first = payload[start]
        if first == LONG:
            end = _long(payload, start)
        elif first == SHORT:
            end = start + 5
            _closed(payload, start, end, start + 1)
        elif first == ACK:
            end = start + 1
        else:
            raise PayloadError(
                f"mbus: expected a frame (68, 10 or E5), got {first:02X}; nothing was used", offset=start
            )
        yield start, end
        start = end


def _long(payload: bytes, start: int) -> int:
    """End of the long frame at `start`."""
    head = payload[start : start + 4]
    if len(head) < 4:
        raise _short(payload, start + 4)
    if head[1] != head[2]:
        raise PayloadError(
            f"mbus: expected the length {head[1]:02X} again, got {head[2]:02X}; nothing was used", offset=start + 2
        )
    if head[3] != LONG:
        raise PayloadError(f"mbus: expected 68 again, got {head[3]:02X}; nothing was used", offset=start + 3)
    if head[1] < 3:
        raise PayloadError(
            f"mbus: expected a length of at least 3, got {head[1]}; nothing was used", offset=start + 1
        )
    end = start + head[1] + _EDGES
    _closed(payload, start, end, start + 4)
    return end


def _closed(payload: bytes, start: int, end: int, summed: int) -> None:
    """Refuse a frame that is cut short, has another checksum, or another last byte."""
    if end > len(payload):
        raise _short(payload, end)
    expected = sum(payload[summed : end - 2]) & 0xFF
    if payload[end - 2] != expected:
        raise PayloadError(
            f"mbus: expected checksum {expected:02X}, got {payload[end - 2]:02X}, in the frame at byte {start}; "
            "nothing was used",
            offset=end - 2,
        )
    if payload[end - 1] != STOP:
        raise PayloadError(
            f"mbus: expected 16 as the last byte, got {payload[end - 1]:02X}; nothing was used", offset=end - 1
        )


def _short(payload: bytes, end: int) -> PayloadError:
    return PayloadError(
        f"mbus: expected a frame of {end} bytes, got {len(payload)} that end early; nothing was used",
        offset=len(payload),
    )


def _answer(payload: bytes, start: int, end: int) -> Frame:
    control, ci = payload[start + 4], payload[start + 6]
    if control & _DIRECTION:
        raise PayloadError(
            f"mbus: expected a reading, got a control frame to a meter (C={control:02X}), which monitoring neither "
            "sends nor reads; nothing was used",
            offset=start + 4,
        )
    if control & 0x4F != _ANSWER:
        raise PayloadError(
            f"mbus: expected a meter's answer (C=08), got C={control:02X}; nothing was used", offset=start + 4
        )
    if ci == 0x70:
        raise PayloadError(
            "mbus: expected a reading, got the meter's report of an error; nothing was used", offset=start + 6
        )
    if ci not in (*VARIABLE, *FIXED, NO_HEADER):
        raise PayloadError(
            f"mbus: expected data of a meter (CI 72, 73, 76, 77 or 78), got CI {ci:02X}; nothing was used",
            offset=start + 6,
        )
    return Frame(start, ci, payload[start + 7 : end - 2])
