"""Durations as people write them: 90, 90s, 5m, 1.5h."""

from __future__ import annotations

import re

from devices.errors import UndercityError

_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str, option: str) -> float:
    """`text` in seconds; UndercityError naming `option` when it is none.

    >>> seconds("1.5h", "--for")
    5400.0
    """
    match = _FORM.fullmatch(text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise UndercityError(
            f"{option}: expected a duration such as 60s, 5m or 1h, got {text!r}; nothing was started"
        )
    return float(match[1]) * _SECONDS[match[2]]
