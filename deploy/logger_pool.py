"""Simulated HJ 212 loggers: one TCP connection each, packets until they are confirmed, reconnecting.

From: packets whose Flag asks for an answer. To: the listener of `undercity run`. What counts is a 9014 with the QN
of the packet; without one it goes out again, as a real logger's does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deploy.errors import DeployError

_QN: Final = re.compile(rb"(?<![A-Za-z])QN=([0-9]{1,20})")
_CONFIRMED: Final = re.compile(rb"(?<![A-Za-z])CN=9014(?![0-9])")
_FRAME_MAX_BYTES: Final = 65_536
_POLL_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerSettings:
    """Where the loggers report and how patient they are.

    `window`: packets of one logger that may wait for their answer. `answer_s`: how long before one goes out again.
    """

    host: str
    port: int
    window: int = 16
    answer_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.host or not 1 <= self.port <= 65_535:
            raise DeployError(f"listener {self.host}:{self.port}: expected HOST:PORT; nothing was sent")


@dataclass(slots=True)
class _Packet:
    payload: bytes
    done: Callable[[], None]
    sent_s: float = 0.0


class LoggerPool:
    """All loggers of a city, on a thread of their own; a context manager that leaves no connection."""

    def __init__(self, settings: LoggerSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._loggers: dict[str, _Logger] = {}
        self._thread = threading.Thread(target=self._run, name="loggers", daemon=True)
        self._thread.start()

    def send(self, mn: str, payload: bytes, done: Callable[[], None]) -> None:
        """Send `payload` as the logger `mn`; `done` is called on the pool's thread when it is confirmed.

        DeployError when the packet has no QN that an answer could name.
        """
        found = _QN.search(payload)
        if found is None:
            raise DeployError(f"logger {mn}: expected a packet with a QN, got none; it was not sent")
        self._loop.call_soon_threadsafe(self._put, mn, found.group(1), _Packet(payload, done))

    def close(self) -> None:
        """Close every connection; what is not confirmed by now never will be."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _put(self, mn: str, qn: bytes, packet: _Packet) -> None:
        logger = self._loggers.get(mn)
        if logger is None:
            logger = self._loggers[mn] = _Logger(self._settings)
            logger.task = self._loop.create_task(logger.run(), name=f"logger-{mn}")
        logger.put(qn, packet)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = [logger.task for logger in self._loggers.values() if logger.task is not None]
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()
            self._loggers.clear()  # with the callbacks of whatever was not confirmed


class _Logger:
    """One logger's connection. `_unanswered` keeps the order of sending."""

    def __init__(self, settings: LoggerSettings) -> None:
        self._settings = settings
        self._queue: deque[tuple[bytes, _Packet]] = deque()
        self._unanswered: dict[bytes, _Packet] = {}
        self._wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def put(self, qn: bytes, packet: _Packet) -> None:
        self._queue.append((qn, packet))
        self._wake.set()

    async def run(self) -> None:
        """Keep a connection for ever."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    self._settings.host, self._settings.port, limit=_FRAME_MAX_BYTES
                )
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            if await self._talk(reader, writer):
                pause = _FIRST_PAUSE_S
            await asyncio.sleep(pause)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send and listen until the connection ends; whether anything was confirmed on it."""
        before = len(self._unanswered) + len(self._queue)
        for packet in self._unanswered.values():
            packet.sent_s = 0.0  # a new connection: nothing on its way
        sending = asyncio.create_task(self._write(writer))
        try:
            await self._read(reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return len(self._unanswered) + len(self._queue) < before

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            while self._queue and len(self._unanswered) < self._settings.window:
                qn, packet = self._queue.popleft()
                self._unanswered[qn] = packet
            for packet in self._unanswered.values():
                if now - packet.sent_s >= self._settings.answer_s or packet.sent_s == 0:
                    packet.sent_s = now
                    writer.write(packet.payload)
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._wake.wait()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            frame = await reader.readuntil(b"\r\n")
            found = _QN.search(frame)
            if found is None or not _CONFIRMED.search(frame):
                continue  # a request: the listener may ask, this logger does not obey
            packet = self._unanswered.pop(found.group(1), None)
            if packet is not None:
                self._wake.set()
                packet.done()
