"""The city's hours, days and half hours, for arrays of times: Beijing time, the same all year.

From: detectors and what they learn from. To: whole numbers; no clock and no time zone table is asked, so that live and
replay agree. Scalars and texts: `devices.beijing`.
"""

from __future__ import annotations

from typing import Final

from devices.readings import Int64

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
LOCAL_US: Final = 8 * HOUR_US
"""What local time is ahead of UTC."""

SLOTS: Final = 48
"""Half hours of a day."""

HALF_US: Final = DAY_US // SLOTS
_LOCAL_SLOTS: Final = LOCAL_US // HALF_US
_THURSDAY: Final = 3  # 1 January 1970
_SATURDAY: Final = 5


def hour_of(time_us: Int64) -> Int64:
    """(m,) hour of the day, 0 to 23."""
    hour: Int64 = (time_us + LOCAL_US) // HOUR_US % 24
    return hour


def day_of(time_us: Int64) -> Int64:
    """(m,) local day, counted from 1970."""
    day: Int64 = (time_us + LOCAL_US) // DAY_US
    return day


def slot_of(half: Int64) -> tuple[Int64, Int64]:
    """Places (m,) of half hours counted from 1970 in UTC: within the day, 0 to 47; and 48 on weekends, else 0."""
    count = half + _LOCAL_SLOTS
    weekend: Int64 = ((count // SLOTS + _THURSDAY) % 7 >= _SATURDAY) * SLOTS
    return count % SLOTS, weekend
