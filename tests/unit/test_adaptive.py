"""Any quantity by its own habits: what is new is said once, what is usual is not, whatever the unit."""

from __future__ import annotations

import numpy as np
import pytest

from devices.readings import Float64, Int64
from processors.backtest.generic import kind_of
from processors.detectors import Step, snapshot
from processors.detectors.adaptive import Adaptive
from processors.errors import RuleError
from tests.support.detecting import S

EVERY_S = 300
DAY = 288


SEARCH = kind_of(["value"]).detectors[0].params


def made(devices: int = 1, **params: float) -> Adaptive:
    """As the backtest of a single series has it, unless `params` say otherwise."""
    detector = Adaptive({**Adaptive.PARAMS, **SEARCH, **params})
    detector.grow(np.full(devices, float(EVERY_S)), np.zeros(devices, dtype=np.int64))
    return detector


def scores(detector: Adaptive, values: Float64, first: int = 0) -> tuple[Float64, list[tuple[str, int]]]:
    """(rows, devices) of `values` of the same shape, and what was said at which row."""
    count, devices = values.shape
    who = np.arange(devices, dtype=np.int32)
    found, said = np.zeros_like(values), []
    for row in range(count):
        time_us = np.full(devices, (first + row) * EVERY_S * S)
        step = Step(who, time_us, time_us, values[row], np.zeros(devices, dtype=np.uint8))
        said += [(hits.phase.value, first + row) for hits in detector.step(step) for _ in hits.row]
        found[row] = detector.score
    return found, said


def noise(rows: int, devices: int = 1, seed: int = 1) -> Float64:
    return np.random.default_rng(seed).normal(size=(rows, devices)) + 50


def alerts(found: Float64) -> Int64:
    return np.flatnonzero(found[:, 0] >= 0.5)


def daily(days: int) -> Float64:
    """High from 9 to 18 h each day, with a little noise."""
    hour = np.arange(days * DAY) % DAY / 12
    return np.where((hour >= 9) & (hour < 18), 80.0, 40.0)[:, np.newaxis] + 0.5 * noise(days * DAY)


def test_a_value_never_seen_before_is_said_at_its_first_row_and_once():
    values = noise(1200)
    values[1000:] += 30
    found, said = scores(made(margin=0.5), values)
    assert alerts(found).tolist() == [1000]
    assert [what for what in said if what[0] == "raise"] == [("raise", 1000)]


@pytest.mark.parametrize("course", [0.0, 10.0])
def test_a_kind_that_takes_the_defaults_hears_nothing_of_noise_and_of_the_days_course(course):
    devices, days = 60, 21
    swing = course * np.sin(np.arange(days * DAY) / DAY * 2 * np.pi)[:, np.newaxis]
    _, said = scores(made(devices, **Adaptive.PARAMS), noise(days * DAY, devices) + swing)
    months = devices * days / 30.4
    assert sum(phase == "raise" for phase, _ in said) < 0.05 * months


def test_a_kind_that_takes_the_defaults_hears_of_what_stands_far_out():
    devices = 20
    values = noise(7 * DAY, devices)
    values[-5:] += 8
    _, said = scores(made(devices, **Adaptive.PARAMS), values)
    assert sum(phase == "raise" for phase, _ in said) == devices


def test_an_alert_ends_when_nothing_new_was_seen_for_the_clear_delay():
    values = noise(1200)
    values[1000:1003] += np.array([[30.0], [60], [90]])
    _, said = scores(made(margin=0.5, clear_s=10 * EVERY_S), values)
    assert said == [("raise", 1000), ("clear", 1013)]


def test_a_score_of_a_half_and_more_is_an_alert_and_nothing_else_is():
    values = noise(3000)
    found, said = scores(made(clear_s=0), values)
    assert [row for phase, row in said if phase == "raise"] == alerts(found).tolist() != []
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_unit_does_not_matter():
    values = noise(1500)
    values[1000] += 20
    assert np.array_equal(scores(made(), values)[0], scores(made(), values * 1024)[0])


