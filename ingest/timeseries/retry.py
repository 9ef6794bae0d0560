"""How long to wait before trying again: longer each time, never all at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ingest.errors import IngestError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential pauses between `first_s` and `longest_s`, each shortened by up to `jitter` of itself by chance.

    `factor`: each pause is so many times the last. `attempts`: how often one call tries before it hands the
    failure to its caller, who tries again later.
    """

    attempts: int = 3
    first_s: float = 0.2
    factor: float = 2.0
    longest_s: float = 30.0
    jitter: float = 0.3

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 < self.first_s <= self.longest_s or not 0 <= self.jitter < 1:
            raise IngestError(
                "retry: expected attempts >= 1, 0 < first_s <= longest_s and 0 <= jitter < 1, got "
                f"{self.attempts}, {self.first_s}, {self.longest_s} and {self.jitter}"
            )

    def pause_s(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Seconds to wait after so many failures in a row, 1 or more; `chance` gives 0 <= x < 1."""
        # The exponent is bounded: a float overflows where an outage lasts.
        pause = min(self.longest_s, self.first_s * self.factor ** min(failures - 1, 60))
        return pause * (1 - self.jitter * chance())
