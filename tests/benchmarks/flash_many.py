"""Eight boards at once beside one alone: `python -m tests.benchmarks.flash_many`.

Each board is an STM32's ROM bootloader behind a TCP port paced to 115200 baud, in a process of its own, so that the
boards' work is not the host's. The figure is the wall time of `flash --all` over that of the slowest board alone.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from devices.firmware.link import Line
from devices.simulator.boards.serving import serve_tcp
from devices.simulator.boards.stm32 import Rom, Stm32Board
from tests.support.bench import Bench

BOARDS = 8
BYTES = 48_000
ROUNDS = 3
WORDS = ("--board", "GW-STM", "--revision", "r1", "--bootloader", "stm32", "--report", "report.json")


def _serve(number: int, pipe: Connection) -> None:
    with serve_tcp(Stm32Board(Rom(unique_id=bytes([number]) * 12)), Line(115200, "E")) as served:
        pipe.send(served.url)
        while pipe.recv() == "reset":
            served.unplug(power_too=True)
            pipe.send("done")


@contextmanager
def _boards() -> Iterator[tuple[list[str], list[Connection]]]:
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for number in range(BOARDS):
        ours, theirs = spawn.Pipe()
        processes.append(spawn.Process(target=_serve, args=(number, theirs)))
        processes[-1].start()
        pipes.append(ours)
    try:
        yield [pipe.recv() for pipe in pipes], pipes
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.send("stop")
            process.join()


def _seconds(bench: Bench, bundle: str, urls: list[str], pipes: list[Connection]) -> float:
    for pipe in pipes:
        pipe.send("reset")
        pipe.recv()
    begun = time.perf_counter()
    process = bench.start("flash", bundle, "--all", "--ports", ",".join(urls), *WORDS)
    _, error = process.communicate(timeout=300)
    if process.returncode:
        raise SystemExit(error)
    return time.perf_counter() - begun


def main() -> None:
    """Print the ratio of each round, and the median."""
    payload = random.Random(8).randbytes(BYTES)
    with tempfile.TemporaryDirectory() as folder, _boards() as (urls, pipes):
        bench = Bench(Path(folder))
        bundle = bench.bundle(payload=payload, board="GW-STM", chip="stm32:0x413", base=0x0800_0000, boot="loader")
        ratios = []
        for _ in range(ROUNDS):
            alone = max(_seconds(bench, bundle, [url], pipes) for url in urls[:2])
            together = _seconds(bench, bundle, urls, pipes)
            ratios.append(together / alone)
            print(
                f"one alone {alone:.1f} s, {BOARDS} at once {together:.1f} s, ratio {ratios[-1]:.2f}", flush=True
            )
    print(
        f"{BOARDS} boards of {BYTES} bytes at 115200 baud: median ratio {statistics.median(ratios):.2f}, aim 1.10"
    )


if __name__ == "__main__":
    main()
