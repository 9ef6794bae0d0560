"""The benchmark's measure, by hand: what a detection is worth, early, late, outside and repeated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.yardsticks.nab import Costs, Series, chance, points, rested, score, worth

COSTS = Costs(found=1.0, false=0.11, missed=1.0)


def series(*windows: tuple[int, int], rows: int = 1000) -> Series:
    return Series(
        "group/one.csv", np.arange(rows), np.zeros(rows), np.array(windows, dtype=np.int64).reshape(-1, 2)
    )


def at(*rows: int) -> np.ndarray:
    found = np.zeros(1000, dtype=np.bool_)
    found[list(rows)] = True
    return found


def test_a_detection_is_worth_most_at_the_windows_first_row_and_nothing_at_its_end():
    assert worth(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert worth(0.0) == 0
    assert worth(0.5) == pytest.approx(-worth(-0.5))
    assert worth(3.1) == -1


def test_nothing_scores_0_and_every_first_row_100():
    one = series((300, 399), (700, 799))
    assert score([one], [at()], COSTS) == 0
    assert score([one], [at(300, 700)], COSTS) == pytest.approx(100)


def test_only_the_first_detection_in_a_window_counts():
    one = series((300, 399))
    assert points(one, at(350, 351, 398), COSTS) == points(one, at(350), COSTS)
    assert points(one, at(350), COSTS).raw < points(one, at(310), COSTS).raw


def test_a_false_detection_costs_less_just_after_a_window_and_all_before_the_first():
    one = series((300, 399))
    hit = points(one, at(300), COSTS).raw
    assert hit - points(one, at(200, 300), COSTS).raw == pytest.approx(0.11)
    assert hit - points(one, at(300, 410), COSTS).raw == pytest.approx(-0.11 * worth(11 / 99))
    assert hit - points(one, at(300, 900), COSTS).raw == pytest.approx(0.11)


def test_the_first_fifteen_in_a_hundred_rows_count_for_nothing():
    one = series((300, 399))
    assert points(one, at(0, 149), COSTS) == points(one, at(), COSTS)
    assert points(one, at(150), COSTS) != points(one, at(), COSTS)
    assert series(rows=20_000).probation == 750


def test_a_series_without_windows_only_loses():
    assert points(series(), at(500, 600), COSTS) == (pytest.approx(-0.22), 0, 0)
    assert math.isnan(score([series()], [at(500)], COSTS))


def test_a_rest_leaves_the_first_of_many():
    assert np.flatnonzero(rested(at(10, 11, 89, 90, 91), 80)).tolist() == [10, 90]


def test_chance_draws_as_many_detections_as_there_were():
    one = series((200, 899))
    assert chance([one], [at()], COSTS) == 0
    assert chance([one], [at(500)], COSTS) > 30
