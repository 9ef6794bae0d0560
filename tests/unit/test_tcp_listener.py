"""The listener on real sockets: who may stay, who is answered when, and what silence costs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
import time
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from devices.codecs.hj212.checksum import crc
from devices.fleet import Entry
from ingest.errors import JournalFull
from ingest.journal import REFUSED, TICK
from ingest.tcp_desk import Line, Question, ask
from ingest.tcp_settings import TCP_LINK, TcpError, TcpSettings
from tests.support.listening import Listening, entry, listening
from tests.support.logger import SimulatedLogger, data, packet
from tests.support.system import until

A, B = "010000A8900016F000169DC0", "B2"


def play(part: Coroutine[Any, Any, None]) -> None:
    """Run one test's conversation, with an end."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await part

    asyncio.run(bounded())


def raw_link(run: Listening) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", run.port), timeout=10)
    link.settimeout(10)
    return link


def closed(link: socket.socket) -> bool:
    """Read until the listener closes; whether it did."""
    try:
        while link.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


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


def test_who_sends_and_closes_its_side_still_gets_the_answer(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run, raw_link(run) as link:
        link.sendall(packet(A, 1) + packet(A, 2))
        link.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := link.recv(4096):
            got += chunk
        assert got.count(b"CN=9014") == 2


def test_garbage_floods_write_few_records(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), refused_per_s=0.5, strangers_max=1000, faults_max=1000) as run:
        with raw_link(run) as link:
            link.sendall(packet("FEED", 1) * 200)
            until(lambda: run.stats.refused == 200, "all to be refused")
        assert len(run.controls(REFUSED)) <= 6
        assert run.stats.unrecorded >= 194


def test_time_passes_in_the_journal_while_nobody_speaks(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), tick_s=0.1) as run:
        until(lambda: len(run.controls(TICK)) >= 3, "ticks")
    assert run.controls(TCP_LINK) == [b"up", b"down"]


def test_without_loggers_there_is_no_silence_to_record(tmp_path: Path) -> None:
    with listening(tmp_path, Entry("c1", "manhole_cover"), tick_s=0.1) as run:
        time.sleep(0.7)
        assert run.controls(TICK) == []


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


def lines(run: Listening, **question: Any) -> list[Line]:
    return list(ask(run.desk, Question(**question), 10.0))


async def asked(run: Listening, **question: Any) -> list[Line]:
    return await asyncio.to_thread(lines, run, **question)


def test_the_desk_is_for_our_user_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:
        assert stat.S_IMODE(run.desk.stat().st_mode) == 0o600
    assert not run.desk.exists()
    with pytest.raises(TcpError, match=r"it does not run .*nothing was sent"):
        lines(run, ask="list")


def test_the_desk_lists_loggers_whether_connected_or_not(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), entry(B)) as run:

        async def part() -> None:
            async with SimulatedLogger(B, run.port).connected() as one:
                one.send()
                await one.until(lambda: bool(one.answers), "an answer")
                first, second, last = await asked(run, ask="list")
                assert first.row
                assert second.row
                assert (first.row.mn, first.row.peer, first.row.at_us) == (A, "", 0)
                assert (second.row.mn, second.row.packets, second.row.cn) == (B, 1, 2011)
                assert second.row.peer.startswith("127.0.0.1:")
                assert last.done

        play(part())


def test_a_clock_is_set_and_read_from_another_process(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port, clock_off=timedelta(hours=-3)).connected() as one:
                one.send()
                await one.until(lambda: bool(one.answers), "an answer")
                *_, late = await asked(run, ask="time", logger=f"dev-{A}")
                assert late.ok
                assert "s behind ours" in late.text
                *said, done = await asked(run, ask="clock", logger=A)
                assert (done.ok, done.text) == (True, "ExeRtn=1: done, 执行成功")
                assert said[0].say.startswith("try 1 of 3: CN=1012 sent")
                assert abs(one.clock_off) < timedelta(seconds=2)

        play(part())


