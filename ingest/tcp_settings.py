"""How the TCP listener treats the loggers that connect to it, checked without I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from ingest.errors import IngestError
from ingest.topics import LOGGERS

HJ212_TOPIC: Final = f"{LOGGERS}/{{mn}}/up"


class TcpError(IngestError):
    """Raised when the listener cannot be set up as told, or a request to a logger cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettings:
    """The listener for HJ 212 data loggers; it runs when `port` is set.

    `port`: TCP port to listen on, 0 for none. `bind`: address to listen on. `max_connections`: further ones are
    turned away. `per_address`: the same for one remote address; many loggers share one behind a mobile carrier.
    `packets_per_s`: of one connection, and eight times as many at once; above, it is read more slowly. `flood_s`: a
    connection that was slowed for so long without a break is closed. `unanswered_max`: packets of one connection on
    their way into the journal; it is not read meanwhile. `strangers_max`: a connection is closed after so many
    packets of loggers that are not registered. `faults_max`: the same for packets that cannot be read, in a row.
    `idle_s`: a connection without a packet for so long is closed; longer than the longest reporting interval.
    `identify_s`: the same before its first packet. `half_packet_s`: how long the rest of a packet may take.
    `write_timeout_s`: how long a logger may leave our answers unread. `refused_per_s`: records of refused packets
    written into the journal; further ones are counted. `commit_max_delay_ms`: how long packets may gather for one
    commit when many come. `commit_max_messages`, `commit_max_bytes`: size of one commit. `tick_s`: after so long
    without a packet the passing of time is journalled. `registry_every_s`: how often a changed registry is noticed.
    `reply_timeout_s`, `tries`: patience with a logger that was asked something, 10 s three times over wireless, 5 s
    three times over wire. `execute_timeout_s`: how long it may then be silent before it says that it has done it.
    `clock_requests`: set the clock of a logger that asks for it (1013).
    """

    port: int = 0
    bind: str = "0.0.0.0"  # noqa: S104  loggers come from outside, and nothing listens until a port is set
    max_connections: int = 5_000
    per_address: int = 500
    packets_per_s: float = 50.0
    flood_s: float = 1_800.0
    unanswered_max: int = 64
    strangers_max: int = 3
    faults_max: int = 20
    idle_s: float = 3_900.0
    identify_s: float = 600.0
    half_packet_s: float = 30.0
    write_timeout_s: float = 30.0
    refused_per_s: float = 20.0
    commit_max_delay_ms: float = 10.0
    commit_max_messages: int = 5_000
    commit_max_bytes: int = 4_194_304
    tick_s: float = 1.0
    registry_every_s: float = 2.0
    reply_timeout_s: float = 10.0
    tries: int = 3
    execute_timeout_s: float = 60.0
    clock_requests: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise TcpError(f"tcp.{name}: expected {low:g} to {high:g}, got {value}")
        if not self.bind:
            raise TcpError("tcp.bind: expected an address to listen on, got none")

    @property
    def address(self) -> str:
        """Where it listens, as a person knows it."""
        return f"{self.bind}:{self.port}"


_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "port": (0, 65_535),
    "max_connections": (1, 100_000),
    "per_address": (1, 100_000),
    "packets_per_s": (0.1, 10_000),
    "flood_s": (1, 86_400),
    "unanswered_max": (1, 1_000),
    "strangers_max": (1, 1_000),
    "faults_max": (1, 1_000),
    "idle_s": (1, 7 * 86_400),
    "identify_s": (1, 7 * 86_400),
    "half_packet_s": (0.5, 3_600),
    "write_timeout_s": (0.5, 3_600),
    "refused_per_s": (0.1, 10_000),
    "commit_max_delay_ms": (0, 1_000),
    "commit_max_messages": (1, 1_000_000),
    "commit_max_bytes": (1, 1024 * 1024 * 1024),
    "tick_s": (0.05, 3_600),
    "registry_every_s": (0.1, 3_600),
    "reply_timeout_s": (0.1, 3_600),
    "tries": (1, 20),
    "execute_timeout_s": (0.1, 86_400),
}
assert set(_BOUNDS) <= {one.name for one in fields(TcpSettings)}  # noqa: S101  a misspelt bound bounds nothing
