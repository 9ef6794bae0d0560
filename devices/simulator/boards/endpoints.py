"""The three kinds of port a simulated board can stand behind: TCP, pseudo-terminal, RFC 2217.

From and to: `serving`. Each serves one host at a time; when it leaves, the next one may come.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

import serial.rfc2217

from devices.firmware.link import Line

_CHUNK: Final = 65536
_SEND_TIMEOUT_S: Final = 5.0


class TcpPort:
    """A free TCP port on the loopback interface."""

    scheme = "socket"

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self._host: socket.socket | None = None
        self.url = f"{self.scheme}://127.0.0.1:{self._door.getsockname()[1]}"

    def receive(self, timeout_s: float) -> bytes:
        """What the host sent; empty when nothing came within `timeout_s`."""
        host = self._host
        if host is None:
            if select.select([self._door], [], [], timeout_s)[0]:
                self._host = self._door.accept()[0]
                self._host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._host.settimeout(_SEND_TIMEOUT_S)
                self.came()
            return b""
        with contextlib.suppress(OSError):
            if not select.select([host], [], [], timeout_s)[0]:
                return b""
            if data := host.recv(_CHUNK):
                return self.heard(data)
        self.drop()
        return b""

    def send(self, data: bytes) -> None:
        """To the host; one who does not read is dropped."""
        if self._host is not None:
            try:
                self._host.sendall(data)
            except OSError:
                self.drop()

    def drop(self) -> None:
        """Cut off who is connected."""
        if self._host is not None:
            self._host.close()
            self._host = None

    def close(self) -> None:
        """Give the port back."""
        self.drop()
        self._door.close()

    def came(self) -> None:
        """A host has connected."""

    def heard(self, data: bytes) -> bytes:
        """What of `data` is meant for the board."""
        return data


class Lines:
    """The serial port that an RFC 2217 host believes to control: settings and control lines.

    Named like pyserial's port, because pyserial's server side sets it. `changed` is told each new speed or parity.
    """

    bytesize = 8
    stopbits = 1
    xonxoff = rtscts = break_condition = False
    cts = dsr = cd = True
    ri = False

    def __init__(self, control: Callable[..., None]) -> None:
        self.line = Line()
        self.changed: Callable[[Line], None] = lambda _line: None
        self._control = control
        self._dtr = self._rts = False

    @property
    def baudrate(self) -> int:
        """Bits a second."""
        return self.line.baud

    @baudrate.setter
    def baudrate(self, baud: int) -> None:
        self.line = replace(self.line, baud=baud)
        self.changed(self.line)

    @property
    def parity(self) -> str:
        """N, E or O."""
        return self.line.parity

    @parity.setter
    def parity(self, parity: str) -> None:
        self.line = replace(self.line, parity=parity)
        self.changed(self.line)

    @property
    def dtr(self) -> bool:
        """Data terminal ready, as the host set it."""
        return self._dtr

    @dtr.setter
    def dtr(self, on: bool) -> None:
        self._dtr = on
        self._control(dtr=on)

    @property
    def rts(self) -> bool:
        """Request to send, as the host set it."""
        return self._rts

    @rts.setter
    def rts(self, on: bool) -> None:
        self._rts = on
        self._control(rts=on)

    def reset_input_buffer(self) -> None:
        """The host purges what it has not read; nothing is kept here."""

    def reset_output_buffer(self) -> None:
        """The host purges what it has written; nothing is kept here."""


class TelnetPort(TcpPort):
    """A free RFC 2217 port: telnet that carries a serial port's settings beside its bytes."""

    scheme = "rfc2217"

    def __init__(self, lines: Lines, held: threading.Lock) -> None:
        super().__init__()
        self._lines = lines
        self._held = held
        self._telnet: serial.rfc2217.PortManager | None = None

    def came(self) -> None:
        """Offer RFC 2217 to the host that has connected."""
        self._telnet = serial.rfc2217.PortManager(
            cast("serial.rfc2217.Serial", self._lines), cast("serial.rfc2217.Serial", self)
        )

    def heard(self, data: bytes) -> bytes:
        """Act upon what is addressed to the port itself; the rest is for the board."""
        with self._held:  # control lines reach the board
            return b"".join(self._telnet.filter(data)) if self._telnet else b""

    def send(self, data: bytes) -> None:
        """To the host, with telnet's own byte doubled."""
        super().send(data.replace(b"\xff", b"\xff\xff"))

    def write(self, data: bytes) -> None:
        """What the telnet layer itself says to the host."""
        super().send(data)


class PtyPort:
    """A pseudo-terminal in raw mode; `url` is its name. One stays connected for ever: hosts come and go unseen."""

    def __init__(self) -> None:
        import tty  # noqa: PLC0415  (Windows has none)

        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.url = os.ttyname(self._theirs)

    def receive(self, timeout_s: float) -> bytes:
        """What the host sent; empty when nothing came within `timeout_s`."""
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return b""
        return os.read(self._ours, _CHUNK)

    def send(self, data: bytes) -> None:
        """To the host; what nobody reads for long is lost."""
        rest = memoryview(data)
        while rest and select.select([], [self._ours], [], _SEND_TIMEOUT_S)[1]:
            rest = rest[os.write(self._ours, rest) :]

    def drop(self) -> None:
        """Nothing: a pseudo-terminal has no plug; what the host had not read is thrown away."""
        import termios  # noqa: PLC0415

        termios.tcflush(self._theirs, termios.TCIOFLUSH)

    def close(self) -> None:
        """Give both ends back."""
        for end in (self._ours, self._theirs):
            with contextlib.suppress(OSError):
                os.close(end)
