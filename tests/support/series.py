"""Batches for tests of the stores: readings written down by hand, and what a plain dict makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from devices.fleet import Entry, KindFleet, build
from devices.readings import Batch, Quality
from devices.spec import Kind, Profile, Quantity, Text

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

Value = float | tuple[float, Quality]
Row = tuple[str, int, Mapping[str, Value]]


def kind_of(name: str, *quantities: str) -> Kind:
    wide = (-1e9, 1e9)
    return Kind(
        name=name,
        label=Text(name, name),
        quantities=tuple(
            Quantity(name=q, unit="", label=Text(q, q), physical=wide, plausible=wide) for q in quantities
        ),
        cadence_s=60,
        lateness_s=600,
        detectors=(),
        panels=(),
        simulate=Profile(shapes={}),
        prefix="T",
    )


def fleet_of(kind: Kind, devices: Iterable[str | Entry]) -> KindFleet:
    entries = [d if isinstance(d, Entry) else Entry(d, kind.name, district="d", site="s") for d in devices]
    return build({kind.name: kind}, entries).kinds[kind.name]


def batch_of(fleet: KindFleet, rows: Sequence[Row]) -> Batch:
    """`rows`: device, time in microseconds, and per quantity a value, or a value with its quality."""
    count, width = len(rows), len(fleet.kind.quantities)
    values = np.full((count, width), np.nan)
    quality = np.full((count, width), Quality.MISSING, dtype=np.uint8)
    for number, (_, _, given) in enumerate(rows):
        for name, value in given.items():
            column = fleet.kind.column(name)
            pair = value if isinstance(value, tuple) else (value, Quality.GOOD)
            values[number, column], quality[number, column] = pair
    times = np.array([time_us for _, time_us, _ in rows], dtype=np.int64)
    return Batch(
        fleet=fleet,
        device=np.array([fleet.index[device] for device, _, _ in rows], dtype=np.int32),
        time_us=times,
        received_us=times.copy(),
        offset=np.arange(count, dtype=np.int64),
        seq=np.full(count, -1, dtype=np.int64),
        values=values,
        quality=quality,
        reasons=np.zeros((count, width), dtype=np.uint16),
        late=np.zeros(count, dtype=np.bool_),
    )
