"""HJ 212 loggers against the real process: killed at random moments, on a full disk, asked from the command line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from deploy.wiring import open_database
from devices.codecs.hj212.frame import parse
from devices.registry import Device
from ingest.journal import Journal
from ingest.quarantine import Quarantine
from tests.support.logger import PASSWORD, SimulatedLogger, data
from tests.support.system import System, until

pytestmark = pytest.mark.scenario
ROLE = "ingest-tcp"
MN = "010000A8900016F000169DC0"
_KILLS = 3


def city(folder: Path, mns: list[str], **tcp: object) -> System:
    """A system whose listener waits for these loggers; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    extra: Mapping[str, Mapping[str, object]] = {"tcp": {"port": port, "bind": "127.0.0.1", **tcp}}
    system = System(folder, 9, extra)
    system.register(
        Device(
            id=f"inflow-{number}",
            kind="sewage_inflow",
            district="pudong",
            codec="hj212",
            address=mn,
            settings={"password": PASSWORD},
        )
        for number, mn in enumerate(mns)
    )
    return system


def listen(system: System) -> None:
    before = system.log(ROLE).count("tcp_listening")
    system.start(ROLE)
    until(lambda: system.log(ROLE).count("tcp_listening") > before, "the listener")


def journalled(system: System) -> Counter[str]:
    """QN of every packet in the journal."""
    found: Counter[str] = Counter()
    journal = Journal(system.settings.journal_path, read_only=True)
    try:
        offset = journal.start()
        while blocks := journal.read(offset, limit=1000):
            for block in blocks:
                found.update(
                    parse(raw).qn
                    for topic, raw in zip(block.topics, block.payloads, strict=True)
                    if topic[0] != "$"
                )
            offset = blocks[-1].next
    finally:
        journal.close()
    return found


async def persist(one: SimulatedLogger, done: asyncio.Event) -> None:
    """A logger that goes on through every loss of its connection."""
    while not done.is_set():
        try:
            async with one.connected():
                while not one.closed.is_set() and not done.is_set():
                    one.send(cp=data(one.sent % 60))
                    await asyncio.sleep(0.005)
        except OSError:
            await asyncio.sleep(0.02)


