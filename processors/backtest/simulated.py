"""Devices of one kind with labelled faults, as rows: what the simulator's city would report, without the wire.

From: a kind and a seed. To: the yardsticks, the demo's slow faults, the manual's charts. A fault starts whenever its
device is at work, after some days of health; each device has one. Harmless ones are labelled too, with no rules.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import numpy as np

from devices.readings import Float64, Int64
from devices.simulator import faults as faulty
from devices.simulator.chance import keys, uniform
from devices.simulator.faults import Injected, Labelled
from devices.simulator.profiles import KindModel
from devices.spec import Fault, Kind
from processors.backtest.run import Rows, sorted_rows

START_US: Final = 1_772_294_400_000_000  # 1 March 2026, midnight in Beijing: no season begins in the middle
DAY_US: Final = 86_400_000_000
_ROWS: Final = 500_000  # made at a time


def ids(kind: Kind, count: int) -> list[str]:
    """Names of `count` devices."""
    return [f"{kind.prefix}-{number:04d}" for number in range(count)]


def labels(
    kind: Kind, faults: Sequence[Fault], names: Sequence[str], *, days: float, healthy_days: float, seed: int
) -> list[Labelled]:
    """One fault a device, the faults in turn, each where all of it fits, or as early as it may."""
    chance = random.Random(f"{seed}|{kind.name}|labels")  # noqa: S311  seeded on purpose
    model = KindModel(kind, seed=seed, start_us=START_US)
    found = []
    for place, device in enumerate(names):
        fault = faults[place % len(faults)]
        first = START_US + int(healthy_days * DAY_US)
        last = max(first + DAY_US, START_US + int(days * DAY_US - fault.duration_s * 1e6 - 6 * 3.6e9))
        start = first
        for _ in range(200):
            start = chance.randrange(first, last) // 1000 * 1000
            if fault.silent or model.active(start):
                break
        end = min(start + int(fault.duration_s * 1e6), START_US + int(days * DAY_US))
        found.append(Labelled(device, kind.name, fault.name, start, end, fault.rules))
    return found


def rows(
    kind: Kind, names: Sequence[str], label: Sequence[Labelled], *, days: float, seed: int, skip_days: float = 0.0
) -> Rows:
    """What the devices `names` report over `days`, from `skip_days` on, with the faults of `label`."""
    model = KindModel(kind, seed=seed, start_us=START_US)
    row_of = {name: row for row, name in enumerate(names)}
    injected = [faulty.inject(model, one, row_of[one.device]) for one in label]
    row, time_us = _reports(kind, len(names), injected, days=days, skip_days=skip_days, seed=seed)
    quiet = faulty.silenced(injected, row, time_us)
    row, time_us = row[~quiet], time_us[~quiet]
    order = np.lexsort((row, time_us))
    row, time_us = row[order], time_us[order]
    parts = []
    for first in range(0, len(row), _ROWS):
        part = slice(first, first + _ROWS)
        parts.append(_values(model, injected, row[part], time_us[part], seed))
    ahead = faulty.ahead_us(injected, row, time_us)
    received_us = time_us if ahead.any() else None
    return sorted_rows(list(names), row.astype(np.int32), time_us + ahead, np.concatenate(parts), received_us)


def _values(model: KindModel, injected: Sequence[Injected], row: Int64, time_us: Int64, seed: int) -> Float64:
    values = model.values(row, time_us)
    active = faulty.bearing(injected, int(time_us[0]), int(time_us[-1]))
    faulty.apply(model, active, row, time_us, values, seed=seed)
    return model.rounded(values)


def _reports(
    kind: Kind, count: int, injected: Sequence[Injected], *, days: float, skip_days: float, seed: int
) -> tuple[Int64, Int64]:
    """Device rows and times: the regular pace, and in its place the reports that an event causes."""
    period = int(kind.cadence_s * 1e6)
    phase = (uniform(keys(seed, 11, np.arange(count, dtype=np.int64))) * min(period, 6e7)).astype(np.int64)
    if period > 60_000_000:  # by whole minutes: devices report in groups, as behind gateways
        phase += (np.arange(count, dtype=np.int64) % 6) * (period // 6)
    phase //= 1_000_000
    phase *= 1_000_000
    turns = np.arange(int(skip_days * DAY_US) // period, int(days * DAY_US) // period, dtype=np.int64)
    row = np.repeat(np.arange(count, dtype=np.int64), len(turns))
    time_us = START_US + np.tile(turns * period, count) + phase[row]
    for one in injected:
        if one.fault.report_every_s:
            kept = (row != one.row) | (time_us < one.label.start_us) | (time_us > one.label.end_us)
            pace = int(one.fault.report_every_s * 1e6)
            more = np.append(np.arange(one.label.start_us, one.label.end_us, pace), one.label.end_us)
            row = np.append(row[kept], np.full(len(more), one.row))
            time_us = np.append(time_us[kept], more)
    return row, time_us
