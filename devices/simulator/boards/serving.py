"""Puts a simulated board behind a port, for programs that are not ours and for drivers over a real link.

From: a `SimulatedBoard`. To: whoever opens `Served.url`, one after the other: a TCP port (`socket://`), a
pseudo-terminal, or an RFC 2217 port, the only one of the three that carries DTR, RTS and the host's baud rate.

    with serve_tcp(board) as served:
        driver = BOOTLOADER.connect(served.url, baud=115200, options={})

With a `Line` the port is paced: bytes take the time they would take on that line. Loopback only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType
from typing import Final, Protocol, Self

from devices.firmware.link import Line
from devices.simulator.boards import SimulatedBoard
from devices.simulator.boards.endpoints import Lines, PtyPort, TcpPort, TelnetPort
from devices.simulator.boards.paced import Paced

_TICK_S: Final = 0.002  # how often a board is told that time passed
_FRAME_S: Final = 0.001  # what is on the way is handed on at least so often, as USB does
# A sleep ends some 0.1 ms late, and at 921600 baud that is ten bytes: the rest of the way is waited for awake.
_AWAKE_S: Final = 0.0003
_PULL_TIMEOUT_S: Final = 5.0


class Port(Protocol):
    """Where the host connects."""

    url: str

    def receive(self, timeout_s: float) -> bytes:
        """What the host sent; empty when nothing came within `timeout_s`."""
        ...

    def send(self, data: bytes) -> None:
        """To the host; lost when nobody is connected."""
        ...

    def drop(self) -> None:
        """Pull the plug: who is connected is cut off, the next one may come."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


class Served:
    """A board behind a port, served by a thread of its own until `close` or the end of a `with`."""

    def __init__(self, board: SimulatedBoard, port: Port, byte_s: float, held: threading.Lock) -> None:
        self.url = port.url
        self.held = held  # taken while the board works: take it to look into the board from outside
        self._board = board
        self._port = port
        self._to_board = Paced(byte_s, _FRAME_S)
        self._to_host = Paced(byte_s, _FRAME_S)
        self._told_at = time.perf_counter()
        self._pulls: deque[tuple[bool, threading.Event]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"board at {self.url}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and free the port; closing twice is fine."""
        self._stop.set()
        self._thread.join()
        self._port.close()

    def unplug(self, *, power_too: bool) -> None:
        """Cut off who is connected; with `power_too` the board loses its power as well. The next one may connect."""
        done = threading.Event()
        self._pulls.append((power_too, done))
        done.wait(_PULL_TIMEOUT_S)

    def set_byte_s(self, byte_s: float) -> None:
        """Another pace from now on."""
        self._to_board.byte_s = self._to_host.byte_s = byte_s

    def _serve(self) -> None:
        while not self._stop.is_set():
            data = self._port.receive(self._patience())
            while self._pulls:
                self._pull(*self._pulls.popleft())
                data = b""
            with self.held:
                now = time.perf_counter()
                self._to_board.put(data, now)
                arrived, when = self._to_board.take(now)
                self._to_host.put(self._board.elapse(max(now - self._told_at, 0.0)), now)
                self._told_at = now
                if arrived:
                    # The answer sets out when the last byte was in, not when this thread noticed.
                    self._to_host.put(self._board.receive(arrived), when)
                answer, _ = self._to_host.take(time.perf_counter())
            if answer:
                self._port.send(answer)

    def _pull(self, power_too: bool, done: threading.Event) -> None:  # noqa: FBT001
        # A socket may only be closed by the thread that waits on it.
        self._to_board.clear()
        self._to_host.clear()
        self._port.drop()
        if power_too:
            with self.held:
                self._board.power_cut()
        done.set()

    def _patience(self) -> float:
        """Seconds to wait for the host: not longer than what is on the way needs."""
        if not self._to_board.byte_s:
            return _TICK_S
        due = [at for at in (self._to_board.next_at(), self._to_host.next_at()) if at is not None]
        if not due:
            return _TICK_S
        return min(max(min(due) - time.perf_counter() - _AWAKE_S, 0.0), _TICK_S)


def serve_tcp(board: SimulatedBoard, line: Line | None = None) -> Served:
    """`board` behind a free TCP port: `socket://127.0.0.1:PORT`. Paced like `line` if there is one."""
    return Served(board, TcpPort(), line.byte_s if line else 0.0, threading.Lock())


def serve_pty(board: SimulatedBoard, line: Line | None = None) -> Served:
    """`board` behind a pseudo-terminal, whose name is the url; no parity and no control lines. Not on Windows."""
    return Served(board, PtyPort(), line.byte_s if line else 0.0, threading.Lock())


def serve_rfc2217(board: SimulatedBoard, *, paced: bool = False) -> Served:
    """`board` behind a free RFC 2217 port: DTR and RTS reach it, and `paced` follows the host's baud and parity."""
    lines = Lines(board.control)
    held = threading.Lock()
    port = TelnetPort(lines, held)
    served = Served(board, port, lines.line.byte_s if paced else 0.0, held)
    if paced:
        lines.changed = lambda line: served.set_byte_s(line.byte_s)
    return served
