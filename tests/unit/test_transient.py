"""What is to and fro, and what only changes."""

from __future__ import annotations

import random

from tests.support.detecting import detector, feed


def rule(**params: float):
    return detector("transient", **{"least": 30, "window_s": 3600, "clear_s": 3600, **params})


def noisy(count: int, noise: float, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [330 + chance.gauss(0, noise) for _ in range(count)]


def test_the_fourth_wide_swing_within_an_hour_is_raised_since_the_first():
    found = feed(rule(), [330, 330, 400, 330, 330, 330, 400, 330, 330, 400, 330, 330, 330, 400, 330, 330])
    assert [(told.phase, told.onset_s, told.at_s) for told in found] == [("raise", 3 * 60, 14 * 60)]


def test_spikes_hours_apart_are_nothing():
    assert feed(rule(), ([330.0] * 100 + [400.0]) * 6) == []


def test_steps_ramps_and_pumps_that_switch_are_no_swings():
    assert (
        feed(
            rule(), [330.0] * 20 + [250.0] * 20 + [330 + i for i in range(100)] + ([300.0] * 5 + [400.0] * 5) * 20
        )
        == []
    )


def test_a_point_that_always_trembles_has_a_wider_bound():
    trembling = rule()
    assert feed(trembling, noisy(2000, 12.0)) == []
    assert feed(trembling, [310, 350] * 10, from_s=2000 * 60) == []
    assert [told.phase for told in feed(rule(), [310, 350] * 10)] == ["raise"]


def test_the_first_minutes_of_a_device_are_judged_by_the_least_swing():
    assert [told.phase for told in feed(rule(), [330, 400, 330, 400, 330, 400, 330])] == ["raise"]


def test_it_clears_after_an_hour_of_calm_and_the_next_is_another():
    hammer = [330, 400] * 4
    found = feed(rule(), [*hammer, *[330] * 80, *hammer, *[330] * 80])
    assert [told.phase for told in found] == ["raise", "clear", "raise", "clear"]
    assert found[2].onset_s > found[1].at_s


def test_readings_far_apart_have_no_swing():
    assert feed(rule(), [330, 400] * 10, every_s=600) == []


def test_large_moves_one_way_are_no_swing():
    assert feed(rule(), [600.0 - 40 * i for i in range(12)]) == []


def test_swings_of_before_it_cleared_do_not_count_again():
    found = feed(rule(clear_s=120), [*[330, 400] * 4, *[330] * 10, 400, *[330] * 10])
    assert [told.phase for told in found] == ["raise", "clear"]
