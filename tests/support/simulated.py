"""One simulated device through decoding, quality and detection, as the pipeline would take it."""

from __future__ import annotations

from devices.fleet import Entry, build
from devices.simulator.city import City
from devices.simulator.faults import Labelled
from devices.spec import Fault, Kind
from ingest.journal import TICK, Delivery
from processors.findings import Finding
from tests.support.city import block, engine_for, in_order, run

HOUR_US = 3_600_000_000
START_US = 1_767_576_600_000_000  # 2026-01-05 01:30 UTC, 09:30 in the city: a Monday before the kitchens open
TICK_US = 60_000_000
FAULT_AT_US = START_US + int(1.75 * HOUR_US)


def labelled(kind: Kind, fault: Fault, start_us: int = FAULT_AT_US) -> Labelled:
    """`fault` on the first device, from `start_us` on and as much later as the device must have been well before."""
    start_us += int(fault.healthy_s * 1e6)
    end_us = start_us + int(fault.duration_s * 1e6)
    return Labelled(f"{kind.prefix}-1", kind.name, fault.name, start_us, end_us, fault.rules)


def observed(
    kind: Kind, hours: float, *, fault: Fault | None = None, devices: int = 1, seed: int = 3
) -> list[Finding]:
    """The findings of `devices` devices over `hours`; the first has `fault`, as `labelled`."""
    entries = [Entry(f"{kind.prefix}-{i + 1}", kind.name, "d", registered_us=START_US) for i in range(devices)]
    labels = [labelled(kind, fault)] if fault else []
    city = City({kind.name: kind}, entries, seed=seed, start_us=START_US, labels=labels)
    end_us = START_US + int(hours * HOUR_US)
    reports = [Delivery(e.topic, e.payload, e.due_us) for e in city.emissions(START_US, end_us)]
    ticks = [Delivery(TICK, b"", at) for at in range(START_US, end_us, TICK_US)]
    return run(
        engine_for(build({kind.name: kind}, entries), segment_s=300.0, max_gap_s=900.0),
        [block(in_order(reports, ticks))],
    )
