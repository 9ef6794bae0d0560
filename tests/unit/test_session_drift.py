"""Weeks of a little more stand out from busy days, busy seasons and single bursts."""

from __future__ import annotations

import math

import numpy as np

from processors.detectors import build
from tests.support.beside import feed_rows

DAY = 86_400.0
NAN = math.nan


def drift(**params):
    made = build("session_drift", {"running": 1.0, "limit": 2.0, "floor": 0.03, **params})
    made.grow(np.array([600.0]), np.zeros(1, dtype=np.int64))
    return made


def kitchen(days, fume, work=None, rest=0.05):
    """Every ten minutes; the fan runs for a quarter of the day, `fume` and `work` by the day's number."""
    rows = []
    for i in range(days * 144):
        day, slot = divmod(i, 144)
        on = slot < 36
        burst = 1.6 if slot % 5 == day % 5 else 0.85
        value = fume(day) * burst if on else rest if isinstance(rest, float) else rest(day)
        load = NAN if work is None else (work(day) if on else 0.3)
        rows.append((i * 600.0, value, 9.0 if on else 0.0, load))
    return rows


def steady(_day):
    return 0.25


def test_a_purifier_that_lets_more_through_every_day_is_told_with_its_own_past():
    found = feed_rows(drift(), kitchen(40, lambda d: 0.25 * (1 + 0.06 * max(0, d - 12))))
    (raised,) = found
    assert 18 * DAY < raised.at_s < 26 * DAY
    assert abs(raised.expected - 0.25) < 0.06
    assert raised.observed > 1.4 * raised.expected


def test_a_steady_kitchen_and_one_busy_week_are_nothing():
    assert feed_rows(drift(), kitchen(60, steady)) == []
    assert feed_rows(drift(), kitchen(60, lambda d: 0.38 if 20 <= d < 25 else 0.25)) == []


def test_a_busy_season_shows_in_the_vapours_and_is_excused():
    def season(d):
        return 1.0 if d < 15 else 1.6

    assert feed_rows(drift(), kitchen(45, lambda d: 0.25 * season(d), lambda d: 1.5 * season(d))) == []
    assert len(feed_rows(drift(), kitchen(45, lambda d: 0.25 * season(d), lambda _: 1.5))) == 1


def test_bursts_count_for_little_however_high():
    rows = kitchen(40, steady)
    wild = [
        (t, 40.0 if i > 2016 and i % 288 == 154 else v, lead, load) for i, (t, v, lead, load) in enumerate(rows)
    ]
    assert feed_rows(drift(), wild) == []
    assert feed_rows(drift(cap=1000.0), wild) != [], "by a plain mean they would"


def test_a_probe_that_reads_more_while_the_kitchen_rests_is_told_and_cooking_says_nothing_of_it():
    fouled = drift(while_on=0.0, slack=0.5)
    found = feed_rows(fouled, kitchen(40, steady, rest=lambda d: 0.05 + 0.006 * max(0, d - 12)))
    assert [told.phase for told in found] == ["raise"]
    cooking_more = kitchen(40, lambda d: 0.25 * (1 + 0.1 * max(0, d - 12)))
    assert feed_rows(drift(while_on=0.0, slack=0.5), cooking_more) == []


def test_a_diluted_probe_falls_and_is_told_within_days():
    made = drift(direction=-1.0, slack=0.4, limit=1.5)
    (raised,) = feed_rows(made, kitchen(30, lambda d: 0.25 if d < 14 else 0.04))
    assert 15 * DAY < raised.at_s < 20 * DAY


def test_after_cleaning_the_past_is_learned_anew_and_the_next_fouling_is_seen():
    def fume(d):
        return 0.6 if d < 20 else 0.2 if d < 50 else 0.2 * (1 + 0.06 * (d - 50))

    (raised,) = feed_rows(drift(), kitchen(80, fume))
    assert raised.at_s > 50 * DAY
    assert raised.expected < 0.3


def test_it_clears_when_the_level_is_back():
    found = feed_rows(drift(), kitchen(50, lambda d: 0.6 if 14 <= d < 24 else 0.25))
    assert [told.phase for told in found] == ["raise", "clear"]


def test_a_probe_that_was_diluted_for_weeks_and_is_repaired_is_no_fouling():
    assert feed_rows(drift(), kitchen(60, lambda d: 0.03 if 20 <= d < 40 else 0.25)) == []
