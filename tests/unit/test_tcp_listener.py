"""The listener on real sockets: who is known, who is answered, and when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from devices.codecs.hj212.checksum import crc
from ingest.errors import JournalFull
from ingest.journal import REFUSED
from ingest.tcp_settings import TcpError
from tests.support.listening import entry, listening, play, raw_link
from tests.support.logger import SimulatedLogger, data, packet
from tests.support.system import until

A, B = "010000A8900016F000169DC0", "B2"


def test_a_packet_is_in_the_journal_before_it_is_answered(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                run.journal.gate.clear()
                qn = one.send()
                await asyncio.sleep(0.3)
                assert one.answers == []
                run.journal.gate.set()
                await one.until(lambda: one.answers == [qn], "the answer")
                assert run.packets() == [packet(A, 1).rstrip()]

        play(part())
        assert run.records()[1].topic == f"hj212/{A}/up"


def test_a_failed_append_is_not_answered_and_the_connection_stays(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run, capture_logs() as logs:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                until(lambda: len(run.records()) == 1, "the beginning")
                run.journal.failure = JournalFull("no space")
                one.send()
                await asyncio.sleep(0.5)
                assert one.answers == []
                assert not one.closed.is_set()
                until(lambda: run.stats.journal_full, "the heartbeat to say so")
                run.journal.failure = None
                await one.until(lambda: len(one.answers) == 1, "the answer after all")

        play(part())
        until(lambda: not run.stats.journal_full, "the heartbeat to say that it is over")
    assert [one["event"] for one in logs if one["event"].startswith("journal")] == [
        "journal_full",
        "journal_recovered",
    ]


def test_while_the_journal_takes_nothing_connections_are_not_read(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), commit_max_messages=5, packets_per_s=10_000, unanswered_max=1000) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                until(lambda: len(run.records()) == 1, "the beginning")
                run.journal.gate.clear()
                sent = []
                for _ in range(300):  # in small pieces, so that the listener could stop in between
                    sent.append(one.send())
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.3)
                assert run.stats.received < 150
                run.journal.gate.set()
                await one.until(lambda: one.answers == sent, "every answer, in order")

        play(part())


def test_split_packets_are_answered_one_by_one(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                sent = [one.send(flag=7) for _ in range(3)]
                await one.until(lambda: one.answers == sent, "three answers")

        play(part())


def test_nobody_is_answered_who_did_not_ask(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                one.send(flag=4)
                one.send(flag=4, cn="9015", cp="")
                last = one.send(flag=5)
                await one.until(lambda: bool(one.answers), "an answer")
                assert one.answers == [last]

        play(part())
        assert len(run.packets()) == 3


def test_a_heartbeat_and_a_login_are_answered_as_notices(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                one.send(cn="9021", cp="")
                one.send(cn="9015", cp="", flag=9)
                await one.until(lambda: len(one.answers) == 2, "two answers")
                assert [(x.cn, x.flag) for x in one.answer_frames] == [("9013", 4), ("9013", 8)]

        play(part())


def test_a_packet_that_cannot_be_answered_harms_nobody_else(tmp_path: Path) -> None:
    segment = f"QN=2026#1;ST=32;CN=2011;PW=123456;MN={A};Flag=5;CP=&&{data()}&&".encode()
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                one.write(b"##%04d%b%04X\r\n" % (len(segment), segment, crc(segment)))
                qn = one.send()
                await one.until(lambda: one.answers == [qn], "an answer to the next one")

        play(part())
        assert len(run.packets()) == 2


def test_a_stranger_gets_no_answer_and_is_sent_away(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), strangers_max=2) as run:

        async def part() -> None:
            async with SimulatedLogger("FEED", run.port).connected() as one:
                one.send()
                one.send()
                await one.until_closed()
                assert one.answers == []

        play(part())
        until(lambda: len(run.controls(REFUSED)) == 2, "both records")
        refused = [msgspec.json.decode(one) for one in run.controls(REFUSED)]
        assert [one["topic"] for one in refused] == ["hj212/FEED/up"] * 2
        assert run.packets() == []


def test_a_wrong_password_closes_and_stands_nowhere(tmp_path: Path) -> None:
    with capture_logs() as logs, listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port, password="754321").connected() as one:
                one.send()
                await one.until_closed()
                assert one.answers == []

        play(part())
        until(lambda: len(run.controls(REFUSED)) == 1, "the record")
        assert b"754321" not in b"".join(one.payload for one in run.records())
    assert "754321" not in repr(logs)
    assert "123456" not in repr(logs)


def test_a_registry_change_is_noticed_by_those_already_connected(tmp_path: Path) -> None:
    with listening(tmp_path, strangers_max=1000) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                one.send()
                until(lambda: run.stats.refused == 1, "the refusal")
                run.registry.put(entry(A))
                while not one.answers:
                    one.send()
                    await asyncio.sleep(0.05)
                run.registry.put()
                before = run.stats.refused
                while run.stats.refused == before:
                    one.send()
                    await asyncio.sleep(0.05)

        play(part())


def test_a_registry_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    with capture_logs() as logs, listening(tmp_path, entry(A)) as run:
        run.registry.broken = True
        until(lambda: any(one["event"] == "registry_unreadable" for one in logs), "the warning")

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                one.send()
                await one.until(lambda: bool(one.answers), "an answer")

        play(part())
    assert sum(one["event"] == "registry_unreadable" for one in logs) == 1


def test_of_two_connections_of_one_logger_the_newest_stays(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), entry(B)) as run:

        async def part() -> None:
            async with (
                SimulatedLogger(A, run.port).connected() as old,
                SimulatedLogger(A, run.port).connected() as new,
            ):
                old.send()
                await old.until(lambda: len(old.answers) == 1, "an answer to the old one")
                new.send()
                await new.until(lambda: len(new.answers) == 1, "an answer to the new one")
                await old.until_closed()
                async with SimulatedLogger(B, run.port).connected() as other:
                    other.send()
                    await other.until(lambda: len(other.answers) == 1, "an answer to another")
                new.send()
                await new.until(lambda: len(new.answers) == 2, "the new one to stay")

        play(part())
        assert run.stats.taken_over == 1


def test_who_sends_and_closes_its_side_still_gets_the_answer(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run, raw_link(run) as link:
        link.sendall(packet(A, 1) + packet(A, 2))
        link.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := link.recv(4096):
            got += chunk
        assert got.count(b"CN=9014") == 2


def test_a_port_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(TcpError, match=f"tcp 127.0.0.1:{port}: expected a free address"),
            listening(tmp_path, port=port),
        ):
            pass


def test_a_stop_answers_what_is_in_hand(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with listening(tmp_path, entry(A)) as run:
            link = stack.enter_context(raw_link(run))
            until(lambda: len(run.records()) == 1, "the beginning")
            run.journal.gate.clear()
            link.sendall(packet(A, 1))
            until(lambda: run.stats.received == 1, "the packet")
        assert b"CN=9014" in link.recv(4096)
