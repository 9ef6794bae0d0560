"""Units: symbols as the kinds write them, and conversion between those of one dimension.

A unit is a line of the table: its dimension, and how its numbers become the dimension's base unit.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from devices.errors import SpecError


class Unit(NamedTuple):
    """base = number * scale + shift. `symbol` is what a person reads."""

    dimension: str
    scale: float
    symbol: str
    shift: float = 0.0


_KILOWATT_HOUR_J: Final = 3.6e6
_METRE_OF_WATER_PA: Final = 9806.65

UNITS: Final[dict[str, Unit]] = {
    "Pa": Unit("pressure", 1.0, "Pa"),
    "kPa": Unit("pressure", 1e3, "kPa"),
    "MPa": Unit("pressure", 1e6, "MPa"),
    "mbar": Unit("pressure", 100.0, "mbar"),
    "bar": Unit("pressure", 1e5, "bar"),
    "psi": Unit("pressure", 6894.757293168, "psi"),
    "kgf/cm2": Unit("pressure", 98066.5, "kgf/cm²"),
    "mH2O": Unit("pressure", _METRE_OF_WATER_PA, "mH₂O"),
    "mmH2O": Unit("pressure", _METRE_OF_WATER_PA / 1e3, "mmH₂O"),
    "m3/s": Unit("flow", 1.0, "m³/s"),
    "m3/h": Unit("flow", 1 / 3600, "m³/h"),
    "m3/d": Unit("flow", 1 / 86400, "m³/d"),
    "L/s": Unit("flow", 1e-3, "L/s"),
    "L/min": Unit("flow", 1e-3 / 60, "L/min"),
    "L/h": Unit("flow", 1e-3 / 3600, "L/h"),
    "m3": Unit("volume", 1.0, "m³"),
    "L": Unit("volume", 1e-3, "L"),
    "degC": Unit("temperature", 1.0, "°C", 273.15),
    "degF": Unit("temperature", 5 / 9, "°F", 273.15 - 32 * 5 / 9),
    "K": Unit("temperature", 1.0, "K"),
    "W": Unit("power", 1.0, "W"),
    "kW": Unit("power", 1e3, "kW"),
    "MW": Unit("power", 1e6, "MW"),
    "J": Unit("energy", 1.0, "J"),
    "kJ": Unit("energy", 1e3, "kJ"),
    "MJ": Unit("energy", 1e6, "MJ"),
    "GJ": Unit("energy", 1e9, "GJ"),
    "Wh": Unit("energy", _KILOWATT_HOUR_J / 1e3, "Wh"),
    "kWh": Unit("energy", _KILOWATT_HOUR_J, "kWh"),
    "MWh": Unit("energy", _KILOWATT_HOUR_J * 1e3, "MWh"),
    "kg": Unit("mass", 1.0, "kg"),
    "kg/h": Unit("mass flow", 1 / 3600, "kg/h"),
    "s": Unit("duration", 1.0, "s"),
    "h": Unit("duration", 3600.0, "h"),
    "d": Unit("duration", 86400.0, "d"),
    "m": Unit("length", 1.0, "m"),
    "cm": Unit("length", 1e-2, "cm"),
    "mm": Unit("length", 1e-3, "mm"),
    "deg": Unit("angle", 1.0, "°"),
    "mg/L": Unit("concentration", 1.0, "mg/L"),
    "ug/L": Unit("concentration", 1e-3, "µg/L"),
    "g/m3": Unit("concentration", 1.0, "g/m³"),
    "mg/m3": Unit("concentration", 1e-3, "mg/m³"),
    "V": Unit("voltage", 1.0, "V"),
    "mV": Unit("voltage", 1e-3, "mV"),
    "A": Unit("current", 1.0, "A"),
    "mA": Unit("current", 1e-3, "mA"),
    "g": Unit("acceleration", 9.80665, "g"),
    "m/s2": Unit("acceleration", 1.0, "m/s²"),
    "mm/h": Unit("precipitation", 1.0, "mm/h"),
    "pH": Unit("acidity", 1.0, ""),
    "dBm": Unit("signal", 1.0, "dBm"),
    "dB": Unit("signal ratio", 1.0, "dB"),
    "%": Unit("ratio", 1e-2, "%"),
    "": Unit("ratio", 1.0, ""),
}


def unit(name: str) -> Unit:
    """The unit called `name`; SpecError when the table has none."""
    found = UNITS.get(name)
    if found is None:
        raise SpecError(f"unit {name!r:.40}: expected one of {', '.join(filter(None, UNITS))}; it was not used")
    return found


def symbol(name: str) -> str:
    """What a person reads for the unit `name`.

    >>> symbol("degC")
    '°C'
    """
    return unit(name).symbol


def convert(value: float, source: str, target: str) -> float:
    """`value` in `source` as `target`; SpecError for unknown units or those of two dimensions.

    >>> convert(0.14, "MPa", "kPa")
    140.0
    >>> round(convert(10, "mH2O", "kPa"), 2)
    98.07
    """
    old, new = unit(source), unit(target)
    if old.dimension != new.dimension:
        raise SpecError(f"unit {source} is a {old.dimension}, {target} a {new.dimension}; nothing was converted")
    if source == target:
        return value
    return (value * old.scale + old.shift - new.shift) / new.scale
