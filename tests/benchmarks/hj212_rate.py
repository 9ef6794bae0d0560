"""HJ 212 packets decoded a second, on one core: python -m tests.benchmarks.hj212_rate [PACKETS].

No independent HJ 212 implementation for Python is published, so beside ours stands the plainest reading of the
standard: a checksum loop over bits, then everything split at its marks. Medians of several runs in turn.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from devices.codecs import Context
from devices.codecs.hj212 import CODEC, values
from devices.codecs.hj212.frame import build
from devices.codecs.hj212.moments import request_number, stamp

RUNS = 7
LOGGERS = 2000
START_US = 1_767_600_000_000_000
CONTEXT = Context(received_us=START_US)
BEIJING = timezone(timedelta(hours=8))


def packets(count: int) -> list[bytes]:
    """Packets of about 200 bytes, each logger once a second, every value different; one in a hundred in maintenance."""
    chance = random.Random(1)  # the same packets every time
    made = []
    for i in range(count):
        now_us = START_US + i // LOGGERS * 1_000_000
        flag = "M" if chance.random() < 0.01 else "N"
        items = (
            f"{name}-Rtd={chance.uniform(1, 500):.3f},{name}-Flag={flag}"
            for name in ("w01018", "w21003", "w21011")
        )
        cp = f"DataTime={stamp(now_us)};{';'.join(items)}"
        qn, mn = request_number(now_us), f"{i % LOGGERS:024X}"
        made.append(build(qn=qn, st="32", cn="2011", pw="123456", mn=mn, flag=5, cp=cp))
    return made


def plain(packet: bytes) -> tuple[str, float, dict[str, float], dict[str, str]]:
    """One packet as the standard describes it, step by step: MN, time, values, flags."""
    size = int(packet[2:6])
    segment = packet[6 : 6 + size]
    check = 0xFFFF
    for byte in segment:
        check = (check >> 8) ^ byte
        for _ in range(8):
            check = check >> 1 ^ (0xA001 if check & 1 else 0)
    if check != int(packet[6 + size : 10 + size], 16):
        raise ValueError(packet)
    head, _, cp = segment.decode().partition("CP=&&")
    fields = dict(field.split("=") for field in head.rstrip(";").split(";"))
    found: dict[str, str] = {}
    for item in cp.removesuffix("&&").split(";"):
        for part in item.split(","):
            name, _, value = part.partition("=")
            found[name] = value
    moment = datetime.strptime(found.pop("DataTime"), "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
    flags = {name: value for name, value in found.items() if name.endswith("-Flag")}
    numbers = {name: float(value) for name, value in found.items() if not name.endswith("-Flag")}
    return fields["MN"], moment.timestamp(), numbers, flags


def unknown(packet: bytes) -> object:
    """Ours, for names that were never seen before."""
    values._shapes.clear()
    return CODEC.decode(packet, CONTEXT)


def rate(work: Callable[[bytes], object], load: list[bytes]) -> float:
    """Packets a second of CPU time."""
    started = time.process_time()
    for packet in load:
        work(packet)
    return len(load) / (time.process_time() - started)


def main() -> None:
    """Print the table."""
    load = packets(int(sys.argv[1]) if len(sys.argv) > 1 else 40_000)
    size = statistics.mean(map(len, load))
    ways: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
        "CODEC.decode": (lambda packet: CODEC.decode(packet, CONTEXT), load),
        "CODEC.decode, names never seen": (unknown, load[: len(load) // 4]),
        "the standard step by step": (plain, load[: len(load) // 20]),
    }
    runs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, (work, share) in ways.items():
            runs[name].append(rate(work, share))
    print(f"{len(load)} packets of {size:.0f} bytes, {LOGGERS} loggers, median (least to most) of {RUNS} runs")
    for name, rates in runs.items():
        print(f"{name:32} {statistics.median(rates):9,.0f}/s  ({min(rates):,.0f} to {max(rates):,.0f})")


if __name__ == "__main__":
    main()
