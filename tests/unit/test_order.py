from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.readings import Batch, Quality, Reason
from ingest.decode import Timeline
from ingest.order import Arranged, Order, OrderSettings, Outage, rounds
from tests.support.kinds import fleet_of, wells

S = 1_000_000
T0 = 1_700_000_000 * S
FLEET = fleet_of(wells(4)).kinds["well"]


def batch(*rows: tuple[float, ...]) -> Batch:
    """Rows of (device, time s, seq, received s, level); received defaults to the time, level to 1."""
    full = [(*row, *(row[1], 1.0)[len(row) - 3 :]) for row in rows]
    device, time, seq, received, level = (list(column) for column in zip(*full, strict=True))
    values = np.array([[v, np.nan] for v in level])
    return Batch(
        FLEET,
        np.array(device, dtype=np.int32),
        T0 + (np.array(time) * S).astype(np.int64),
        T0 + (np.array(received) * S).astype(np.int64),
        np.arange(len(rows), dtype=np.int64),
        np.array(seq, dtype=np.int64),
        values,
        np.where(np.isnan(values), Quality.MISSING, Quality.GOOD).astype(np.uint8),
        np.zeros(values.shape, dtype=np.uint16),
        np.zeros(len(rows), dtype=np.bool_),
    )


def timeline(rows: Batch) -> Timeline:
    return Timeline(rows.offset, np.maximum.accumulate(rows.received_us))


def arrange(order: Order, *rows: tuple[float, ...], outage: Outage | None = None) -> Arranged:
    rows_ = batch(*rows)
    return order.arrange(rows_, timeline(rows_), outage or Outage())


def fresh(**settings_: float) -> Order:
    return Order(FLEET, OrderSettings(**settings_))


def times(part: Batch) -> list[tuple[int, float]]:
    return [(int(d), float((t - T0) / S)) for d, t in zip(part.device, part.time_us, strict=True)]


def test_readings_in_sequence_are_ready_at_once():
    result = arrange(fresh(), (0, 0, 0), (1, 1, 0), (0, 60, 1))
    assert times(result.ready) == [(0, 0), (1, 1), (0, 60)]
    assert (result.duplicates, len(result.late)) == (0, 0)


def test_a_repeated_reading_is_dropped_in_the_same_and_in_a_later_segment():
    order = fresh()
    assert arrange(order, (0, 0, 0), (0, 0, 0, 1)).duplicates == 1
    again = arrange(order, (0, 0, 0, 2))
    assert (again.duplicates, len(again.ready), len(again.arrived)) == (1, 0, 0)


def test_other_quantities_at_the_same_instant_are_added_not_dropped():
    order = fresh()
    arrange(order, (0, 0, 0))
    second = batch((0, 0, 0, 1))
    second.values[0] = (5.0, 3.6)
    second.quality[0] = Quality.GOOD
    result = order.arrange(second, timeline(second), Outage())
    assert np.isnan(result.ready.values[0, 0])
    assert result.ready.values[0, 1] == 3.6


def test_a_gap_is_waited_for_and_then_filled_in_order():
    order = fresh(reorder_s=5)
    assert times(arrange(order, (0, 0, 0), (0, 120, 2)).ready) == [(0, 0)]
    assert times(arrange(order, (0, 60, 1, 121)).ready) == [(0, 60), (0, 120)]


def test_what_waited_belongs_to_the_delivery_that_let_it_go():
    """A store that has everything before that delivery does not have it yet, and a crash may come in between."""
    order = fresh(reorder_s=5)
    result = arrange(order, (0, 0, 0), (0, 120, 2), (1, 121, 0, 121), (0, 60, 1, 122))
    assert list(zip(times(result.ready), result.ready.offset.tolist(), strict=True)) == [
        ((0, 0), 0),
        ((1, 121), 2),
        ((0, 60), 3),
        ((0, 120), 3),
    ]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_which_delivery_decided_does_not_depend_on_where_segments_were_cut(data):
    step = st.tuples(st.sampled_from([0, 0, 1]), st.integers(0, 9), st.integers(0, 10))
    steps = data.draw(st.lists(step, min_size=4, max_size=20))
    arrival, rows = 1000.0, []
    for device, seq, tenths in steps:
        arrival += tenths / 10
        rows.append((device, 900.0 + seq, seq, arrival))
    rows.append((2, 2000, 0, 2000))  # time enough to give up waiting for anything
    whole = batch(*rows)
    line = timeline(whole)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1))))
    results = []
    for bounds in ([0, len(rows)], [0, *cuts, len(rows)]):
        order, found = fresh(reorder_s=1), []
        for first, end in pairwise(bounds):
            part = Timeline(line.offset[first:end], line.clock[first:end])
            done = order.arrange(whole.take(np.arange(first, end)), part, Outage(T0, T0 + 10_000 * S))
            for kept, late in ((done.ready, False), (done.late, True)):
                found += zip(times(kept), kept.offset.tolist(), [late] * len(kept), strict=True)
        results.append(sorted(found))
    assert results[0] == results[1]


