"""A loose cover rocks; a shock, a tilt and a hand at work do not."""

from __future__ import annotations

import math

import numpy as np

from tests.support.beside import angles, feed_rows
from tests.support.detecting import detector, phases

NAN = math.nan
RULE = {"swing": 2.0, "swings": 6.0, "window_s": 1800.0, "clear_s": 600.0}


def rows(tilts, *, every=5.0):
    return [(i * every, tilt, NAN, NAN, NAN) for i, tilt in enumerate(tilts)]


def test_six_swings_within_minutes_are_rocking_and_their_number_is_told():
    found = feed_rows(detector("rocking", **RULE), rows([2.0] * 10 + [6.0, 2.0] * 4))
    assert phases(found) == [("raise", 75.0)]
    assert (found[0].onset_s, found[0].observed) == (50.0, 4.0)


def test_a_tilt_that_stays_and_a_shock_are_fewer_swings():
    made = detector("rocking", **RULE)
    assert feed_rows(made, rows([2.0] * 10 + [14.0] * 20 + [2.0] * 10 + [12.0, 2.0])) == []


def test_rocking_about_the_installed_direction_is_seen_where_the_tilt_stays():
    ways = [0.0] * 5 + [90.0, 0.0] * 4
    found = feed_rows(detector("rocking", **RULE), [(i * 5.0, 3.0, *angles(3.0, w)) for i, w in enumerate(ways)])
    assert [told.phase for told in found] == ["raise"]


def test_noise_and_drift_are_no_swings():
    wobble = [3.0 + 0.5 * (i % 3) + i * 0.01 for i in range(300)]
    assert feed_rows(detector("rocking", **RULE), rows(wobble)) == []


def test_swings_spread_over_hours_are_forgotten_unless_the_device_reports_seldom():
    hourly = [2.0, 6.0] * 8
    assert feed_rows(detector("rocking", **RULE), rows(hourly, every=3600.0)) == []
    seldom = detector("rocking", **RULE)
    seldom.grow(np.array([1800.0]), np.zeros(1, dtype=np.int64))
    assert [t.phase for t in feed_rows(seldom, rows(hourly, every=1800.0))] == ["raise"]


def test_a_hand_at_work_starts_the_count_anew():
    worked = [2.0] * 5 + [5.0, 2.0, 5.0, 2.0, 60.0, 2.0, 5.0, 2.0, 5.0]
    assert feed_rows(detector("rocking", **RULE), rows(worked)) == []


def test_it_clears_when_the_swings_are_forgotten():
    found = feed_rows(detector("rocking", **RULE), rows([2.0] * 3 + [6.0, 2.0] * 4 + [2.0] * 600))
    assert [told.phase for told in found] == ["raise", "clear"]
