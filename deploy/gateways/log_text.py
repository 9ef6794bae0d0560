"""A gateway's log as whole lines that a terminal can show: control characters stand as escapes, length is bounded.

From: pieces of log text between frames. To: a person. What a device prints must not move anybody's cursor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LINE_MAX: Final = 4000


def escaped(data: bytes) -> str:
    r"""`data` as one line: UTF-8 where it is, escapes for the rest.

    >>> print(escaped(b"ok\x1b[2J"))
    ok\x1b[2J
    """
    text = data.decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class LogText:
    """Collects pieces into lines, and gives each to `line` without its end."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        self._held += data
        while (end := self._held.find(b"\n")) >= 0 or len(self._held) > LINE_MAX:
            cut = end if 0 <= end <= LINE_MAX else LINE_MAX
            whole = bytes(self._held[:cut])
            del self._held[: cut + (cut == end)]
            self._line(escaped(whole.rstrip(b"\r")))

    def flush(self) -> None:
        """What has no end yet."""
        if self._held:
            held = bytes(self._held)
            self._held.clear()
            self._line(escaped(held))