def test_killed_at_random_moments_whatever_was_acknowledged_is_in_the_journal(tmp_path: Path) -> None:
    mns = [f"{MN[:-2]}{number:02d}" for number in range(20)]
    system, chance = city(tmp_path, mns, packets_per_s=1000), random.Random(7)
    loggers = [SimulatedLogger(mn, system.settings.tcp.port) for mn in mns]

    async def play() -> None:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for one in loggers:
                group.create_task(persist(one, done))
            for _ in range(_KILLS):
                before = sum(len(one.answers) for one in loggers)
                async with asyncio.timeout(20):
                    while sum(len(one.answers) for one in loggers) < before + 300:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                await asyncio.sleep(chance.uniform(0, 0.3))  # the moment is random, not waited for
                await asyncio.to_thread(system.kill, ROLE)
                await asyncio.to_thread(listen, system)
            done.set()

    try:
        listen(system)
        asyncio.run(play())
        system.stop()
    finally:
        system.close()
    found = journalled(system)
    # Each logger numbers its packets by itself.
    acked = Counter(qn for one in loggers for qn in set(one.answers))
    assert sum(acked.values()) > 300 * _KILLS
    assert not acked - found, "acknowledged, but not in the journal"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A system's folder whose data folder is a file system of 6 MB."""
    data_folder = tmp_path / "data"
    data_folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(data_folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk needs root and the right to mount")
    yield tmp_path
    subprocess.run(["umount", str(data_folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on `disk`; the file that takes it."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return ballast


def test_on_a_full_disk_nothing_is_acknowledged_until_there_is_room(small_disk: Path) -> None:
    system = city(small_disk, [MN], packets_per_s=1000)

    async def play() -> None:
        async with SimulatedLogger(MN, system.settings.tcp.port).connected() as one:
            one.send()
            await one.until(lambda: len(one.answers) == 1, "an answer while there is room")
            ballast = fill(small_disk / "data")
            while "journal_full" not in system.log(ROLE):
                one.send()
                await asyncio.sleep(0.01)
            acked, more = len(one.answers), [one.send() for _ in range(10)]
            await asyncio.sleep(1.0)
            assert len(one.answers) == acked
            assert not one.closed.is_set()
            ballast.unlink()
            await one.until(lambda: set(more) <= set(one.answers), "every answer once there is room", within_s=20)
            assert len(one.answers) == one.sent

    try:
        listen(system)
        asyncio.run(play())
        system.stop()
        assert system.log(ROLE).count("journal_recovered") == 1
        found = journalled(system)
        assert set(found.values()) == {1}
    finally:
        system.close()


def command(system: System, *words: str) -> subprocess.CompletedProcess[str]:
    """`undercity logger ...`, as a person calls it."""
    line = [sys.executable, "-m", "deploy", "logger", *words, "--config", str(system.config)]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)


def test_a_logger_is_listed_set_and_asked_for_the_past_from_the_command_line(tmp_path: Path) -> None:
    history = [datetime(2026, 1, 5, 14, minute) for minute in range(60)]  # noqa: DTZ001  loggers know no zones
    system = city(tmp_path, [MN, "B2"], execute_timeout_s=5, reply_timeout_s=0.5)

    async def run(*words: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(command, system, *words)
        return done.returncode, done.stdout, done.stderr

    async def play() -> None:
        one = SimulatedLogger(MN, system.settings.tcp.port, clock_off=timedelta(hours=-2), history=history)
        async with one.connected():
            one.send()
            await one.until(lambda: len(one.answers) == 1, "an answer")
            code, out, _ = await run("list")
            assert code == 0
            assert "2 loggers registered, 1 connected" in out
            code, out, _ = await run("set-clock", "inflow-0")
            assert (code, out.splitlines()[-1]) == (0, "inflow-0: ExeRtn=1: done, 执行成功")
            assert abs(one.clock_off) < timedelta(seconds=3)
            code, out, _ = await run("backfill", MN, "--from", "2026-01-05T14:10", "--to", "2026-01-05T14:29")
            assert (code, out.splitlines()[-1]) == (0, f"{MN}: ExeRtn=1: done, 执行成功; 20 packets of data came")
            code, _, err = await run("set-clock", "B2")
            assert (code, err) == (1, "undercity: B2: inflow-1 is not connected; nothing was sent\n")

    try:
        listen(system)
        asyncio.run(play())
        system.stop()
        done = command(system, "time", MN)
        assert done.returncode == 1
        assert "it does not run" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    finally:
        system.close()
    assert PASSWORD not in system.log(ROLE)


def test_what_loggers_send_is_stored_and_what_is_refused_is_in_quarantine(tmp_path: Path) -> None:
    system = city(tmp_path, [MN])

    async def play() -> None:
        port = system.settings.tcp.port
        async with SimulatedLogger(MN, port).connected() as one:
            now = datetime.now().replace(second=0)  # noqa: DTZ005  only its form matters
            for minute in range(5):
                shown = now - timedelta(minutes=minute)
                one.send(cp=f"DataTime={shown:%Y%m%d%H%M%S};w01018-Rtd=235.3,w01018-Flag=N")
            await one.until(lambda: len(one.answers) == 5, "answers")
        async with SimulatedLogger("FEED0001", port).connected() as stranger:
            stranger.send()
            await asyncio.to_thread(until, lambda: system.status(ROLE).get("refused") == 1, "the refusal")
        async with SimulatedLogger(MN, port, password="754321").connected() as thief:
            thief.send()
            await thief.until_closed()

    try:
        system.start("processor")
        listen(system)
        asyncio.run(play())
        until(lambda: system.status("processor").get("refused", 0) >= 2, "the refusals to arrive")
        until(lambda: system.status("processor").get("rows", 0) >= 5, "the readings to arrive")
        system.stop()
    finally:
        system.close()
    database = open_database(system.settings)
    try:
        held = Quarantine(database).find()
    finally:
        database.dispose()
    reasons = sorted(one.reason for one in held)
    assert any("FEED0001: not registered with codec hj212" in reason for reason in reasons)
    assert any("expected the password of inflow-0" in reason for reason in reasons)
    assert all(b"754321" not in one.payload for one in held)
    assert "754321" not in system.log(ROLE) + system.log("processor")


def test_a_role_without_its_port_is_refused_in_one_line(tmp_path: Path) -> None:
    system = System(tmp_path, 9)
    line = [sys.executable, "-m", "deploy", "run", "--role", ROLE, "--config", str(system.config)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.endswith("role ingest-tcp: expected tcp.port to be set, it is 0; nothing was started\n")
