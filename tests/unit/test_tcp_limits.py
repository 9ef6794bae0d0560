"""The listener's limits on real sockets: floods, silence, halves, deaf ears."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from devices.fleet import Entry
from ingest.journal import REFUSED, TCP_LINK, TCP_TICK
from ingest.tcp_settings import TcpError, TcpSettings
from tests.support.listening import closed, entry, listening, play, raw_link
from tests.support.logger import SimulatedLogger, packet
from tests.support.system import until

A, B = "010000A8900016F000169DC0", "B2"


def test_connections_above_the_limits_are_turned_away(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), max_connections=3) as run:
        links = [raw_link(run) for _ in range(5)]
        until(lambda: run.stats.turned_away == 2, "two to be turned away")
        until(lambda: run.stats.connections == 3, "three to stay")
        links[0].close()
        until(lambda: run.stats.connections == 2, "a place to be free")
        links.append(raw_link(run))
        until(lambda: run.stats.connections == 3, "the next to be let in")
        for link in links:
            link.close()
    with listening(tmp_path, entry(A), per_address=1) as run, raw_link(run), raw_link(run):
        until(lambda: run.stats.turned_away == 1, "the second of one address to be turned away")


def test_a_flood_is_slowed_and_then_closed_and_others_are_served_meanwhile(tmp_path: Path) -> None:
    limits = {"packets_per_s": 5, "flood_s": 1.0, "unanswered_max": 1000}
    with listening(tmp_path, entry(A), entry(B), **limits) as run:

        async def part() -> None:
            async with (
                SimulatedLogger(A, run.port).connected() as flood,
                SimulatedLogger(B, run.port).connected() as calm,
            ):
                many = b"".join(packet(A, number) for number in range(900))
                flood.write(many * 20)
                calm.send()
                await calm.until(lambda: bool(calm.answers), "an answer in spite of it", within_s=3)
                await flood.until_closed(20)
                # It was read for one burst and little more, not for as much as it sent.
                assert run.stats.received < 1000

        play(part())
        assert run.stats.slowed > 0
        assert run.stats.closed_by_us == 1


def test_a_burst_after_a_silence_is_taken_as_a_whole(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), packets_per_s=5) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                for _ in range(40):
                    one.send()
                await one.until(lambda: len(one.answers) == 40, "every answer")

        play(part())
        assert run.stats.slowed == 0


@pytest.mark.parametrize(
    ("settings", "sends", "reason"),
    [
        ({"identify_s": 1.0}, b"", "no packet for 1 s"),
        ({"idle_s": 1.0, "identify_s": 50}, packet(A, 1), "no packet for 1 s"),
        ({"half_packet_s": 0.6}, packet(A, 1)[:40], "the rest of a packet has not come for 0.6 s"),
    ],
)
def test_who_says_nothing_more_is_closed(
    tmp_path: Path, settings: dict[str, float], sends: bytes, reason: str
) -> None:
    with capture_logs() as logs, listening(tmp_path, entry(A), **settings) as run, raw_link(run) as link:
        link.sendall(sends)
        assert closed(link)
    assert [one["reason"] for one in logs if one["event"] == "connection_closed"] == [reason]


@pytest.mark.parametrize("hands_are_full", [False, True])
def test_who_waits_for_the_journal_is_not_idle(tmp_path: Path, *, hands_are_full: bool) -> None:
    commit = {"commit_max_messages": 1} if hands_are_full else {}
    with listening(tmp_path, entry(A), idle_s=1.0, half_packet_s=1.0, **commit) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                until(lambda: len(run.records()) == 1, "the beginning")
                run.journal.gate.clear()
                cut = 40 if hands_are_full else 0  # else half a packet is the logger's own affair
                one.write(b"".join(packet(A, number) for number in range(1, 9)) + packet(A, 9)[:cut])
                await asyncio.sleep(1.6)
                run.journal.gate.set()
                one.write(packet(A, 9)[cut:])
                await one.until(lambda: len(one.answers) == 9, "every answer")
                assert one.answers == sorted(one.answers)

        play(part())


def test_half_a_packet_that_drips_is_closed_too(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), half_packet_s=0.6) as run, raw_link(run) as link:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in packet(A, 1)[:-3]:
                link.sendall(bytes([byte]))
                time.sleep(0.02)
                if run.stats.closed_by_us:
                    break
        until(lambda: run.stats.closed_by_us == 1, "it to be closed")
        assert time.monotonic() - started < 3


def test_a_logger_that_never_reads_our_answers_is_not_read_either_and_closed(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), write_timeout_s=0.6, packets_per_s=10_000, unanswered_max=1000) as run:
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        link.connect(("127.0.0.1", run.port))
        link.settimeout(0.5)
        many = b"".join(packet(A, number) for number in range(900))
        with contextlib.suppress(OSError):
            for _ in range(400):
                link.sendall(many)
        until(lambda: run.stats.closed_by_us == 1, "it to be closed")
        link.close()


def test_garbage_floods_write_few_records(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), refused_per_s=0.5, strangers_max=1000, faults_max=1000) as run:
        with raw_link(run) as link:
            link.sendall(packet("FEED", 1) * 200)
            until(lambda: run.stats.refused == 200, "all to be refused")
        assert len(run.controls(REFUSED)) <= 6
        assert run.stats.unrecorded >= 194


def test_time_passes_in_the_journal_while_nobody_speaks(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), tick_s=0.1) as run:
        until(lambda: len(run.controls(TCP_TICK)) >= 3, "ticks")
    assert run.controls(TCP_LINK) == [b"up", b"down"]


def test_without_loggers_there_is_no_silence_to_record(tmp_path: Path) -> None:
    with listening(tmp_path, Entry("c1", "manhole_cover"), tick_s=0.1) as run:
        time.sleep(0.7)
        assert run.controls(TCP_TICK) == []


@pytest.mark.parametrize(("name", "value"), [("port", 70_000), ("tries", 0), ("packets_per_s", 0), ("bind", "")])
def test_a_setting_out_of_bounds_is_refused(name: str, value: object) -> None:
    with pytest.raises(TcpError, match=f"tcp.{name}: expected"):
        TcpSettings(**{name: value})  # type: ignore[arg-type]
