"""One accepted connection: bytes in while it may be read, answers out, and the times at which it did what.

From: asyncio. To: `ingest.tcp_listener`, which decides everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, Protocol

from ingest.tcp_limits import Bucket, Hold
from ingest.tcp_session import Session

READ_BYTES: Final = 16_384  # in one go; with a packet that is not whole, all that a connection holds
_WRITE_BYTES: Final = 16_384  # of answers that the logger has not read
# A peer that vanished is noticed after two minutes even if we have nothing to say to it.
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))


class Owner(Protocol):
    """Who is told what happens on a connection."""

    def admit(self, connection: Connection) -> bool:
        """A connection was made; whether it may stay."""
        ...

    def received(self, connection: Connection, data: bytes) -> None:
        """Bytes came."""
        ...

    def gone(self, connection: Connection) -> None:
        """The connection ended, from whichever side."""
        ...


class Connection(asyncio.BufferedProtocol):
    """`scratch` is shared by all connections of a loop: bytes are taken out of it before the next read.

    Times are of the monotonic clock. `heard_s`: the last packet accepted or answered, or the beginning.
    `identified`: one was accepted. `waiting_s`: since when its answers lie unread. `slowed_s`: since when it has
    been slowed without a break. `unanswered`: packets that are on their way into the journal.
    """

    def __init__(self, owner: Owner, session: Session, bucket: Bucket, scratch: memoryview, at_s: float) -> None:
        self.session = session
        self.bucket = bucket
        self.peer = "?"
        self.host = "?"
        self.since_s = self.heard_s = at_s
        self.identified = False
        self.waiting_s: float | None = None
        self.slowed_s: float | None = None
        self.free_s = 0.0
        self.unanswered = 0
        self.packets = 0
        self.hold = Hold.NONE
        self._owner = owner
        self._scratch = scratch
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._transport: asyncio.Transport | None = None
        self._eof = False
        self._admitted = False

    @property
    def open(self) -> bool:
        """Whether something can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: it stands."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a TCP server's always is
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:
            self.host, self.peer = str(name[0]), f"{name[0]}:{name[1]}"
        self._admitted = self._owner.admit(self)
        if not self._admitted:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_BYTES)
        _keep_alive(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  ours is bounded, whatever is asked
        """Asyncio: where to read into."""
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Asyncio: so much was read."""
        if self.open:
            self._owner.received(self, bytes(self._scratch[:nbytes]))

    def eof_received(self) -> bool:
        """Asyncio: it sends no more; it may still wait for answers."""
        self._eof = True
        return self.unanswered > 0

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  why does not matter any more
        """Asyncio: it is no more."""
        if self._admitted:
            self._owner.gone(self)

    def pause_writing(self) -> None:
        """Asyncio: our answers pile up."""
        self.waiting_s = self._clock()
        self.stop_reading(Hold.WRITE)

    def resume_writing(self) -> None:
        """Asyncio: our answers are being read."""
        self.waiting_s = None
        self.go_on_reading(Hold.WRITE)

    def send(self, data: bytes) -> None:
        """Send, if it can still be done."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def answered(self) -> None:
        """A packet is in the journal, and answered if it wanted that."""
        self.unanswered -= 1
        self.heard_s = self._clock()
        if self._eof and not self.unanswered:
            self.close()

    def stop_reading(self, why: Hold) -> None:
        """Leave its bytes in the kernel, where TCP makes the logger wait."""
        if not self.hold and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self.hold |= why

    def go_on_reading(self, why: Hold) -> None:
        """One reason not to read is gone."""
        if not self.hold & why:
            return
        self.hold &= ~why
        if not self.hold and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def forgive(self, at_s: float) -> None:
        """Begin to count its silence anew: it was we who did not listen."""
        self.heard_s = at_s
        if self.session.half_since is not None:
            self.session.half_since = at_s

    def close(self) -> None:
        """Close behind what is already sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, sent or not."""
        if self._transport is not None:
            self._transport.abort()


def _keep_alive(link: socket.socket | None) -> None:
    if link is None:
        return
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
