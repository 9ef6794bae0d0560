"""The registry keeps its promises on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from devices.catalog import Outcome, SqlRegistry
from devices.errors import RegistryError
from devices.kinds import load
from devices.registry import Departments, Device, Gateway, Site
from devices.simulator.example import example


def test_what_is_put_comes_back_and_putting_it_again_changes_nothing(database: Engine) -> None:
    registry, city = SqlRegistry(database), example(load(), 700, seed=1, registered_us=5)
    assert registry.revision() == 0
    assert registry.put(city.devices, sites=city.sites, gateways=city.gateways) == Outcome(700, 0, 0)
    assert registry.put(city.devices, sites=city.sites, gateways=city.gateways) == Outcome(0, 0, 700)
    assert registry.revision() == 1
    assert {entry.id: replace(entry, position=None) for entry in registry.entries()} == {
        d.id: d.entry() for d in city.devices
    }
    assert {device.id: device for device in registry.devices()} == {d.id: d for d in city.devices}
    assert sorted(registry.sites(), key=lambda s: s.id) == sorted(city.sites, key=lambda s: s.id)
    assert {gateway.id for gateway in registry.gateways()} == {gateway.id for gateway in city.gateways}


def test_pages_cover_every_device_once(database: Engine) -> None:
    registry = SqlRegistry(database)
    registry.put([Device(id=f"{letter}-{i}", kind="k") for letter in "aB" for i in range(5)])
    pages, after = [], ""
    while page := registry.devices(after=after, limit=3):
        pages += [device.id for device in page]
        after = pages[-1]
    assert sorted(pages) == sorted(f"{letter}-{i}" for letter in "aB" for i in range(5))


def test_a_change_keeps_the_first_registration_and_raises_the_revision(database: Engine) -> None:
    registry = SqlRegistry(database)
    registry.put([Device(id="A", kind="k", registered_us=5, calibration={"x": (2.0, 1.0)})])
    changed = Device(id="A", kind="k", registered_us=9, departments=Departments(owning="市政"))
    assert registry.put([changed], keep={"calibration"}) == Outcome(0, 1, 0)
    found = registry.device("A")
    assert (found.registered_us, found.calibration, found.departments.owning) == (5, {"x": (2.0, 1.0)}, "市政")
    assert registry.revision() == 2


def test_a_database_that_refuses_one_row_keeps_none(database: Engine) -> None:
    registry = SqlRegistry(database)
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite does not bound text; the codes are checked before")
    with pytest.raises(RegistryError, match=r"nothing was written$"):
        registry.put([Device(id="A", kind="k"), Device(id="B", kind="k" * 65)], sites=[Site(id="S")])
    assert (registry.devices(), registry.sites(), registry.gateways()) == ([], [], [])


def test_a_gateway_alone_is_a_change(database: Engine) -> None:
    registry = SqlRegistry(database)
    assert registry.put([], gateways=[Gateway(id="G")]) == Outcome(0, 0, 0)
    assert registry.revision() == 1
