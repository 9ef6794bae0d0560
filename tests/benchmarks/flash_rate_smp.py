"""Payload bytes a second over SMP, ours beside smpclient's own transport: python -m tests.benchmarks.flash_rate_smp.

The same simulated board on the same paced pseudo-terminal for both. SMP over a console carries base64 in lines, so
three of four bytes are payload at best, and the next chunk waits for the answer to the last: the board's buffer says
how often. Shares are of what the line could carry in one direction, ten bits a byte. Medians of several runs in turn.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable

from smpclient import SMPClient
from smpclient.transport.serial import SMPSerialTransport

from devices.firmware.drivers.smp import OPTIONS, SmpDriver
from devices.firmware.link import Line, SerialLink
from devices.firmware.mcuboot import image
from devices.firmware.options import Options
from devices.simulator.boards.serving import serve_pty
from devices.simulator.boards.smp import Build, SmpBoard
from tests.support.mcuboot import maker_key, mcuboot_image

RUNS = 3
BAUDS = (115200, 921600)
BUFFERS = (384, 1024, 2048)


def ours(url: str, line: Line, content: bytes) -> float:
    """Our driver, seconds from the first chunk to the last answer."""
    key = maker_key().public
    driver = SmpDriver(SerialLink(url, line), key, Options("smp", {}, OPTIONS))
    what = image(content, key, name="gw.bin", board="GW-10", revisions=["B"])
    driver.identify()
    begun = time.perf_counter()
    driver.write(what, lambda *_: None)
    took = time.perf_counter() - begun
    driver.close()
    return took


def smpclient(url: str, line: Line, content: bytes) -> float:
    """The upload of smpclient over its own serial transport."""

    async def uploaded() -> float:
        async with SMPClient(SMPSerialTransport(baudrate=line.baud), url) as client:
            begun = time.perf_counter()
            async for _ in client.upload(content):
                pass
            return time.perf_counter() - begun

    return asyncio.run(uploaded())


def measured(upload: Callable[[str, Line, bytes], float], baud: int, buffer: int, content: bytes) -> float:
    """Share of the line."""
    line, old = Line(baud), mcuboot_image(version="1.0.0")
    board = SmpBoard(old, Build(buffer=buffer, slot=len(content)))
    with serve_pty(board, line) as served:
        took = upload(served.url, line, content)
    if bytes(board.slots[1]) != content:
        raise SystemExit("flash_rate_smp: the board does not hold the image")
    return len(content) * line.byte_s / took


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    content = mcuboot_image(body=bytes(range(1, 251)) * (size // 250))
    print(f"{len(content)} bytes over SMP on a paced line, median of {RUNS}; base64 leaves 75 % at most")
    for baud in BAUDS:
        for buffer in BUFFERS:
            found: list[tuple[float, float]] = [
                (measured(ours, baud, buffer, content), measured(smpclient, baud, buffer, content))
                for _ in range(RUNS)
            ]
            mine, theirs = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{baud:7} baud, buffer {buffer:5}: ours {mine:4.0%} of the line, smpclient {theirs:4.0%}")


if __name__ == "__main__":
    main()
