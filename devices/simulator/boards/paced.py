"""One direction of a serial line as a queue: bytes come out when a line of that speed would have carried them.

From: `serving`, which gives the times. To: `serving` again. No clock of its own, so a test steps it.
"""

from __future__ import annotations

from collections import deque


class Paced:
    """Bytes on their way. `byte_s`: seconds one byte takes; 0 carries everything at once.

    `frame_s`: of a piece that has not arrived whole, nothing is given before so many seconds of it have.
    """

    def __init__(self, byte_s: float, frame_s: float = 0.0) -> None:
        self.byte_s = byte_s
        self._frame_s = frame_s
        self._coming: deque[tuple[float, bytes]] = deque()  # (when its first byte set out, bytes)
        self._free_at = 0.0

    def put(self, data: bytes, at: float) -> None:
        """`data` is handed to the line at the time `at`; it sets out behind what is already on the way."""
        if data:
            start = max(at, self._free_at)
            self._coming.append((start, data))
            self._free_at = start + len(data) * self.byte_s

    def take(self, now: float) -> tuple[bytes, float]:
        """What has arrived by `now`, and when the last byte of it did; `now` itself where nothing did."""
        found = bytearray()
        last = now
        while self._coming:
            start, data = self._coming[0]
            # A millionth of a byte: sums of floats must not hold back a byte that is due.
            here = len(data) if not self.byte_s else int((now - start) / self.byte_s + 1e-6)
            if here <= 0 or (here < len(data) and now - start < self._frame_s):
                break
            self._coming.popleft()
            found += data[:here]
            here = min(here, len(data))
            last = start + here * self.byte_s
            if here < len(data):
                self._coming.appendleft((last, data[here:]))
                break
        return bytes(found), last

    def next_at(self) -> float | None:
        """When there will be something to take; None when nothing is on the way."""
        if not self._coming:
            return None
        start, data = self._coming[0]
        return start + min(len(data) * self.byte_s, max(self._frame_s, self.byte_s))

    def clear(self) -> None:
        """Drop what is on the way: the plug was pulled, or the host asked for it."""
        self._coming.clear()
        self._free_at = 0.0
