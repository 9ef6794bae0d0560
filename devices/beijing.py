"""Times of protocols that have no zone, which means Beijing time, and UTC microseconds, which is what we keep.

From: codecs, requests to loggers, the desk. China has one zone, and no summer time since 1991.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

BEIJING: Final = timezone(timedelta(hours=8))
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def beijing(time_us: int) -> datetime:
    """UTC microseconds as Beijing time; OverflowError beyond the years that a date can have.

    >>> beijing(1618213500000000).isoformat()
    '2021-04-12T15:45:00+08:00'
    """
    return (EPOCH + time_us * MICROSECOND).astimezone(BEIJING)


def micros(moment: datetime) -> int:
    """A moment that knows its zone as UTC microseconds.

    >>> micros(datetime(2021, 4, 12, 15, 45, tzinfo=BEIJING))
    1618213500000000
    """
    return (moment - EPOCH) // MICROSECOND
