"""Payload bytes a second onto an AVR, ours beside avrdude: python -m tests.benchmarks.flash_rate_avr [BYTES].

The same emulated ATmega328P with Debian's optiboot for both, on the same pseudo-terminal, bytes paced as at 115200
baud. Both write and then read back every byte; the share is of what the line could carry in one direction, ten bits
a byte. The ceiling is what the protocol's own bytes leave of it. Medians of several runs in turn.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devices.firmware.driver import Step
from devices.firmware.drivers.stk500 import Stk500
from devices.firmware.link import Line, SerialLink
from tests.support.emulated_avr import MEGA328P, EmulatedAvr, Workshop, emulated, missing
from tests.support.flashing import image

RUNS = 3
LINE = Line(115200)
# An address takes 6 bytes with its answer, a page or block 5 around it and 2 of answer. Ours reads two pages at once.
CEILINGS = {"ours": (128 / 141, 256 / 269), "avrdude": (128 / 141, 128 / 141)}

Times = tuple[float, float, float]  # seconds: writing, reading back, all with entering the bootloader


def ours(board: EmulatedAvr, payload: bytes) -> Times:
    """Our driver, from opening the port to its close."""
    reached: dict[Step, list[float]] = {}
    begun = time.perf_counter()
    driver = Stk500(SerialLink(board.pty, LINE), boot=MEGA328P.boot)
    whole = image(len(payload))
    driver.identify()
    at = time.perf_counter()

    def told(step: Step, _done: int, _whole: int) -> None:
        reached.setdefault(step, []).append(time.perf_counter())

    driver.write(whole, told)
    driver.verify(whole, told)
    driver.boot(whole)
    driver.close()
    written = reached[Step.WRITE][-1]
    return written - at, reached[Step.VERIFY][-1] - written, time.perf_counter() - begun


def avrdude(board: EmulatedAvr, payload: bytes) -> Times:
    """Debian's avrdude, from its start to its end; its own figures for the two steps."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(payload)
        file.flush()
        words = ["avrdude", "-c", "arduino", "-p", MEGA328P.avrdude, "-P", board.pty, "-b", str(LINE.baud), "-D"]
        begun = time.perf_counter()
        done = subprocess.run(
            [*words, "-U", f"flash:w:{file.name}:r"], capture_output=True, text=True, check=True, timeout=300
        )
        took = time.perf_counter() - begun
    written, read = re.findall(r"\| 100% ([\d.]+)s", done.stderr)
    return float(written), float(read), took


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    lacks = missing() or ("" if shutil.which("avrdude") else "avrdude is not installed")
    if lacks:
        print(f"flash_rate_avr: {lacks}; nothing was measured")
        return
    payload = image(size).payload
    found: dict[str, list[Times]] = {"ours": [], "avrdude": []}
    with tempfile.TemporaryDirectory() as folder, emulated(Workshop(Path(folder)), MEGA328P) as board:
        for _ in range(RUNS):
            found["ours"].append(ours(board, payload))
            found["avrdude"].append(avrdude(board, payload))
            if board.flash()[:size] != payload:
                raise SystemExit("flash_rate_avr: the board does not hold the image")
    print(f"{size} bytes onto optiboot (ATmega328P, emulated) at {LINE.baud} baud, median of {RUNS}")
    for name, times in found.items():
        write_s, read_s, all_s = (statistics.median(column) for column in zip(*times, strict=True))
        shares = (size * LINE.byte_s / seconds for seconds in (write_s, read_s))
        said = (f"{share:4.0%} of {ceiling:3.0%}" for share, ceiling in zip(shares, CEILINGS[name], strict=True))
        print(f"{name:8} write {next(said)}  read back {next(said)}  in all {all_s:5.1f} s")


if __name__ == "__main__":
    main()
