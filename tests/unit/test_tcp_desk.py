"""Requests to loggers by way of the listener's socket file, and those that a logger brings about itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest.tcp_desk import Line, Question, ask
from ingest.tcp_settings import TcpError
from tests.support.listening import Listening, entry, listening, play
from tests.support.logger import SimulatedLogger

A, B = "010000A8900016F000169DC0", "B2"


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
