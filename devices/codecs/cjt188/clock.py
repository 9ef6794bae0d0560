"""A CJ/T 188 meter's clock: 7 BCD bytes, second to century, by Beijing time.

From: `codec`. One maker of water meters sends it high byte first beside values that are low byte first, so the order
of the clock is found by itself: by which order makes a date, and where both do, by which is today.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from devices.beijing import BEIJING, beijing, micros

_DAY_US: Final = 86_400_000_000
_CENTURIES: Final = (0x00, 0x20)  # some makers leave the century out


def clock_us(raw: bytes, received_us: int, *, high_first: bool) -> int | None:
    """UTC microseconds of the 7 bytes `raw`; None when the clock is not set.

    `high_first`: how the frame's values are; the clock follows them unless only the other order makes a date, or only
    the other order is within a day of `received_us`.
    """
    low = _moment(raw[::-1].hex()) if raw[6] in _CENTURIES else None
    high = _moment(raw.hex()) if raw[0] in _CENTURIES else None
    first, second = (high, low) if high_first else (low, high)
    if first is None or second is None:
        return second if first is None else first
    today = abs(first - received_us) < _DAY_US or abs(second - received_us) >= _DAY_US
    return first if today else second


def _moment(digits: str) -> int | None:
    """`digits`: YYYYMMDDhhmmss; a year below 100 is of this century, and year 0 with no century is no year."""
    if not digits.isdecimal():
        return None
    year = int(digits[:4])
    if year == 0:
        return None
    try:
        moment = datetime(
            2000 + year % 100,
            int(digits[4:6]),
            int(digits[6:8]),
            int(digits[8:10]),
            int(digits[10:12]),
            int(digits[12:14]),
            tzinfo=BEIJING,
        )
    except ValueError:
        return None
    return micros(moment)


def clock_bytes(time_us: int, *, high_first: bool) -> bytes | None:
    """The 7 bytes of a moment, whole seconds; None outside 2000 to 2099."""
    try:
        moment = beijing(time_us)
    except OverflowError:
        return None
    if not 2000 <= moment.year < 2100:
        return None
    raw = bytes.fromhex(f"{moment:%Y%m%d%H%M%S}")
    return raw if high_first else raw[::-1]
