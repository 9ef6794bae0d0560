"""What the TCP listener counts. To: the heartbeat, and by it `/metrics`."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class TcpStats:
    """Counters since the start, and how it is now; plain values that any thread may read.

    `received`: packets accepted. `acked`: answers sent behind a commit. `refused`: packets and other bytes not taken,
    `unrecorded`: those of them that came too many to be written down. `turned_away`: connections above a limit.
    `closed_by_us`: connections closed for what they did or did not. `taken_over`: closed because the same logger
    connected anew. `slowed`: times that a connection sent too fast. `requests`: to loggers.
    """

    received: int = 0
    journalled: int = 0
    acked: int = 0
    bytes: int = 0
    commits: int = 0
    commit_s: float = 0.0
    refused: int = 0
    unrecorded: int = 0
    connections: int = 0
    loggers: int = 0
    turned_away: int = 0
    closed_by_us: int = 0
    taken_over: int = 0
    slowed: int = 0
    requests: int = 0
    journal_full: bool = False

    def committed(self, records: int, seconds: float) -> None:
        """Count one commit."""
        self.journalled += records
        self.commits += 1
        self.commit_s = seconds

    def as_dict(self) -> dict[str, float]:
        """All of it by name; true is 1."""
        return {name: float(value) for name, value in asdict(self).items()}
