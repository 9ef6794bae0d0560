"""A stream of bytes cut into packets, whatever the segmentation.

From: what a connection has received so far. To: whole packets, and what lay between them. The length in front of a
packet is believed only as far as what stands at its end agrees: a lying length neither swallows the packets behind it
nor makes the stream wait for them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from devices.codecs.hj212.checksum import DIALECTS

START: Final = b"##"
HEAD: Final = 6  # ## and the length
TAIL: Final = 4  # the checksum
SEGMENT_MAX: Final = 9999  # four digits hold no more; the standard says 1024
PACKET_MAX: Final = HEAD + SEGMENT_MAX + TAIL
CLOSE: Final = b"&&"
BLANK: Final = b"\r\n \t\0"
CHECK: Final = re.compile(rb"[0-9A-Fa-f]{4}")
_LENGTH: Final = re.compile(rb"##[0-9]{4}")
_PART_OF_START: Final = re.compile(rb"##[0-9]{0,3}\Z|#\Z")
_TRIES: Final = 8  # doubtful packets per call whose checksum is looked at, so that hostile bytes stay cheap


class Garbage(NamedTuple):
    """Bytes that belong to no packet. `offset`: of the first, counted in the buffer given to `split`."""

    offset: int
    data: bytes
    reason: str


class Split(NamedTuple):
    """What a buffer holds. `packets`: each from its `##` to its checksum, without the end of line.

    `consumed`: how many bytes need not be given again; the rest may be the beginning of a packet, and is never longer
    than `PACKET_MAX`.
    """

    packets: list[bytes]
    consumed: int
    garbage: list[Garbage]


def split(buffer: bytes | bytearray) -> Split:
    """The whole packets in `buffer`, which begins where the last call stopped; it raises nothing.

    A packet comes out as soon as its checksum has arrived, right or wrong: `parse` judges that. Only where the bytes
    contradict the length (another packet begins inside it, or the segment does not end in `&&`) must the checksum
    agree, in any dialect, or reading goes on at the next `##`. Blanks and ends of line between packets are no garbage.
    """
    return _Splitter(bytes(buffer)).split()


class _Splitter:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._tries = _TRIES
        self._packets: list[bytes] = []
        self._garbage: list[Garbage] = []

    def split(self) -> Split:
        data, at, reason = self._data, 0, ""
        skipped = 0  # from here to `at` no packet was found
        while (match := _LENGTH.search(data, at)) is not None:
            start = match.start()
            end = start + HEAD + int(data[start + 2 : start + HEAD])
            if end + TAIL > len(data):
                inner = self._whole_within(start + 2)
                if inner < 0:
                    return self._result(skipped, start, reason)
                reason, at = "a length that reaches into the next packet", inner
            elif problem := self._doubt(start, end):
                reason, at = reason or problem, start + 2
            else:
                self._skip(skipped, start, reason)
                self._packets.append(data[start : end + TAIL])
                at = skipped = end + TAIL
                reason = ""
        rest = _PART_OF_START.search(data, at)
        return self._result(skipped, rest.start() if rest else len(data), reason)

    def _doubt(self, start: int, end: int) -> str:
        """Why the bytes from `start` to the checksum at `end` are no packet; empty if they are one."""
        data = self._data
        if not CHECK.fullmatch(data, end, end + TAIL):
            return "no checksum where the length says"
        if data.endswith(CLOSE, start, end) and not _LENGTH.search(data, start + 2, end):
            return ""
        if self._tries:
            self._tries -= 1
            if self._checksum_holds(start, end):
                return ""
        return "a length that does not end at &&, or reaches into the next packet"

    def _checksum_holds(self, start: int, end: int) -> bool:
        segment, got = self._data[start + HEAD : end], int(self._data[end : end + TAIL], 16)
        return any(dialect(segment) == got for dialect in DIALECTS.values())

    def _whole_within(self, at: int) -> int:
        """Where, from `at` on, a packet stands whose checksum holds; -1 if none does."""
        data = self._data
        for match in _LENGTH.finditer(data, at):
            start = match.start()
            end = start + HEAD + int(data[start + 2 : start + HEAD])
            if end + TAIL > len(data) or not data.endswith(CLOSE, start, end):
                continue
            if CHECK.fullmatch(data, end, end + TAIL) and self._tries:
                if self._checksum_holds(start, end):
                    return start
                self._tries -= 1
        return -1

    def _skip(self, start: int, end: int, reason: str) -> None:
        data = self._data[start:end].lstrip(BLANK)
        if data.rstrip(BLANK):
            self._garbage.append(Garbage(end - len(data), data, reason or "no ## and four digits of length"))

    def _result(self, skipped: int, end: int, reason: str) -> Split:
        self._skip(skipped, end, reason)
        return Split(self._packets, end, self._garbage)
