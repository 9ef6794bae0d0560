"""A segment of plain rows is taken at once: the same as row by row, whatever the rows are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from devices.fleet import build
from devices.readings import Batch, Quality
from ingest.decode import Timeline
from ingest.order import Order, OrderSettings, Outage, rounds
from tests.support.kinds import WELL, wells

S = 1_000_000
# Device, seconds on, counts on, whether its last quantity is there: mostly as it should be.
_ROW = st.tuples(st.integers(0, 3), st.integers(-2, 6), st.sampled_from([-1, 1, 1, 1, 2, 5]), st.booleans())


class RowByRow(Order):
    """Never takes a whole segment."""

    def _plain(self, *_):
        return False


def segments(parts, *, counted):
    """Batches of rows whose times and counters mostly go on from the row before of the same device."""
    fleet = build({WELL.name: WELL}, wells(4)).kinds[WELL.name]
    time_s, seq, offset = [1000] * 4, [0] * 4, 0
    for part in parts:
        rows = []
        for device, on, count, whole in part:
            time_s[device] += on
            seq[device] += count
            rows.append((device, time_s[device], seq[device] if counted else -1, whole))
        device, at, counter, whole = (np.array(column) for column in zip(*rows, strict=True))
        n, q = len(rows), len(WELL.quantities)
        now = np.full(n, max(time_s), dtype=np.int64) * S
        quality = np.zeros((n, q), dtype=np.uint8)
        quality[~whole, -1] = Quality.MISSING
        yield (
            fleet,
            Batch(
                fleet,
                device.astype(np.int32),
                at.astype(np.int64) * S,
                now,
                np.arange(offset, offset + n, dtype=np.int64),
                counter.astype(np.int64),
                np.arange(offset, offset + n, dtype=np.float64)[:, None].repeat(q, axis=1),
                quality,
                np.zeros((n, q), dtype=np.uint16),
                np.zeros(n, dtype=np.bool_),
            ),
        )
        offset += n


def outcome(cls, parts, *, counted):
    """What came out, in the order in which the engine takes it, and the state."""
    said, order = [], None
    for fleet, batch in segments(parts, counted=counted):
        order = order or cls(fleet, OrderSettings())
        found = order.arrange(batch, Timeline(batch.offset, np.maximum.accumulate(batch.received_us)), Outage())
        taken = [found.ready.offset[rows].tolist() for rows in rounds(found.ready.device)]
        said.append(
            (taken, found.late.offset.tolist(), found.arrived.offset.tolist(), found.duplicates, found.missing)
        )
    return said, [getattr(order, name).tolist() for name in Order.STATE], sorted(order.held)


@given(parts=st.lists(st.lists(_ROW, min_size=1, max_size=12), min_size=1, max_size=4), counted=st.booleans())
def test_taking_a_segment_at_once_is_taking_its_rows_one_after_another(parts, counted):
    assert outcome(Order, parts, counted=counted) == outcome(RowByRow, parts, counted=counted)


def test_a_segment_of_new_rows_is_taken_at_once():
    ((fleet, batch),) = segments([[(0, 1, 1, True), (1, 1, 1, True)] * 2], counted=True)
    order = Order(fleet, OrderSettings())
    found = order.arrange(batch, Timeline(batch.offset, batch.received_us), Outage())
    assert found.ready is batch
