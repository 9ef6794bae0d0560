"""What a value costs in its kind's whole rule set, and how much state a device has.

`python -m tests.benchmarks.rules_rate`

Simulated devices of each kind report all their quantities at once, in rounds of 256 and of 4,096; the rules have seen a
day before the clock runs. One core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from devices.fleet import Entry, build
from devices.kinds import load
from devices.readings import Batch, Quality
from devices.simulator.profiles import KindModel
from devices.spec import Kind
from ingest.order import OrderSettings
from processors.detectors import snapshot
from processors.engines.rules import KindRules
from processors.findings import Finding

S = 1_000_000
T0 = 1_767_571_200 * S
_WARM = 48  # rounds, half an hour apart
_TIMED = 40


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind: microseconds per value at each round size, bytes of rule state per device and quantity."""

    kind: str
    rules: int
    quantities: int
    us: dict[int, float]
    state: float
    trace: float


def measured(kind: Kind, sizes: tuple[int, ...] = (256, 4096)) -> Cost:
    """The cost of `kind`'s rules over simulated values."""
    us, rules = {}, None
    for size in sizes:
        entries = [Entry(f"D-{i}", kind.name, district=f"D{i // 40}", registered_us=T0) for i in range(size)]
        fleet = build({kind.name: kind}, entries).kinds[kind.name]
        rules = KindRules(fleet, OrderSettings())
        model = KindModel(kind, seed=1, start_us=T0)
        spent = []
        findings: list[Finding] = []
        for i in range(_WARM + _TIMED):
            at = T0 + (i * 1800 if i < _WARM else _WARM * 1800 + (i - _WARM) * int(kind.cadence_s)) * S
            part = _batch(fleet, model, at, i)
            started = time.perf_counter()
            rules.traces.take(part)
            rules._detect(part, findings)  # what is measured
            spent.append((time.perf_counter() - started) / (size * len(kind.quantities)) * 1e6)
        us[size] = float(np.median(spent[_WARM:]))
    assert rules is not None
    devices = len(rules.fleet)
    state = sum(array.nbytes for rule in rules.rules for array in snapshot(rule.detector).values())
    trace = sum(array.nbytes for array in rules.traces.snapshot().values())
    per = devices * len(kind.quantities)
    return Cost(kind.name, len(rules.rules), len(kind.quantities), us, state / per, trace / per)


def _batch(fleet, model: KindModel, at: int, i: int) -> Batch:  # type: ignore[no-untyped-def]
    rows = np.arange(len(fleet), dtype=np.int64)
    times = np.full(len(fleet), at, dtype=np.int64)
    values = model.values(rows, times)
    quality = np.zeros(values.shape, dtype=np.uint8)
    quality[np.isnan(values)] = Quality.MISSING
    return Batch(
        fleet,
        rows.astype(np.int32),
        times,
        times,
        np.full(len(fleet), i, dtype=np.int64),
        np.full(len(fleet), -1, dtype=np.int64),
        values,
        quality,
        np.zeros(values.shape, dtype=np.uint16),
        np.zeros(len(fleet), dtype=np.bool_),
    )


def main() -> None:
    """Print the table."""
    print(
        "kind             rules  us/value at 256  at 4096  (aim 5)   state B/device/quantity (aim 2048)  trace B"
    )
    for kind in load().values():
        cost = measured(kind)
        print(
            f"{cost.kind:16} {cost.rules:5d} {cost.us[256]:16.2f} {cost.us[4096]:8.2f} "
            f"{cost.state:31.0f} {cost.trace:24.0f}"
        )


if __name__ == "__main__":
    main()
