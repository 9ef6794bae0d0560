"""Payload bytes a second over a line's rate, ours beside others': python -m tests.benchmarks.flash_rate [RUNS].

The board is simulated, in a process of its own, behind a pseudo-terminal that carries bytes at the pace of a real line
(eleven bits a byte with parity, ten without) and takes no time itself: what is lost is lost by protocol and host. Write
counts from opening the port to the last byte acknowledged; write and verify carries each byte twice.

The limit is what a bare loop gets that does nothing but write prepared bytes and wait for each answer: it pays for the
protocol's own bytes and for this machine's turns between two processes, which on a busy one cost more than any driver.
Medians of runs in turn, with the worst and the best.

Another driver is measured by adding to `CONTENDERS`.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from multiprocessing.connection import Connection
from operator import xor
from typing import Final

from devices.firmware.drivers.stm32.chips import FLASH
from devices.firmware.drivers.stm32.driver import Stm32
from devices.firmware.drivers.stm32.protocol import BLOCK
from devices.firmware.link import Line, SerialLink
from devices.simulator.boards.serving import serve_pty
from devices.simulator.boards.stm32 import Rom, Stm32Board
from tests.support.flashing import image

SIZE: Final = 32 * 1024
BAUDS: Final = (115200, 921600)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who flashes what. `flash`: (port, baud, payload, verify too) until it is done. `limit`: who is compared with."""

    name: str
    board: Callable[[], Stm32Board]
    parity: str
    flash: Callable[[str, int, bytes, bool], None]
    program: str = ""
    limit: str = ""


def stm32_board() -> Stm32Board:
    return Stm32Board(Rom())


def ours(port: str, baud: int, payload: bytes, verify: bool) -> None:  # noqa: FBT001
    # A pseudo-terminal has no parity: the pace alone knows of it.
    driver = Stm32(SerialLink(port, Line(baud)))
    whole = image(len(payload))
    driver.identify()
    driver.write(whole, lambda *_: None)
    if verify:
        driver.verify(whole, lambda *_: None)
    driver.close()


def stm32flash(port: str, baud: int, payload: bytes, verify: bool) -> None:  # noqa: FBT001
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(payload)
        file.flush()
        words = ["stm32flash", "-m", "8n1", "-b", str(baud), "-w", file.name, *(["-v"] if verify else []), port]
        subprocess.run(words, capture_output=True, check=True, timeout=300)


def bare(port: str, _baud: int, payload: bytes, verify: bool) -> None:  # noqa: FBT001
    """AN3155 without a driver: what to write and how much to wait for was made before the port is opened."""
    blocks = [(FLASH + at, payload[at : at + BLOCK]) for at in range(0, len(payload), BLOCK)]
    steps = [(b"\x7f", 1), (b"\x44\xbb", 1), (b"\xff\xff\x00", 1)]
    for address, block in blocks:
        where, data = address.to_bytes(4, "big"), bytes([len(block) - 1]) + block
        steps += [(b"\x31\xce", 1), (where + check(where), 1), (data + check(data), 1)]
    for address, block in blocks if verify else ():
        where, size = address.to_bytes(4, "big"), len(block) - 1
        steps += [(b"\x11\xee", 1), (where + check(where), 1), (bytes([size, 255 - size]), 1 + len(block))]
    handle = os.open(port, os.O_RDWR | os.O_NOCTTY)
    for said, size in steps:
        os.write(handle, said)
        left = size
        while left:
            left -= len(os.read(handle, left))
    os.close(handle)


def check(data: bytes) -> bytes:
    return bytes([reduce(xor, data)])


CONTENDERS: Final = (
    Contender("stm32, bare loop", stm32_board, "E", bare),
    Contender("stm32, ours", stm32_board, "E", ours, limit="stm32, bare loop"),
    Contender("stm32flash", stm32_board, "E", stm32flash, program="stm32flash", limit="stm32, bare loop"),
)


@contextmanager
def paced(board: Callable[[], Stm32Board], line: Line) -> Iterator[tuple[str, Connection]]:
    """A board in a process of its own: its port, and a connection that is answered with what its flash holds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(board, line, there), daemon=True)
    process.start()
    try:
        yield here.recv(), here
    finally:
        here.close()
        process.join(10)


def _serve(board: Callable[[], Stm32Board], line: Line, asked: Connection) -> None:
    made = board()
    with serve_pty(made, line) as served:
        asked.send(served.url)
        try:
            while asked.recv():
                with served.held:
                    asked.send(bytes(made.flash))
        except EOFError:
            return


def share(contender: Contender, baud: int, *, verify: bool) -> float:
    """Of the line's rate, in one run."""
    payload = image(SIZE).payload
    line = Line(baud, contender.parity)
    with paced(contender.board, line) as (port, board):
        begun = time.perf_counter()
        contender.flash(port, baud, payload, verify)
        took = time.perf_counter() - begun
        board.send("flash")
        if board.recv()[:SIZE] != payload:
            raise SystemExit(f"flash_rate: {contender.name}: the board does not hold the image")
    return SIZE * (2 if verify else 1) * line.byte_s / took


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    able = [one for one in CONTENDERS if not one.program or shutil.which(one.program)]
    for one in set(CONTENDERS) - set(able):
        print(f"flash_rate: {one.program} is not installed; it is not measured")
    print(
        f"{SIZE} bytes, share of the line's rate: median of {runs} (worst to best); load {os.getloadavg()[0]:.1f}"
    )
    for baud in BAUDS:
        for verify in (False, True):
            compare(able, baud, runs, verify=verify)


def compare(able: Sequence[Contender], baud: int, runs: int, *, verify: bool) -> None:
    """One table of all, who is compared with in front."""
    print(f"{baud} baud, {'write and verify' if verify else 'write'}")
    found: dict[str, list[float]] = {one.name: [] for one in able}
    for _ in range(runs):
        for one in able:
            found[one.name].append(share(one, baud, verify=verify))
    for one in able:
        values = found[one.name]
        middle = statistics.median(values)
        of_limit = (
            f"{middle / statistics.median(found[one.limit]):6.1%} of the limit" if one.limit else "the limit"
        )
        print(f"  {one.name:16} {middle:5.1%}  ({min(values):.1%} to {max(values):.1%})  {of_limit}")


if __name__ == "__main__":
    main()
