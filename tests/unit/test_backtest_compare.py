"""What a change of the rules means, and how alerts stand against what is known to have happened."""

from __future__ import annotations

import numpy as np
import pytest

from devices.kinds import load as kinds
from processors.backtest.compare import Set, changed, chosen, compare, device_months, parsed
from processors.backtest.generic import kind_of
from processors.backtest.labels import Label, by_verdicts, measure, read_labels
from processors.backtest.points import Tap
from processors.backtest.run import Backtest, Span, alerts_of, rows_of
from processors.errors import BacktestError
from processors.findings import Evidence, Finding, Phase

S = 1_000_000
HOUR = 3600 * S
PRESSURE = kinds()["water_pressure"]


def span(device="A", rule="burst", start=0, end=1, *, raised=None, place=(), name="x"):
    """Times in hours."""
    evidence = Evidence(quantity=None, unit="s", observed=None, expected=None, limit=None, hold_s=0.0, quality="good",
                        window=("", ""), params={})  # fmt: skip
    finding = Finding(id=name, phase=Phase.RAISE, device=device, kind="k", rule=rule, version=1, severity="high",
                      onset="", at="", offset=0, evidence=evidence)  # fmt: skip
    at = start if raised is None else raised
    return Span(
        int(start * HOUR),
        None if end is None else int(end * HOUR),
        int(at * HOUR),
        device,
        rule,
        tuple(place),
        finding,
    )


# changes


def test_a_change_is_read_as_rule_parameter_and_number():
    assert parsed("burst.hold_s=6e2") == Set("burst", "hold_s", 600.0)


@pytest.mark.parametrize(
    "text", ["burst", "burst=3", "burst.hold_s", "burst.hold_s=", "burst.hold_s=soon", "a.b=nan", ".b=1"]
)
def test_what_is_no_change_is_refused(text):
    with pytest.raises(BacktestError, match=r"--set: expected detector\.param=value"):
        parsed(text)


def test_a_change_by_rule_or_by_detector_reaches_the_rules_it_names():
    by_rule = changed(PRESSURE, [Set("pressure_low", "hold_s", 900)])
    assert {u.rule for u, old in zip(by_rule.detectors, PRESSURE.detectors, strict=True) if u != old} == {
        "pressure_low"
    }
    limits = {use.rule for use in PRESSURE.detectors if use.detector == "limit"}
    by_detector = changed(PRESSURE, [Set("limit", "hold_s", 901)])
    assert {u.rule for u, old in zip(by_detector.detectors, PRESSURE.detectors, strict=True) if u != old} == limits


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Set("bursts", "hold_s", 1), "expected a rule or detector of water_pressure, got 'bursts'"),
        (Set("pressure_low", "holds", 1), "--set pressure_low.holds: expected one of "),
        (Set("pressure_low", "hold_s", -1), "rule pressure_low: .*hold_s"),
    ],
)
def test_a_rule_parameter_or_value_that_cannot_be_is_refused(change, why):
    with pytest.raises(BacktestError, match=why):
        changed(PRESSURE, [change])


def test_rules_are_chosen_by_their_own_or_their_detectors_name():
    assert [use.rule for use in chosen(PRESSURE, ["silent", "pressure_low"]).detectors] == [
        "pressure_low",
        "silent",
    ]
    assert {use.detector for use in chosen(PRESSURE, ["limit"]).detectors} == {"limit"}
    with pytest.raises(BacktestError, match="--detector: expected a rule or detector"):
        chosen(PRESSURE, ["nothing"])


# gained and lost


def test_an_alert_that_overlaps_is_the_same_whenever_it_rose():
    found = compare([span(start=1, end=5, raised=1)], [span(start=1.5, end=4, raised=3)])
    assert (found.gained, found.lost, len(found.kept)) == ([], [], 1)


def test_alerts_of_another_device_rule_or_time_are_gained_or_lost():
    before = [span("A"), span("B", rule="leak"), span("C", start=0, end=1)]
    after = [span("B"), span("B", rule="burst", start=9, end=10), span("C", start=2, end=None)]
    found = compare(before, after)
    assert len(found.kept) == 0
    assert (len(found.gained), len(found.lost)) == (3, 3)


def test_two_alerts_do_not_pair_with_the_same_one():
    found = compare([span(start=0, end=10)], [span(start=0, end=2), span(start=3, end=5)])
    assert (len(found.kept), len(found.gained), len(found.lost)) == (1, 1, 0)


def test_device_months_count_devices_and_time():
    assert device_months(2, 0, int(30.4375 * 86400e6)) == pytest.approx(2)


