"""The forms of a CJ/T 188 reading, the dialects of their values, and how to tell which one a maker speaks.

From: `codec`, with the data of a reply behind DI and SER. A value is 4 BCD bytes and a unit code. The standard puts
the code last and the low byte first (`value_unit`); one maker puts the code first and gives flow three decimals
(`unit_value`); some firmware sends the high byte first (`big_endian`). A layout fits when a legal code stands at its
place in every value; a wrong layout makes that true only by a rare accident.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from devices.errors import PayloadError

VALUE_UNIT: Final = "value_unit"
UNIT_VALUE: Final = "unit_value"
BIG_ENDIAN: Final = "big_endian"
AUTO: Final = "auto"
LAYOUTS: Final = (AUTO, VALUE_UNIT, UNIT_VALUE, BIG_ENDIAN)

Unit = tuple[str, int]  # symbol, and how many of it one count of the meter's unit is
ENERGY: Final[dict[int, Unit]] = {
    0x01: ("J", 1),
    0x02: ("Wh", 1),
    0x05: ("kWh", 1),
    0x08: ("MWh", 1),
    0x0A: ("MWh", 100),
    0x0B: ("kJ", 1),
    0x0E: ("MJ", 1),
    0x11: ("GJ", 1),
    0x13: ("GJ", 100),
}
POWER: Final[dict[int, Unit]] = {0x14: ("W", 1), 0x17: ("kW", 1), 0x1A: ("MW", 1)}
FLOW: Final[dict[int, Unit]] = {0x32: ("L/h", 1), 0x35: ("m3/h", 1)}
VOLUME: Final[dict[int, Unit]] = {0x29: ("L", 1), 0x2C: ("m3", 1)}
_EMPTY: Final = (0x00, 0xFF)  # a whole value of these bytes, code included: the meter does not measure it
_BLANK, _ILLEGAL = 0x00, 0xEE
_CENTURIES: Final = (0x00, 0x20)
_HOTTEST: Final = 0x01  # hundreds of degrees; heat meters end at 180


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A value with a unit code: its name, legal codes, decimals."""

    name: str
    codes: dict[int, Unit]
    decimals: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The data of one kind of reply: its length, values with codes, plain values (name, bytes, decimals, unit).

    Behind them 7 bytes of clock, and the rest is status.
    """

    size: int
    values: tuple[Value, ...]
    plain: tuple[tuple[str, int, int, str], ...] = ()

    @property
    def span(self) -> int:
        """Bytes of all values with codes."""
        return 5 * len(self.values)

    @property
    def clock_at(self) -> int:
        """Index of the clock."""
        return self.span + sum(size for _, size, _, _ in self.plain)


HEAT: Final = Form(
    43,
    (
        Value("settlement_energy", ENERGY),
        Value("energy", ENERGY),
        Value("power", POWER),
        Value("flow", FLOW, 4),
        Value("volume", VOLUME),
    ),
    (("supply_temperature", 3, 2, "degC"), ("return_temperature", 3, 2, "degC"), ("hours", 3, 0, "h")),
)
WATER: Final = Form(19, (Value("volume", VOLUME), Value("settlement_volume", VOLUME)))
# As one maker's meters send it under control A1: with flow, and four bytes behind the clock of unknown meaning.
WATER_FLOW: Final = Form(26, (*WATER.values, Value("flow", FLOW, 4)))


class Read(NamedTuple):
    """Values by name, their units, the names whose digits are none, and whether the high byte came first."""

    values: dict[str, float]
    units: dict[str, str]
    absent: tuple[str, ...]
    high_first: bool


class _Plan(NamedTuple):
    """Where the digits stand in the data's hex text: name, start, end, divisor, factor; units by name.

    `swapped`: the same unit codes with the other byte order, for `auto` only.
    """

    fields: tuple[tuple[str, int, int, int, int], ...]
    units: dict[str, str]
    high_first: bool
    swapped: _Plan | None


def read(form: Form, data: bytes, layout: str, offset: int) -> Read:
    """The values in `data` of `form` (behind DI and SER), by `layout` or by the one layout that fits.

    PayloadError with `offset`, the place of `data`, when no layout fits, or two do and their values differ.
    """
    plans = _plans(form, layout, data[4 : form.span : 5], data[0 : form.span : 5], lenient=False)
    if not plans:
        behind, before = _blanked(form, data, 4), _blanked(form, data, 0)
        plans = _plans(form, layout, behind, before, lenient=True)
    if not plans:
        raise _no_layout(form, data, layout, offset)
    found = _values(_ordered(form, data, plans[0], offset), data)
    if len(plans) == 2 and found[:2] != _values(_ordered(form, data, plans[1], offset), data)[:2]:
        raise PayloadError(
            "cjt188: expected unit codes at one place, got legal ones behind and before the values; set the meter's "
            "`layout`; nothing was used",
            offset=offset,
        )
    return found


def _plans(form: Form, layout: str, behind: bytes, before: bytes, *, lenient: bool) -> list[_Plan]:
    """The plans that `layout` allows and these unit codes fit, the standard's first."""
    found = []
    if layout != UNIT_VALUE and (plan := _plan(form, behind, layout, code_first=False, lenient=lenient)):
        found.append(plan)
    if layout != VALUE_UNIT and (plan := _plan(form, before, layout, code_first=True, lenient=lenient)):
        found.append(plan)
    return found