def test_a_back_fill_comes_as_packets_like_any_other(tmp_path: Path) -> None:
    history = [datetime(2026, 1, 5, 14, minute) for minute in range(60)]  # noqa: DTZ001
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port, history=history).connected() as one:
                one.send()
                await one.until(lambda: bool(one.answers), "an answer")
                begin = 1_767_592_800_000_000  # 14:00 in Beijing
                *_, done = await asked(run, ask="minutes", logger=A, from_us=begin, to_us=begin + 9 * 60_000_000)
                assert (done.ok, done.text) == (True, "ExeRtn=1: done, 执行成功; 10 packets of data came")
                await one.until(lambda: len(one.answers) == 11, "an answer to each")

        play(part())
        assert sum(b"CN=2051" in raw for raw in run.packets()) == 10


@pytest.mark.parametrize(
    ("logger", "text"),
    [
        ({"deaf_to": 99}, "no answer to 3 requests"),
        ({"qn_return": 2}, "QnRtn=2: refused, 请求被拒绝"),
        ({"exe_return": 5}, "ExeRtn=5: busy, 系统繁忙不能执行"),
        ({"unfinished": True}, "taken, but nothing came for 0.6 s"),
    ],
)
def test_every_way_a_request_can_fail_is_one_line(tmp_path: Path, logger: dict[str, Any], text: str) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port, **logger).connected() as one:
                one.send()
                await one.until(lambda: bool(one.answers), "an answer")
                *_, done = await asked(run, ask="clock", logger=A)
                assert (done.ok, done.text) == (False, text)

        play(part())


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ({"ask": "clock", "logger": "NOBODY"}, "NOBODY: no registered logger has this MN or id; nothing was sent"),
        ({"ask": "time", "logger": A}, f"{A}: dev-{A} is not connected; nothing was sent"),
        ({"ask": "minutes", "logger": A, "from_us": 2, "to_us": 1}, "expected a span that begins in the past"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(tmp_path: Path, question: dict[str, Any], text: str) -> None:
    with listening(tmp_path, entry(A)) as run:
        (done,) = lines(run, **question)
        assert not done.ok
        assert text in done.text


def test_a_question_that_is_none_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:
        for question in (b"{}\n", b"\xff\n", b'{"ask":"valve"}\n', b"x" * 100_000 + b"\n", b""):
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(10)
                link.connect(str(run.desk))
                with contextlib.suppress(OSError):
                    link.sendall(question)
                    link.shutdown(socket.SHUT_WR)
                    link.recv(4096)
        assert lines(run, ask="list")[-1].ok


def test_who_goes_away_ends_the_request(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), reply_timeout_s=30.0) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port, deaf_to=99).connected() as one:
                one.send()
                await one.until(lambda: bool(one.answers), "an answer")
                _, writer = await asyncio.open_unix_connection(run.desk)
                writer.write(msgspec.json.encode(Question(ask="clock", logger=A)) + b"\n")
                await one.until(lambda: bool(one.requests), "the request")
                writer.close()
                while (await asked(run, ask="list"))[0].row.busy:  # type: ignore[union-attr]  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        play(part())


def test_a_logger_that_asks_for_the_time_gets_its_clock_set_once_a_minute(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A)) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port, clock_off=timedelta(minutes=7)).connected() as one:
                one.send(cn="1013", cp="PolId=w01018")
                await one.until(lambda: len(one.requests) == 1, "1012")
                assert one.answer_frames[0].cn == "9013"
                assert one.requests[0].cn == "1012"
                assert one.requests[0].cp.startswith("PolId=w01018;SystemTime=20")
                while (await asked(run, ask="list"))[0].row.busy:  # type: ignore[union-attr]  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                one.send(cn="1013", cp="")
                await one.until(lambda: len(one.answers) == 2, "the second answer")
                one.send()
                await one.until(lambda: len(one.answers) == 3, "an answer that a request would have overtaken")
                assert len(one.requests) == 1

        play(part())


def test_clock_requests_can_be_left_to_others(tmp_path: Path) -> None:
    with listening(tmp_path, entry(A), clock_requests=False) as run:

        async def part() -> None:
            async with SimulatedLogger(A, run.port).connected() as one:
                one.send(cn="1013", cp="")
                one.send()
                await one.until(lambda: len(one.answers) == 2, "two answers")
                assert one.requests == []

        play(part())


@pytest.mark.parametrize(("name", "value"), [("port", 70_000), ("tries", 0), ("packets_per_s", 0), ("bind", "")])
def test_a_setting_out_of_bounds_is_refused(name: str, value: object) -> None:
    with pytest.raises(TcpError, match=f"tcp.{name}: expected"):
        TcpSettings(**{name: value})  # type: ignore[arg-type]
