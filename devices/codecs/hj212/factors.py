"""Factor codes and the units the standard fixes for them.

From: the names of a packet's values, such as w01018-Rtd. To: `Sample.units`, and what the simulator may send. A code
that is not here has its value, and no unit: then the unit is the one of the quantity that reads it.
"""

from __future__ import annotations

from typing import Final

# Rtd real time; Avg, Min, Max over a period; with Zs the same converted to the standard's reference oxygen.
_MEASURED: Final = frozenset({"Rtd", "Avg", "Min", "Max", "ZsRtd", "ZsAvg", "ZsMin", "ZsMax"})
_FLOW: Final = "L/s"
_TOTAL: Final = "m3"

WATER: Final = {
    "w00000": _FLOW,
    "w01001": "pH",
    "w01010": "degC",
    "w01012": "mg/L",  # suspended solids
    "w01014": "",  # conductivity
    "w01017": "mg/L",  # BOD5
    "w01018": "mg/L",  # COD
    "w01019": "mg/L",  # permanganate index
    "w21001": "mg/L",  # total nitrogen
    "w21003": "mg/L",  # NH3-N
    "w21011": "mg/L",  # total phosphorus
}
AIR: Final = {
    "a24088": "mg/m3",  # non-methane hydrocarbons
    "a34013": "mg/m3",  # smoke dust
    "a01011": "",  # velocity in the flue
    "a01012": "degC",
    "a01013": "",  # pressure: Pa and kPa are both seen
    "a01014": "%",  # humidity
}
SEEN: Final = {"a34041": "", "a34000": ""}  # fume and particles: in packets of the field, not in the standard
OLD: Final = {  # the three-character codes of 2005
    "011": "mg/L",  # COD
    "060": "mg/L",  # NH3-N
    "101": "mg/L",  # total phosphorus
    "065": "mg/L",  # total nitrogen
    "001": "pH",
    "B01": _FLOW,
}
INLET: Final = {  # inlet of a treatment plant (ST=52), two more digits behind each
    "e101": _FLOW,
    "e102": "mg/L",  # COD
    "e103": "mg/L",  # NH3-N
    "e104": "mg/L",  # total phosphorus
    "e105": "mg/L",  # total nitrogen
    "e106": "pH",
}
_UNITS: Final = {**WATER, **AIR, **OLD}
_INLET_CHARS: Final = 6


def unit_of(factor: str, value: str) -> str:
    """The unit of one value of a factor, empty where we know none.

    >>> unit_of("w00000", "Rtd"), unit_of("w00000", "Cou"), unit_of("e10201", "Avg"), unit_of("ele01", "Rtd")
    ('L/s', 'm3', 'mg/L', '')
    """
    unit = _UNITS.get(factor, "")
    if len(factor) == _INLET_CHARS and factor[0] == "e":
        unit = INLET.get(factor[:4], "")
    if value in _MEASURED:
        return unit
    return _TOTAL if value == "Cou" and unit == _FLOW else ""


def offered(values: tuple[str, ...]) -> dict[str, str]:
    """Every code we know with each of `values`, such as Rtd, and its unit."""
    codes = (*WATER, *AIR, *SEEN, *OLD, *(f"{code}01" for code in INLET))
    return {f"{code}-{value}": unit_of(code, value) for value in values for code in codes}
