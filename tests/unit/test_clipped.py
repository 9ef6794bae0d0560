"""The end of a range is a high number that stands still."""

from __future__ import annotations

from tests.support.detecting import detector, feed, phases

RULE = {"least": 3.0, "tolerance": 0.005, "hold_s": 600.0}


def test_a_high_number_that_repeats_is_told_wherever_the_range_ends():
    for end in (4.1, 20.0, 50.0):
        found = feed(detector("clipped", **RULE), [0.2, 2.0, *[end] * 12, 1.0])
        assert phases(found) == [("raise", 720.0), ("clear", 840.0)]
        assert found[0].observed == end


def test_thick_fume_that_moves_and_a_low_number_that_stands_are_not():
    assert feed(detector("clipped", **RULE), [8.0 + 0.1 * (i % 3) for i in range(60)]) == []
    assert feed(detector("clipped", **RULE), [0.05] * 600) == []


def test_another_high_number_starts_the_hold_anew():
    found = feed(detector("clipped", **RULE), [20.0] * 8 + [19.0] * 11)
    assert (found[0].onset_s, found[0].at_s) == (480.0, 1080.0)
