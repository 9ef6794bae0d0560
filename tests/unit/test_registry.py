"""Registry words and units: what cannot stand in the city's books is refused with its reason."""

from __future__ import annotations

import math

import pytest

from devices.errors import RegistryError, SpecError
from devices.registry import NEWER_LAYOUT, Device, Site, parse_component
from devices.units import UNITS, convert, symbol


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "WP/1"}, "A-Z a-z 0-9"),
        ({"id": "WP-1\n"}, "A-Z a-z 0-9"),
        ({"kind": ""}, "expected a kind"),
        ({"grid": "32058211015210"}, "15 digits"),
        ({"component_code": "٣205820102048188"}, "16 digits"),
        ({"component_code": "3.2E+15"}, "scientific"),
        ({"cadence_s": 0.5}, "cadence"),
        ({"cadence_s": math.nan}, "cadence"),
        ({"calibration": {"a": (0.0, 1.0)}}, "gain"),
        ({"calibration": {"a": (1.0, math.inf)}}, "offset"),
    ],
)
def test_a_device_that_cannot_be_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(RegistryError, match=words):
        Device(**{"id": "WP-1", "kind": "water_pressure", **fields})  # type: ignore[arg-type]


def test_districts_and_streets_come_from_the_codes() -> None:
    assert Device(id="A", kind="k", component_code="3205820102048188").district == "320582"
    device = Device(id="A", kind="k", grid="320582110152102", district="mine")
    assert (device.district, device.street) == ("mine", "320582110")


def test_a_site_needs_both_coordinates_in_the_right_order() -> None:
    assert Site(id="S").longitude is None
    with pytest.raises(RegistryError, match="exchanged"):
        Site(id="S", longitude=31.0, latitude=120.0)
    with pytest.raises(RegistryError, match="expected longitude"):
        Site(id="S", longitude=math.nan, latitude=31.0)


def test_component_codes_divide_by_layout() -> None:
    assert parse_component("3205080101000001").serial == "000001"
    assert parse_component("3205080101000001", NEWER_LAYOUT) == ("320508", "01", "010", "00001")


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (0.42, "MPa", "kPa", 420),
        (4.2, "bar", "kPa", 420),
        (1, "kgf/cm2", "kPa", 98.0665),
        (36, "m3/h", "L/s", 10),
        (20, "degC", "K", 293.15),
        (212, "degF", "degC", 100),
        (1, "GJ", "kWh", 277.7778),
        (1500, "mg/m3", "mg/L", 1.5),
    ],
)
def test_units_convert(value: float, source: str, target: str, expected: float) -> None:
    assert convert(value, source, target) == pytest.approx(expected)
    assert convert(convert(value, source, target), target, source) == pytest.approx(value)


def test_unknown_units_and_two_dimensions_are_refused() -> None:
    with pytest.raises(SpecError, match="furlong"):
        convert(1, "furlong", "m")
    with pytest.raises(SpecError, match="pressure"):
        convert(1, "kPa", "m3/h")
    assert all(symbol(name) is not None for name in UNITS)
