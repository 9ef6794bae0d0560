"""A cover against how it was installed: one angle in space, learned by majority, deaf to shocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from processors.detectors import build
from processors.errors import RuleError
from processors.poses import apart, between, gravity, sine
from tests.support.beside import angles, feed_rows
from tests.support.detecting import detector, phases

LIMITS = {"high": 10.0, "hold_s": 4.0, "hysteresis": 2.0, "clear_s": 10.0}
NAN = math.nan


def pose(**params):
    return detector("pose", **{**LIMITS, **params})


def rows(tilts, *, every=5.0, start=0.0):
    return [(start + i * every, tilt, NAN, NAN, NAN) for i, tilt in enumerate(tilts)]


def in_space(poses, *, every=5.0, start=0.0):
    return [(start + i * every, tilt, *angles(tilt, way)) for i, (tilt, way) in enumerate(poses)]


def test_a_tilt_is_told_at_its_second_report_and_its_end_after_the_clear_delay():
    found = feed_rows(pose(), rows([1.5, 1.5, 30, 30, 30, 1.5, 1.5, 1.5]))
    assert phases(found) == [("raise", 15.0), ("clear", 35.0)]
    assert found[0].observed == pytest.approx(28.5, abs=0.01)


def test_a_shock_of_one_report_is_nothing():
    assert feed_rows(pose(), rows([1.5, 1.5, 40, 1.5, 1.5, 35, 1.5])) == []


def test_what_counts_is_the_change_since_the_installation_not_the_slope():
    assert feed_rows(pose(), rows([8.0] * 30 + [14.0] * 5)) == []
    assert phases(feed_rows(pose(), rows([8.0] * 30 + [19.0] * 5))) == [("raise", 155.0)]


def test_a_cover_that_leans_as_far_to_the_other_side_is_seen_by_three_angles_and_not_by_one():
    turned = [(6.0, 20.0)] * 5 + [(6.0, 200.0)] * 5
    assert phases(feed_rows(pose(), in_space(turned))) == [("raise", 30.0)]
    assert feed_rows(pose(), rows([tilt for tilt, _ in turned])) == []


def test_an_upside_down_cover_is_turned_by_about_180_degrees():
    (found,) = feed_rows(pose(), in_space([(2.0, 0.0)] * 5 + [(177.0, 0.0)] * 3))[:1]
    assert found.observed == pytest.approx(175.0, abs=2.5)


def test_beyond_the_bound_of_the_graver_rule_this_one_is_silent():
    assert feed_rows(pose(upto=60), rows([1.5] * 5 + [85] * 5)) == []
    assert phases(feed_rows(pose(upto=60), rows([1.5] * 5 + [30, 30, 85, 85]))) == [("raise", 30.0)]


def test_readings_of_the_fitting_do_not_spoil_the_installed_pose():
    made = pose()
    fitted = feed_rows(made, rows([12.0, 12.5] + [1.0] * 30))
    assert [told.phase for told in fitted] == ["raise", "clear"], "it moved, and then it lay as it lies"
    assert feed_rows(made, rows([10.5] * 3, start=1000)) == []
    assert len(feed_rows(made, rows([12.5] * 3, start=2000))) == 1


def test_once_learned_the_installed_pose_does_not_follow_a_creep():
    creep = [1.0 + 0.3 * i for i in range(1, 60)]
    (raised,) = feed_rows(pose(), rows([1.0] * 30 + creep))
    assert (raised.onset_s, raised.at_s) == ((30 + 33) * 5.0, (30 + 34) * 5.0)


def test_a_device_heard_of_for_the_first_time_far_from_level_is_raised():
    assert phases(feed_rows(pose(), rows([45.0] * 3))) == [("raise", 5.0)]


def test_a_sensor_fitted_on_its_side_needs_a_wider_bound_and_then_works_alike():
    assert feed_rows(pose(within=180), rows([90.0] * 30)) == []
    assert len(feed_rows(pose(within=180), rows([90.0] * 30 + [75.0] * 3))) == 1


def test_an_installed_tilt_stated_by_a_person_is_believed_at_once():
    assert feed_rows(pose(installed=20.0), rows([20.0] * 5)) == []
    assert len(feed_rows(pose(installed=20.0), rows([1.0] * 5))) == 1


def test_a_pose_that_stayed_long_enough_is_the_installed_one():
    made = pose(accept_s=100)
    found = feed_rows(made, rows([1.0] * 30 + [12.0] * 60))
    assert phases(found) == [("raise", 155.0), ("clear", 250.0)]
    assert len(feed_rows(made, rows([1.0] * 3, start=1000))) == 1


def test_three_axes_that_all_lie_flat_are_no_pose():
    assert feed_rows(pose(), [(i * 5.0, NAN, 0.0, 0.0, 0.0) for i in range(5)]) == []


def test_a_parameter_that_makes_no_sense_is_refused():
    with pytest.raises(RuleError, match="hysteresis < high < upto"):
        build("pose", {"high": 10, "upto": 5})


def test_angles_between_poses_are_exact_enough_from_a_tenth_of_a_degree_to_120():
    for angle in (0.1, 1.0, 10.0, 60.0, 120.0):
        one, known = gravity(np.array([3.0]), np.array([angles(3.0, 40.0)]))
        way = math.radians(40.0)
        lean = math.radians(3.0 + angle)
        other = np.array([[math.sin(lean) * math.cos(way), math.sin(lean) * math.sin(way), math.cos(lean)]])
        assert known.all()
        assert apart(one, other)[0] == pytest.approx(angle, abs=0.002)
    assert sine(np.array([30.0, -90.0, 123.4])) == pytest.approx(
        [0.5, -1.0, math.sin(math.radians(123.4))], abs=1e-6
    )


def test_where_one_direction_is_unknown_the_tilts_are_compared():
    one, known = gravity(np.array([6.0]), np.array([angles(6.0, 20.0)]))
    other, blind = gravity(np.array([6.0]), np.empty((0, 0)))
    assert between(one, known, other, blind)[0] == pytest.approx(0.0, abs=0.01)
