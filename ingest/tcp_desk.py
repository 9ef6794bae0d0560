"""Requests from other processes: a socket file beside the journal, one JSON line asks, JSON lines answer.

From: `undercity logger`. To: the listener, which alone has the connections. The file is our user's alone. An answer is
any number of `say` lines and one with `done`; whoever goes away ends the request.

    {"ask": "clock", "logger": "MN or device"}  ─▶  {"say": "try 1 of 3: ..."}  {"done": true, "ok": true, ...}
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog

from devices.beijing import BEIJING, beijing
from devices.codecs.hj212.moments import stamp
from devices.errors import UndercityError
from ingest.tcp_downlink import Downlink, Speech, clock_cp, minutes_cp
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_requests import Outcome, Say
from ingest.tcp_roster import Status
from ingest.tcp_settings import TcpError

if TYPE_CHECKING:
    from ingest.tcp_listener import Listener

log = structlog.get_logger(__name__)

_LINE_MAX: Final = 4_096  # of a question; the answer to `list` is one line a logger
_SPAN_MAX_DAYS: Final = 366
_DAY_US: Final = 86_400_000_000


class Question(msgspec.Struct, kw_only=True):
    """What is asked. `logger`: an MN or a device's id. `from_us`, `to_us`: UTC, of a back-fill."""

    ask: Literal["list", "time", "clock", "minutes"]
    logger: str = ""
    from_us: int = 0
    to_us: int = 0


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of an answer; with `done` it is the last one."""

    say: str = ""
    row: Status | None = None
    done: bool = False
    ok: bool = False
    text: str = ""


_QUESTION: Final = msgspec.json.Decoder(Question)
_LINE: Final = msgspec.json.Decoder(Line)
_ENCODE: Final = msgspec.json.Encoder().encode


@contextlib.asynccontextmanager
async def serve_desk(listener: Listener, path: Path | None) -> AsyncIterator[None]:
    """Answer at `path` while this lasts; TcpError when the socket cannot be made. None serves nobody."""
    if path is None:
        yield
        return
    desk = _Desk(listener)
    server = await asyncio.start_unix_server(desk.serve, sock=_private_socket(path), limit=_LINE_MAX)
    try:
        yield
    finally:
        server.close()
        for task in list(desk.tasks):
            task.cancel()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  one call, at the end


def _private_socket(path: Path) -> socket.socket:
    """A listening socket file that only our user may use, from its first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        link.bind(str(path))
    except OSError as error:
        link.close()
        raise TcpError(
            f"{path}: expected a place for a socket, got {error.strerror or error}; not started"
        ) from error
    finally:
        os.umask(before)
    link.setblocking(False)  # noqa: FBT003
    return link


class _Desk:
    """Answers questions; `tasks` are those under way."""

    def __init__(self, listener: Listener) -> None:
        self.tasks: set[asyncio.Task[object]] = set()
        self._listener = listener

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question and its answer."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  asyncio runs us in one
        self.tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.LimitOverrunError, ValueError):
                await self._answer(reader, writer)
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def put(line: Line) -> None:
            writer.write(_ENCODE(line) + b"\n")

        try:
            question = _QUESTION.decode(await reader.readline())
            if question.ask == "list":
                for status in self._listener.statuses():
                    put(Line(row=status))
                    await writer.drain()
                put(Line(done=True, ok=True))
            else:
                outcome = await self._while_asked(reader, question, lambda text: put(Line(say=text)))
                put(Line(done=True, ok=outcome.ok, text=outcome.say))
        except (UndercityError, msgspec.MsgspecError) as error:
            put(Line(done=True, text=str(error)))
        await writer.drain()

    async def _while_asked(self, reader: asyncio.StreamReader, question: Question, say: Say) -> Outcome:
        """The outcome; cancelled when whoever asked goes away."""
        work = asyncio.create_task(self._perform(question, say))
        away = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, away}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info("request_given_up", logger=question.logger, ask=question.ask)
                raise asyncio.CancelledError
            return work.result()
        finally:
            away.cancel()
            work.cancel()

    async def _perform(self, question: Question, say: Say) -> Outcome:
        listener = self._listener
        rule = listener.loggers.named(question.logger)
        if rule is None:
            raise TcpError(f"{question.logger[:80]}: no registered logger has this MN or id; nothing was sent")
        listener.stats.requests += 1
        if question.ask == "time":
            outcome = _compared(await listener.requests.ask(rule, Downlink.TIME, _nothing, say), listener.now())
        elif question.ask == "clock":
            outcome = await listener.requests.ask(
                rule, Downlink.SET_CLOCK, lambda _: clock_cp(listener.now()), say
            )
        else:
            outcome = await self._minutes(rule, question, say)
        level = log.info if outcome.ok else log.warning
        level("request_ended", mn=rule.mn, ask=question.ask, ok=outcome.ok, reason=outcome.say)
        return outcome

    async def _minutes(self, rule: LoggerRule, question: Question, say: Say) -> Outcome:
        begin, end, now = question.from_us, question.to_us, self._listener.now()
        if not 0 < begin < end or end - begin > _SPAN_MAX_DAYS * _DAY_US or begin > now:
            raise TcpError(
                f"{rule.mn}: expected a span that begins in the past and lasts up to {_SPAN_MAX_DAYS} days, "
                f"got {beijing(begin):%Y-%m-%d %H:%M} to {beijing(end):%Y-%m-%d %H:%M}; nothing was sent"
            )
        return await self._listener.requests.ask(
            rule,
            Downlink.MINUTES,
            lambda speech: minutes_cp(begin, end, speech.flag),
            say,
            span=(stamp(begin), stamp(end)),
        )


def _nothing(_: Speech) -> str:
    return ""


def _compared(outcome: Outcome, now_us: int) -> Outcome:
    """What a logger's clock shows beside ours."""
    if not outcome.ok:
        return outcome
    try:
        shown = datetime.strptime(outcome.clock, "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
    except ValueError:
        return outcome._replace(ok=False, say=f"its clock shows {outcome.clock}, which is no time")
    apart = (shown - beijing(now_us).replace(microsecond=0)).total_seconds()
    words = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} ours" if apart else "as ours does"
    return outcome._replace(say=f"its clock shows {shown:%Y-%m-%d %H:%M:%S}, {words}")


def ask(path: Path, question: Question, timeout_s: float) -> Iterator[Line]:
    """Put `question` to the listener at `path`: its lines as they come, the last one has `done`.

    TcpError when it does not run, or says nothing for `timeout_s`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_s)
        try:
            link.connect(str(path))
            link.sendall(_ENCODE(question) + b"\n")
            with link.makefile("rb") as lines:
                for line in lines:
                    answer = _LINE.decode(line)
                    yield answer
                    if answer.done:
                        return
        except TimeoutError as error:
            raise TcpError(f"logger listener: expected an answer within {timeout_s:g} s, got none") from error
        except (OSError, msgspec.MsgspecError) as error:
            raise TcpError(
                f"logger listener: it does not run ({path}: {getattr(error, 'strerror', None) or error}); "
                "set tcp.port and start 'undercity run'; nothing was sent"
            ) from error
    raise TcpError("logger listener: it ended before it had answered; the request may have reached the logger")
