"""SMP over a console, on our `Link`: what smpclient needs of a transport, with our faults and our clock.

From: smpclient's requests. To: a line that may carry log lines too. One message as it travels (Zephyr, "SMP over
console"): base64 of length, message and CRC-16, cut into lines:

    06 09 <base64, up to 124 characters> 0a
    04 14 <base64 goes on>               0a

smpclient's own serial transport opens the port itself and waits in real time; this one is given a line that is open,
and its coroutines never let go of the loop, so `timeout_s` is kept here and not by asyncio.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Generator
from typing import Final

from smp import packet
from smp.exceptions import SMPDecodeError
from smpclient.transport import SMPTransport

from devices.firmware.link import Link

_LINE: Final = 127  # characters of a line with delimiter and newline: Zephyr's and MCUboot's line buffers hold 128
_OVERHEAD: Final = packet.FRAME_LENGTH_STRUCT.size + packet.CRC16_STRUCT.size  # they share the server's buffer
# Until the server names its buffer: what goes into one line.
_SMALLEST: Final = (_LINE - 3) // 4 * 3 - _OVERHEAD
_JUNK_MAX: Final = 4096
_HEADER: Final = struct.Struct(">BBHHBB")


class Reassembly:
    """Bytes of a console in, SMP messages out; log lines, cut and garbled messages are passed over."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._decoder: Generator[None, bytes, bytes] | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Messages that became complete."""
        whole: list[bytes] = []
        self._line += data
        while (end := self._line.find(packet.END_DELIMITER)) >= 0:
            line = bytes(self._line[: end + 1])
            del self._line[: end + 1]
            message = self._taken(line)
            if message is not None:
                whole.append(message)
        if len(self._line) > _JUNK_MAX:
            del self._line[:-_LINE]
        return whole

    def clear(self) -> None:
        """Forget what is half there."""
        self._line.clear()
        self._decoder = None

    def _taken(self, line: bytes) -> bytes | None:
        # A log line without its own end may stand in front of a message.
        start = line.rfind(packet.START_DELIMITER)
        if start >= 0:
            self._decoder = packet.decode()
            next(self._decoder)
        elif (start := line.rfind(packet.CONTINUE_DELIMITER)) < 0 or self._decoder is None:
            return None
        assert self._decoder is not None  # noqa: S101  both ways there is one
        try:
            self._decoder.send(line[start:])
        except StopIteration as done:
            self._decoder = None
            return bytes(done.value)
        except (SMPDecodeError, binascii.Error, struct.error, ValueError):
            self._decoder = None
        return None


class ConsoleTransport(SMPTransport):
    """smpclient's transport on an open `link`. `timeout_s`: how long the next answer may take."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.timeout_s = 2.5
        self._reassembly = Reassembly()

    async def connect(self, address: str, timeout_s: float) -> None:
        """Nothing: the line is open."""

    async def disconnect(self) -> None:
        """Nothing: the line is closed by who opened it."""

    async def send(self, data: bytes) -> None:
        """One message, in as many lines as it needs."""
        self.link.write(b"".join(packet.encode(data, _LINE)))

    async def receive(self) -> bytes:
        """The next whole message; TimeoutError when none comes."""
        return self._received(b"", self.link.now() + self.timeout_s)

    async def send_and_receive(self, data: bytes) -> bytes:
        """The answer to `data`; answers to what was asked before are passed over. TimeoutError when none comes."""
        self.link.discard()
        self._reassembly.clear()
        await self.send(data)
        travels = len(data) * 4 / 3 * self.link.line.byte_s
        return self._received(data, self.link.now() + travels + self.timeout_s)

    def initialize(self, smp_server_transport_buffer_size: int) -> None:
        """The server's buffer, 0 where it names none."""
        self._smp_server_transport_buffer_size = smp_server_transport_buffer_size or None

    @property
    def mtu(self) -> int:
        """Bytes of the largest message."""
        return self.max_unencoded_size

    @property
    def max_unencoded_size(self) -> int:
        """Bytes of the largest message."""
        named = self._smp_server_transport_buffer_size
        return _SMALLEST if named is None else max(named - _OVERHEAD, _HEADER.size)

    def _received(self, request: bytes, deadline: float) -> bytes:
        while (left := deadline - self.link.now()) > 0:
            # Byte by byte: asking for more would wait for more, and nobody says where an answer ends.
            for message in self._reassembly.feed(self.link.read(1, left)):
                if _answers(message, request):
                    return message
        raise TimeoutError


def _answers(message: bytes, request: bytes) -> bool:
    """Whether `message` is well formed and, if there was a request, the answer to it."""
    if len(message) < _HEADER.size:
        return False
    operation, flags, length, *which = _HEADER.unpack_from(message)
    if flags or length != len(message) - _HEADER.size:
        return False
    if not request:
        return True
    asked, _, _, *expected = _HEADER.unpack_from(request)
    return which == expected and operation & 7 == (asked & 7) + 1
