"""A driver's options, as a person gave them: checked before anything is sent.

From: `--option name=value`. To: one driver, which declares what it knows in its `BootLoader.options`. What is not
known or does not fit is refused with what was expected; a value that passed is safe to be sent to a board.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, NoReturn

from devices.errors import RefusedError
from devices.spec import Text

_PRINTABLE: Final = re.compile(r"[ -~]*", re.ASCII)


class Options:
    """What was given for the driver `who`; RefusedError for a name that is not in `known`."""

    def __init__(self, who: str, given: Mapping[str, str], known: Mapping[str, Text]) -> None:
        self._who = who
        self._given = given
        for name in given:
            if name not in known:
                expected = ", ".join(known) or "none at all"
                raise RefusedError(f"{who}: option {name!r:.40}: expected one of {expected}; nothing was sent")

    def text(self, name: str, default: str = "", *, longest: int = 60) -> str:
        """Printable ASCII, at most `longest` characters."""
        value = self._given.get(name, default)
        if not _PRINTABLE.fullmatch(value) or len(value) > longest:
            self._refuse(name, f"up to {longest} printable ASCII characters", value)
        return value

    def matching(self, name: str, pattern: str, expected: str, default: str | None = None) -> str:
        """A value that is `pattern` as a whole; without a default it must be given."""
        value = self._given.get(name, default)
        if value is None or (value != default and not re.fullmatch(pattern, value, re.ASCII)):
            self._refuse(name, expected, value)
        return value

    def one_of(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of `choices`; without a default it must be given."""
        value = self._given.get(name, default)
        if value not in choices:
            self._refuse(name, f"one of {', '.join(choices)}", value)
        return value

    def hexadecimal(self, name: str, default: int | None = None) -> int:
        """An address or offset, 0 to 0xffffffff; without a default it must be given."""
        given = self._given.get(name)
        if given is None and default is not None:
            return default
        if given is None or not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", given, re.ASCII):
            self._refuse(name, "a hexadecimal number such as 0x40200000", given)
        return int(given, 16)

    def seconds(self, name: str, default: float, *, most: float) -> float:
        """A time above 0 and up to `most`."""
        given = self._given.get(name, str(default))
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not 0 < value <= most:
            self._refuse(name, f"seconds, above 0 and up to {most:g}", given)
        return value

    def _refuse(self, name: str, expected: str, got: str | None) -> NoReturn:
        shown = "nothing" if got is None else f"{got!r:.80}"
        raise RefusedError(f"{self._who}: option {name}: expected {expected}, got {shown}; nothing was sent")
