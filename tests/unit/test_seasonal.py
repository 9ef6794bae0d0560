"""What is learned of a day's course: where it moves, by how much, and what leaves it alone."""

from __future__ import annotations

import numpy as np

from processors import seasonal

S = 1_000_000
DAY = 86_400
MONDAY = 1_767_542_400  # 5 January 2026, midnight in Beijing


class Course:
    """The columns of one device."""

    def __init__(self):
        for name, (dtype, fill) in seasonal.COLUMNS.items():
            setattr(self, name, np.full((1, *seasonal.width(name)), fill, dtype=dtype))

    def take(self, from_s, to_s, value, *, fine=True, every_s=300):
        for at in range(from_s, to_s, every_s):
            seasonal.learn(
                self,
                np.array([0]),
                np.array([at * S]),
                np.array([float(value(at))]),
                np.array([fine]),
                most=100.0,
            )

    def per_hour(self, at_s):
        return float(seasonal.pace(self, np.array([0]), np.array([at_s * S]))[0]) * 3600 * S


def morning(at_s):
    """Falls by 20 an hour from 6 to 8, rises again from 20 to 22."""
    hour = (at_s - MONDAY) % DAY / 3600
    return 400 - 20 * min(max(hour - 6, 0), 2) + 20 * min(max(hour - 20, 0), 2)


def test_after_one_day_the_mornings_fall_is_expected():
    course = Course()
    course.take(MONDAY, MONDAY + DAY + 3600, morning)
    assert abs(course.per_hour(MONDAY + DAY + 7 * 3600) + 20) < 0.5
    assert course.per_hour(MONDAY + DAY + 12 * 3600) == 0


def test_before_anything_is_known_no_change_is_expected():
    assert Course().per_hour(MONDAY) == 0


def test_a_level_that_shifts_for_good_leaves_the_course_alone():
    course = Course()
    course.take(MONDAY, MONDAY + 2 * DAY, morning)
    course.take(MONDAY + 2 * DAY, MONDAY + 4 * DAY, lambda at: morning(at) - 50)
    assert abs(course.per_hour(MONDAY + 4 * DAY + 7 * 3600) + 20) < 0.5


def test_a_weekend_borrows_from_working_days_until_it_was_seen():
    course = Course()
    course.take(MONDAY, MONDAY + 5 * DAY, morning)
    saturday = MONDAY + 5 * DAY
    assert abs(course.per_hour(saturday + 7 * 3600) + 20) < 0.5
    course.take(saturday, saturday + 2 * DAY, lambda _: 400)
    assert course.per_hour(saturday + 7 * DAY + 7 * 3600) == 0
    assert abs(course.per_hour(saturday + 3 * DAY + 7 * 3600) + 20) < 0.5


def test_what_is_not_fine_is_not_learned():
    course = Course()
    course.take(MONDAY, MONDAY + DAY, morning)
    course.take(MONDAY + DAY, MONDAY + 2 * DAY, lambda at: 400 - (at % 7200) / 60, fine=False)
    course.take(MONDAY + 2 * DAY, MONDAY + 2 * DAY + 1800, morning)
    assert abs(course.per_hour(MONDAY + 2 * DAY + 7 * 3600) + 20) < 0.5


def test_across_a_gap_nothing_is_learned():
    course = Course()
    course.take(MONDAY, MONDAY + 4 * 3600, lambda _: 400)
    course.take(MONDAY + 9 * 3600, MONDAY + 12 * 3600, lambda _: 300)
    assert course.per_hour(MONDAY + DAY + 9 * 3600) == 0


def test_state_is_half_a_kilobyte_per_device():
    made = Course()
    assert sum(getattr(made, name).nbytes for name in seasonal.COLUMNS) < 512
