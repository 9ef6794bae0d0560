"""Which column of a table is what: a quantity of one device, a device of one quantity, or neither.

From: the column names of a table. To: `processors.backtest.series`. Names decide, by words people and protocols use;
what a name says against the kind is believed, and said to the person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import numpy as np

from devices import radio
from devices.readings import Float64
from devices.spec import Kind, Quantity
from devices.units import UNITS, convert

_ALIASES: Final = {"m": "mH2O", "mwc": "mH2O", "米": "mH2O", "米水柱": "mH2O", "公斤": "kgf/cm2", "kg": "kgf/cm2"}
_WORDS: Final = {
    "temp": "temperature",
    "press": "pressure",
    "p": "pressure",
    "batt": "battery",
    "level": "water_level",
}
# Other words for a quantity's stem, best first, as data of utilities and public data sets have them.
_ALSO: Final = {
    "supply": (
        "t_sup_prim",
        "*sup*prim*",
        "t_sup*",
        "t_supply*",
        "supply*",
        "*supply_temp*",
        "*供水温度*",
        "*供温*",
    ),
    "return": (
        "t_ret_prim",
        "*ret*prim*",
        "t_ret*",
        "t_return*",
        "return*",
        "*return_temp*",
        "*回水温度*",
        "*回温*",
    ),
    "ambient": ("t_amb*", "t_out*", "ambient*", "outdoor*", "*室外*"),
    "outdoor": ("t_amb*", "t_out*", "outdoor*", "ambient*", "*室外*"),
    "power": ("heat_power", "q_heat", "heat_load", "qizm", "heat", "*热功率*"),
    "energy": ("heat_energy", "energy*", "*累计热量*"),
    "flow": ("flow_rate", "volume_flow*", "q", "*瞬时流量*", "*流量*"),
    "nh3n": ("nh4_n", "nh3_n", "nh4n", "nh4", "nh3", "ammonia*", "*氨氮*"),
    "cod": ("cod_cr", "codcr", "cod_*", "*cod*"),
    "tn": ("total_nitrogen", "*总氮*"),
    "tp": ("total_phosphorus", "*总磷*"),
    "pressure": ("pressure*", "*压力*"),
    "tilt": ("tilt_angle", "angle", "*倾角*"),
    "water_level": ("*water_level*", "*水位*"),
    "fume": ("oil_fume*", "fume*", "*油烟*"),
}
_PREFIXES: Final = {
    "f": "flow", "q": "flow", "flow": "flow", "l": "length", "lvl": "length", "level": "length", "h": "length",
    "p": "pressure", "pressure": "pressure", "t": "temperature", "temp": "temperature", "v": "voltage",
}  # fmt: skip
_LABELS: Final = {
    "anomaly", "anomalies", "is_anomaly", "changepoint", "label", "labels", "target", "ground_truth", "outlier",
    "fault", "attack",
}  # fmt: skip
_DEVICE_NAMES: Final = (
    "device", "device_id", "deviceid", "sensor", "sensor_id", "station", "station_id", "meter", "meter_id", "id", "tag",
    "point", "设备", "设备编号", "设备号", "测点", "站点",
)  # fmt: skip
_QUANTITY_NAMES: Final = ("quantity", "variable", "parameter", "metric", "field", "_field", "指标", "参数")
_VALUE_NAMES: Final = ("value", "_value", "reading", "values", "值", "数值", "测值")
_FITS: Final = 0.95  # so many plausible values speak for a unit
_DOUBTFUL: Final = 0.5  # fewer of them in the kind's own unit leave it open
_PREFERRED: Final = (
    "MPa",
    "kPa",
    "mH2O",
    "bar",
    "mbar",
    "Pa",
    "kgf/cm2",
)  # where several would fit: the usual one


class Match(NamedTuple):
    """A column that holds a quantity, in `unit`; empty where the name does not say. `rank`: 0 says it best."""

    quantity: Quantity
    unit: str
    rank: int = 0


class Guess(NamedTuple):
    """A unit that the numbers speak for, and others that would fit too."""

    unit: str
    others: tuple[str, ...]


def plain(name: str) -> str:
    """A column's name as words joined by `_`, in small letters.

    >>> plain("Flow [m3/h]")
    'flow_m3_h'
    """
    return re.sub(r"[^0-9a-z\u4e00-\u9fff]+", "_", name.strip().lower()).strip("_")


def named(names: Iterable[str], words: Sequence[str]) -> str | None:
    """The column whose name is the earliest of `words`, None without any."""
    known = {plain(name): name for name in names}
    return next((known[word] for word in map(plain, words) if word in known), None)


def device_column(names: Iterable[str]) -> str | None:
    """The column that names devices, if there is one."""
    return named(names, _DEVICE_NAMES)


def melted(names: Iterable[str]) -> tuple[str, str] | None:
    """The columns (quantity, value) of a table with one value per row, if it is one."""
    known = list(names)
    quantity, value = named(known, _QUANTITY_NAMES), named(known, _VALUE_NAMES)
    return (quantity, value) if quantity and value else None


def is_label(name: str) -> bool:
    """Whether a column says what is wrong rather than what was measured."""
    return plain(name) in _LABELS


def match(kind: Kind, name: str) -> Match | None:
    """The quantity of `kind` that the column `name` holds.

    By the quantity's own name, a name protocols report it under, its label, its name with another unit (`flow_m3_d` for
    `flow_ls`), or another word for it (`t_sup_prim` for `supply_c`).
    """
    found = [one for quantity in kind.quantities if (one := _as(quantity, name)) is not None]
    return min(found, key=lambda one: one.rank) if found else None


def _as(quantity: Quantity, name: str) -> Match | None:
    """How `name` says `quantity`, if it does."""
    said = plain(name)
    if said == plain(quantity.name):
        return Match(quantity, quantity.unit, 0)
    labels = (quantity.label.zh, quantity.label.en)
    if any(fnmatchcase(name.lower(), one.lower()) for one in quantity.reads) or name in labels:
        return Match(quantity, "", 1)
    stem = plain(quantity.name).rsplit("_", 1)[0]
    for head, unit in ((said, ""), *_split(quantity, said)):
        if _WORDS.get(head, head) == stem:
            return Match(quantity, unit, 2)
    for rank, pattern in enumerate(_ALSO.get(stem, ()), start=3):
        for head, unit in (*_split(quantity, said), (said, "")):
            if fnmatchcase(head, pattern):
                return Match(quantity, unit, rank)
    return None


def _split(quantity: Quantity, name: str) -> Iterator[tuple[str, str]]:
    """`name` without the unit it ends in, and that unit, longest spelling first."""
    spelled = _spellings(quantity)
    for spelling in sorted(spelled, key=len, reverse=True):
        if name.endswith(f"_{spelling}"):
            yield name.removesuffix(f"_{spelling}"), spelled[spelling]


def _spellings(quantity: Quantity) -> dict[str, str]:
    """How people write the units of a quantity's dimension within a column's name: mg/L as mg_l and mgl."""
    dimension = UNITS[quantity.unit].dimension if quantity.unit in UNITS else ""
    found: dict[str, str] = {}
    for unit, about in UNITS.items():
        if about.dimension == dimension and unit:
            spelled = plain(unit)
            found |= {spelled: unit, spelled.replace("_", ""): unit}
    if dimension == "temperature":
        found |= {"c": "degC", "f": "degF"}
    if dimension == "pressure":
        found |= {"m": "mH2O"}
    return found


def main_quantity(kind: Kind) -> Quantity | None:
    """The one quantity that the rules of `kind` are about, None where there are several.

    Battery, radio and the device's own temperature do not count.
    """
    aside = {radio.BATTERY.name, radio.BATTERY_SHARE.name, radio.SIGNAL.name, radio.SNR.name, "temperature_c"}
    judged = {use.quantity.name for use in kind.detectors if use.quantity} - aside
    return kind.quantity(judged.pop()) if len(judged) == 1 else None


def stranger(name: str, quantity: Quantity) -> str:
    """The dimension that a column's prefix names, where that is not `quantity`'s: F_p227 is a flow; else empty."""
    prefix = re.match(r"([A-Za-z]+)[_\-]", name)
    said = _PREFIXES.get(prefix[1].lower(), "") if prefix else ""
    own = UNITS[quantity.unit].dimension if quantity.unit in UNITS else ""
    return said if said and said != own else ""


def unit_named(name: str, quantity: Quantity) -> str:
    """The unit a person means by `name` for `quantity`: metres of pressure are metres of water. SpecError for none.

    >>> from devices.kinds.water_pressure import PRESSURE
    >>> unit_named("m", PRESSURE)
    'mH2O'
    """
    folded = {unit.lower(): unit for unit in UNITS}
    unit = folded.get(name.lower(), name) if name not in UNITS else name
    if quantity.unit in UNITS and UNITS[quantity.unit].dimension == "pressure":
        unit = _ALIASES.get(name.lower(), unit)
    convert(1.0, unit, quantity.unit)
    return unit


def guess(values: Float64, quantity: Quantity) -> Guess | None:
    """The unit that nearly all `values` (n,) fit, where most do not fit the quantity's own; None to leave it.

    Not "nearly none": heads of 28 to 57 m reach into what would be plausible as kPa.
    """
    seen = values[np.isfinite(values)]
    if not len(seen) or _share(seen, quantity, quantity.unit) >= _DOUBTFUL:
        return None
    dimension = UNITS[quantity.unit].dimension
    known = [unit for unit in UNITS if UNITS[unit].dimension == dimension and unit != quantity.unit]
    fits = [unit for unit in known if _share(seen, quantity, unit) >= _FITS]
    fits.sort(key=lambda unit: _PREFERRED.index(unit) if unit in _PREFERRED else len(_PREFERRED))
    return Guess(fits[0], tuple(fits[1:])) if fits else None


def converted(values: Float64, unit: str, quantity: Quantity) -> Float64:
    """`values` (n,) in `unit` as the quantity's; `unit` empty for the quantity's own."""
    if not unit or unit == quantity.unit:
        return values
    zero, one = convert(0.0, unit, quantity.unit), convert(1.0, unit, quantity.unit)
    with np.errstate(over="ignore"):  # wild values stay wild
        return values * (one - zero) + zero


def _share(values: Float64, quantity: Quantity, unit: str) -> float:
    """How many of `values`, were they in `unit`, would be plausible."""
    low, high = quantity.plausible
    as_ours = converted(values, unit, quantity)
    return float(((as_ours >= low) & (as_ours <= high)).mean())
