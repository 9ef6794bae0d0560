"""Who is connected, and what was heard of whom: one connection to each logger, the newest.

To: `ingest.tcp_listener`, requests, and the list that people see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ingest.tcp_connection import Connection
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_requests import Link


@dataclass(slots=True)
class Heard:
    """What was heard of one logger since the listener started. `at_us`: UTC of the last packet, by our clock."""

    at_us: int = 0
    cn: int = 0
    packets: int = 0
    refused: int = 0


class Status(NamedTuple):
    """One registered logger as `undercity logger list` shows it; `peer` is empty while it is not connected."""

    mn: str
    device: str
    peer: str
    at_us: int
    cn: int
    packets: int
    refused: int
    busy: bool


class Roster:
    """Loggers by MN; `len` is how many are connected."""

    def __init__(self) -> None:
        self._owners: dict[str, Connection] = {}
        self._heard: dict[str, Heard] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def own(self, connection: Connection, mn: str) -> Connection | None:
        """Logger `mn` speaks on `connection`; the connection that was its own before, None if that is no other."""
        before = self._owners.get(mn)
        self._owners[mn] = connection
        return None if before is connection else before

    def gone(self, connection: Connection) -> None:
        """`connection` ended."""
        for mn in connection.session.loggers:
            if self._owners.get(mn) is connection:
                del self._owners[mn]

    def heard(self, mn: str, at_us: int, cn: int) -> None:
        """A packet of a registered logger came."""
        one = self._heard.setdefault(mn, Heard())
        one.at_us, one.cn, one.packets = at_us, cn, one.packets + 1

    def refused(self, mn: str) -> None:
        """Something of a logger was refused; of strangers no account is kept."""
        if mn in self._heard:
            self._heard[mn].refused += 1

    def link_to(self, mn: str) -> Link | None:
        """The present way to logger `mn`; None while it is not connected."""
        connection = self._owners.get(mn)
        if connection is None or not connection.open:
            return None
        return Link(connection.session.loggers[mn], connection.send)

    def statuses(self, rules: Iterable[LoggerRule], busy: Callable[[str], bool]) -> Iterator[Status]:
        """How each of `rules` stands."""
        for rule in rules:
            one, owner = self._heard.get(rule.mn, Heard()), self._owners.get(rule.mn)
            peer = owner.peer if owner else ""
            yield Status(rule.mn, rule.device, peer, one.at_us, one.cn, one.packets, one.refused, busy(rule.mn))
