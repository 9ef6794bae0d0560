"""A fan outside opening hours, in the city's time."""

from __future__ import annotations

import pytest

from processors.detectors import build
from processors.errors import RuleError
from tests.support.detecting import detector, feed, phases

RULE = {"running": 1.0, "hold_s": 1200.0}
HOUR = 3600.0


def raised(hour, hours=1.0, **params):
    """What a fan that runs for `hours` from a local hour of a day on raises."""
    found = feed(detector("off_hours", **{**RULE, **params}), [9.0] * int(hours * 60), from_s=(hour + 16) * HOUR)
    return [told.phase for told in found]


@pytest.mark.parametrize("hour", [9.5, 12.0, 13.5, 15.5, 18.0, 20.4])
def test_sessions_and_an_hour_on_either_side_are_open(hour):
    assert raised(hour) == []


@pytest.mark.parametrize("hour", [0.0, 3.0, 8.0, 22.0, 23.5])
def test_night_and_early_morning_are_not(hour):
    assert raised(hour) == ["raise"]


def test_twenty_minutes_after_closing_are_cleaning():
    assert raised(21.5, 0.3) == []


def test_a_session_over_midnight_and_one_that_does_not_exist():
    late = {"from_1": 18.0, "to_1": 2.0, "from_2": 0.0, "to_2": 0.0}
    assert [raised(hour, **late) for hour in (23.0, 1.0, 2.0, 17.0)] == [[], [], [], []]
    assert raised(12.0, **late) == ["raise"]


def test_it_ends_when_the_fan_stops_or_the_house_opens():
    night = feed(detector("off_hours", **RULE), [9.0] * 60 * 8, from_s=(2 + 16) * HOUR)
    assert phases(night) == [("raise", 18 * HOUR + 1200), ("clear", (9.5 + 16) * HOUR)]


def test_an_hour_that_no_day_has_is_refused():
    with pytest.raises(RuleError, match="to_1 of 0 to 24"):
        build("off_hours", {"running": 1, "to_1": 25})
