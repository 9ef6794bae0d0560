"""YMODEM-1K, the sending side: one file to a bootloader that asks for it.

From: drivers whose bootloader receives YMODEM. To: a `Link`. A frame, and who sends what:

    SOH|STX  number  255-number  128|1024 bytes  CRC-16/XMODEM, high byte first

    receiver  C         ACK C           ACK  NAK        ACK       NAK  ACK C         ACK
    sender      block 0       block 1        (repeated)     EOT   EOT      empty 0

Block 0 holds name and size; the last block is filled with 0x1A. Source: Forsberg, XMODEM/YMODEM Protocol Reference,
1988. Receivers differ, and all of these are served: no NAK to the first EOT; no C after block 0; block 0 or EOT
acknowledged twice; no closing block (`Receiver.closes`); 128-byte blocks only (`Receiver.block`); text on the same
line before, between and after.

Acknowledgements carry no number. So a block is repeated only when the receiver asks for it, and what is still on the
line then is thrown away; silence is not answered by guessing, but ends the exchange. Whether the receiver holds the
right bytes is not known here: a driver verifies.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from devices.errors import ExchangeError, LinkError
from devices.firmware.link import Link

SOH: Final = 0x01
STX: Final = 0x02
EOT: Final = 0x04
ACK: Final = 0x06
NAK: Final = 0x15
CAN: Final = 0x18
WANTED: Final = 0x43  # 'C': send, with CRC-16
FILL: Final = 0x1A
SHORT: Final = 128
LONG: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
# A C within text is followed by more text at once; the one that asks for a file is followed by silence.
_QUIET_S: Final = 0.05
# A C that comes sooner after block 0 was on its way before the block arrived.
_CROSSED_S: Final = 1.0
_FIRST_S: Final = 3.0  # until the C after block 0, which not every receiver sends
_CLOSING_S: Final = 12.0  # lrzsz listens for ten seconds after the end before it asks for another file
_BESIDE_MAX: Final = 4096

# Called with payload bytes acknowledged and payload bytes in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """How the other end behaves.

    `block`: 1024, or 128 where it knows only the short ones. `closes`: it asks for the empty block after the file.
    `start_s`: longest until it asks for a file. `answer_s`: longest until it answers a block; it may erase flash
    meanwhile. `repeats`: how often it may ask for one block again.
    """

    block: int = LONG
    closes: bool = True
    start_s: float = 30.0
    answer_s: float = 15.0
    repeats: int = 10


def frame(number: int, data: bytes) -> bytes:
    """One block of 128 or 1024 bytes; `number` counts modulo 256."""
    head = bytes((STX if len(data) == LONG else SOH, number & 0xFF, ~number & 0xFF))
    return head + data + binascii.crc_hqx(data, 0).to_bytes(2, "big")


def send(link: Link, name: str, payload: bytes, told: Progress, receiver: Receiver | None = None) -> bytes:
    """Send one file; what the receiver wrote besides the protocol, at most the last 4,096 bytes.

    Raises:
        ExchangeError: it asked for nothing, cancelled, fell silent or asked for one block too often; it was told to
            cancel, so that it is back at its menu when it listens.
        LinkError: the line is gone.
    """
    if not _NAME.fullmatch(name):
        raise ExchangeError(f"file name {name!r:.80}: expected 1 to 64 letters, digits or _ . -; nothing was sent")
    sending = _Sending(link, receiver or Receiver())
    try:
        sending.begin(name, len(payload))
        told(0, len(payload))
        for number, start, data in _blocks(payload, sending.receiver.block):
            # Until it has a block, a receiver may ask with C, as it did for block 0.
            sending.block(number, data, f"block at byte {start}", again={NAK} if start else {NAK, WANTED})
            told(min(start + len(data), len(payload)), len(payload))
        sending.end()
    except ExchangeError:
        with contextlib.suppress(LinkError):
            link.write(bytes([CAN]) * 8)
        raise
    return bytes(sending.beside)


def waits(seen: str) -> bool:
    """Whether what a board sent ends as a receiver's does that waits for a block: with C or NAK."""
    return seen[-1:] in {chr(WANTED), chr(NAK)}


