"""What the TCP listener counts. To: the heartbeat, and by it `/metrics`."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.mqtt_pace import SourceStats


@dataclass(slots=True)
class TcpStats(SourceStats):
    """Counters since the start, and how it is now.

    `refused`: packets and other bytes not taken, `unrecorded`: those of them that came too many to be written down.
    `turned_away`: connections above a limit. `closed_by_us`: connections closed for what they did or did not.
    `taken_over`: closed because the same logger connected anew. `slowed`: times that a connection sent too fast.
    `requests`: to loggers.
    """

    unrecorded: int = 0
    connections: int = 0
    loggers: int = 0
    turned_away: int = 0
    closed_by_us: int = 0
    taken_over: int = 0
    slowed: int = 0
    requests: int = 0
