"""When too much of a week or a month was on the wrong side of the limit."""

from __future__ import annotations

import math

import pytest

from processors.detectors import build
from processors.errors import RuleError
from tests.support.detecting import detector, feed, phases

HOUR = 12  # readings
DAY_S = 86_400.0
MONDAY_S = 1_767_542_400.0
WEEK_ALLOWS_H = 0.03 * 7 * 24  # 5.04


def rule():
    made = detector("compliance", low=140, share=0.97)
    made._gap_us[:] = 900_000_000  # reports every five minutes
    return made


def days(*low_hours: float) -> list[float]:
    """Each day at 300, but for so many hours at 120 from six in the morning."""
    out = []
    for hours in low_hours:
        out += [120.0 if 72 <= place < 72 + round(hours * HOUR) else 300.0 for place in range(288)]
    return out


def fed(made, values):
    return [
        (told.phase, (told.at_s - MONDAY_S) / DAY_S) for told in feed(made, values, every_s=300, from_s=MONDAY_S)
    ]


def test_it_is_raised_when_the_weeks_allowance_is_spent_not_at_the_weeks_end():
    ((phase, day),) = fed(rule(), days(2, 2, 2, 0))
    assert phase == "raise"
    assert day * 24 == pytest.approx(48 + 6 + WEEK_ALLOWS_H - 4, abs=1 / HOUR)


def test_five_hours_in_a_week_are_allowed():
    assert fed(rule(), days(2, 0, 2, 0, 1, 0, 0)) == []


def test_hours_of_more_than_a_week_ago_count_for_the_month_alone():
    assert fed(rule(), days(4.5, 0, 0, 0, 0, 0, 0, 4.5, 0, 0, 0, 0, 0, 0, 4.5)) == []
    ((phase, day),) = fed(rule(), days(*[4.5, 0, 0, 0, 0, 0, 0] * 5))
    assert (phase, int(day)) == ("raise", 28), "21.6 hours in thirty days: in the fifth week"


def test_it_clears_when_the_week_is_good_again():
    found = fed(rule(), days(6, 0, 0, 0, 0, 0, 0, 0, 0))
    assert [phase for phase, _ in found] == ["raise", "clear"]
    assert int(found[1][1]) == 7


def test_its_numbers_are_the_shares_of_time(monkeypatch):
    made, told = rule(), []
    feed(made, days(4), every_s=300, from_s=MONDAY_S)
    judge = made.judge
    monkeypatch.setattr(made, "judge", lambda step: told.extend(judge(step)) or [])
    feed(made, days(2), every_s=300, from_s=MONDAY_S + DAY_S)
    (hits,) = told
    assert hits.extra["week"][0] == pytest.approx(97.0, abs=0.1)
    assert hits.extra["month"][0] == pytest.approx(100 - 100 * WEEK_ALLOWS_H / 720, abs=0.1)
    assert hits.extra["required"][0] == pytest.approx(97)


def test_a_gap_counts_for_nothing():
    made = rule()
    feed(made, [120.0] * 12, every_s=300, from_s=MONDAY_S)
    assert feed(made, [120.0] * 12, every_s=300, from_s=MONDAY_S + 20 * 3600) == []


def test_a_device_silent_for_months_begins_anew():
    made = rule()
    assert phases(feed(made, days(4), every_s=300, from_s=MONDAY_S)) == []
    assert phases(feed(made, days(4), every_s=300, from_s=MONDAY_S + 90 * DAY_S)) == []


@pytest.mark.parametrize("params", [{}, {"low": 1, "share": 1.0}, {"low": math.nan, "share": 0.9}])
def test_a_share_that_makes_no_sense_is_refused(params):
    with pytest.raises(RuleError, match="expected low and share"):
        build("compliance", params)