def _blanked(form: Form, data: bytes, place: int) -> bytes:
    """The unit code of each value, 00 for one that is empty as a whole: 00 or FF in all its five bytes."""
    codes = bytearray(data[place : form.span : 5])
    for index, code in enumerate(codes):
        if code in _EMPTY:
            empty = data[5 * index : 5 * index + 5].count(code) == 5
            codes[index] = _BLANK if empty else _ILLEGAL
    return bytes(codes)


@lru_cache(maxsize=512)
def _plan(form: Form, codes: bytes, layout: str, *, code_first: bool, lenient: bool) -> _Plan | None:
    """How to read `form` with these unit codes; None when one is not legal where it stands.

    `lenient`: a blank code stands for an empty value, as long as another value has a code.
    """
    found = [value.codes.get(code) for value, code in zip(form.values, codes, strict=True)]
    blank = [lenient and code == _BLANK for code in codes]
    if all(blank) or any(unit is None and not empty for unit, empty in zip(found, blank, strict=True)):
        return None
    plan = _laid_out(form, found, code_first=code_first, high_first=layout == BIG_ENDIAN)
    if layout != AUTO:
        return plan
    return plan._replace(swapped=_laid_out(form, found, code_first=code_first, high_first=True))


def _laid_out(form: Form, codes: list[Unit | None], *, code_first: bool, high_first: bool) -> _Plan:
    fields, units = [], {}
    for index, (value, code) in enumerate(zip(form.values, codes, strict=True)):
        symbol, factor = code or ("", 1)
        decimals = 3 if code_first and not high_first and value.name == "flow" else value.decimals
        at = 5 * index + code_first
        end = at + 4 if code else at  # no digits at all in an empty value
        fields.append((value.name, *_place(form, at, end, high_first=high_first), 10**decimals, factor))
        units[value.name] = symbol
    at = form.span
    for name, size, decimals, symbol in form.plain:
        fields.append((name, *_place(form, at, at + size, high_first=high_first), 10**decimals, 1))
        units[name] = symbol
        at += size
    return _Plan(tuple(fields), units, high_first, None)


def _place(form: Form, start: int, end: int, *, high_first: bool) -> tuple[int, int]:
    """Bytes `start` to `end` in the hex text of the data, or of its reverse when the low byte comes first."""
    if high_first:
        return 2 * start, 2 * end
    return 2 * (form.size - end), 2 * (form.size - start)


def _ordered(form: Form, data: bytes, plan: _Plan, offset: int) -> _Plan:
    """`plan`, or the same with the high byte first where temperatures and clock of a heat meter say so."""
    swapped = plan.swapped
    if swapped is None or form is not HEAT:
        return plan
    supply, back, clock = data[25:28], data[28:31], data[34:41]
    low_warm = supply[2] <= _HOTTEST >= back[2]
    if low_warm and clock[6] in _CENTURIES:
        return plan
    if not (supply[0] <= _HOTTEST >= back[0] and clock[0] in _CENTURIES):
        return plan
    if low_warm and _values(plan, data)[:2] != _values(swapped, data)[:2]:
        raise PayloadError(
            "cjt188: expected one byte order, got temperatures that fit both and a clock with the high byte first; "
            "set the meter's `layout`; nothing was used",
            offset=offset,
        )
    return swapped


def _values(plan: _Plan, data: bytes) -> Read:
    digits = (data if plan.high_first else data[::-1]).hex()
    values: dict[str, float] = {}
    absent: list[str] = []
    for name, start, end, divisor, factor in plan.fields:
        text = digits[start:end]
        if text.isdecimal():
            values[name] = int(text) * factor / divisor
        else:
            absent.append(name)
    units = plan.units
    if absent:
        units = {name: symbol for name, symbol in units.items() if name in values}
    return Read(values, units, tuple(absent), plan.high_first)


def _no_layout(form: Form, data: bytes, layout: str, offset: int) -> PayloadError:
    names = ", ".join(value.name for value in form.values)
    behind, before = data[4 : form.span : 5].hex(" ").upper(), data[0 : form.span : 5].hex(" ").upper()
    return PayloadError(
        f"cjt188: layout {layout}: expected unit codes of {names}, got {behind} behind the values and {before} before "
        "them; nothing was used",
        offset=offset,
    )
