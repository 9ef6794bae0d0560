"""A cellular modem as gateways have them (DTU, AT commands), whose network is this machine's loopback interface.

From: the emulated board's second UART. To: a broker on this machine. Commands: AT, ATE0, ATE1, AT+CIPMODE=1,
AT+CIPSTART="TCP","host","port", AT+CIPSHUT; after CONNECT all bytes pass until it ends (CLOSED) or the board
says +++ between two silences of a second. Answers are those of common modules.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

_GUARD_S: Final = 1.0
_ESCAPE: Final = b"+++"
_LINE_MAX: Final = 512
_CONNECT_TIMEOUT_S: Final = 5.0
_TICK_S: Final = 0.1
_START: Final = re.compile(r'AT\+CIPSTART="TCP","([^"]{1,255})","?(\d{1,5})"?')

# Opens a connection: the socket, or what the modem says of it.
Dial = Callable[[str, int], "socket.socket | str"]


def dial_loopback(host: str, port: int) -> socket.socket | str:
    """Only this machine can be reached: no test and no demo ever calls anybody else."""
    try:
        address = "127.0.0.1" if host == "localhost" else host
        if not ipaddress.ip_address(address).is_loopback:
            return "CONNECT FAIL"
    except ValueError:
        return "DNS FAIL"
    try:
        return socket.create_connection((address, port), timeout=_CONNECT_TIMEOUT_S)
    except OSError:
        return "CONNECT FAIL"


class AtModem:
    """What the modem makes of bytes and time. `network` is the open connection, None without one."""

    def __init__(self, dial: Dial = dial_loopback) -> None:
        self.network: socket.socket | None = None
        self._dial = dial
        self._passes = False  # bytes go to the network
        self._echo = False
        self._line = bytearray()
        self._heard_at = 0.0
        self._pluses: bytes | None = None  # what may become +++, behind a silence

    def from_board(self, data: bytes, now: float) -> bytes:
        """Bytes from the board at the time `now`, seconds; what it is answered."""
        quiet, self._heard_at = now - self._heard_at, now
        if self._passes:
            self._pass(data, quiet)
            return b""
        answer = data if self._echo else b""
        self._line += data
        while b"\r" in self._line or len(self._line) > _LINE_MAX:
            line, _, rest = self._line.partition(b"\r")
            self._line = bytearray(rest.removeprefix(b"\n"))
            answer += self._command(line.decode("ascii", "replace").strip().lstrip("+"))
        return answer

    def elapse(self, now: float) -> bytes:
        """Time passes: +++ counts once silence followed it."""
        if not self._pluses or now - self._heard_at < _GUARD_S:
            return b""
        said, self._pluses = self._pluses, None
        if said == _ESCAPE:
            self._passes = False
            return b"\r\nOK\r\n"
        self._send(said)
        return b""

    def from_network(self) -> bytes:
        """What has arrived there, for the board; an ended connection is told in words."""
        data = b""
        if self.network:
            with contextlib.suppress(OSError):
                data = self.network.recv(4096)
        if not data:
            self.hang_up()
            return b"\r\nCLOSED\r\n"
        return data if self._passes else b""

    def hang_up(self) -> None:
        """End the connection, if there is one."""
        self._passes = False
        if self.network:
            self.network.close()
            self.network = None

    def _pass(self, data: bytes, quiet: float) -> None:
        # A board's UART gives its bytes one at a time.
        before = b"" if quiet >= _GUARD_S else self._pluses
        self._pluses = None
        if before is not None and _ESCAPE.startswith(before + data):
            self._pluses = before + data
        else:
            self._send((before or b"") + data)

    def _send(self, data: bytes) -> None:
        if self.network:
            # A connection that is broken says so when it is read.
            with contextlib.suppress(OSError):
                self.network.sendall(data)

    def _command(self, line: str) -> bytes:
        if not line:
            return b""
        if line in {"ATE0", "ATE1"}:
            self._echo = line == "ATE1"
        elif start := _START.fullmatch(line):
            return self._called(start[1], int(start[2]))
        elif line == "AT+CIPSHUT":
            self.hang_up()
            return b"\r\nSHUT OK\r\n"
        elif line not in {"AT", "AT+CIPMODE=1"}:
            return b"\r\nERROR\r\n"
        return b"\r\nOK\r\n"

    def _called(self, host: str, port: int) -> bytes:
        if self.network:
            return b"\r\nERROR\r\n"
        found = self._dial(host, port)
        if isinstance(found, str):
            return b"\r\nOK\r\n\r\n" + found.encode() + b"\r\n"
        self.network, self._passes = found, True
        return b"\r\nOK\r\n\r\nCONNECT\r\n"


class ServedModem:
    """A modem behind a TCP port on the loopback interface, for the board's UART; a thread of its own until `close`."""

    def __init__(self, dial: Dial = dial_loopback) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._modem = AtModem(dial)
        self._board: socket.socket | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="modem", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up and free the port; closing twice is fine."""
        self._stop.set()
        self._thread.join()
        self._modem.hang_up()
        self._leave()
        self._door.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            here = [one for one in (self._board or self._door, self._modem.network) if one]
            ready = select.select(here, [], [], _TICK_S)[0]
            if self._door in ready:
                self._board = self._door.accept()[0]
                continue
            answer = self._modem.elapse(time.monotonic())
            if self._modem.network in ready:
                answer += self._modem.from_network()
            if self._board in ready:
                answer += self._from_board()
            if answer and self._board:
                with contextlib.suppress(OSError):
                    self._board.sendall(answer)

    def _from_board(self) -> bytes:
        data = b""
        if self._board:
            with contextlib.suppress(OSError):
                data = self._board.recv(4096)
        if data:
            return self._modem.from_board(data, time.monotonic())
        # The board lost its power, and the modem with it.
        self._modem.hang_up()
        self._leave()
        return b""

    def _leave(self) -> None:
        if self._board:
            self._board.close()
            self._board = None
