"""Times of the wire, which have no zone and are Beijing's: UTC+8, all year.

From: DataTime (14 digits, in the field also 17 with milliseconds) and QN (17 digits, in the field also epoch
milliseconds). To: UTC microseconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from devices.beijing import BEIJING, beijing, micros

_SECOND: Final = 14
_MILLISECOND: Final = 17
_EPOCH_MS: Final = 13
_FROM_US: Final = 946_684_800_000_000  # 2000-01-01
_TO_US: Final = 4_102_444_800_000_000  # 2100-01-01
_KNOWN_MAX: Final = 4096  # loggers of a city send the same few seconds
_known: dict[bytes, int] = {}


def beijing_us(text: bytes) -> int | None:
    """`text` as UTC microseconds; None unless it is 14 or 17 digits and a moment of this century.

    >>> beijing_us(b"20160801085857"), beijing_us(b"20160801085857223"), beijing_us(b"20161301000000")
    (1470013137000000, 1470013137223000, None)
    """
    found = _known.get(text)
    if found is not None:
        return found
    if not text.isdigit() or len(text) not in (_SECOND, _MILLISECOND):
        return None
    time_us = _seconds_us(text[:_SECOND])
    if time_us is None or len(text) == _MILLISECOND:
        return None if time_us is None else time_us + int(text[_SECOND:]) * 1000
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    _known[text] = time_us
    return time_us


def _seconds_us(text: bytes) -> int | None:
    places = (0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)
    try:
        moment = datetime(*(int(text[a:b]) for a, b in places), tzinfo=BEIJING)  # type: ignore[arg-type, misc]
    except ValueError:
        return None
    time_us = micros(moment)
    return time_us if _FROM_US <= time_us < _TO_US else None


def request_us(qn: str) -> int | None:
    """The time in a QN: 17 digits of Beijing time, or 13 of epoch milliseconds; None otherwise.

    >>> request_us("20210412154520280"), request_us("1617936069734")
    (1618213520280000, 1617936069734000)
    """
    if not (qn.isascii() and qn.isdigit()):
        return None
    if len(qn) == _EPOCH_MS:
        time_us = int(qn) * 1000
        return time_us if _FROM_US <= time_us < _TO_US else None
    return beijing_us(qn.encode()) if len(qn) == _MILLISECOND else None


def stamp(time_us: int) -> str:
    """UTC microseconds as DataTime writes them, to the second.

    >>> stamp(1470013137223000)
    '20160801085857'
    """
    return f"{beijing(time_us):%Y%m%d%H%M%S}"


def request_number(time_us: int) -> str:
    """UTC microseconds as QN writes them, to the millisecond.

    >>> request_number(1470013137223999)
    '20160801085857223'
    """
    return f"{stamp(time_us)}{time_us // 1000 % 1000:03d}"
