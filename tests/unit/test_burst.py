"""Which falls are a burst: sudden ones that stay, beyond what the point does by itself."""

from __future__ import annotations

import random
from itertools import chain, repeat

from tests.support.detecting import Told, detector, feed, phases

FIVE_MIN = 300.0
DAY = 288
MONDAY_S = 1_767_542_400.0  # midnight in Beijing
RULE = {"change": 60, "least": 15, "learn_s": 2 * 86400, "hold_s": 300, "clear_s": 900}


def burst(**params: float):
    made = detector("burst", **{**RULE, **params})
    made._gap_us[:] = int(3 * FIVE_MIN * 1e6)  # reports every five minutes
    return made


def quiet(count: int, level: float = 330.0, noise: float = 2.0, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [level + chance.gauss(0, noise) for _ in range(count)]


def at(place: int) -> float:
    return MONDAY_S + place * FIVE_MIN


def fed(made, values, first: int = 0) -> list[Told]:
    return feed(made, values, every_s=FIVE_MIN, from_s=at(first))


def test_on_the_first_day_a_large_fall_is_raised_at_its_third_low_value():
    found = fed(burst(), [330.0] * 4 + [250.0] * 4)
    assert phases(found) == [("raise", at(6))]
    assert (found[0].onset_s, found[0].expected, found[0].observed, found[0].limit) == (at(4), 330, 250, 270)


def test_on_the_first_day_a_small_fall_is_nothing():
    assert fed(burst(), [330.0] * 20 + [285.0] * 50) == []


def test_of_a_known_quiet_point_a_small_fall_is_raised():
    made = burst()
    assert fed(made, quiet(3 * DAY)) == []
    assert phases(fed(made, quiet(6, 305.0), 3 * DAY)) == [("raise", at(3 * DAY + 2))]


def test_a_restless_point_has_a_wider_bound():
    made = burst()
    assert fed(made, quiet(3 * DAY, noise=8.0)) == []
    assert fed(made, quiet(12, 305.0, 8.0), 3 * DAY) == []


def test_a_fall_that_comes_every_morning_is_the_citys_and_not_a_burst():
    made = burst()

    def course(place: int) -> float:
        hour = place % DAY / 12
        return 330 - 50 * min(max(hour - 6, 0), 1) + 50 * min(max(hour - 10, 0), 1)

    assert fed(made, [course(i) + noise for i, noise in enumerate(quiet(7 * DAY, 0.0))]) == []
    place = 7 * DAY + 6 * 12
    fed(made, [course(i) for i in range(7 * DAY, place)], 7 * DAY)
    # The same fall at two in the morning would have been one; half of it on top of the morning's is.
    extra = [course(place + i) - 30 for i in range(6)]
    assert [told.phase for told in fed(made, extra, place)] == ["raise"]


def test_falls_that_happened_three_times_are_the_networks_habit():
    made = burst()
    fed(made, quiet(3 * DAY))
    pump = list(chain.from_iterable([*quiet(24, 330.0, seed=i), *quiet(24, 300.0, seed=-i)] for i in range(1, 9)))
    raised = [told for told in fed(made, pump, 3 * DAY) if told.phase == "raise"]
    assert len(raised) == 3
    after = 3 * DAY + len(pump)
    fed(made, quiet(24, 330.0), after)
    assert [told.phase for told in fed(made, quiet(12, 260.0), after + 24)] == ["raise"], (
        "a larger fall still counts"
    )


def test_two_low_values_are_no_burst_and_one_wild_value_leaves_no_trace():
    assert fed(burst(), [330.0] * 10 + [100.0] + [330.0] * 10 + [250.0] * 2 + [330.0] * 10) == []


def test_a_slow_decline_is_followed():
    assert fed(burst(), [330 - 0.5 * i for i in range(300)]) == []


def test_it_clears_when_the_level_returned_and_a_rise_is_no_burst():
    found = fed(burst(), [330.0] * 4 + [250.0] * 6 + [330.0] * 10 + [420.0] * 10)
    assert [told.phase for told in found] == ["raise", "clear"]
    assert found[1].at_s == at(4 + 6 + 1) + 900


def test_a_level_that_stays_is_normal_after_a_day_and_the_next_fall_is_a_burst_of_its_own():
    found = fed(burst(), [*repeat(330.0, 4), *repeat(250.0, DAY + 20), *repeat(170.0, 5)])
    assert phases(found) == [("raise", at(6)), ("clear", at(6 + DAY)), ("raise", at(4 + DAY + 20 + 2))]


def test_what_changed_during_a_long_gap_did_not_change_suddenly():
    made = burst()
    assert [*fed(made, [330.0] * 10), *fed(made, [250.0] * 10, 30)] == []
