from __future__ import annotations

import threading

import numpy as np
import pytest

from devices.readings import Batch, empty
from ingest.errors import IngestError
from ingest.timeseries.sink import SinkSettings, StoreSink
from tests.fakes.store import FlakyStore
from tests.support.broker import until
from tests.support.kinds import fleet_of, wells

FLEET = fleet_of(wells(8)).kinds["well"]
QUICK = SinkSettings(every_s=0.02, rows=50, queue_rows=100, retry_s=0.01, retry_max_s=0.02)


def rows(first: int, count: int) -> Batch:
    """`count` rows of device 1 at times first, first + 1, ..."""
    batch = empty(FLEET)
    batch.device = np.ones(count, dtype=np.int32)
    batch.time_us = batch.received_us = batch.offset = batch.seq = np.arange(first, first + count)
    batch.values = np.ones((count, 2))
    batch.quality, batch.reasons = np.zeros((count, 2), dtype=np.uint8), np.zeros((count, 2), dtype=np.uint16)
    batch.late = np.zeros(count, dtype=np.bool_)
    return batch


@pytest.fixture
def store():
    return FlakyStore()


@pytest.fixture
def sink(store):
    made = StoreSink(store, QUICK)
    yield made
    store.down.clear()
    store.gate.set()
    made.close(5)


def times(store: FlakyStore) -> list[int]:
    return [time_us for _, time_us in store.rows]


def test_rows_are_written_in_order_and_the_cursor_follows(store, sink):
    for i in range(10):
        sink.put([rows(i * 5, 5)], (i + 1) * 5)
    assert sink.flush(50, 5)
    assert times(store) == list(range(50))
    assert (sink.written, store.cursor(), sink.rows_written) == (50, 50, 50)


def test_while_the_store_is_away_rows_wait_and_come_once_in_order(store, sink):
    store.down.set()
    sink.put([rows(0, 5)], 5)
    until(lambda: store.attempts > 2, "some attempts")
    sink.put([rows(5, 5)], 10)
    assert not sink.flush(10, 0.1)
    assert sink.failing == "the store is away"
    store.down.clear()
    assert sink.flush(10, 5)
    assert times(store) == list(range(10))
    assert sink.failing == ""


def test_a_full_queue_makes_the_pipeline_wait_and_then_go_on(store, sink):
    store.gate.clear()
    blocked = threading.Thread(target=lambda: [sink.put([rows(i * 60, 60)], (i + 1) * 60) for i in range(5)])
    blocked.start()
    until(lambda: sink._rows > QUICK.queue_rows, "the queue to fill")
    assert blocked.is_alive()
    store.gate.set()
    blocked.join(5)
    assert not blocked.is_alive()
    assert sink.flush(300, 5)
    assert times(store) == list(range(300))


def test_ticks_alone_move_the_cursor(store, sink):
    sink.put([], 7)
    assert sink.flush(7, 5)
    assert store.cursor() == 7


def test_refused_points_are_reported_and_the_others_stored(store):
    told: list[str] = []
    store.refuse = {1}
    sink = StoreSink(store, QUICK, lambda rejected: told.extend(one.device for one in rejected))
    sink.put([rows(0, 2)], 2)
    assert sink.flush(2, 5)
    assert told == ["WE-1", "WE-1"]
    assert sink.close(5)


def test_closing_while_the_store_stays_away_says_so(store):
    store.down.set()
    sink = StoreSink(store, QUICK)
    sink.put([rows(0, 2)], 2)
    assert not sink.close(0.2)


def test_bounds_that_contradict_each_other_are_refused():
    with pytest.raises(IngestError, match="expected 0 < rows <= queue_rows"):
        SinkSettings(rows=10, queue_rows=5)
