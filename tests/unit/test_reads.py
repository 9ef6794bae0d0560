from __future__ import annotations

import pytest

from devices.factors import factors
from devices.kinds import load
from devices.spec import Kind
from ingest.reads import Reader

KINDS = load()


def columns(kind: str, values: dict[str, float], units: dict[str, str], **settings: object) -> dict[str, float]:
    found = KINDS[kind]
    plan = Reader(found).plan(values, units, settings)
    return {
        found.quantities[place.column].name: round(value * place.scale + place.shift, 6)
        for value, place in zip(values.values(), plan.places, strict=True)
        if place.column >= 0
    }


def problem(kind: str, values: dict[str, float], units: dict[str, str], **settings: object) -> str:
    return Reader(KINDS[kind]).plan(values, units, settings).problem


def test_units_become_the_quantitys_own():
    heat = {"energy": 152.03, "flow": 450.0, "supply_temperature": 27.81, "power": 2390.0}
    units = {"energy": "kWh", "flow": "L/h", "supply_temperature": "degC", "power": "W"}
    assert columns("heat_meter", heat, units) == {
        "energy_mwh": 0.15203,
        "flow_m3h": 0.45,
        "supply_c": 27.81,
        "power_kw": 2.39,
    }
    assert columns("water_pressure", {"pressure": 0.4125}, {"pressure": "MPa"}) == {"pressure_kpa": 412.5}


def test_units_that_begin_elsewhere_are_shifted():
    values = {"supply_temperature": 167.0, "return_temperature": 318.15}
    units = {"supply_temperature": "degF", "return_temperature": "K"}
    assert columns("heat_meter", values, units) == {"supply_c": 75.0, "return_c": 45.0}


def test_two_devices_of_a_kind_may_mean_different_things_by_one_name():
    kind = KINDS["kitchen_exhaust"]
    reader = Reader(kind)
    fan, purifier = {"fields": {"Ai1": "fan_a"}}, {"fields": {"Ai1": "purifier_a"}}
    found = [reader.plan({"Ai1": 1.0}, {}, one).places[0].column for one in (fan, purifier)]
    assert [kind.quantities[column].name for column in found] == ["fan_a", "purifier_a"]


def test_the_best_name_wins_wherever_it_stands_in_the_frame():
    units = {"011-Rtd": "mg/L", "w01018-Rtd": "mg/L", "w01018-Avg": "mg/L"}
    assert columns("sewage_inflow", {"011-Rtd": 1, "w01018-Rtd": 2, "w01018-Avg": 3}, units) == {"cod_mgl": 2}
    assert columns("sewage_inflow", {"w01018-Avg": 3, "w01018-Max": 9}, {**units, "w01018-Max": "mg/L"}) == {
        "cod_mgl": 3
    }


def test_the_first_of_several_inlets_is_taken():
    values = {"e10101-Rtd": 120.0, "e10201-Rtd": 300.0, "e10102-Rtd": 7.0}
    units = {"e10101-Rtd": "L/s", "e10201-Rtd": "mg/L", "e10102-Rtd": "L/s"}
    assert columns("sewage_inflow", values, units) == {"flow_ls": 120, "cod_mgl": 300}


def test_the_devices_own_names_come_before_all_others():
    fields = {"Fan1-Rtd": "fan_a", "a34041-Rtd": "nmhc_mgm3", "Ai3": "purifier_a:mA"}
    values = {"Fan1-Rtd": 4.5, "a34041-Rtd": 1.0, "Ai3": 900.0}
    assert columns("kitchen_exhaust", values, {"a34041-Rtd": "mg/m3"}, fields=fields) == {
        "fan_a": 4.5,
        "nmhc_mgm3": 1.0,
        "purifier_a": 0.9,
    }


def test_a_kinds_own_name_without_a_unit_is_in_its_own_unit():
    assert columns("manhole_cover", {"tilt_deg": 3.0, "unheard": 1.0}, {}) == {"tilt_deg": 3.0}


def test_a_value_without_a_unit_is_not_guessed():
    assert problem("water_pressure", {"pressure": 4.1}, {}) == (
        "pressure: expected its unit, got none; say pressure_kpa:UNIT in the device's setting fields"
    )


def test_a_unit_of_another_dimension_is_refused_by_name():
    assert "expected a unit that becomes kPa, got 'degC'" in problem(
        "water_pressure", {"pressure": 4.1}, {"pressure": "degC"}
    )


def test_a_frame_with_nothing_of_the_kind_says_what_the_kind_reads():
    said = problem("manhole_cover", {"humidity": 4.1}, {"humidity": "%"})
    assert "expected a value of manhole_cover (" in said
    assert "got 'humidity'" in said


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_name_is_read_by_two_quantities_of_a_kind(kind: Kind):
    names = [name for quantity in kind.quantities for name in (quantity.name, *quantity.reads)]
    assert len(names) == len(set(names))


def test_factors_prefer_the_instant_to_the_mean():
    assert factors("a", "b") == ("a-Rtd", "b-Rtd", "a-Avg", "b-Avg")
