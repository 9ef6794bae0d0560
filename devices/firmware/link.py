"""The line to a board: bytes with a time limit, control lines, a reconnect.

From: drivers and the gateway application's client. To: pyserial, so a URL may name a port (`/dev/ttyUSB0`, `COM5`),
a socket (`socket://host:port`) or a terminal server that also carries parity and control lines
(`rfc2217://host:port`). Drivers know only `Link`: tests put a line with faults and a clock of its own in its place.
"""

from __future__ import annotations

import contextlib
import errno
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import serial

from devices.errors import LinkError, PortError

# pyserial may renegotiate the whole line when a port's own time limit changes, so it stays as it is and is short.
_SLICE_S: Final = 0.02
_WRITE_TIMEOUT_S: Final = 10.0
_BUSY: Final = (errno.EBUSY, errno.EAGAIN)
BAUDS: Final = (1200, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1_000_000, 1_500_000, 2_000_000)


_GONE: tuple[type[Exception], ...] = (serial.SerialException, OSError)
try:
    from termios import error as _termios_error
except ImportError:  # Windows
    pass
else:
    _GONE = (*_GONE, _termios_error)  # pyserial lets it through, of a pseudo-terminal that is asked for parity
_UNUSABLE: tuple[type[Exception], ...] = (*_GONE, ValueError)


@dataclass(frozen=True, slots=True)
class Line:
    """How bytes travel. `parity`: N, E or O; 8 data bits and 1 stop bit always."""

    baud: int = 115200
    parity: str = "N"

    @property
    def byte_s(self) -> float:
        """Seconds one byte takes: start bit, eight data bits, parity if any, stop bit."""
        return (10 if self.parity == "N" else 11) / self.baud


class Link(Protocol):
    """A line that is open. Every method raises LinkError when the line is gone."""

    url: str
    line: Line

    def read(self, size: int, timeout_s: float) -> bytes:
        """`size` bytes, fewer when `timeout_s` passed first."""
        ...

    def write(self, data: bytes) -> None:
        """Hand all of `data` to the line."""
        ...

    def discard(self) -> None:
        """Forget what has arrived and was not read."""
        ...

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set control lines; None leaves one as it is. A line that has none passes it over."""
        ...

    def set_line(self, line: Line) -> None:
        """Go on at another speed or parity; PortError where the port cannot."""
        ...

    def pause(self, seconds: float) -> None:
        """Let time pass: a reset pulse, a board that starts."""
        ...

    def now(self) -> float:
        """Seconds on a clock that never goes back; for deadlines."""
        ...

    def reopen(self) -> None:
        """Close and open again, with nothing left over from before; LinkError while it cannot be opened."""
        ...

    def close(self) -> None:
        """Let go of it; closing twice is fine."""
        ...


def reopen_within(link: Link, seconds: float = 15.0) -> None:
    """Open `link` again as soon as it can be: a plug that comes back, a port that is made anew; LinkError after that.

    A board that loses its USB port at a reset has it back within a second or two; a person finds a loose plug in ten.
    """
    deadline = link.now() + seconds
    while True:
        try:
            link.reopen()
        except LinkError:
            if link.now() >= deadline:
                raise
            link.pause(0.1)  # a bootloader's countdown has begun, and may be short
        else:
            return


def gather(link: Link, size: int, timeout_s: float) -> bytes:
    """`size` bytes, fewer when `timeout_s` passed first, however small the pieces they come in."""
    deadline = link.now() + timeout_s
    found = bytearray()
    while len(found) < size:
        left_s = deadline - link.now()
        if left_s <= 0:
            break
        found += link.read(size - len(found), left_s)
    return bytes(found)


class SerialLink:
    """A `Link` over whatever pyserial can open; PortError when it cannot be opened at all."""

    def __init__(self, url: str, line: Line | None = None) -> None:
        self.url = url
        self.line = line or Line()
        try:
            self._port = self._open()
        except _UNUSABLE as error:
            hint = " (a pseudo-terminal has no parity)" if self.line.parity != "N" and "/pts/" in url else ""
            raise PortError(f"{url}: it cannot be opened: {_why(error)}{hint}; nothing was sent") from None

    def read(self, size: int, timeout_s: float) -> bytes:
        """`size` bytes, fewer when `timeout_s` passed first."""
        deadline = self.now() + timeout_s
        found = bytearray()
        with self._told():
            while len(found) < size:
                found += self._port.read(size - len(found))
                if self.now() >= deadline:
                    break
        return bytes(found)

    def write(self, data: bytes) -> None:
        """Hand all of `data` to the line."""
        with self._told():
            rest = memoryview(data)
            while rest:
                rest = rest[self._port.write(rest) or 0 :]

    def discard(self) -> None:
        """Forget what has arrived and was not read."""
        with self._told():
            self._port.reset_input_buffer()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set control lines where there are any."""
        # A pseudo-terminal or a plain socket has no control lines: the board is then reset by hand or by command.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if dtr is not None:
                self._port.dtr = dtr
            if rts is not None:
                self._port.rts = rts

    def set_line(self, line: Line) -> None:
        """Go on at another speed or parity; PortError where the port cannot."""
        before = self.line
        with self._told():
            try:
                self._set(before, line)
            except ValueError as error:
                with contextlib.suppress(ValueError):
                    self._set(line, before)
                raise PortError(
                    f"{self.url}: expected a port that can do {line.baud} baud, it cannot: {_why(error)}; "
                    f"still at {before.baud}"
                ) from None
        self.line = line

    def _set(self, before: Line, after: Line) -> None:
        # What stays as it is is not set again: a terminal server negotiates each time, and waits for an answer.
        if after.baud != before.baud:
            self._port.baudrate = after.baud
        if after.parity != before.parity:
            self._port.parity = after.parity

    def pause(self, seconds: float) -> None:
        """Let real time pass."""
        time.sleep(seconds)

    def now(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    def reopen(self) -> None:
        """Close and open again; LinkError while it cannot be opened."""
        self.close()
        with self._told():
            self._port = self._open()

    def close(self) -> None:
        """Let go of the port."""
        # pyserial forgets a socket whose other end is gone without closing it.
        socket = getattr(self._port, "_socket", None)
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()
        if socket is not None:
            socket.close()

    def _open(self) -> serial.Serial:
        port = serial.serial_for_url(
            self.url,
            do_not_open=True,
            baudrate=self.line.baud,
            parity=self.line.parity,
            timeout=_SLICE_S,
            # pyserial has none for RFC 2217; there the socket's own limit of 5 s holds.
            write_timeout=None if self.url.startswith("rfc2217://") else _WRITE_TIMEOUT_S,
        )
        if "://" not in self.url:
            port.exclusive = True
        # Opening a port raises both lines on many adapters, which resets a board that nobody meant to reset.
        port.dtr = False
        port.rts = False
        port.open()
        return port

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except _GONE as error:
            raise LinkError(f"{self.url}: the line is gone: {_why(error)}; look at plug and cable") from None


def _why(error: Exception) -> str:
    """What the system said, without pyserial's wrapping and without saying the port again."""
    if isinstance(error, OSError) and error.errno in _BUSY:
        return "busy, another program has it open"
    text = " ".join(str(error).split())
    if "RFC2217" in text:
        return "what listens there does not speak RFC 2217"
    system = re.findall(r"\[Errno -?\d+\] ([^:'\]]+)|\(-?\d+, '([^']+)'\)", text)
    return "".join(system[-1]).strip() if system else text or type(error).__name__
