"""A point that rests and a sensor that is stuck."""

from __future__ import annotations

import numpy as np
import pytest

from processors.detectors import Step
from tests.support.detecting import detector, feed

HOUR = 60  # readings, one a minute
MOVING = [400.0 + i % 7 for i in range(3 * HOUR)]


def raised_s(values: list[float]) -> list[float]:
    made = detector("rest_stuck", hold_s=3600, tolerance=0.05)
    return [told.at_s for told in feed(made, values) if told.phase == "raise"]


def test_a_point_that_moves_is_stuck_after_an_hour():
    assert raised_s([*MOVING, *[398.0] * (3 * HOUR)]) == [(len(MOVING) + HOUR) * 60]


def test_a_point_that_rests_every_night_is_told_at_most_four_times_in_two_months():
    night = [*MOVING, *[398.0] * (6 * HOUR)]
    assert 1 <= len(raised_s(night * 60)) <= 4


def test_a_point_that_rests_is_stuck_after_twice_its_rest():
    known = [*MOVING, *[398.0] * (6 * HOUR)] * 10
    (*_, last) = raised_s([*known, *MOVING, *[398.0] * (30 * HOUR)])
    assert 11 * HOUR <= last / 60 - len(known) - len(MOVING) <= 12 * HOUR + 1


def test_a_sensor_that_stuck_once_is_told_as_soon_the_next_time():
    stuck = [*MOVING, *[398.0] * (5 * HOUR)]
    first, second = raised_s([*stuck, *stuck])
    assert second - first == len(stuck) * 60


@pytest.mark.parametrize("known", [False, True])
def test_before_a_point_was_seen_to_rest_nothing_is_claimed_of_its_rests(known: bool) -> None:  # noqa: FBT001
    made = detector("rest_stuck", hold_s=3600, tolerance=0.05)
    if known:
        feed(made, [*MOVING, *[398.0] * (2 * HOUR), 405.0])
    zero = np.zeros(1, np.uint8)
    moments = [np.array([10**15 + minute * 60_000_000]) for minute in range(10 * HOUR)]
    steps = [Step(zero.astype(np.int32), at, at, np.array([398.0]), zero) for at in moments]
    told, *_ = [hits for step in steps for hits in made.step(step)]
    assert (told.because is None, "rest_min" in told.extra) == (known, known)