def cancel(link: Link, *, quiet_s: float = 1.5, within_s: float = 40.0) -> bool:
    """Bring a receiver that may be in the middle of a file back to its menu; False while it still asks.

    One in the middle of a block takes CANs for data: they are enough to complete the block, which fails its CRC, and
    to be heard after it.
    """
    deadline = link.now() + within_s
    while link.now() < deadline:
        link.discard()
        link.write(bytes([CAN]) * (3 + LONG + 2 + 8))
        last = b""
        while got := link.read(1, quiet_s):
            last = got
            if link.now() >= deadline:
                return False
        if not last or last[0] not in {NAK, WANTED, ACK}:
            return True
    return False


def _blocks(payload: bytes, longest: int) -> list[tuple[int, int, bytes]]:
    """(number, first byte, data) of each block; a tail of up to 128 bytes travels in a short one."""
    found = []
    start, number = 0, 1
    while start < len(payload):
        size = longest if len(payload) - start > SHORT else SHORT
        found.append((number, start, payload[start : start + size].ljust(size, bytes([FILL]))))
        start, number = start + size, number + 1
    return found


class _Sending:
    """One file under way."""

    def __init__(self, link: Link, receiver: Receiver) -> None:
        self.link = link
        self.receiver = receiver
        self.beside = bytearray()

    def begin(self, name: str, size: int) -> None:
        """Wait until a file is asked for, and name it."""
        self._asked()
        header = name.encode() + b"\0" + str(size).encode() + b"\0"
        self.block(0, header.ljust(SHORT, b"\0"), "block 0", again={NAK, WANTED})
        # Some ask for the first block with another C, some just wait for it: NAK says the C was lost on the way.
        with contextlib.suppress(_SilentError):
            self._answer({WANTED, NAK}, min(_FIRST_S, self.receiver.answer_s), "the file's first block")

    def block(self, number: int, data: bytes, what: str, again: set[int]) -> None:
        """Send one block until it is acknowledged."""
        self._until_acknowledged(frame(number, data), what, again)

    def end(self) -> None:
        """Say that the file is complete, and that no other follows."""
        self._until_acknowledged(bytes([EOT]), "end of file", {NAK, WANTED})
        if not self.receiver.closes:
            return
        # The file is acknowledged: a receiver that ends otherwise holds it all the same.
        with contextlib.suppress(ExchangeError):
            self._answer({WANTED}, _CLOSING_S, "the closing block")
            self._until_acknowledged(frame(0, bytes(SHORT)), "closing block", {NAK}, within_s=_CLOSING_S)

    def _asked(self) -> None:
        deadline = self.link.now() + self.receiver.start_s
        while (left := deadline - self.link.now()) > 0:
            self._answer({WANTED}, left, "'C', a request for a file")
            following = self.link.read(1, _QUIET_S)
            while following and following[0] == WANTED:
                following = self.link.read(1, _QUIET_S)
            if not following:
                return
            self._keep(following)
        raise _SilentError(f"{self.link.url}: expected 'C', a request for a file, got text only; nothing was sent")

    def _until_acknowledged(self, data: bytes, what: str, again: set[int], within_s: float = 0.0) -> None:
        for _ in range(self.receiver.repeats + 1):
            self.link.discard()
            self.link.write(data)
            sent = self.link.now()
            answer = NAK
            deadline = sent + (within_s or self.receiver.answer_s)
            while (left := deadline - self.link.now()) > 0:
                answer = self._answer({ACK, *again}, left, f"{what} to be acknowledged")
                if answer != WANTED or self.link.now() - sent > _CROSSED_S:
                    break
            if answer == ACK:
                return
        raise ExchangeError(
            f"{self.link.url}: {what} was asked for again {self.receiver.repeats} times; the transfer was cancelled"
        )

    def _answer(self, wanted: set[int], within_s: float, what: str) -> int:
        """The next byte that is one of `wanted`; others are kept beside."""
        deadline = self.link.now() + within_s
        cancelled = False
        while (left := deadline - self.link.now()) > 0 and (got := self.link.read(1, left)):
            if got[0] in wanted:
                return got[0]
            # One CAN may be a garbled byte; two are meant.
            if got[0] == CAN and cancelled:
                raise ExchangeError(f"{self.link.url}: expected {what}, the receiver cancelled the transfer")
            cancelled = got[0] == CAN
            self._keep(got)
        raise _SilentError(
            f"{self.link.url}: expected {what}, got no answer within {within_s:.0f} s; the transfer was cancelled"
        )

    def _keep(self, data: bytes) -> None:
        self.beside += data
        del self.beside[:-_BESIDE_MAX]


class _SilentError(ExchangeError):
    """Raised when no answer came in time."""
