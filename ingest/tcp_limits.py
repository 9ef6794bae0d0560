"""What a connection may do, as plain arithmetic: nothing here waits or reads a clock."""

from __future__ import annotations

from enum import IntFlag


class Hold(IntFlag):
    """Why a connection is not read at the moment."""

    NONE = 0
    RATE = 1  # it sends faster than it may
    UNANSWERED = 2  # much of it is on its way into the journal
    WRITE = 4  # it does not read our answers
    JOURNAL = 8  # the journal takes nothing


class Bucket:
    """Tokens that come back at `rate` a second, up to `burst`; what is taken beyond is a debt."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, count: float, at_s: float) -> float:
        """Take `count` at `at_s`, a clock that never goes back; the seconds until the debt is paid, 0 without one.

        >>> bucket = Bucket(10.0, 20.0)
        >>> bucket.take(20, 100.0), bucket.take(5, 100.0), bucket.take(0, 100.5)
        (0.0, 0.5, 0.0)
        """
        self._tokens = min(self._burst, self._tokens + (at_s - self._at) * self._rate) - count
        self._at = at_s
        return max(0.0, -self._tokens / self._rate)

    def allows(self, at_s: float) -> bool:
        """Take one if there is one; whether there was."""
        if self.take(0, at_s) > 0 or self._tokens < 1:
            return False
        self._tokens -= 1
        return True
