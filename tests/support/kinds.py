"""A small kind for tests of the machinery, with numbers that can be read at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from devices.fleet import Entry, Fleet, build
from devices.spec import Kind, Panel, Profile, Quantity, Severity, Text, Use

LEVEL = Quantity(name="level_m", unit="m", label=Text("水位", "level"), physical=(0, 100), plausible=(0, 50))
BATTERY = Quantity(name="battery_v", unit="V", label=Text("电池", "battery"), physical=(0, 10), plausible=(2, 4))
WELL = Kind(
    name="well",
    label=Text("水井", "well"),
    quantities=(LEVEL, BATTERY),
    cadence_s=60,
    lateness_s=600,
    detectors=(
        Use(
            rule="high",
            detector="limit",
            quantity=LEVEL,
            params={"high": 10, "hold_s": 120, "hysteresis": 1, "clear_s": 120},
            severity=Severity.HIGH,
            title=Text("水位过高", "level too high"),
        ),
        Use(rule="silent", detector="silence", params={"periods": 3}, title=Text("离线", "silent")),
    ),
    panels=(Panel(type="timeseries", quantity=LEVEL),),
    simulate=Profile(shapes={}),
    prefix="WE",
)


def fleet_of(entries: Sequence[Entry], kind: Kind = WELL) -> Fleet:
    return build({kind.name: kind}, entries)


def wells(count: int, *, gateway: str = "", registered_us: int = 0) -> list[Entry]:
    return [
        Entry(f"WE-{i}", "well", gateway=gateway, registered_us=registered_us, district="d") for i in range(count)
    ]
