"""`python -m tests.benchmarks.tcp_loggers`: many loggers at once on the TCP listener, each one packet a second.

The listener is the real role in a process of its own; the loggers share another, which costs about as much CPU as the
listener does. Prints how many packets each logger had acknowledged, how long that took, and what it cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import resource
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.demo.score import percentiles
from devices.codecs.hj212.frame import build
from ingest.journal import Journal
from tests.scenarios.test_tcp_loggers import ROLE, city, listen
from tests.support.logger import PASSWORD
from tests.support.system import System

_CP = (
    "DataTime={time};w01018-Rtd=235.292,w01018-Flag=N;w21003-Rtd=34.414,w21003-Flag=N;"
    "w21011-Rtd=3.484,w21011-Flag=N;w01001-Rtd=7.152,w01001-Flag=N"
)


@dataclass(slots=True)
class Crowd:
    """What all loggers saw together; `latency` in seconds."""

    acked: dict[str, int] = field(default_factory=dict)
    latency: list[float] = field(default_factory=list)
    sent: int = 0
    lost: int = 0


class Member(asyncio.Protocol):
    """One logger: it counts CN=9014 and does nothing else with what it receives."""

    def __init__(self, mn: str, crowd: Crowd) -> None:
        self.mn = mn
        self.crowd = crowd
        self.waiting: dict[bytes, float] = {}
        self.rest = b""
        self.transport: asyncio.Transport | None = None
        crowd.acked[mn] = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None

    def data_received(self, data: bytes) -> None:
        *whole, self.rest = (self.rest + data).split(b"\r\n")
        now = time.perf_counter()
        for line in whole:
            at = line.find(b"QN=")
            sent = self.waiting.pop(line[at + 3 : at + 20], None)
            if sent is not None:
                self.crowd.acked[self.mn] += 1
                self.crowd.latency.append(now - sent)

    def send(self, number: int) -> None:
        if self.transport is None:
            self.crowd.lost += 1
            return
        qn = f"20260105{number:09d}"
        cp = _CP.format(time="20260105140000")
        raw = build(qn=qn, st="32", cn="2011", pw=PASSWORD, mn=self.mn, flag=5, cp=cp)
        self.waiting[qn.encode()] = time.perf_counter()
        self.crowd.sent += 1
        self.transport.write(raw)


async def speak(member: Member, seconds: float, offset: float) -> None:
    """One packet a second, at a moment of the second of its own."""
    loop = asyncio.get_running_loop()
    due, number = loop.time() + offset, 0
    end = due + seconds
    while due < end:
        await asyncio.sleep(max(0.0, due - loop.time()))
        number += 1
        member.send(number)
        due += 1.0


async def crowd_of(system: System, mns: list[str], seconds: float) -> tuple[Crowd, float]:
    """Connect all, speak, and wait for the last answers; also the seconds that connecting took."""
    crowd, loop = Crowd(), asyncio.get_running_loop()
    started = time.perf_counter()
    members = []
    for mn in mns:
        _, member = await loop.create_connection(
            lambda mn=mn: Member(mn, crowd), "127.0.0.1", system.settings.tcp.port
        )
        members.append(member)
    connected = time.perf_counter() - started
    chance = random.Random(1)
    await asyncio.gather(*(speak(one, seconds, chance.random()) for one in members))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while any(one.waiting for one in members):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    for one in members:
        if one.transport is not None:
            one.transport.close()
    return crowd, connected


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loggers", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, given.loggers + 500)), hard))
    mns = [f"{number:024X}" for number in range(given.loggers)]
    with tempfile.TemporaryDirectory(prefix="undercity-bench-") as folder:
        system = city(Path(folder), mns, per_address=given.loggers, max_connections=given.loggers + 100)
        listen(system)
        process = psutil.Process(system.pid(ROLE))
        idle_mb = process.memory_info().rss / 1e6
        before, started = sum(process.cpu_times()[:2]), time.perf_counter()
        mine = time.process_time()
        try:
            crowd, connecting = asyncio.run(crowd_of(system, mns, given.seconds))
            took = time.perf_counter() - started
            used = sum(process.cpu_times()[:2]) - before
            rss_mb = process.memory_info().rss / 1e6
            status = system.status(ROLE)
            system.stop()
        finally:
            system.close()
        report(crowd, given.loggers, given.seconds, connecting)
        print(
            f"listener: {used / took * 100:.0f} % of one core, {used / max(1, crowd.sent) * 1e6:.0f} us/packet, "
            f"RSS {rss_mb:.0f} MB ({idle_mb:.0f} MB before anybody came)"
        )
        print(f"loggers' own process: {(time.process_time() - mine) / took * 100:.0f} % of one core")
        print(
            f"commits: {status['commits']:.0f}, {status['received'] / status['commits']:.1f} packets each; "
            f"slowed {status['slowed']:.0f}, refused {status['refused']:.0f}"
        )
        journal = Journal(system.settings.journal_path, read_only=True)
        size, held = journal.stats().bytes_on_disk, journal.stats().deliveries
        journal.close()
        print(f"journal: {held} records, {size / held:.0f} bytes each on disk")


def report(crowd: Crowd, loggers: int, seconds: float, connecting: float) -> None:
    """What the loggers saw."""
    counts = sorted(crowd.acked.values())
    p50, p99 = percentiles(crowd.latency) or (0.0, 0.0)
    worst = max(crowd.latency, default=0.0)
    size = len(
        build(qn="2" * 17, st="32", cn="2011", pw=PASSWORD, mn="0" * 24, flag=5, cp=_CP.format(time="2" * 14))
    )
    print(f"{loggers} loggers, one packet of {size} bytes a second each, {seconds:g} s, {os.cpu_count()} cores")
    print(f"connected in {connecting:.1f} s; sent {crowd.sent}, acknowledged {sum(counts)}, unsent {crowd.lost}")
    print(f"acknowledged per logger: least {counts[0]}, most {counts[-1]}")
    print(f"answer behind the commit: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, worst {worst * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
