"""What `joint` sees in several quantities of one device, and what it leaves alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest

from devices.fleet import Entry, build
from devices.kinds import load as load_kinds
from ingest.order import OrderSettings
from processors.backtest.generic import kind_of
from processors.backtest.run import alerts_of, findings, rows_of
from processors.detectors import Hits, Step, restore, snapshot
from processors.detectors import build as make
from processors.detectors.joint import MOST, Joint
from processors.engines.rules import KindRules
from processors.errors import RuleError
from processors.findings import Phase
from tests.yardsticks import skab

S = 1_000_000
LEARN = 200


def joint(devices: int = 1, beside: int = 1, **params: float) -> Joint:
    """A rule over devices that report each second, learning from 200 rows."""
    made = make("joint", {"learn": LEARN, **params})
    assert isinstance(made, Joint)
    made.reads(beside)
    made.grow(np.full(devices, 1.0), np.zeros(devices, dtype=np.int64))
    return made


def take(made: Joint, second: float, rows: np.ndarray) -> list[Hits]:
    """One row (k,) of each device (n, k)."""
    rows = np.atleast_2d(rows)
    times = np.full(len(rows), int(second * S), dtype=np.int64)
    device = np.arange(len(rows), dtype=np.int32)
    return made.step(
        Step(device, times, times, rows[:, 0].copy(), np.zeros(len(rows), dtype=np.uint8), rows[:, 1:].copy())
    )


def feed(made: Joint, values: np.ndarray, from_s: float = 0) -> list[tuple[Phase, int, dict[str, float]]]:
    """Rows (t, k) of device 0: what was said, in which row, with its numbers."""
    return [
        (one.phase, i, {name: float(number[0]) for name, number in one.extra.items()})
        for i, row in enumerate(values)
        for one in take(made, from_s + i, row)
    ]


def noise(rows: int, *sigma: float, seed: int = 1) -> np.ndarray:
    """Independent noise, a column per `sigma`."""
    return np.random.default_rng(seed).normal(size=(rows, len(sigma))) * np.array(sigma)


def wandering(rows: int, step: float, seed: int = 2) -> np.ndarray:
    """A random walk."""
    return np.random.default_rng(seed).normal(size=rows).cumsum() * step


def pair(rows: int, seed: int = 1) -> np.ndarray:
    """Two quantities that wander together, apart by little noise: (rows, 2)."""
    course = wandering(rows, 1.0, seed)
    return course[:, np.newaxis] + noise(rows, 0.2, 0.2, seed=seed + 10)


def raised(said: Sequence[tuple[Phase, int, dict[str, float]]]) -> list[int]:
    return [row for phase, row, _ in said if phase is Phase.RAISE]


def test_quantities_that_part_are_raised_though_each_stays_in_its_own_range():
    values = pair(400, seed=3)
    values[300:, 1] -= 4.0
    assert values[:LEARN, 1].min() < values[300:310, 1].min(), "it had been lower"
    assert values[:LEARN, 1].max() > values[300:310, 1].max(), "and higher"
    assert 300 <= raised(feed(joint(), values))[0] < 310


@pytest.mark.parametrize("seed", range(5))
def test_quantities_that_go_on_wandering_together_are_not(seed):
    assert raised(feed(joint(), pair(600, seed))) == []


def test_a_small_lasting_shift_of_a_steady_quantity_is_seen_that_no_single_value_shows():
    values = 20 + noise(500, 1.0, 1.0)
    values[300:, 0] += 2.0
    assert 300 < raised(feed(joint(), values))[0] < 330


def test_the_same_shift_of_a_quantity_that_wandered_while_it_was_learned_is_not():
    values = noise(500, 1.0, 1.0)
    values[:, 1] += wandering(500, 0.5)
    values[300:, 1] += 2.0 * values[:LEARN, 1].std()
    assert raised(feed(joint(), values)) == []


def test_more_scatter_about_the_same_level_is_raised():
    values = noise(500, 1.0, 1.0)
    values[300:, 1] *= 4
    said = feed(joint(limit=50, unrest=6), values)
    assert 300 < raised(said)[0] < 330
    assert raised(feed(joint(limit=50, unrest=60), values)) == []


def test_steady_noise_for_a_long_time_raises_nothing():
    assert raised(feed(joint(beside=3), noise(6000, 1.0, 1.0, 5.0, 0.01))) == []


def test_nothing_is_said_while_it_learns():
    values = noise(LEARN, 1.0, 1.0)
    values[LEARN // 2 :] += 50
    assert feed(joint(), values) == []


def test_slow_drift_is_followed():
    values = noise(3000, 1.0, 1.0)
    values[:, 0] += np.arange(3000) * 0.001
    assert raised(feed(joint(), values)) == []
    assert raised(feed(joint(follow=1e9), values)) != []


def test_the_level_does_not_learn_the_fault_and_the_end_is_seen():
    values = noise(900, 1.0, 1.0)
    values[300:700, 0] += 6
    said = feed(joint(clear_s=20), values)
    assert [phase for phase, _, _ in said] == [Phase.RAISE, Phase.CLEAR]
    assert 300 < said[0][1] < 310
    assert 720 < said[1][1] < 760


def test_what_lasts_longer_than_accept_s_is_learned_as_normal():
    values = noise(1200, 1.0, 1.0)
    values[300:, 0] += 6
    said = feed(joint(accept_s=300), values)
    assert [phase for phase, _, _ in said] == [Phase.RAISE, Phase.CLEAR]
    assert said[1][1] == said[0][1] + 300


def test_it_names_the_quantity_that_accounts_for_most():
    values = 10 + noise(500, 1.0, 1.0, 1.0)
    values[300:, 2] += 5
    made = joint(beside=2)
    (_, row, numbers) = feed(made, values)[0]
    assert numbers["part"] == 3
    assert numbers["usual"] == pytest.approx(10, abs=0.5)
    assert 11 < numbers["now"] < 16
    assert numbers["ratio"] > 1
    assert row < 320


def test_a_quantity_that_never_moved_has_no_say():
    values = noise(500, 1.0, 0.0)
    values[300:, 1] = 1.0
    assert raised(feed(joint(), values)) == []


def test_a_quantity_that_stopped_coming_is_left_out_and_the_others_are_still_watched():
    values = pair(800)
    values = np.column_stack([values, noise(800, 1.0, seed=5)])
    values[300:, 1] = nan
    assert raised(feed(joint(beside=2), values)) == [], "the first wanders, and nothing is there to compare with"
    values[600:, 2] += 6
    assert 600 < raised(feed(joint(beside=2), values))[0] < 615


def test_a_quantity_that_comes_back_as_it_was_raises_nothing():
    values = noise(900, 1.0, 1.0)
    values[300:600, 1] = nan
    assert raised(feed(joint(smooth=80), values)) == []


def test_after_a_clock_set_back_what_was_heard_before_is_not_taken_for_new():
    made = joint()
    feed(made, noise(50, 1.0, 1.0), from_s=1000)
    made.forget(np.array([0]))
    feed(made, np.array([[1.0, nan], [1.0, nan], [1.0, 0.5], [1.0, nan]]))
    assert made.count[0] == 50 + 2


def test_rows_with_a_quantity_missing_are_not_learned_from():
    made = joint()
    values = noise(LEARN, 1.0, 1.0)
    values[: LEARN // 2, 1] = nan
    feed(made, values)
    assert made.count[0] == LEARN // 2


def test_quantities_in_separate_messages_are_judged_by_their_last_values():
    def alternating(values: np.ndarray) -> np.ndarray:
        both = np.full((2 * len(values), 2), nan)
        both[0::2, 1], both[1::2, 0] = values[:, 1], values[:, 0]
        return both

    values = pair(400)
    assert raised(feed(joint(), alternating(values))) == []
    values[300:, 1] -= 4.0
    assert 600 < raised(feed(joint(), alternating(values)))[0] < 625


def test_the_last_value_of_a_slow_quantity_counts_for_fresh_s():
    values = noise(LEARN, 1.0, 1.0)
    values[np.arange(LEARN) % 10 > 0, 1] = nan
    for fresh_s, learned in ((0, LEARN // 10 * 4), (10, LEARN)):
        made = joint(fresh_s=fresh_s)
        feed(made, values)
        assert made.count[0] == learned


@pytest.mark.parametrize("size", [1e99, 1e-99, 1e-150])
def test_numbers_of_any_size_give_numbers(size):
    made = joint()
    values = size * noise(LEARN + 20, 1.0, 0.5)
    values[LEARN:] *= 0.1
    feed(made, values)
    assert made.count[0] == LEARN
    assert all(np.isfinite(array).all() for array in snapshot(made).values())


def test_the_score_is_from_one_half_on_exactly_while_it_is_raised():
    made = joint(clear_s=20)
    values = noise(900, 1.0, 1.0)
    values[300:600, 0] += 6
    up, scores = False, []
    for i, row in enumerate(values):
        for one in take(made, i, row):
            up = one.phase is Phase.RAISE
        assert (made.score[0] >= 0.5) == up
        scores.append(made.score[0])
    assert 0.0 <= min(scores) < 0.3
    assert 0.6 < max(scores) <= 1.0


def test_a_device_gets_the_same_to_the_last_bit_whoever_is_beside_it():
    values = 50 + noise(500, *np.linspace(0.1, 3, 8), seed=4).reshape(500, 1, 8)
    crowd = np.concatenate([values, np.random.default_rng(5).normal(size=(500, 99, 8))], axis=1)
    crowd[400:, 0] += 2.0
    alone, among = joint(beside=7), joint(100, beside=7)
    for i, rows in enumerate(crowd):
        take(alone, i, rows[0])
        take(among, i, rows)
    for name, array in snapshot(alone).items():
        assert array[0].tobytes() == snapshot(among)[name][0].tobytes(), name


def test_the_state_of_a_device_stays_under_two_kilobytes_for_each_quantity():
    for quantities in (1, 8, MOST):
        arrays = snapshot(joint(10, beside=quantities - 1)).values()
        assert sum(array.nbytes for array in arrays) <= 10 * quantities * 2048


def test_too_many_quantities_or_others_than_were_learned_are_refused():
    with pytest.raises(RuleError, match="expected at most 24 quantities, got 25"):
        make("joint", {}).reads(MOST)  # type: ignore[attr-defined]
    made = joint()
    feed(made, noise(5, 1.0, 1.0))
    with pytest.raises(RuleError, match="expected 2 quantities, got 3"):
        made.reads(2)
    with pytest.raises(RuleError, match="learn >0, got 0"):
        make("joint", {"learn": 0})


def test_an_engine_keeps_the_learned_state_of_a_rule_over_several_quantities():
    kind = kind_of(["flow", "pressure", "power"])
    fleet = build({**load_kinds(), kind.name: kind}, [Entry("X-1", kind.name)]).kinds[kind.name]
    one, other = KindRules(fleet, OrderSettings()), KindRules(fleet, OrderSettings())
    detector = one.rules[0].detector
    assert isinstance(detector, Joint)
    feed(detector, noise(LEARN, 1.0, 1.0, 1.0))
    restore(other.rules[0].detector, snapshot(detector), np.array([0]))
    assert other.rules[0].detector.count[0] == LEARN  # type: ignore[attr-defined]


def test_by_the_engine_s_own_path_a_fault_of_a_testbed_is_one_alert_with_both_its_ends():
    values = noise(1100, 1.0, 0.2, 3.0, seed=6)
    values[:, 1] += wandering(1100, 0.1)
    values[600:900, 0] -= 5
    kind = kind_of(["flow", "temperature", "current"])
    time_us = np.arange(1100, dtype=np.int64) * S
    (span,) = alerts_of(findings(kind, rows_of(kind, {"bed": (time_us, values)})))
    assert 600 * S < span.raised_us < 615 * S
    assert span.end_us is not None
    assert 925 * S < span.end_us < 960 * S
    assert span.finding.evidence.why["en"].startswith("Flow and the quantities beside it together are")


def test_alerts_do_not_flap_at_the_edge_of_the_limit():
    values = noise(2000, 1.0, 1.0)
    values[400:, 0] += 1.6
    rows = raised(feed(joint(follow=1e9), values))
    assert all(later - earlier > 30 for earlier, later in pairwise(rows))


def test_the_manual_names_every_parameter_with_its_default():
    page = (Path(__file__).parents[2] / "deploy/docs/detection/joint.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", page, re.MULTILINE)
    assert {name: float(text) for name, text in rows} == dict(Joint.PARAMS)


def test_the_yardstick_pools_the_rows_of_all_files_after_their_learning():
    def bed(faulty: int, rows: int) -> skab.Experiment:
        fault = np.arange(rows) >= rows - faulty
        return skab.Experiment("bed", ["flow"], np.arange(rows), np.zeros((rows, 1)), fault)

    beds = [bed(20, 500), bed(60, 500)]
    found = [bed(10, 500).fault, bed(70, 500).fault]
    for one in found:
        one[: skab.LEARN] = True  # what is said while it learns does not count
    # 80 + 40 healthy rows, 10 of them alarmed; 20 + 60 faulty ones, 10 of them missed.
    assert skab.rates(beds, found) == pytest.approx((100 * 10 / 120, 100 * 10 / 80))
    assert abs(skab.by_chance(beds, [np.arange(500) % 2 == 0] * 2)) < 1
