"""When the ingest worker waits and what it counts.

To: `ingest.mqtt`. Nothing here sleeps or reads a clock: times come in, durations go out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

_FULL_PAUSE_PER_S: Final = 1_000.0  # from this many messages a second on, a pause pays fully
_DOUBLINGS_MAX: Final = 20


@dataclass(slots=True)
class SourceStats:
    """Counters since the start of what brings deliveries in; plain values that any thread may read.

    `received`: deliveries taken. `journalled`: records committed, control records included. `acked`: answers sent
    behind a commit. `bytes`: of payload. `commit_s`: the last commit. `journal_full`: the journal takes nothing now.
    """

    received: int = 0
    journalled: int = 0
    acked: int = 0
    bytes: int = 0
    commits: int = 0
    commit_s: float = 0.0
    refused: int = 0
    journal_full: bool = False

    def committed(self, records: int, seconds: float) -> None:
        """Count one commit."""
        self.journalled += records
        self.commits += 1
        self.commit_s = seconds

    def as_dict(self) -> dict[str, float]:
        """All of it by name; true is 1."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(slots=True)
class IngestStats(SourceStats):
    """Counters of one MQTT worker, and how its link is now."""

    reconnects: int = 0
    connected: bool = False


class Pacer:
    """How long to let messages gather before the next read.

    Every commit costs the same however many share it, so with many messages a pause saves most of the CPU; with
    few it would only add delay. When the broker may send no more before it is answered, a pause only slows it.
    """

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self._last = 0

    def pause_s(self, messages: int, elapsed_s: float) -> float:
        """The pause after a round that brought `messages` in `elapsed_s`.

        >>> pacer = Pacer(0.005)
        >>> pacer.pause_s(1, 0.1), pacer.pause_s(40, 0.002)
        (5e-05, 0.005)
        """
        # Twice the same number, and not a small one: a window is full, here or at the broker.
        window_full = messages == self._last and messages >= 8
        self._last = messages
        if window_full or elapsed_s <= 0:
            return 0.0
        return self._max_s * min(1.0, messages / elapsed_s / _FULL_PAUSE_PER_S)


class Backoff:
    """Pauses that double from `min_s` to `max_s`, each shortened by chance so that many do not return at once.

    `chance`: 0 to 1.
    """

    def __init__(self, min_s: float, max_s: float, chance: Callable[[], float]) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._chance = chance
        self._attempt = 0

    def next(self) -> float:
        """Seconds to wait now; between half and the whole of the step.

        >>> backoff = Backoff(1.0, 5.0, lambda: 1.0)
        >>> [backoff.next() for _ in range(4)]
        [1.0, 2.0, 4.0, 5.0]
        """
        step = min(self._max_s, self._min_s * 2.0 ** min(self._attempt, _DOUBLINGS_MAX))
        self._attempt += 1
        return step * (0.5 + 0.5 * self._chance())

    def hurry_less(self) -> None:
        """Go on with a step well up: the reason will not pass by itself soon."""
        self._attempt = max(self._attempt, 3)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._attempt = 0


class Seldom:
    """Lets something be said once, and again after `every_s`."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next = 0.0

    def due(self, at_s: float) -> bool:
        """Whether it may be said at `at_s`, by a clock that never goes back.

        >>> seldom = Seldom(30)
        >>> seldom.due(100), seldom.due(101), seldom.due(130)
        (True, False, True)
        """
        if at_s < self._next:
            return False
        self._next = at_s + self._every_s
        return True

    def reset(self) -> None:
        """Say it at once the next time."""
        self._next = 0.0