def test_nothing_is_said_while_it_learns():
    values = noise(200)
    values[100:] += 1000
    assert alerts(scores(made(learn=150), values)[0]).tolist() == []
    assert alerts(scores(made(learn=50, margin=0.5), values)[0]).tolist() == [100]


def test_within_the_rest_after_an_alert_nothing_is_said_again():
    values = noise(1400)
    for row, height in ((1000, 30.0), (1079, 300.0), (1090, 3000.0)):
        values[row] += height
    params = {"margin": 0.5, "clear_s": 0.0, "rest": 80.0, "rest_share": 0.0}
    assert alerts(scores(made(**params), values)[0]).tolist() == [1000, 1090]


def test_the_rest_grows_with_the_rows_seen():
    values = noise(1400)
    for row, height in ((1000, 30.0), (1090, 300.0), (1110, 3000.0)):
        values[row] += height
    params = {"margin": 0.5, "clear_s": 0.0, "rest": 80.0, "rest_share": 0.1}
    assert alerts(scores(made(**params), values)[0]).tolist() == [1000, 1110]


def test_a_day_without_its_usual_peak_is_said_though_every_value_was_seen_before():
    values = daily(14)
    missing = slice(12 * DAY + 9 * 12, 12 * DAY + 18 * 12)
    values[missing] -= 40
    found = alerts(scores(made(), values)[0])
    late = found[found >= 7 * DAY]
    assert len(late) == 1
    assert missing.start <= late[0] < missing.start + 36
    values[missing] += 40
    assert (alerts(scores(made(), values)[0]) < 7 * DAY).all()


def test_unrest_at_the_same_mean_is_said_though_every_value_was_seen_before():
    values = noise(2000, seed=3)
    values[[300, 301]] += np.array([[6.0], [-6]])
    wild = values.copy()
    wild[1800:] = 50 + 5 * np.where(np.arange(200) % 2, 1, -1)[:, np.newaxis]
    assert (alerts(scores(made(), values)[0]) < 1800).all()
    assert 1800 < alerts(scores(made(), wild)[0])[-1] < 1830


def test_a_quantity_that_never_moved_is_quiet_until_it_moves():
    values = np.full((600, 1), 45.0)
    values[300:] += 1e-12
    values[500] += 0.01
    assert alerts(scores(made(), values)[0]).tolist() == [500]


def test_false_alerts_of_a_steady_course_become_rarer_with_time():
    found, _ = scores(made(40), noise(6000, 40))
    early, late = (found[150:2000] >= 0.5).sum(), (found[4150:] >= 0.5).sum()
    assert 2 * late < early


def test_what_came_once_is_forgotten_where_nothing_confirms_it():
    values = noise(4000)
    values[500] += 30
    values[3500] += 20
    keeps = alerts(scores(made(margin=0.5, forget=1e6), values)[0])
    forgets = alerts(scores(made(margin=0.5, forget=1000), values)[0])
    assert 3500 not in keeps
    assert 3500 in forgets


def test_the_margin_can_differ_between_devices():
    detector = made(2)
    detector.params.put("margin", np.array([0.5, 5.0]))
    values = noise(1200, 2)
    values[1000:] += 10
    found, _ = scores(detector, values)
    assert (found >= 0.5).any(axis=0).tolist() == [True, False]


def test_devices_side_by_side_score_as_each_alone():
    values = np.cumsum(noise(900, 37) - 50, axis=0)
    together, _ = scores(made(37), values)
    for one in (0, 7, 36):
        assert np.array_equal(together[:, one], scores(made(), values[:, one : one + 1])[0][:, 0])


def test_a_device_takes_less_than_two_kilobytes():
    assert sum(array.nbytes for array in snapshot(made(10)).values()) <= 2048 * 10


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"forget": 0.0}, {"rest": -1.0}, {"learn": -1.0}])
def test_a_parameter_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(RuleError, match=f"adaptive: expected {next(iter(wrong))}"):
        made(**wrong)
