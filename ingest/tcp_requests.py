"""Requests to a logger, one at a time each: asked, taken, worked on, done, with the standard's time-outs and retries.

From: the command line by way of `ingest.tcp_control`, and a logger that asks for the time. To: the logger, through
whichever connection it has now. Replies are matched by their QN.

    ask ─▶ 9011 QnRtn=1 ─▶ (its data) ─▶ 9012 ExeRtn=1   done
     │        └ other: refused              └ other: failed
     └ no reply: the same again, `tries` times in all
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

import structlog

from devices.codecs.hj212.frame import Packet
from devices.codecs.hj212.moments import request_number
from ingest.tcp_downlink import (
    EXE_RETURNS,
    QN_RETURNS,
    REQUEST_DONE,
    REQUEST_TAKEN,
    Downlink,
    Speech,
    build_request,
    in_words,
)
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_settings import TcpError, TcpSettings

log = structlog.get_logger(__name__)

_QN_RETURN: Final = re.compile(r"QnRtn=(\d{1,3})")
_EXE_RETURN: Final = re.compile(r"ExeRtn=(\d{1,3})")
_SYSTEM_TIME: Final = re.compile(r"SystemTime=(\d{14})")
_DATA_TIME: Final = re.compile(r"DataTime=(\d{14})")
_QN_INSIDE: Final = re.compile(r"QN=(\d{1,20})")  # where the standard of 2005 puts it in a reply

Say = Callable[[str], None]


class Link(NamedTuple):
    """The way to a logger that is connected."""

    speech: Speech
    send: Callable[[bytes], None]


class Outcome(NamedTuple):
    """How a request ended, in one line. `clock`: what the logger's clock showed, 14 digits. `packets`: of data."""

    ok: bool
    say: str
    clock: str = ""
    packets: int = 0


class Step(Enum):
    """Where an exchange stands."""

    ASKED = auto()
    TAKEN = auto()  # 9011 with QnRtn=1
    ENDED = auto()


@dataclass(slots=True)
class Exchange:
    """One request and what was heard of it so far; `heard` moves it on.

    `span`: the first and last time of the data asked for, 14 digits each: a logger's usual data goes on meanwhile.
    """

    downlink: Downlink
    qn: str
    span: tuple[str, str] = ("", "")
    step: Step = Step.ASKED
    refusal: str = ""
    clock: str = ""
    packets: int = 0
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, cn: int, packet: Packet) -> None:
        """Take one packet of the logger; what has nothing to do with the request changes nothing."""
        if cn in {REQUEST_TAKEN, REQUEST_DONE}:
            inside = _QN_INSIDE.search(packet.cp)
            if self.qn not in {packet.qn, inside.group(1) if inside else ""}:
                return  # of an earlier request
            self._reply(cn, packet.cp)
        elif cn == self.downlink and self.step is not Step.ENDED:
            self._data(packet.cp)
        else:
            return
        self.stirred.set()

    def _reply(self, cn: int, cp: str) -> None:
        pattern, table, name = (
            (_QN_RETURN, QN_RETURNS, "QnRtn") if cn == REQUEST_TAKEN else (_EXE_RETURN, EXE_RETURNS, "ExeRtn")
        )
        found = pattern.search(cp)
        code = int(found.group(1)) if found else 1  # a reply without a code says that it came through
        if code != 1:
            self.refusal = in_words(code, table, name)
        if code != 1 or cn == REQUEST_DONE:
            self.step = Step.ENDED
        elif self.step is Step.ASKED:
            self.step = Step.TAKEN

    def _data(self, cp: str) -> None:
        if self.downlink is Downlink.TIME:
            found = _SYSTEM_TIME.search(cp)
            if found:
                self.clock, self.step = found.group(1), Step.ENDED
        elif self.downlink is Downlink.MINUTES:
            found = _DATA_TIME.search(cp)
            if found is None or not self.span[0] <= found.group(1) <= self.span[1]:
                return
            self.packets += 1
            if self.step is Step.ASKED:
                self.step = Step.TAKEN  # some loggers begin to send without a word


