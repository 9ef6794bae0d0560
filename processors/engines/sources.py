"""Whose clock a deadline goes by: the broker's deliveries or the TCP listener's.

From: decoded segments. To: the engine. Each of the two can be away while the other goes on. A device's silence is
judged by the clock of what brings its readings, which stands still while that is away; a gap in it is our outage.
Until a TCP listener has ever spoken there is one clock, moved by everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Bool, Int64
from ingest.decode import Decoded, Timeline
from ingest.order import Outage
from ingest.topics import LOGGERS


@dataclass(slots=True)
class SourceClock:
    """One source's time, UTC microseconds, 0 before its first record; and its latest outage."""

    now_us: int = 0
    outage: Outage = field(default_factory=Outage)


@dataclass(slots=True)
class Clock:
    """The engine's sense of time, part of every snapshot. `now_us`: of all records; `listening`: there are two."""

    now_us: int = 0
    listening: bool = False
    broker: SourceClock = field(default_factory=SourceClock)
    loggers: SourceClock = field(default_factory=SourceClock)


@dataclass(slots=True)
class Seen:
    """A segment as the clocks saw it: every record, the broker's alone, the listener's alone."""

    every: Timeline
    broker: Timeline
    loggers: Timeline

    def now_us(self, by_tcp: Bool) -> Int64:
        """(n,) the end of the segment by each device's clock."""
        now: Int64 = np.where(by_tcp, self.loggers.clock[-1], self.broker.clock[-1])
        return now

    def positions(self, by_tcp: Bool, at_us: Int64) -> Int64:
        """(m,) offset of the record that made each device's clock pass `at_us` (m,)."""
        both = (self.broker, self.loggers)
        return np.array(
            [both[tcp].position(at) for tcp, at in zip(by_tcp.tolist(), at_us.tolist(), strict=True)],
            dtype=np.int64,
        )


def by_tcp(fleet: KindFleet) -> Bool:
    """(n,) true for devices that report through the listener, once there is one: those that speak its codec."""
    return np.array([codec == LOGGERS for codec in fleet.codec], dtype=np.bool_)


def see(decoded: Decoded, clock: Clock) -> Seen:
    """The segment's timelines; moves no clock but to say that there is a listener."""
    every = decoded.timeline
    # Several workers stamp side by side, and redecoded deliveries keep their old stamp: time does not go back.
    np.maximum(every.clock, clock.now_us, out=every.clock)
    clock.listening = clock.listening or decoded.listener
    if not clock.listening:
        return Seen(every, every, every)
    return Seen(
        every,
        _own(every, ~decoded.loggers, clock.broker.now_us),
        _own(every, decoded.loggers, clock.loggers.now_us),
    )


def _own(every: Timeline, mine: NDArray[np.bool_], now_us: int) -> Timeline:
    return Timeline(every.offset, np.maximum.accumulate(np.where(mine, every.clock, now_us)))


def gap_end(source: SourceClock, seen: Timeline, longest_us: int) -> int | None:
    """When the first record came after a gap longer than `longest_us`, or the very first; None without a gap."""
    later = np.flatnonzero(seen.clock > source.now_us)
    if not len(later):
        return None
    first = int(seen.clock[later[0]])
    return first if first - source.now_us > longest_us else None
