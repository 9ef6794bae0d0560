"""What is usual at this half hour of the day and this hour of the week, for many devices at once.

From: detectors, value by value, strictly causal. To: a usual value. A cell counts the more the more days it was seen;
until then the hour leans on the day's course, and that on a slow level. Cells are hours of UTC: Beijing's are the same
cells under another number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int32, Int64
from processors.local_time import HALF_US

DAY: Final = 48
WEEK: Final = 168
_DAYS: Final = 10.0  # a value of the day's course is the mean of about so many days
_WEEKS: Final = 4.0
_MOST: Final = 200
COLUMNS: Final[Mapping[str, tuple[str, float]]] = {
    "day_usual": ("float32", 0.0),
    "day_visits": ("uint8", 0),
    "week_usual": ("float32", 0.0),
    "week_visits": ("uint8", 0),
    "half": ("int64", -1),
    "half_rows": ("int32", 0),
    "hour_rows": ("int32", 0),
}


class Habits(Protocol):
    """State columns of n devices. `day_usual`, `day_visits`: (n, DAY). `week_usual`, `week_visits`: (n, WEEK).

    `half`: (n,) half hour of the last value, counted from 1970. `half_rows`, `hour_rows`: (n,) values in it and in its
    hour so far.
    """

    day_usual: NDArray[np.float32]
    day_visits: NDArray[np.uint8]
    week_usual: NDArray[np.float32]
    week_visits: NDArray[np.uint8]
    half: Int64
    half_rows: Int32
    hour_rows: Int32


def width(name: str) -> tuple[int, ...]:
    """Shape of one device's element of the state column `name`."""
    if name.startswith("day_"):
        return (DAY,)
    return (WEEK,) if name.startswith("week_") else ()


def usual(of: Habits, device: Int64, time_us: Int64, level: Float64) -> Float64:
    """(m,) usual value at `time_us` (m,); `level` (m,) where nothing is known of the hour."""
    now, last = time_us // HALF_US, of.half[device]
    day, week = now % DAY, now // 2 % WEEK
    # The visit that is under way is no knowledge yet.
    days = of.day_visits[device, day] - 1.0 * (now == last)
    weeks = of.week_visits[device, week] - 1.0 * (now // 2 == last // 2)
    course = level + days / (days + 1.0) * (of.day_usual[device, day] - level)
    found: Float64 = course + weeks / (weeks + 1.0) * (of.week_usual[device, week] - course)
    return found


def learn(of: Habits, device: Int64, time_us: Int64, value: Float64) -> None:
    """Take `value` (m,) at `time_us` (m,) into its cells; all values of one visit together weigh as one day."""
    now, last = time_us // HALF_US, of.half[device]
    of.half[device] = now
    of.half_rows[device] = rows = np.where(now == last, of.half_rows[device], 0) + 1
    _learn(of.day_usual, of.day_visits, device, now % DAY, value, rows, _DAYS)
    same_hour = now // 2 == last // 2
    of.hour_rows[device] = rows = np.where(same_hour, of.hour_rows[device], 0) + 1
    _learn(of.week_usual, of.week_visits, device, now // 2 % WEEK, value, rows, _WEEKS)


def _learn(
    cells: NDArray[np.float32], visits: NDArray[np.uint8], device: Int64, cell: Int64, value: Float64,
    rows: Int64, most: float,
) -> None:  # fmt: skip
    count = np.minimum(visits[device, cell] + (rows == 1), _MOST)
    visits[device, cell] = count
    old = cells[device, cell].astype(np.float64)
    cells[device, cell] = old + (value - old) / (np.minimum(count, most) * rows)