class Requests:
    """Every request under way. `link_to`: the present way to a logger, None while it is not connected."""

    def __init__(
        self, settings: TcpSettings, link_to: Callable[[str], Link | None], now: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._link_to = link_to
        self._now = now
        self._open: dict[str, Exchange] = {}
        self._last_ms = 0

    def busy(self, mn: str) -> bool:
        """Whether a request to this logger is under way."""
        return mn in self._open

    def heard(self, mn: str, cn: int, packet: Packet) -> None:
        """A packet of logger `mn` came."""
        exchange = self._open.get(mn)
        if exchange is not None:
            exchange.heard(cn, packet)

    async def ask(
        self,
        rule: LoggerRule,
        downlink: Downlink,
        cp: Callable[[Speech], str],
        say: Say,
        span: tuple[str, str] = ("", ""),
    ) -> Outcome:
        """Ask and wait for the end; TcpError when it cannot be asked now. `cp` is written anew for every try.

        `span`: the first and last time of the data asked for, as the wire writes them.
        """
        if self.busy(rule.mn):
            raise TcpError(f"{rule.mn}: another request is under way; try again when it has ended")
        if self._link_to(rule.mn) is None:
            raise TcpError(f"{rule.mn}: {rule.device} is not connected; nothing was sent")
        exchange = self._open[rule.mn] = Exchange(downlink, self._number(), span)
        try:
            if not await self._taken(rule, exchange, cp, say):
                return Outcome(
                    ok=False, say=f"no answer to {self._settings.tries} requests{self._so_far(exchange)}"
                )
            if not await self._worked(exchange, say):
                waited = f"{self._settings.execute_timeout_s:g} s"
                return Outcome(
                    ok=False,
                    say=f"taken, but nothing came for {waited}{self._so_far(exchange)}",
                    packets=exchange.packets,
                )
        finally:
            del self._open[rule.mn]
        return _outcome(exchange)

    def _number(self) -> str:
        """A QN that no other request has; they differ by a millisecond at least."""
        self._last_ms = max(self._now() // 1000, self._last_ms + 1)
        return request_number(self._last_ms * 1000)

    async def _taken(self, rule: LoggerRule, exchange: Exchange, cp: Callable[[Speech], str], say: Say) -> bool:
        tries = self._settings.tries
        for number in range(1, tries + 1):
            link = self._link_to(rule.mn)
            if link is None:
                say(f"try {number} of {tries}: not connected now")
            else:
                link.send(build_request(exchange.downlink, rule, link.speech, qn=exchange.qn, cp=cp(link.speech)))
                say(f"try {number} of {tries}: CN={exchange.downlink.value} sent, QN={exchange.qn}")
            if await self._stirs(exchange, self._settings.reply_timeout_s):
                return True
        return False

    async def _worked(self, exchange: Exchange, say: Say) -> bool:
        if exchange.step is Step.TAKEN:
            say(f"taken ({in_words(1, QN_RETURNS, 'QnRtn')})")
        while exchange.step is not Step.ENDED:
            before = exchange.packets
            if not await self._stirs(exchange, self._settings.execute_timeout_s):
                return False
            if exchange.packets // 100 > before // 100:
                say(f"{exchange.packets} packets of data so far")
        return True

    @staticmethod
    async def _stirs(exchange: Exchange, timeout_s: float) -> bool:
        """Wait for the next word about the request; whether one came."""
        try:
            async with asyncio.timeout(timeout_s):
                await exchange.stirred.wait()
        except TimeoutError:
            return False
        exchange.stirred.clear()
        return True

    @staticmethod
    def _so_far(exchange: Exchange) -> str:
        return f"; {exchange.packets} packets of data came" if exchange.packets else ""


def _outcome(exchange: Exchange) -> Outcome:
    if exchange.refusal:
        return Outcome(ok=False, say=exchange.refusal, packets=exchange.packets)
    done = in_words(1, EXE_RETURNS, "ExeRtn")
    if exchange.downlink is Downlink.MINUTES:
        return Outcome(ok=True, say=f"{done}; {exchange.packets} packets of data came", packets=exchange.packets)
    if exchange.downlink is Downlink.TIME:
        if not exchange.clock:
            return Outcome(ok=False, say="it said that it is done, but not what time its clock shows")
        return Outcome(ok=True, say=f"its clock shows {exchange.clock}", clock=exchange.clock)
    return Outcome(ok=True, say=done)