# labels


def test_precision_recall_and_delay_against_labels():
    labels = [
        Label(0, 10 * HOUR, "A", ""),
        Label(20 * HOUR, 30 * HOUR, "", ""),
        Label(40 * HOUR, 50 * HOUR, "B", ""),
    ]
    spans = [
        span("A", raised=2),
        span("A", raised=4),
        span("Z", raised=25),
        span("A", raised=45),
        span("Q", raised=35),
    ]
    found = measure(spans, labels)
    assert (found.right, found.wrong, found.found, found.labels) == (3, 2, 2, 3)
    assert found.delays_s == (2 * 3600, 5 * 3600)
    assert found.precision == pytest.approx(3 / 5)
    assert found.recall == pytest.approx(2 / 3)


def test_an_alert_that_was_raised_before_a_label_is_not_right_about_it():
    assert measure([span(raised=1, end=None)], [Label(2 * HOUR, 3 * HOUR, "", "")]).found == 0


def test_a_place_counts_as_the_devices_in_it():
    found = measure([span("A", raised=1, place=("A", "C"))], [Label(0, 2 * HOUR, "C", "")])
    assert found.found == 1


def test_without_alerts_or_labels_there_is_no_share():
    found = measure([], [])
    assert (found.precision, found.recall, found.f_score, found.delay_s) == (None, None, None, None)


def test_labels_are_read_from_a_file(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        "start,end,device,label\n2026-01-01 12:00,2026-01-01 13:00,A,leak\n2026-01-02,2026-01-03,,rain\n"
    )
    found = read_labels(path, "Asia/Shanghai")
    assert [(one.device, one.name) for one in found] == [("A", "leak"), ("", "rain")]
    assert found[0].end_us - found[0].start_us == HOUR
    assert found[0].start_us == 1_767_240_000 * S


@pytest.mark.parametrize(
    "text", ["start,finish\n2026-01-01,2026-01-02\n", "start,end\n2026-01-02,2026-01-01\n", "a,b\n1,2\n"]
)
def test_labels_that_cannot_be_used_are_refused(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(BacktestError, match="nothing was run"):
        read_labels(path, "UTC")


def test_verdicts_count_by_the_alerts_id():
    found = by_verdicts([span(name="1"), span(name="2"), span(name="3")], {"1": True, "2": False, "9": False})
    assert (found.true, found.false, found.precision) == (1, 1, 0.5)


# scores


def test_a_rule_without_a_score_counts_one_while_its_alert_stands():
    kind = changed(
        chosen(PRESSURE, ["pressure_low"]), [Set("pressure_low", "hold_s", 0), Set("pressure_low", "clear_s", 0)]
    )
    times = np.arange(6, dtype=np.int64) * 300 * S + HOUR
    rows = rows_of(kind, {"A": (times, np.array([300.0, 120, 120, 120, 300, 301]))})
    run = Backtest(kind, rows)
    tap = Tap(run)
    spans = alerts_of(run.findings())
    backwards = tap.scores(np.append(times[::-1], -1), spans)
    assert backwards.tolist() == [0, 0, 1, 1, 1, 0, 0]


class Scored:
    """A detector whose score is its value over ten."""

    def __init__(self, detector):
        self._detector = detector
        self.score = np.zeros(1, dtype=np.float32)

    def __getattr__(self, name):
        return getattr(self._detector, name)

    def step(self, step):
        self.score[step.device] = step.value / 10
        return []


def test_a_detectors_own_score_is_taken_at_each_row():
    kind = changed(kind_of(["x"], "flatline"), [Set("flatline", "hold_s", 60)])
    times = np.arange(4, dtype=np.int64) * S + HOUR
    run = Backtest(kind, rows_of(kind, {"A": (times, np.array([1.0, 5.0, 20.0, np.nan]))}))
    rule = run.engine.kinds["generic"].rules[0]
    rule.detector = Scored(rule.detector)
    tap = Tap(run)
    spans = alerts_of(run.findings())
    assert tap.scores(times, spans).tolist() == pytest.approx([0.1, 0.5, 1.0, 0.0])


def test_a_generic_kind_needs_columns_and_a_detector_that_exists():
    with pytest.raises(BacktestError, match="got 0"):
        kind_of([])
    with pytest.raises(BacktestError, match="got 61"):
        kind_of([f"q{i}" for i in range(61)], "joint")
    with pytest.raises(BacktestError, match="got 'nothing'"):
        kind_of(["x"], "nothing")
