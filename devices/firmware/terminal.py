"""A bootloader that speaks text: wait for words, type commands that are seen to arrive.

From: drivers of bootloaders with a menu or a prompt. To: a `Link`.
"""

from __future__ import annotations

import re
from typing import Final

from devices.errors import ExchangeError
from devices.firmware.link import Line, Link

_SEEN_MAX: Final = 8192
_SHOWN_MAX: Final = 120


def shown(text: str) -> str:
    """What a board wrote, on one line and not too long: its end, for the end says what went wrong."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN_MAX else "…" + line[-_SHOWN_MAX:]


class Terminal:
    """Text from one link; `seen` is what came since the last `forget`."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.seen = ""

    def forget(self) -> None:
        """Begin anew: nothing that was on the way counts."""
        self.link.discard()
        self.seen = ""

    def find(self, pattern: str, within_s: float) -> re.Match[str] | None:
        """Read until `pattern` is in `seen`; None after `within_s`."""
        deadline = self.link.now() + within_s
        while True:
            if found := re.search(pattern, self.seen):
                return found
            left = deadline - self.link.now()
            if left <= 0:
                return None
            self.hear(self.link.read(1, left))

    def expect(self, pattern: str, within_s: float, what: str) -> re.Match[str]:
        """As `find`; ExchangeError that says `what` was expected and what came."""
        found = self.find(pattern, within_s)
        if found is None:
            raise ExchangeError(f"{self.link.url}: expected {what}, got {shown(self.seen) or 'nothing'!r}")
        return found

    def settle(self, quiet_s: float = 0.3, within_s: float = 3.0) -> str:
        """Read until nothing comes for `quiet_s`; all of `seen`."""
        deadline = self.link.now() + within_s
        while self.link.now() < deadline and (got := self.link.read(1, quiet_s)):
            self.hear(got)
        return self.seen

    def hear(self, data: bytes) -> None:
        """Count `data` among what was seen."""
        self.seen = (self.seen + data.decode("latin-1"))[-_SEEN_MAX:]

    def type(self, text: str, *, within_s: float = 2.0) -> bool:
        """Type `text` without sending it off, and see it echoed just so; False when the line changed it."""
        self.forget()
        self.link.write(text.encode("ascii"))
        deadline = self.link.now() + within_s
        while len(self.seen) < len(text) and (left := deadline - self.link.now()) > 0:
            self.hear(self.link.read(len(text) - len(self.seen), left))
        return self.seen == text


class Reheard:
    """A `Link` on which `text` is heard again before what comes: it was read to see whether a command came back."""

    def __init__(self, link: Link, text: str) -> None:
        self.url = link.url
        self.line = link.line
        self._link = link
        self._again = text.encode("latin-1")

    def read(self, size: int, timeout_s: float) -> bytes:
        """What is heard again, then what comes."""
        found, self._again = self._again[:size], self._again[size:]
        return found + self._link.read(size - len(found), timeout_s) if len(found) < size else found

    def write(self, data: bytes) -> None:
        """Hand all of `data` to the line."""
        self._link.write(data)

    def discard(self) -> None:
        """Forget what has arrived, and what was to be heard again."""
        self._again = b""
        self._link.discard()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set control lines."""
        self._link.control(dtr=dtr, rts=rts)

    def set_line(self, line: Line) -> None:
        """Go on at another speed or parity."""
        self._link.set_line(line)
        self.line = line

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._link.pause(seconds)

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._link.now()

    def reopen(self) -> None:
        """Close and open again, with nothing left over."""
        self._again = b""
        self._link.reopen()

    def close(self) -> None:
        """Let go of the line."""
        self._link.close()
