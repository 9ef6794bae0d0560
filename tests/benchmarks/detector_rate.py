"""Cost per value of each detector and of the quality gate: python -m tests.benchmarks.detector_rate [ROWS]."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from devices.fleet import Entry
from devices.fleet import build as build_fleet
from devices.kinds import load as load_kinds
from devices.readings import Batch
from ingest.quality import QualityGate
from processors.detectors import Step, build

S = 1_000_000
DEVICES = 100_000
RULES = {
    "limit": {"high": 470, "hold_s": 300, "hysteresis": 5, "clear_s": 300},
    "cusum": {"slack": 20, "limit": 300},
    "step": {"change": 100, "window_s": 1800},
    "flatline": {"hold_s": 3600},
    "rate": {"per_s": 2},
    "silence": {},
}


def micros(work: Callable[[int], None], rows: int, *, repeats: int = 60) -> float:
    """Median microseconds per row of `work`, which takes the round's number."""
    spent = []
    for i in range(repeats + 10):
        started = time.perf_counter()
        work(i)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent[10:])) / rows * 1e6


def detector(name: str, rows: int) -> float:
    """Noise about 400 with 20 around it: a fraction of the values is beyond, as on a bad day."""
    made = build(name, RULES[name])
    made.grow(np.full(DEVICES, 60.0), np.zeros(DEVICES, dtype=np.int64))
    chance = np.random.default_rng(1)
    devices = np.sort(chance.choice(DEVICES, rows, replace=False)).astype(np.int32)
    values = chance.normal(400, 20, (100, rows))
    good = np.zeros(rows, dtype=np.uint8)

    def work(i: int) -> None:
        now = np.full(rows, i * 60 * S)
        made.step(Step(devices, now, now, values[i], good))

    return micros(work, rows)


def gate(rows: int) -> float:
    """The quality gate on the kind with the most quantities."""
    kind = max(load_kinds().values(), key=lambda k: len(k.quantities))
    entries = [Entry(f"D-{i}", kind.name) for i in range(DEVICES)]
    fleet = build_fleet({kind.name: kind}, entries).kinds[kind.name]
    judge, chance = QualityGate(fleet), np.random.default_rng(1)
    count = len(kind.quantities)
    devices = np.sort(chance.choice(DEVICES, rows, replace=False)).astype(np.int32)
    middle = np.array([(q.plausible[0] + q.plausible[1]) / 2 for q in kind.quantities])
    values = middle * chance.normal(1, 0.01, (100, rows, count))

    def work(i: int) -> None:
        now = np.full(rows, i * 60 * S)
        blank = np.zeros((rows, count))
        judge.judge(
            Batch(
                fleet,
                devices,
                now,
                now,
                now,
                now,
                values[i],
                blank.astype(np.uint8),
                blank.astype(np.uint16),
                np.zeros(rows, dtype=np.bool_),
            )
        )

    return micros(work, rows) / count


def main() -> None:
    """Print one line per part."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"microseconds per value, {rows} rows a step, {DEVICES} devices")
    for name in RULES:
        print(f"{name:10} {detector(name, rows):.3f}")
    print(f"{'quality':10} {gate(rows):.3f}")


if __name__ == "__main__":
    main()
