"""The quality gate's tests, in numbers; and that cutting and stopping change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import SpecError
from devices.fleet import Entry, KindFleet
from devices.readings import Batch, Quality, Reason
from devices.spec import Kind, Panel, Profile, Quantity, Text
from ingest.errors import IngestError
from ingest.quality import QualityGate, QualitySettings
from tests.support.kinds import fleet_of

S = 1_000_000
NAN = float("nan")
GOOD, SUSPECT, MAINTENANCE, BAD, MISSING = Quality
PRESSURE = Quantity(
    name="pressure_kpa",
    unit="kPa",
    label=Text("压力", "pressure"),
    physical=(0, 1000),
    plausible=(100, 800),
    max_rate_per_s=1,
    flat_after_s=300,
)
BATTERY = Quantity(name="battery_v", unit="V", label=Text("电池", "battery"), physical=(0, 5), plausible=(2, 4))
PIPE = Kind(
    name="pipe",
    label=Text("管", "pipe"),
    quantities=(BATTERY, PRESSURE),
    cadence_s=60,
    lateness_s=3600,
    detectors=(),
    panels=(Panel(type="stat", quantity=PRESSURE),),
    simulate=Profile(shapes={}),
    prefix="PI",
)


def pipes(count: int) -> KindFleet:
    return fleet_of([Entry(f"PI-{i}", "pipe") for i in range(count)], PIPE).kinds["pipe"]


FLEET = pipes(3)


def batch(rows: list[tuple[int, float, float]], *, battery: float = 3.0, lag_s: float = 1.0) -> Batch:
    """Rows of (device, time in s, pressure)."""
    count = len(rows)
    times = np.array([int(time * S) for _, time, _ in rows], dtype=np.int64)
    values = np.array([[battery, pressure] for _, _, pressure in rows]).reshape(count, 2)
    return Batch(
        FLEET,
        np.array([device for device, _, _ in rows], dtype=np.int32),
        times,
        times + int(lag_s * S),
        np.arange(count, dtype=np.int64),
        np.full(count, -1, dtype=np.int64),
        values,
        np.where(np.isnan(values), MISSING, GOOD).astype(np.uint8),
        np.zeros((count, 2), dtype=np.uint16),
        np.zeros(count, dtype=np.bool_),
    )


def verdicts(part: Batch, column: int = 1) -> list[tuple[Quality, Reason]]:
    pairs = zip(part.quality[:, column].tolist(), part.reasons[:, column].tolist(), strict=True)
    return [(Quality(quality), Reason(reason)) for quality, reason in pairs]


def judged(
    gate: QualityGate, rows: list[tuple[int, float, float]], **options: float
) -> list[tuple[Quality, Reason]]:
    """The verdicts on the pressures of `rows`, one row at a time."""
    found = []
    for row in rows:
        part = batch([row], **options)
        gate.judge(part)
        found += verdicts(part)
    return found


def every_minute(*pressures: float) -> list[tuple[int, float, float]]:
    return [(0, 60.0 * i, pressure) for i, pressure in enumerate(pressures)]


def test_outside_the_physical_range_is_bad_and_outside_the_plausible_one_is_suspect():
    part = batch([(0, 0, 1001), (1, 0, 801), (2, 0, 800)])
    QualityGate(FLEET).judge(part)
    assert verdicts(part) == [
        (BAD, Reason.PHYSICAL_RANGE),
        (SUSPECT, Reason.PLAUSIBLE_RANGE),
        (GOOD, Reason.NONE),
    ]
    assert verdicts(part, column=0) == [(GOOD, Reason.NONE)] * 3, "the battery is judged by itself"


def test_what_is_absent_is_missing_and_nothing_else():
    part = batch([(0, 0, NAN)], lag_s=-1000)
    part.quality[:] = GOOD
    QualityGate(FLEET).judge(part)
    assert verdicts(part) == [(MISSING, Reason.NONE)]
    assert verdicts(part, column=0) == [(SUSPECT, Reason.FUTURE_CLOCK)]


def test_a_leap_from_the_last_good_value_is_suspect_until_enough_time_went_by():
    # 1 kPa a second: 60 s allow 60. 600 is 200 away from the last good 400; after 240 s it may be true.
    verdict = judged(QualityGate(FLEET), every_minute(390, 400, 600, 601, 602, 603))
    assert [quality for quality, _ in verdict] == [GOOD, GOOD, SUSPECT, SUSPECT, SUSPECT, GOOD]
    assert verdict[2] == (SUSPECT, Reason.RATE)


def test_after_one_spike_the_normal_value_is_good_at_once():
    verdict = judged(QualityGate(FLEET), every_minute(400, 700, 401))
    assert [quality for quality, _ in verdict] == [GOOD, SUSPECT, GOOD]


def test_a_value_that_the_instrument_disowns_is_never_the_last_good_one():
    gate = QualityGate(FLEET)
    judged(gate, every_minute(400))
    part = batch([(0, 60, 450)])
    part.quality[0, 1], part.reasons[0, 1] = MAINTENANCE, Reason.INSTRUMENT
    gate.judge(part)
    assert verdicts(part) == [(MAINTENANCE, Reason.INSTRUMENT)]
    assert judged(gate, [(0, 61.0, 400)]) == [(GOOD, Reason.NONE)]


def test_the_worst_quality_wins_and_the_reasons_add_up():
    part = batch([(0, 0, 900)], lag_s=-400)
    part.quality[0, 1], part.reasons[0, 1] = MAINTENANCE, Reason.INSTRUMENT
    QualityGate(FLEET).judge(part)
    assert verdicts(part) == [(MAINTENANCE, Reason.INSTRUMENT | Reason.PLAUSIBLE_RANGE | Reason.FUTURE_CLOCK)]


def test_a_value_that_repeats_beyond_the_instruments_cycle_is_suspect_until_it_moves():
    verdict = judged(QualityGate(FLEET), every_minute(*[400.0] * 7, 401))
    assert [reason for _, reason in verdict] == [Reason.NONE] * 6 + [Reason.FLAT, Reason.NONE]


def test_equal_values_on_both_sides_of_a_gap_are_not_a_flat_line():
    verdict = judged(QualityGate(FLEET), [(0, 0.0, 400), (0, 60.0, 400), (0, 3600.0, 400), (0, 3900.0, 400)])
    assert {reason for _, reason in verdict} == {Reason.NONE}


def test_a_quantity_without_a_cycle_may_rest_for_ever():
    gate = QualityGate(FLEET)
    for i in range(20):
        part = batch([(0, i * 60, 400 + i)])
        gate.judge(part)
        assert verdicts(part, column=0) == [(GOOD, Reason.NONE)]


@pytest.mark.parametrize(
    ("lag_s", "reason"),
    [
        (-301, Reason.FUTURE_CLOCK),
        (-300, Reason.NONE),
        (3600 + 120, Reason.NONE),
        (3600 + 121, Reason.STALE_CLOCK),
    ],
)
def test_a_clock_ahead_or_behind_is_flagged_and_the_value_kept(lag_s, reason):
    assert judged(QualityGate(FLEET), every_minute(400), lag_s=lag_s) == [(SUSPECT if reason else GOOD, reason)]


def test_late_rows_are_judged_by_range_alone_and_leave_no_trace():
    gate = QualityGate(FLEET)
    judged(gate, every_minute(400))
    before = gate.snapshot()
    part = batch([(0, 1, 500), (0, 2, 1001), (0, 3, 900)], lag_s=10_000)
    part.late[:] = True
    part.reasons |= np.uint16(Reason.LATE)
    gate.judge(part)
    assert verdicts(part) == [
        (GOOD, Reason.LATE),
        (BAD, Reason.LATE | Reason.PHYSICAL_RANGE),
        (SUSPECT, Reason.LATE | Reason.PLAUSIBLE_RANGE),
    ]
    assert all(np.array_equal(before[name], array) for name, array in gate.snapshot().items())


def test_late_rows_among_live_ones_leave_no_trace_either():
    gate = QualityGate(FLEET)
    part = batch([(0, 60, 400), (0, 1, 700), (1, 60, 400)])
    part.late[1] = True
    gate.judge(part)
    assert judged(gate, [(0, 120.0, 450)]) == [(GOOD, Reason.NONE)], "from 400, not from 700"


def test_a_clock_set_back_begins_anew():
    gate = QualityGate(FLEET)
    judged(gate, [(0, 100_000.0, 400), (0, 100_060.0, 400)])
    verdict = judged(gate, [(0, 60.0 * i, 700) for i in range(7)])
    assert [reason for _, reason in verdict] == [Reason.NONE] * 6 + [Reason.FLAT]


@pytest.mark.parametrize("wild", [float("inf"), float("-inf"), 1e308, -1e308])
def test_wild_values_are_bad_and_never_remembered(wild):
    verdict = judged(QualityGate(FLEET), every_minute(400, wild, 401))
    assert verdict == [(GOOD, Reason.NONE), (BAD, Reason.PHYSICAL_RANGE), (GOOD, Reason.NONE)]


def test_a_hundred_thousand_devices_of_five_quantities_take_under_20_mb():
    quantities = tuple(
        Quantity(
            name=f"q{i}",
            unit="1",
            label=Text("量", "q"),
            physical=(0, 1),
            plausible=(0, 1),
            max_rate_per_s=1,
            flat_after_s=1,
        )
        for i in range(5)
    )
    kind = Kind(
        name="five",
        label=Text("五", "five"),
        quantities=quantities,
        cadence_s=60,
        lateness_s=60,
        detectors=(),
        panels=(),
        simulate=Profile(shapes={}),
        prefix="F",
    )
    one = fleet_of([Entry("F-0", "five")], kind).kinds["five"]
    assert sum(array.nbytes for array in QualityGate(one).snapshot().values()) * 100_000 < 20e6


def test_a_bound_that_makes_no_sense_is_refused():
    with pytest.raises(IngestError, match="future_s and stale_s above 0, got 0 and 3600"):
        QualitySettings(future_s=0)


VALUES = st.sampled_from([NAN, 50.0, 400, 400, 400, 401, 450, 700, 900, 2000])
GAPS = st.sampled_from([-500.0, 0, 60, 60, 60, 60, 181, 400])
SEQUENCES = st.lists(st.lists(st.tuples(GAPS, VALUES), max_size=25), min_size=3, max_size=3)


def rows_of(parts: list[list[tuple[float, float]]]) -> list[list[tuple[int, float, float]]]:
    found = []
    for device, part in enumerate(parts):
        times = np.cumsum([0.0, *[gap for gap, _ in part]])[1:]
        found.append([(device, float(t), value) for t, (_, value) in zip(times, part, strict=True)])
    return found


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_cut_into_any_batches_beside_any_neighbours_each_device_gets_the_same(data):
    streams = rows_of(data.draw(SEQUENCES))
    gate = QualityGate(FLEET)
    found: list[list[tuple[Quality, Reason]]] = [[], [], []]
    waiting = [list(rows) for rows in streams]
    while any(waiting):
        ready = [device for device in range(3) if waiting[device]]
        chosen = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
        part = batch([waiting[device].pop(0) for device in chosen])
        gate.judge(part)
        for device, verdict in zip(chosen, verdicts(part), strict=True):
            found[device].append(verdict)
    assert found == [judged(QualityGate(FLEET), rows) for rows in streams]


@settings(max_examples=80, deadline=None)
@given(parts=SEQUENCES, cut=st.integers(0, 75))
def test_stopped_and_restored_anywhere_equals_never_stopping(parts, cut):
    rows = [row for part in rows_of(parts) for row in part]
    first, second = QualityGate(FLEET), QualityGate(pipes(4))
    got = judged(first, rows[:cut])
    places = [3, 0, 1]  # the registry changed meanwhile: everybody on another row
    second.restore(first.snapshot(), np.array(places))
    got += judged(second, [(places[device], time, value) for device, time, value in rows[cut:]])
    assert got == judged(QualityGate(FLEET), rows)


def test_growing_keeps_what_is_known():
    gate = QualityGate(FLEET)
    judged(gate, every_minute(400))
    gate.grow(pipes(5))
    assert judged(gate, [(0, 60.0, 600)]) == [(SUSPECT, Reason.RATE)]


def test_a_sentinel_is_no_measurement_whatever_the_physical_range() -> None:
    odd = replace(PRESSURE, physical=(-100, 1000), sentinels=(-39.9, 999.0))
    fleet = fleet_of([Entry("PI-0", "pipe")], replace(PIPE, quantities=(BATTERY, odd))).kinds["pipe"]
    gate = QualityGate(fleet, QualitySettings())
    found = [
        judged(gate, [(0, time, value)])[0] for time, value in ((0, 300), (60, -39.9), (120, 999), (180, -38.9))
    ]
    assert found[0] == (GOOD, Reason(0))
    assert found[1] == found[2] == (BAD, Reason.INSTRUMENT)
    assert found[3][0] == SUSPECT


def test_a_sentinel_among_plausible_values_is_refused() -> None:
    with pytest.raises(SpecError, match="sentinels"):
        replace(PRESSURE, sentinels=(300.0,))
