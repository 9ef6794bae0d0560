"""Payload bytes a second by YMODEM-1K, ours beside lrzsz's sb: python -m tests.benchmarks.flash_rate_ymodem [RUNS].

The receiver is our simulated board in a process of its own, behind a pseudo-terminal that carries bytes at the pace of
a real line, ten bits a byte; it takes no time itself. From the key that starts the receiver to the last answer.
1,029 bytes on the line carry 1,024 and are answered with one: 99.4 % is the ceiling. Medians of runs in turn, with the
worst and the best.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import serial

from devices.firmware import ymodem
from devices.firmware.link import Line, SerialLink
from devices.simulator.boards.iap import IapBoard
from devices.simulator.boards.serving import serve_pty
from tests.support.flashing import image

BAUDS: Final = (115200, 921600)
SECONDS: Final = 8  # of payload at the line's rate
CAPACITY: Final = 1024 * 1024
KEY: Final = b"1"


def ours(port: str, baud: int, payload: bytes) -> None:
    """Our sender."""
    link = SerialLink(port, Line(baud))
    link.write(KEY)
    ymodem.send(link, "image.bin", payload, lambda *_: None)
    link.close()


def sb(port: str, baud: int, payload: bytes) -> None:
    """Debian's lrzsz."""
    with tempfile.TemporaryDirectory() as folder, serial.Serial(port, baud) as opened:
        file = Path(folder) / "image.bin"
        file.write_bytes(payload)
        opened.write(KEY)
        # sb takes the first C for the request, also one in a word.
        opened.read_until(b")\r\n")
        os.set_blocking(opened.fileno(), True)
        subprocess.run(
            ["sb", "--1k", "--quiet", str(file)],
            stdin=opened.fileno(),
            stdout=opened.fileno(),
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=300,
        )


@contextmanager
def paced(line: Line) -> Iterator[tuple[str, Connection]]:
    """A board in a process of its own: its port, and a connection that is answered with what its flash holds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(line, there), daemon=True)
    process.start()
    try:
        yield here.recv(), here
    finally:
        here.close()
        process.join(10)


def _serve(line: Line, asked: Connection) -> None:
    board = IapBoard(capacity=CAPACITY)
    with serve_pty(board, line) as served:
        asked.send(served.url)
        try:
            while asked.recv() == KEY:
                with served.held:
                    asked.send(bytes(board.flash[: board.stored]))
        except EOFError:
            return


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    senders = {"ours": ours} | ({"sb": sb} if shutil.which("sb") else {})
    if "sb" not in senders:
        print("flash_rate_ymodem: sb is not installed; only ours is measured: apt-get install lrzsz")
    for baud in BAUDS:
        line = Line(baud)
        payload = image(int(SECONDS / line.byte_s) // 1024 * 1024).payload
        found: dict[str, list[float]] = {name: [] for name in senders}
        for _ in range(runs):
            for name, send in senders.items():
                with paced(line) as (port, board):
                    begun = time.perf_counter()
                    send(port, baud, payload)
                    found[name].append(len(payload) * line.byte_s / (time.perf_counter() - begun))
                    board.send(KEY)
                    if board.recv() != payload:
                        raise SystemExit(f"flash_rate_ymodem: {name}: the board does not hold the image")
        for name, shares in found.items():
            print(
                f"{baud:7} baud  {len(payload)} bytes  {name:5} {statistics.median(shares):5.1%} of the line "
                f"({min(shares):.1%} to {max(shares):.1%})  load {os.getloadavg()[0]:.1f}"
            )


if __name__ == "__main__":
    main()
