"""A small HJ 212 logger on asyncio: it connects, sends packets, keeps what it is answered, and obeys requests.

What it does wrong is up to the test: a wrong clock, no answers, silence after the first reply.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devices.codecs.hj212.frame import Packet, build, parse
from devices.codecs.hj212.stream import split

PASSWORD = "123456"  # noqa: S105  what half the field uses


def data(minute: int = 0, value: float = 235.3, name: str = "w01018-Rtd") -> str:
    """CP of a packet of data at a minute of an afternoon."""
    return f"DataTime=20260105{14 + minute // 60:02d}{minute % 60:02d}00;{name}={value},{name[:-4]}-Flag=N"


def packet(
    mn: str, number: int, *, cn: str = "2011", cp: str | None = None, flag: int = 5, pw: str = PASSWORD
) -> bytes:
    """One packet; `number` makes its QN."""
    return build(
        qn=f"20260105140000{number:03d}" if number < 1000 else f"2026{number:013d}",
        st="32",
        cn=cn,
        pw=pw,
        mn=mn,
        flag=flag,
        cp=data() if cp is None else cp,
    )


@dataclass
class SimulatedLogger:
    """One logger. `clock_off`: how wrong its clock is. `obeys`: what it answers requests with, None for nothing.

    `answers`: QN of every packet that was acknowledged. `requests`: every request received. `history`: minutes for
    which it has values.
    """

    mn: str
    port: int
    password: str = PASSWORD
    clock_off: timedelta = timedelta()
    deaf_to: int = 0  # so many requests are not heard
    qn_return: int = 1
    exe_return: int = 1
    unfinished: bool = False  # it never says that it is done
    history: list[datetime] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    answer_frames: list[Packet] = field(default_factory=list)
    requests: list[Packet] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[SimulatedLogger]:
        """Connect and listen to the listener while this lasts."""
        reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.closed.clear()
        hearing = asyncio.create_task(self._hear(reader))
        try:
            yield self
        finally:
            hearing.cancel()
            self.writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await hearing

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        buffer = bytearray()
        try:
            while chunk := await reader.read(4096):
                buffer += chunk
                frames, consumed, _ = split(buffer)
                del buffer[:consumed]
                for raw in frames:
                    self._take(parse(raw))
                self.came.set()
        except OSError:
            pass
        self.closed.set()
        self.came.set()

    def _take(self, heard: Packet) -> None:
        if heard.cn in {"9013", "9014"}:
            self.answers.append(heard.qn)
            self.answer_frames.append(heard)
            return
        self.requests.append(heard)
        if len(self.requests) <= self.deaf_to:
            return
        self._reply(heard, "9011", f"QnRtn={self.qn_return}")
        if self.qn_return != 1 or self.unfinished:
            return
        self._obey(heard)
        self._reply(heard, "9012", f"ExeRtn={self.exe_return}")

    def _obey(self, heard: Packet) -> None:
        given = dict(part.split("=", 1) for part in heard.cp.replace(",", ";").split(";") if "=" in part)
        if heard.cn == "1012":
            asked = datetime.strptime(given["SystemTime"], "%Y%m%d%H%M%S")  # noqa: DTZ007
            self.clock_off = asked - now_beijing()
        elif heard.cn == "1011":
            shown = now_beijing() + self.clock_off
            self._reply(heard, "1011", f"SystemTime={shown:%Y%m%d%H%M%S}")
        elif heard.cn == "2051":
            for minute in self.history:
                if given["BeginTime"] <= f"{minute:%Y%m%d%H%M%S}" <= given["EndTime"]:
                    self.send(cn="2051", cp=f"DataTime={minute:%Y%m%d%H%M%S};w01018-Avg=100.5,w01018-Flag=N")

    def _reply(self, heard: Packet, cn: str, cp: str) -> None:
        st = "32" if cn == "1011" else "91"
        self.write(build(qn=heard.qn, st=st, cn=cn, pw=self.password, mn=self.mn, flag=4, cp=cp))

    def send(self, *, cn: str = "2011", cp: str | None = None, flag: int = 5) -> str:
        """Send one packet; its QN."""
        self.sent += 1
        raw = packet(self.mn, self.sent, cn=cn, cp=cp, flag=flag, pw=self.password)
        self.write(raw)
        return parse(raw).qn

    def write(self, raw: bytes) -> None:
        """Send these bytes."""
        self.writer.write(raw)

    async def until(self, condition: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
        """Wait until something heard makes `condition` true."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self.came.clear()
                    await self.came.wait()
        except TimeoutError:
            raise AssertionError(f"{self.mn} waited {within_s:g} s in vain for {what}") from None

    async def until_closed(self, within_s: float = 10.0) -> None:
        """Wait until the listener closes the connection."""
        async with asyncio.timeout(within_s):
            await self.closed.wait()


def now_beijing() -> datetime:
    """Beijing time now, without a zone."""
    return datetime.utcnow() + timedelta(hours=8)  # noqa: DTZ003  a logger knows no zones
