"""What both stores agree on before a row reaches a database.

From: a store's `write`. To: its tables or lines. A row without any value stores nothing; a row with an infinite
value or a time no store can hold is refused, and the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.fleet import KindFleet
from devices.readings import Batch, Bool, Float64, Int32, Int64, UInt8, UInt16
from ingest.timeseries.ports import Rejected

# A time stamp of InfluxDB is a signed 64-bit count of nanoseconds, less its two lowest and its highest value.
EARLIEST_US = -9_223_372_036_854_775
LATEST_US = 9_223_372_036_854_775


@dataclass(slots=True)
class Rows:
    """Storable rows of one kind in order of arrival; n rows, q quantities.

    `device`: (n,) row in `fleet`. `time_us`: (n,) UTC. `values`: (n, q), NaN where absent. `quality`: (n, q)
    Quality. `reasons`: (n,) every Reason that holds for a value of the row.
    """

    fleet: KindFleet
    device: Int32
    time_us: Int64
    values: Float64
    quality: UInt8
    reasons: UInt16

    def __len__(self) -> int:
        return len(self.device)


def admit(batch: Batch) -> tuple[Rows, tuple[Rejected, ...]]:
    """The rows of `batch` that can be stored, and a refusal for each that never can."""
    absent = np.isnan(batch.values)
    infinite: Bool = np.any(np.isinf(batch.values), axis=1)
    outside = (batch.time_us < EARLIEST_US) | (batch.time_us > LATEST_US)
    refused = infinite | outside
    kept = ~(refused | absent.all(axis=1))
    rejected = tuple(_refusal(batch, int(row), infinite) for row in np.flatnonzero(refused))
    if not kept.all():
        batch, absent = batch.take(kept), absent[kept]
    reasons = np.bitwise_or.reduce(np.where(absent, 0, batch.reasons), axis=1).astype(np.uint16)
    return Rows(batch.fleet, batch.device, batch.time_us, batch.values, batch.quality, reasons), rejected


def _refusal(batch: Batch, row: int, infinite: Bool) -> Rejected:
    time_us = int(batch.time_us[row])
    reason = (
        "expected finite values, got an infinite one"
        if infinite[row]
        else f"expected a time between 1677 and 2262, got {time_us} us since 1970"
    )
    return Rejected(batch.fleet.ids[int(batch.device[row])], batch.fleet.kind.name, time_us, reason)


def repeated(device: Int32, time_us: Int64) -> Bool:
    """(n,) true where the same device and time come again further on."""
    order = np.lexsort((time_us, device))
    same = (np.diff(device[order]) == 0) & (np.diff(time_us[order]) == 0)
    again = np.zeros(len(device), dtype=np.bool_)
    again[order[:-1][same]] = True
    return again


def merged(rows: Rows) -> Rows:
    """`rows` with one row per device and time: of each quantity the value that came last."""
    if len(rows) < 2 or not repeated(rows.device, rows.time_us).any():
        return rows
    _, first, group = np.unique(
        np.stack([rows.device.astype(np.int64), rows.time_us]), axis=1, return_index=True, return_inverse=True
    )
    group = group.reshape(-1)
    values = np.full((len(first), rows.values.shape[1]), np.nan)
    quality = np.zeros(values.shape, dtype=np.uint8)
    reasons = np.zeros(len(first), dtype=np.uint16)
    np.bitwise_or.at(reasons, group, rows.reasons)
    for column in range(values.shape[1]):
        # Of several assignments to one place the last holds, which is the one that came last.
        present = np.flatnonzero(~np.isnan(rows.values[:, column]))
        values[group[present], column] = rows.values[present, column]
        quality[group[present], column] = rows.quality[present, column]
    return Rows(rows.fleet, rows.device[first], rows.time_us[first], values, quality, reasons)
