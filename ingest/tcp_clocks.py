"""Loggers that ask for the time (1013) get their clock set, or that of the instrument they name.

From: `ingest.tcp_listener`, once the wish is in the journal. To: `ingest.tcp_requests`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from devices.errors import UndercityError
from ingest.tcp_downlink import Downlink, clock_cp
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_requests import Requests

log = structlog.get_logger(__name__)

_EVERY_S: Final = 60.0  # a logger that asks for the time more often is broken


class Clocks:
    """Sets clocks on request. Belongs to the event loop. `now`: UTC microseconds."""

    def __init__(self, requests: Requests, now: Callable[[], int]) -> None:
        self._requests = requests
        self._now = now
        self._asked: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wanted(self, rule: LoggerRule, cp: str, at_s: float) -> bool:
        """Set the clock of this logger, which asked for it with `cp`; false when it is too early or busy."""
        mn = rule.mn
        if self._requests.busy(mn) or at_s - self._asked.get(mn, -_EVERY_S) < _EVERY_S:
            return False
        self._asked[mn] = at_s
        task = asyncio.create_task(self._set(rule, instrument_of(cp)), name=f"clock-{mn}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()

    async def _set(self, rule: LoggerRule, instrument: str) -> None:
        try:
            outcome = await self._requests.ask(
                rule, Downlink.SET_CLOCK, lambda _: clock_cp(self._now(), instrument), lambda _: None
            )
        except UndercityError as error:
            log.warning("clock_not_set", mn=rule.mn, reason=str(error))
            return
        if outcome.ok:
            log.info("clock_set", mn=rule.mn, reason=outcome.say)
        else:
            log.warning("clock_not_set", mn=rule.mn, reason=outcome.say)


def instrument_of(cp: str) -> str:
    """The instrument that a clock request names (PolId), empty when it means the logger itself.

    >>> instrument_of("PolId=w01018"), instrument_of("PolId=w0&1"), instrument_of("")
    ('w01018', '', '')
    """
    for part in cp.replace(",", ";").split(";"):
        name, _, value = part.partition("=")
        if name == "PolId" and value.isascii() and value.isalnum() and len(value) <= 16:
            return value
    return ""