def test_a_gap_that_nothing_fills_is_given_up_after_the_bound():
    order = fresh(reorder_s=5)
    arrange(order, (0, 0, 0), (0, 120, 2))
    assert len(arrange(order, (1, 124, 0)).ready) == 1, "5 s are not over"
    result = arrange(order, (1, 184, 1, 126))
    assert times(result.ready) == [(1, 184), (0, 120)]
    assert result.missing == 1, "number 1 was counted by its device and never came"
    assert not order.held


def test_a_gap_that_fills_and_a_counter_that_starts_anew_miss_nothing():
    order = fresh(reorder_s=5)
    result = arrange(order, (0, 0, 0), (0, 120, 2, 120), (0, 60, 1, 121), (0, 180, 0), (0, 240, 1))
    assert len(result.ready) == 5
    assert result.missing == 0


def test_means_of_a_long_period_are_news_when_the_period_ends():
    hourly = fleet_of([replace(one, cadence_s=3600.0) for one in wells(2)])
    order = Order(hourly.kinds["well"], OrderSettings())
    result = arrange(order, (0, 0, -1, 3660), (0, 3600, -1, 7260))
    assert times(result.ready) == [(0, 0), (0, 3600)]
    assert times(arrange(fresh(), (0, 0, -1, 3660)).late) == [(0, 0)], "one that should report every minute"


def test_what_comes_after_its_successor_was_accepted_is_late_and_says_so():
    order = fresh()
    result = arrange(order, (0, 60, -1), (0, 0, -1, 61))
    assert times(result.late) == [(0, 0)]
    assert result.late.late.all()
    assert result.late.reasons[0, 0] == Reason.LATE


def test_a_backlog_of_hours_is_late_even_in_order():
    backlog = [(0, 60 * i, i, 36_000 + i) for i in range(5)]
    result = arrange(fresh(), (0, -60, -1, -60), *backlog)
    assert len(result.late) == 5


def test_a_backlog_of_our_own_outage_is_live():
    outage = Outage(T0 + 60 * S, T0 + 40_000 * S)
    backlog = [(0, 60 * i, i, 36_000 + i) for i in range(5)]
    assert len(arrange(fresh(), *backlog, outage=outage).ready) == 5


def test_a_clock_that_is_a_day_behind_is_live_from_the_second_reading_on():
    slow = [(0, 60 * i - 86_400, i, 60 * i + i % 3) for i in range(5)]  # and arrives a little unevenly
    result = arrange(fresh(), *slow)
    assert (len(result.late), len(result.ready)) == (1, 4)


def test_a_clock_that_was_ahead_and_is_put_right_is_followed_and_marked():
    order = fresh()
    arrange(order, (0, 86_400, 0, 0))
    result = arrange(order, (0, 60, 1, 60))
    assert times(result.ready) == [(0, 60)]
    assert result.reset.tolist() == [True]


def test_a_restarted_counter_is_not_a_gap():
    result = arrange(fresh(), (0, 0, 0), (0, 60, 1), (0, 120, 0), (0, 180, 1))
    assert len(result.ready) == 4


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_shuffled_repeated_and_cut_anywhere_the_order_is_the_same(data):
    """Within the waiting time, arrival order, repetition and segment cuts do not matter."""
    original = [(d, 60.0 * i, i) for i in range(6) for d in (0, 1)]
    shuffled = data.draw(st.permutations(original + data.draw(st.lists(st.sampled_from(original), max_size=4))))
    first = [row for row in original if row[2] == 0]
    arrivals = first + [row for row in shuffled if row not in first]
    rows = [(d, t, s, 1000 + 0.001 * i) for i, (d, t, s) in enumerate(arrivals)]
    order = fresh(reorder_s=5)
    pieces = []
    while rows:
        cut = data.draw(st.integers(1, len(rows)))
        pieces += times(arrange(order, *rows[:cut], outage=Outage(T0, T0 + 10_000 * S)).ready)
        rows = rows[cut:]
    for device in (0, 1):
        assert [t for d, t in pieces if d == device] == [60.0 * i for i in range(6)]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_rounds_hold_each_device_once_and_keep_its_order(devices):
    array = np.array(devices, dtype=np.int32)
    seen = []
    for rows in rounds(array):
        assert len(set(array[rows])) == len(rows)
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(devices)))
    for device in set(devices):
        assert [r for r in seen if devices[r] == device] == sorted(r for r in seen if devices[r] == device)


def test_a_reading_out_of_quarantine_is_history_and_no_sign_of_life():
    """It keeps its old arrival time in a journal that has gone on."""
    rows = batch((0, 60, 0, 61), (1, 90_000, 0, 90_000))
    line = Timeline(rows.offset, np.array([T0 + 90_000 * S, T0 + 90_000 * S]))
    result = fresh().arrange(rows, line, Outage())
    assert (times(result.late), times(result.arrived)) == ([(0, 60)], [(1, 90_000)])


def test_a_counter_that_always_leaps_holds_no_more_than_a_bounded_number():
    order = fresh(reorder_s=5)
    result = arrange(order, (0, 0, 0), *((0, 1 + i, 10 + 2 * i, 1) for i in range(200)))
    assert len(order.held[0]) == 64
    assert times(result.ready) == [(0, t) for t in range(137)]
