"""Which nights speak of a leak: two in a row, lower than those of the last weeks."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from processors.detectors import build, restore, snapshot
from processors.errors import RuleError
from tests.support.detecting import Told, Value, detector, take

DAY_S = 86_400
MONDAY_S = 1_767_542_400  # midnight in Beijing


def leak(devices: int = 1, **params: float):
    made = detector("night_minimum", devices, **{"change": 10, **params})
    made._gap_us[:] = 3 * 900 * 1_000_000  # reports every quarter of an hour
    return made


def nights(made, level: Callable[[int], float], first: int, last: int, *, noise: float = 1.0, device: int = 0):
    """Days `first` to before `last`, each at `level(day)` by night and 40 lower by day; (day, statement)."""
    found: list[tuple[int, Told]] = []
    for day in range(first, last):
        chance = random.Random(day)
        for quarter in range(96):
            value = level(day) + chance.gauss(0, noise) - (0 if 8 <= quarter < 16 else 40)
            at = Value(device, MONDAY_S + day * DAY_S + quarter * 900, value)
            found += [(day, told) for _, told in take(made, [at])]
    return found


def said(found) -> list[tuple[int, str]]:
    return [(day, told.phase) for day, told in found]


def test_the_second_low_night_is_raised_with_the_usual_night_beside_it():
    found = nights(leak(), lambda day: 350 - 20 * (day >= 30), 0, 33)
    assert said(found) == [(31, "raise")]
    told = found[0][1]
    assert (told.observed, told.expected, told.limit) == pytest.approx((330, 350, 340), abs=1.5)
    assert told.at_s == MONDAY_S + 31 * DAY_S + 4 * 3600, "when the night is over"
    assert told.onset_s == MONDAY_S + 30 * DAY_S + 4 * 3600 - 900, "with the first of the two"


def test_one_low_night_is_nothing():
    assert nights(leak(), lambda day: 350 - 40 * (day == 30), 0, 40) == []


def test_a_leak_that_grows_is_seen_once_it_is_larger_than_the_margin():
    found = nights(leak(), lambda day: 350 - 2 * min(max(day - 30, 0), 15), 0, 50)
    assert [phase for _, phase in said(found)] == ["raise"]
    assert 36 <= said(found)[0][0] <= 40


def test_a_leak_that_grows_from_the_first_day_is_seen_without_a_history():
    assert [p for _, p in said(nights(leak(), lambda day: 350 - 6 * day, 0, 16))] == ["raise"]


def test_the_end_of_a_holiday_is_no_leak():
    assert nights(leak(), lambda day: 350 + 15 * (30 <= day < 38), 0, 60) == []


def test_weekends_with_less_demand_are_no_leak_on_mondays():
    assert nights(leak(), lambda day: 350 + 12 * (day % 7 >= 5), 0, 60) == []


def test_a_season_that_sinks_a_little_every_day_is_no_leak():
    assert nights(leak(), lambda day: 350 - 0.5 * day, 0, 90) == []


def test_pumps_that_rest_on_some_nights_may_rest_two_in_a_row():
    resting = {5, 13, 20, 28, 33, 36, 45, 46}
    assert nights(leak(), lambda day: 350 - 15 * (day in resting), 0, 60) == []


def test_what_happens_by_day_is_not_looked_at():
    made = leak()
    nights(made, lambda _: 350, 0, 30)
    by_day = [Value(0, MONDAY_S + 30 * DAY_S + s, 100.0) for s in range(5 * 3600, 24 * 3600, 900)]
    assert [told for value in by_day for told in take(made, [value])] == []


def test_a_repair_clears_it_after_two_nights_and_the_next_leak_is_another():
    made = leak()
    found = nights(made, lambda day: 350 - 20 * (30 <= day < 40) - 30 * (day >= 60), 0, 65)
    assert said(found) == [(31, "raise"), (41, "clear"), (61, "raise")]
    onsets = [told.onset_s for _, told in found]
    assert onsets[0] == onsets[1] != onsets[2]


def test_the_nights_of_a_leak_are_not_learned_until_it_is_accepted():
    made = leak(accept_s=20 * DAY_S)
    found = nights(made, lambda day: 350 - 20 * (day >= 30), 0, 90)
    assert said(found) == [(31, "raise"), (51, "clear")]


def test_nights_with_few_readings_do_not_count():
    made = leak()
    nights(made, lambda _: 350, 0, 30)
    few = [Value(0, MONDAY_S + day * DAY_S + 3 * 3600, 300.0) for day in range(30, 40)]
    assert [told for value in few for told in take(made, [value])] == []


def test_its_window_shows_the_nights_it_compared():
    made = leak()
    assert made.window(0) is None
    nights(made, lambda day: 350 - 20 * (day >= 30), 0, 33)
    window = made.window(0)
    assert len(window.value) == 28
    assert window.value[-1] == pytest.approx(330, abs=1.5)
    assert np.diff(window.time_us).tolist() == [DAY_S * 1_000_000] * 27
    assert window.limit[0] == pytest.approx(340, abs=1.5)


def test_stopped_on_any_day_and_restored_elsewhere_equals_never_stopping():
    def level(day: int) -> float:
        return 350 - 25 * (30 <= day < 40)

    whole = nights(leak(), level, 0, 45)
    for cut in (20, 31, 41):
        first, second = leak(), leak(2)
        found = nights(first, level, 0, cut)
        restore(second, snapshot(first), np.array([1]))
        assert [*found, *nights(second, level, cut, 45, device=1)] == whole


def test_a_night_that_ends_before_it_begins_is_refused():
    with pytest.raises(RuleError, match="to_h after from_h"):
        build("night_minimum", {"change": 5, "from_h": 4, "to_h": 2})
