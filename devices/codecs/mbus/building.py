"""Builds M-Bus answers of a heat meter, for the simulator: RSP_UD with variable data, and nothing else.

From: samples. To: bytes that `codec` reads back. No request and no command can be built here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from devices.beijing import EPOCH, beijing
from devices.codecs.mbus.frames import LONG, STOP
from devices.errors import PayloadError, SpecError
from devices.readings import Sample
from devices.units import convert

_ANSWER: Final = 0x08
_VARIABLE: Final = 0x72
_MAKER: Final = (21 << 10 | 3 << 5 | 25).to_bytes(2, "little")  # "UCY", our own: no maker's letters
_HEAT: Final = 0x04


class Slot(NamedTuple):
    """A record that can be written: DIF and VIF, size of the integer, and units of `unit` per count."""

    code: bytes
    size: int
    unit: str
    step: float


SLOTS: Final = {
    "energy": Slot(b"\x06\x03", 6, "kWh", 1e-3),
    "volume": Slot(b"\x04\x13", 4, "m3", 1e-3),
    "power": Slot(b"\x04\x2b", 4, "kW", 1e-3),
    "flow": Slot(b"\x04\x3b", 4, "m3/h", 1e-3),
    "supply_temperature": Slot(b"\x02\x59", 2, "degC", 1e-2),
    "return_temperature": Slot(b"\x02\x5d", 2, "degC", 1e-2),
    "temperature_difference": Slot(b"\x02\x61", 2, "K", 1e-2),
}
FIELDS: Final[Mapping[str, str]] = {name: slot.unit for name, slot in SLOTS.items()}


def answer(sample: Sample, device: str) -> bytes:
    """One frame of the meter `device` (up to 8 digits); PayloadError when it cannot carry the sample."""
    if not (device.isascii() and device.isdecimal() and len(device) <= 8):
        raise PayloadError(
            f"mbus: expected an identification of up to 8 digits, got {device!a:.80}; nothing was built"
        )
    body = build_records(sample.values, sample.units or {}) + _clock(sample.time_us)
    identity = bytes.fromhex(device.zfill(8))[::-1]
    data = bytes((_ANSWER, 0, _VARIABLE)) + identity + _MAKER + bytes((1, _HEAT, 0, 0, 0, 0)) + body
    return bytes((LONG, len(data), len(data), LONG)) + data + bytes((sum(data) & 0xFF, STOP))


def build_records(values: Mapping[str, float], units: Mapping[str, str] = FIELDS) -> bytes:
    """Records without a frame around them; PayloadError for a name or number that they cannot carry."""
    return b"".join(_record(name, value, units.get(name, "")) for name, value in values.items())


def _record(name: str, value: float, unit: str) -> bytes:
    slot = SLOTS.get(name)
    if slot is None:
        raise PayloadError(f"mbus: expected names among {', '.join(SLOTS)}, got {name!a:.80}; nothing was built")
    try:
        value = convert(value, unit or slot.unit, slot.unit)
    except SpecError as error:
        raise PayloadError(f"mbus: {name}: {error}") from None
    limit = (1 << (8 * slot.size - 1)) * slot.step  # the lowest integer stands for "no value"
    if not (math.isfinite(value) and abs(value) < limit - slot.step):
        raise PayloadError(
            f"mbus: {name}: expected a number within {limit:g} {slot.unit}, got {value:g}; nothing was built"
        )
    return slot.code + round(value / slot.step).to_bytes(slot.size, "little", signed=True)


def _clock(time_us: int) -> bytes:
    """Date and time with seconds (type I), by Beijing time."""
    try:
        moment = beijing(time_us)
    except OverflowError:
        moment = EPOCH
    if not 2000 <= moment.year <= 2080:
        raise PayloadError(f"mbus: expected a time from 2000 to 2080, got {time_us} us; nothing was built")
    year = moment.year - 2000
    day = moment.day | (year & 0x07) << 5
    month = moment.month | (year & 0x78) << 1
    return bytes((0x06, 0x6D, moment.second, moment.minute, moment.hour, day, month, 0))
