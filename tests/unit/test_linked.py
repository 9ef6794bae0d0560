"""A purifier that is off while the fan runs, a probe that smells nothing; not a kitchen at rest."""

from __future__ import annotations

import math

import numpy as np

from processors.detectors import build
from tests.support.beside import feed_rows, step_of
from tests.support.detecting import phases, tell

NAN = math.nan


def linked(**params):
    made = build("linked", {"running": 1.0, "low": 0.1, "hold_s": 300.0, "clear_s": 120.0, **params})
    made.grow(np.array([60.0]), np.zeros(1, dtype=np.int64))
    return made


def minutes(pairs, start=0):
    return [((start + i) * 60.0, value, lead) for i, (value, lead) in enumerate(pairs)]


def test_fan_on_and_purifier_off_is_told_after_the_hold_and_ends_with_either():
    on, off, rest = (2.2, 9.0), (0.0, 9.0), (0.0, 0.0)
    found = feed_rows(linked(), minutes([rest] * 5 + [on] * 5 + [off] * 8 + [on] * 4))
    assert phases(found) == [("raise", 900.0), ("clear", 1200.0)]
    found = feed_rows(linked(), minutes([off] * 8 + [rest] * 4))
    assert phases(found) == [("raise", 300.0), ("clear", 600.0)]


def test_a_kitchen_at_rest_and_a_purifier_switched_on_late_are_nothing():
    assert feed_rows(linked(), minutes([(0.0, 0.0)] * 600)) == []
    assert feed_rows(linked(), minutes([(0.0, 9.0)] * 4 + [(2.2, 9.0)] * 10)) == []


def test_a_fifth_of_the_usual_current_is_off_once_the_usual_is_known():
    weak = [(0.4, 9.0)] * 8
    assert feed_rows(linked(share=0.2), minutes([*weak, *[(2.5, 9.0)] * 20])) == []
    found = feed_rows(linked(share=0.2), minutes([(2.5, 9.0)] * 250 + weak))
    assert [told.phase for told in found] == ["raise"]
    assert (found[0].expected, found[0].limit) == (2.5, 0.5)


def test_the_two_currents_may_come_in_messages_of_their_own():
    apart = []
    for i in range(10):
        apart += [(i * 60.0, NAN, 9.0), (i * 60.0 + 20, 0.0, NAN)]
    assert [told.phase for told in feed_rows(linked(), apart)] == ["raise"]


def test_a_fan_that_was_not_heard_of_lately_does_not_run():
    assert feed_rows(linked(), [(0.0, NAN, 9.0), *[(600.0 + i * 60, 0.0, NAN) for i in range(20)]]) == []


def test_devices_that_send_halves_and_devices_that_send_both_do_not_disturb_each_other():
    made = linked()
    made.grow(np.full(2, 60.0), np.zeros(2, dtype=np.int64))
    told = []
    for i in range(10):
        at = i * 60.0
        told += tell(made.step(step_of([(at, 2.2, 9.0), (at, NAN, 9.0)], [0, 1])), [0, 1])
        told += tell(made.step(step_of([(at + 20, 2.2, 9.0), (at + 20, 0.0, NAN)], [0, 1])), [0, 1])
    assert [(device, one.phase) for device, one in told] == [(1, "raise")]
