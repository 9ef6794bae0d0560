"""The receiving side of YMODEM, as bootloaders have it: a state machine over bytes and passing time.

From: `iap` and `uboot`, boards that receive a file. To: whoever sends. Its own implementation, made to find what the
sender gets wrong; how receivers differ from each other is in `Manners`.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

SOH, STX, EOT, ACK, NAK, CAN, WANTED = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18, 0x43
_SIZES: Final = {SOH: 128, STX: 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How this receiver differs from others.

    `doubts_eot`: answers the first EOT with NAK. `asks_first`: sends C after block 0. `closes`: asks for the closing
    block. `repeats_ok`: acknowledges a block it already has. `timeout_s`: silence until it asks again; `patience`:
    so many times, then it cancels. `wrong_ack_at`: byte of the file whose block it acknowledges without keeping it,
    -1: none; a fault no checksum of the line can see.
    """

    doubts_eot: bool = True
    asks_first: bool = True
    closes: bool = True
    repeats_ok: bool = True
    timeout_s: float = 3.0
    patience: int = 10
    wrong_ack_at: int = -1


class _At(Enum):
    HEADER = auto()
    DATA = auto()
    CLOSING = auto()
    DONE = auto()
    CANCELLED = auto()


class YmodemReceiver:
    """One transfer, from the first C to its end."""

    def __init__(self, manners: Manners, size_max: int) -> None:
        self.manners = manners
        self.size_max = size_max
        self.name = ""
        self.size = 0
        self.data = bytearray()
        self._at = _At.HEADER
        self._waiting = bytearray()
        self._next = 0
        self._silent_s = 0.0
        self._asked = 1
        self._eots = 0
        self._cans = 0

    @property
    def ended(self) -> bool:
        """No byte more belongs to this transfer."""
        return self._at in {_At.DONE, _At.CANCELLED}

    @property
    def complete(self) -> bool:
        """All of the file arrived."""
        return self._at is _At.DONE

    @property
    def rest(self) -> bytes:
        """What arrived after the end, and is for whoever comes next."""
        return bytes(self._waiting) if self.ended else b""

    def start(self) -> bytes:
        """Ask for a file."""
        return bytes([WANTED])

    def receive(self, data: bytes) -> bytes:
        """Bytes arrive; the answer to what they complete."""
        answer = bytearray()
        self._silent_s = 0.0
        self._waiting += data
        while self._waiting and not self.ended:
            taken = self._step(answer)
            if not taken:
                break
            del self._waiting[:taken]
        return bytes(answer)

    def elapse(self, seconds: float) -> bytes:
        """Time passes; asks again after silence, forgetting half a block."""
        if self.ended:
            return b""
        self._silent_s += seconds
        if self._silent_s < self.manners.timeout_s:
            return b""
        self._silent_s = 0.0
        self._waiting.clear()
        if self._at is _At.CLOSING and self._asked > 2:
            self._at = _At.DONE
            return b""
        self._asked += 1
        if self._asked > self.manners.patience:
            return self._cancel()
        return bytes([WANTED if self._at is not _At.DATA or not self.data else NAK])

    def _step(self, answer: bytearray) -> int:
        """Look at what waits; how many bytes of it are dealt with, 0 while a block is incomplete."""
        first = self._waiting[0]
        self._cans = self._cans + 1 if first == CAN else 0
        if self._cans == 2:
            self._at = _At.CANCELLED
            return 1
        if first == EOT and self._at is not _At.HEADER:
            answer += self._end_of_file()
            return 1
        if first not in _SIZES:
            return 1
        whole = 3 + _SIZES[first] + 2
        if len(self._waiting) < whole:
            return 0
        answer += self._block(bytes(self._waiting[:whole]))
        return whole

    def _block(self, block: bytes) -> bytes:
        number, data = block[1], block[3:-2]
        if number ^ block[2] != 0xFF or binascii.crc_hqx(data, 0) != int.from_bytes(block[-2:], "big"):
            return bytes([NAK])
        self._asked = 0
        if self._at is _At.CLOSING:
            if number == 0 and not any(data):
                self._at = _At.DONE
                return bytes([ACK])
            return self._cancel()
        if number == (self._next - 1) % 256 and self._next:
            return bytes([ACK if self.manners.repeats_ok else NAK])
        if number != self._next % 256:
            return self._cancel()
        return self._header(data) if self._at is _At.HEADER else self._part(data)

    def _header(self, data: bytes) -> bytes:
        name, _, rest = data.partition(b"\0")
        size = rest.split(b"\0")[0].split(b" ")[0]
        if not name or not size.isdigit() or int(size) > self.size_max:
            return self._cancel()
        self.name, self.size = name.decode("ascii", "replace"), int(size)
        self._at, self._next = _At.DATA, 1
        return bytes([ACK, WANTED]) if self.manners.asks_first else bytes([ACK])

    def _part(self, data: bytes) -> bytes:
        at = len(self.data)
        keep = not at <= self.manners.wrong_ack_at < at + len(data)
        self.data += data if keep else b"\xff" * len(data)
        self._next += 1
        return bytes([ACK])

    def _end_of_file(self) -> bytes:
        self._eots += 1
        self._asked = 0
        if self._at is _At.CLOSING:
            return bytes([ACK, WANTED])
        if self.manners.doubts_eot and self._eots == 1:
            return bytes([NAK])
        del self.data[self.size :]
        self._at = _At.CLOSING if self.manners.closes else _At.DONE
        return bytes([ACK, WANTED]) if self.manners.closes else bytes([ACK])

    def _cancel(self) -> bytes:
        self._at = _At.CANCELLED
        return bytes([CAN] * 3)


class TakesFiles:
    """What a board does with bytes that are keys or, while it receives one, a file. It says what either means to it."""

    __slots__ = ()
    _receiver: YmodemReceiver | None

    def receive(self, data: bytes) -> bytes:
        """Keys, or the bytes of a file."""
        answer = bytearray()
        while data:
            if self._receiver:
                answer += self._receiver.receive(data)
                data = self._receiver.rest
                answer += self._after()
            else:
                answer += self._key(data[0])
                data = data[1:]
        return bytes(answer)

    def _key(self, key: int) -> bytes:
        raise NotImplementedError

    def _after(self) -> bytes:
        """A file may be whole now."""
        raise NotImplementedError
