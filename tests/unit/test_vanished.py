"""An open cover that falls silent may be gone; one that falls silent in its place is not."""

from __future__ import annotations

import math

import numpy as np

from processors.detectors import Detector, build
from tests.support.beside import feed_rows
from tests.support.detecting import S, tell

NAN = math.nan


def made() -> Detector:
    found = build("vanished", {"high": 30.0, "periods": 1.5, "min_s": 900.0})
    found.grow(np.array([1800.0]), np.zeros(1, dtype=np.int64))
    return found


def rows(tilts, start=0.0):
    return [(start + i * 5.0, tilt, NAN, NAN, NAN) for i, tilt in enumerate(tilts)]


def expire(detector, now_s):
    due = np.flatnonzero(detector.deadlines() < now_s * S)
    return [told for _, told in tell(detector.expire(due, np.full(len(due), int(now_s * S))), [0])]


def test_open_then_silent_for_one_and_a_half_periods_is_missing_until_it_speaks_again():
    cover = made()
    assert feed_rows(cover, rows([2.0] * 5 + [85.0] * 3)) == []
    assert expire(cover, 35 + 2699) == []
    (raised,) = expire(cover, 35 + 2701)
    assert (raised.phase, raised.onset_s, raised.at_s, raised.observed) == ("raise", 25.0, 2735.0, 83.0)
    assert expire(cover, 99_999) == []
    (clear,) = feed_rows(cover, rows([2.0], start=90_000))
    assert (clear.phase, clear.onset_s) == ("clear", 25.0)


def test_silent_in_its_place_and_closed_again_are_somebody_elses_matter():
    cover = made()
    feed_rows(cover, rows([2.0] * 5))
    assert expire(cover, 99_999) == []
    feed_rows(cover, rows([85.0, 85.0, 2.0], start=100_000))
    assert expire(cover, 199_999) == []


def test_a_deadline_that_passed_before_a_reading_speaks_first():
    cover = made()
    feed_rows(cover, rows([2.0] * 5 + [85.0]))
    found = feed_rows(cover, rows([85.0], start=10_000))
    assert [told.phase for told in found] == ["raise", "clear"]


def test_the_time_that_we_were_away_does_not_count():
    cover = made()
    feed_rows(cover, rows([2.0] * 5 + [85.0]))
    cover.extend(np.array([0]), np.array([50_000 * S]))
    assert expire(cover, 49_999) == []
    assert len(expire(cover, 50_001)) == 1
