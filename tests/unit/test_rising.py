"""Water that comes up is told early; tide, seepage and a fall are not."""

from __future__ import annotations

import math

import pytest

from tests.support.detecting import detector, feed, phases

RULE = {"rise": 0.3, "per_h": 0.1, "hold_s": 60.0, "clear_s": 600.0}


def test_a_surge_is_told_long_before_a_fixed_limit_and_says_from_where_to_where_how_fast():
    (found,) = feed(detector("rising", **RULE), [0.3] * 10 + [0.3 + 0.05 * i for i in range(1, 10)])
    assert (found.phase, found.onset_s, found.at_s) == ("raise", 600.0, 1020.0)
    assert found.observed == pytest.approx(0.7)
    assert found.expected == pytest.approx(0.3, abs=0.03)


def test_seepage_and_the_days_swing_are_followed():
    day = [0.5 + 0.2 * math.sin(i / 1440 * 2 * math.pi) + 0.00005 * i for i in range(2 * 1440)]
    assert feed(detector("rising", **RULE), day) == []


def test_one_high_reading_and_a_fall_are_nothing():
    assert feed(detector("rising", **RULE), [0.3, 0.3, 0.9, 0.3, 0.3, 0.1, 0.1]) == []


def test_it_clears_when_the_level_stands_still_for_long_enough():
    found = feed(detector("rising", **RULE), [0.3] * 5 + [0.8] * 600)
    assert phases(found)[0] == ("raise", 360.0)
    assert [told.phase for told in found] == ["raise", "clear"]
    assert found[1].at_s > 360 + 3 * 3600


def test_it_clears_soon_after_the_level_fell():
    found = feed(detector("rising", **RULE), [0.3] * 5 + [0.8] * 5 + [0.3] * 30)
    assert phases(found) == [("raise", 360.0), ("clear", 1200.0)]
