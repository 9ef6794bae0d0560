"""Boards without hardware: bootloaders and gateway applications as plain state machines over bytes.

From: `undercity gateway demo` and the tests. To: whoever stands at the other end of a line. A board knows no thread,
no socket and no clock: it is given bytes, control lines and the time that passed, and gives bytes. `serving` puts
one behind a TCP port or a pseudo-terminal for other programs.
"""

from __future__ import annotations

from typing import Protocol


class SimulatedBoard(Protocol):
    """One board with power. What it stores survives `power_cut`; what it was doing does not."""

    def receive(self, data: bytes) -> bytes:
        """Bytes from the host arrive; what the board answers at once."""
        ...

    def elapse(self, seconds: float) -> bytes:
        """Time passes; what the board sends by itself meanwhile."""
        ...

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """The host moved a control line."""
        ...

    def power_cut(self) -> None:
        """Power goes and returns: flash stays, RAM and conversation are gone."""
        ...
