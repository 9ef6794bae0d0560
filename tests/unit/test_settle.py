"""Weeks of creep stand out from sun, weather, shocks and a cover put back otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from processors.day_line import line
from processors.detectors import build
from tests.support.beside import angles, feed_rows

DAY = 86_400.0
NAN = math.nan


def settle(**params):
    made = build("settle", params)
    made.grow(np.array([1800.0]), np.zeros(1, dtype=np.int64))
    return made


def rows(days, tilt, warmth=None, *, way=30.0):
    """A heartbeat each half hour; `tilt` and `warmth` of the day number."""
    made = []
    for i in range(int(days * 48)):
        at = i / 48
        made.append((i * 1800.0, NAN, *angles(tilt(at), way), NAN if warmth is None else warmth(at)))
    return made


def noise(at):
    return 0.15 * math.sin(at * 7919.0) + 0.1 * math.sin(at * 104_729.0)


def sun(at):
    return math.cos((at - 0.6) * 2 * math.pi)


def test_a_twentieth_of_a_degree_a_day_is_seen_within_a_fortnight_under_ten_times_as_much_sun():
    found = feed_rows(
        settle(), rows(30, lambda d: 3 + 0.05 * d + 0.25 * sun(d) + noise(d), lambda d: 16 + 3 * sun(d))
    )
    (raised,) = found
    assert raised.phase == "raise"
    assert 10 * DAY < raised.at_s < 15 * DAY
    assert raised.observed == pytest.approx(0.05 * (raised.at_s - raised.onset_s) / DAY, abs=0.15)


def test_a_cover_that_only_goes_with_the_sun_is_at_rest():
    assert feed_rows(settle(), rows(60, lambda d: 3 + 0.5 * sun(d) + noise(d), lambda d: 16 + 6 * sun(d))) == []


def test_a_fortnight_that_warms_is_no_settling_where_the_temperature_is_known():
    def warmth(d):
        return 5 + 0.8 * d + 3 * sun(d)

    def tilt(d):
        return 2 + 0.08 * warmth(d) + noise(d)

    assert feed_rows(settle(), rows(21, tilt, warmth)) == []
    assert feed_rows(settle(blind=1), rows(21, tilt)) != [], "without it, the warmth looks like settling"


def test_a_quick_creep_is_seen_in_a_week_and_a_device_without_a_thermometer_needs_twice_as_much():
    def tilt(d):
        return 3 + 0.12 * max(d - 14, 0) + noise(d)

    (known,) = feed_rows(settle(), rows(24, tilt, lambda d: 16 + 3 * sun(d)))
    assert known.at_s < 22 * DAY
    (blind,) = feed_rows(settle(), rows(40, tilt))
    assert known.at_s + 2 * DAY < blind.at_s < 32 * DAY


def test_a_cover_put_back_otherwise_is_a_jump_and_no_line():
    assert feed_rows(settle(), rows(40, lambda d: 3 + (1.5 if d > 20 else 0) + noise(d))) == []
    assert feed_rows(settle(), rows(40, lambda d: 3 + (6 if d > 20 else 0) + noise(d))) == []


def test_shocks_do_not_bend_the_line_on_a_street_that_gets_busier_every_day():
    def struck(d):
        return 3 + noise(d) + (14 if int(d * 48) * 7 % 48 < 2 * (d - 8) else 0)

    assert feed_rows(settle(), rows(20, struck, lambda d: 16 + sun(d))) == []


def test_creep_to_the_side_that_leaves_the_tilt_alone_is_seen():
    found = feed_rows(settle(), [(i * 1800.0, 5.0, *angles(5.0, 1.2 * i / 48), NAN) for i in range(21 * 48)])
    assert [told.phase for told in found] == ["raise"]


def test_it_clears_when_the_creep_ends():
    found = feed_rows(settle(), rows(60, lambda d: 3 + 0.1 * min(d, 20) + noise(d)))
    assert [told.phase for told in found] == ["raise", "clear"]


def test_the_chart_shows_the_daily_means_and_their_line():
    made = settle()
    assert made.window(0) is None
    feed_rows(made, rows(15, lambda d: 3 + 0.1 * d))
    seen = made.window(0)
    assert len(seen.time_us) == 15  # the city's first day began eight hours before
    assert np.diff(seen.value)[1:] == pytest.approx(0.1, abs=0.01)
    assert seen.expected == pytest.approx(seen.value, abs=0.03)


def test_a_line_is_the_same_however_many_are_drawn_with_it():
    chance = np.random.default_rng(4)
    values = chance.normal(size=(57, 21, 3))
    values[chance.random((57, 21)) < 0.2] = np.nan
    whole = line(values)
    for one in range(57):
        alone = line(values[one : one + 1])
        assert all((a == b[one]).all() for a, b in zip(alone, whole, strict=True))
