"""A program that speaks on its standard input and output, in the place of a board."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class ProgramBoard:
    """What the host writes is the program's input; `waited_s`: time it is given to answer at once."""

    def __init__(self, command: Sequence[str], folder: Path, *, waited_s: float = 0.005) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(0)
        self._waited_s = waited_s
        self.program = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.program.kill()
        self.program.wait(10)
        self._ours.close()

    def receive(self, data: bytes) -> bytes:
        self._ours.settimeout(None)
        try:
            self._ours.sendall(data)
        except BrokenPipeError:
            return b""
        self._ours.settimeout(0)
        select.select([self._ours], [], [], self._waited_s)
        return self.elapse(0)

    def elapse(self, seconds: float) -> bytes:  # noqa: ARG002 - a program has a clock of its own
        try:
            return self._ours.recv(4096)
        except (BlockingIOError, ConnectionResetError):
            return b""

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """A program has no control lines."""

    def power_cut(self) -> None:
        """A program has no power."""
