"""The example city 溪桥: devices, sites and gateways of a district that does not exist.

From: the kinds and a seed. To: the demo, `undercity simulate`, tests and benchmarks. Streets and addresses are
invented; the district code 990100 is assigned to nobody, and the map positions are only plausible.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from devices.fleet import Entry
from devices.registry import Departments, Device, Gateway, Site
from devices.simulator.mixed import speech
from devices.spec import Kind

DISTRICT: Final = "990100"
_CENTRE: Final = (113.6250, 34.7460)
_REACH_DEGREES: Final = 0.03
_STREETS: Final = ("溪桥街", "柳岸路", "石门巷", "望塔大道", "北渠路", "枣园街", "东篱路", "双槐街")
# Shares of one city by kind, after the scale of a real one but with enough of each to look at; others get _OTHER.
_SHARES: Final = {
    "manhole_cover": 0.40,
    "heat_meter": 0.22,
    "kitchen_exhaust": 0.18,
    "water_pressure": 0.15,
    "sewage_inflow": 0.05,
}
_OTHER: Final = 0.05
_CHILDREN: Final = 20  # devices behind one gateway
_BEHIND_GATEWAYS: Final = 0.25  # of the devices of each kind
_CODES: Final = {"manhole_cover": ("01", "01"), "water_pressure": ("01", "05"), "heat_meter": ("01", "10")}


@dataclass(frozen=True, slots=True)
class Example:
    """A city's registry: devices with their sites and gateways."""

    devices: list[Device]
    sites: list[Site]
    gateways: list[Gateway]

    def entries(self) -> list[Entry]:
        """What the hot path and the simulator need of the devices."""
        return [device.entry() for device in self.devices]


def example(
    kinds: Mapping[str, Kind],
    count: int,
    *,
    seed: int,
    registered_us: int = 0,
    cadence_s: float | None = None,
    mixed: bool = False,
) -> Example:
    """A city of `count` devices over all `kinds`, at least one of each as far as `count` reaches.

    `cadence_s` overrides every kind's own reporting period. `mixed`: every device speaks a protocol of the field and
    for itself; otherwise all speak our JSON, some of them through gateways.
    """
    city = Example([], [], [])
    for name, number in _numbers(kinds, count).items():
        chance = random.Random(f"{seed}|{name}")
        behind = 0 if mixed else int(number * _BEHIND_GATEWAYS) // _CHILDREN * _CHILDREN
        _add_kind(city, kinds[name], number, chance, registered_us, cadence_s, behind)
    if mixed:
        city.devices[:] = [_speaking(device, int(device.id.rpartition("-")[2])) for device in city.devices]
    return city


def _speaking(device: Device, serial: int) -> Device:
    said = speech(device.kind, serial)
    return replace(device, codec=said.codec, model=said.model, address=said.address, settings=said.settings)


def _numbers(kinds: Mapping[str, Kind], count: int) -> dict[str, int]:
    shares = {name: _SHARES.get(name, _OTHER) for name in kinds}
    total = sum(shares.values())
    numbers = {name: min(1, max(0, count - place)) for place, name in enumerate(shares)}
    spare = count - sum(numbers.values())
    for name, share in shares.items():
        numbers[name] += int(spare * share / total)
    if kinds:
        numbers[max(shares, key=lambda name: shares[name])] += count - sum(numbers.values())
    return numbers


def _add_kind(
    city: Example,
    kind: Kind,
    number: int,
    chance: random.Random,
    registered_us: int,
    cadence_s: float | None,
    behind: int,
) -> None:
    """Add `number` devices of `kind`, the first `behind` of them at gateways."""
    for serial in range(1, number + 1):
        street = chance.randrange(len(_STREETS))
        grid = f"{DISTRICT}{street + 1:03d}{chance.randrange(1, 5):03d}{chance.randrange(1, 13):03d}"
        site = Site(
            id=f"S-{kind.prefix}-{serial:04d}",
            name=f"{_STREETS[street]}{kind.label.zh}{serial}号",
            address=f"溪桥区{_STREETS[street]}{chance.randrange(1, 400)}号",
            longitude=round(_CENTRE[0] + chance.uniform(-1, 1) * _REACH_DEGREES, 6),
            latitude=round(_CENTRE[1] + chance.uniform(-1, 1) * _REACH_DEGREES, 6),
        )
        gateway = ""
        if serial <= behind:
            gateway = f"GW-{kind.prefix}-{(serial - 1) // _CHILDREN + 1:03d}"
            if (serial - 1) % _CHILDREN == 0:
                city.gateways.append(Gateway(id=gateway, site=site.id, label=f"{_STREETS[street]}网关"))
        city.sites.append(site)
        city.devices.append(
            Device(
                id=f"{kind.prefix}-{serial:04d}",
                kind=kind.name,
                site=site.id,
                gateway=gateway,
                component_code=f"{DISTRICT}{''.join(_CODES.get(kind.name, ('01', '99')))}{serial:06d}",
                grid=grid,
                departments=Departments(
                    managing="溪桥区城市管理局", owning="溪桥市政公司", maintaining="溪桥养护一队"
                ),
                cadence_s=cadence_s,
                registered_us=registered_us,
            )
        )
