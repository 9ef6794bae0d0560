"""How many CJ/T 188 replies one core decodes in a second.

Run: `python -m tests.benchmarks.cjt188_rate [--frames N]`. One row per form: frames per second, and microseconds per
frame, median of five rounds. Decoding only: bytes in memory to samples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from devices.codecs import Context
from devices.codecs.cjt188 import CODEC

VECTORS = Path(__file__).parents[1] / "vectors" / "cjt188.json"
ROUNDS = 5
AIM = 30_000


def frames() -> dict[str, bytes]:
    """One published reply per form."""
    found: dict[str, bytes] = {}
    for vector in json.loads(VECTORS.read_text("utf-8")):
        if vector["crc_verified"] and vector["expected"] is not None:
            found.setdefault(vector["layout"].partition(":")[0], bytes.fromhex(vector["hex"]))
    return found


def rate(frame: bytes, count: int) -> float:
    """Frames decoded per second, median of the rounds."""
    context = Context(received_us=1_767_600_000_000_000)
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            CODEC.decode(frame, context)
        rounds.append(count / (time.perf_counter() - started))
    return statistics.median(rounds)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--frames", type=int, default=20_000)
    count = arguments.parse_args().frames
    print(f"{'form':<32} {'frames/s':>10} {'us/frame':>10}   (aim {AIM})")
    for name, frame in frames().items():
        speed = rate(frame, count)
        print(f"{name:<32} {speed:10.0f} {1e6 / speed:10.2f}")


if __name__ == "__main__":
    main()
