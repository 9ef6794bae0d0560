"""Builds CJ/T 188 readings for the simulator: control 81 with data 901F, and nothing else.

From: samples. To: bytes that `codec` reads back. Neither a request nor a write nor a valve command can be built here:
the control code is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from devices.codecs.cjt188.clock import clock_bytes
from devices.codecs.cjt188.frames import READING, START, STOP
from devices.codecs.cjt188.layouts import BIG_ENDIAN, HEAT, UNIT_VALUE, WATER, Form
from devices.errors import PayloadError, SpecError
from devices.readings import Sample
from devices.units import convert

_HEAT_METER: Final = 0x20
_WATER_METER: Final = 0x10
# Finest first: a value goes out in the first unit whose eight digits hold it.
_CODES: Final = {
    "energy": ((0x05, 1), (0x08, 1000), (0x0A, 100_000)),
    "settlement_energy": ((0x05, 1), (0x08, 1000), (0x0A, 100_000)),
    "power": ((0x17, 1), (0x1A, 1000)),
    "flow": ((0x35, 1),),
    "volume": ((0x2C, 1),),
    "settlement_volume": ((0x2C, 1),),
}
FIELDS: Final[Mapping[str, str]] = {
    "energy": "kWh",
    "settlement_energy": "kWh",
    "power": "kW",
    "flow": "m3/h",
    "volume": "m3",
    "supply_temperature": "degC",
    "return_temperature": "degC",
    "hours": "h",
    "valve": "",
    "battery_low": "",
}
_UNITS: Final = {**FIELDS, "settlement_volume": "m3"}
_STATUS: Final = ("valve", "battery_low")
_DIGITS: Final = 8


def reading(sample: Sample, device: str, layout: str) -> bytes:
    """One reply of the meter `device` (its address, up to 14 hex digits) in `layout`, `auto` as the standard's.

    What the sample lacks goes out as digits that are none. PayloadError when the form cannot carry it.
    """
    known = {value.name for value in WATER.values}
    form = WATER if sample.values and not set(sample.values) - known - {*_STATUS} else HEAT
    names = {value.name for value in form.values} | {name for name, *_ in form.plain} | {*_STATUS}
    for name in sample.values:
        if name not in names:
            raise _refused(f"expected values among {', '.join(sorted(names))}, got {name!a:.80}")
    if not names.difference(_STATUS).intersection(sample.values):
        raise _refused("expected a measured value, got valve and battery alone")
    high_first = layout == BIG_ENDIAN
    clock = clock_bytes(sample.time_us, high_first=high_first)
    if clock is None:
        raise _refused(f"expected a time from 2000 to 2099, got {sample.time_us} us")
    body = b"".join(
        (
            b"\x90\x1f\x00",
            *(_value(form, index, sample, layout) for index in range(len(form.values))),
            *(_plain(name, size, decimals, sample, high_first) for name, size, decimals, _ in form.plain),
            clock,
            _status(sample),
        )
    )
    kind = _HEAT_METER if form is HEAT else _WATER_METER
    frame = bytes((START, kind)) + _address(device) + bytes((READING, len(body))) + body
    return b"\xfe\xfe" + frame + bytes((sum(frame) & 0xFF, STOP))


def _refused(reason: str) -> PayloadError:
    return PayloadError(f"cjt188: {reason}; nothing was built")


def _address(device: str) -> bytes:
    try:
        address = bytes.fromhex(device.zfill(14))
    except ValueError:
        address = b""
    if len(address) != 7 or not device.isalnum():
        raise _refused(f"expected an address of up to 14 hex digits, got {device!a:.80}")
    return address[::-1]


def _number(sample: Sample, name: str) -> float | None:
    """The value in the unit of `FIELDS`; None where the sample has none."""
    value = sample.values.get(name)
    if value is None:
        return None
    unit = _UNITS[name]
    try:
        value = convert(value, (sample.units or {}).get(name, unit), unit)
    except SpecError as error:
        raise PayloadError(f"cjt188: {name}: {error}") from None
    if not (math.isfinite(value) and value >= 0):
        raise _refused(f"{name}: expected a number from 0, got {value:g}")
    return value


def _value(form: Form, index: int, sample: Sample, layout: str) -> bytes:
    value = form.values[index]
    decimals = 3 if layout == UNIT_VALUE and value.name == "flow" else value.decimals
    number = _number(sample, value.name)
    if number is None:
        raw, code = b"\xff" * 4, _CODES[value.name][0][0]
    else:
        raw, code = _fitted(value.name, number, decimals)
    if layout == BIG_ENDIAN:
        return raw + bytes((code,))
    return bytes((code,)) + raw[::-1] if layout == UNIT_VALUE else raw[::-1] + bytes((code,))


def _fitted(name: str, number: float, decimals: int) -> tuple[bytes, int]:
    """Four bytes of digits, high byte first, and the unit code that they are in."""
    for code, factor in _CODES[name]:
        count = round(number / factor * 10**decimals)
        if count < 10**_DIGITS:
            return bytes.fromhex(f"{count:08d}"), code
    raise _refused(f"{name}: expected a number of eight digits, got {number:g}")


def _plain(name: str, size: int, decimals: int, sample: Sample, high_first: bool) -> bytes:  # noqa: FBT001
    number = _number(sample, name)
    if number is None:
        return b"\xff" * size
    count = round(number * 10**decimals)
    if count >= 100**size:
        raise _refused(f"{name}: expected a number of {2 * size} digits, got {number:g}")
    raw = bytes.fromhex(f"{count:0{2 * size}d}")
    return raw if high_first else raw[::-1]


def _status(sample: Sample) -> bytes:
    """Two bytes; FF where the sample says nothing of valve and battery."""
    valve, battery = (sample.values.get(name) for name in _STATUS)
    if valve is None and battery is None:
        return b"\xff\x00"
    if valve not in (None, 0, 1, 3) or battery not in (None, 0, 1):
        raise _refused(f"expected valve 0, 1 or 3 and battery_low 0 or 1, got {valve} and {battery}")
    return bytes((int(valve or 0) | 4 * int(battery or 0), 0))
