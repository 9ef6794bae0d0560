"""M-Bus fixed data structure (CI 73 and 77): two counters of 8 digits with a unit each, as older meters send it.

From: the data of a frame. To: `codec`. pyMeterBus does not read these frames; all they hold is in this table.
"""

from __future__ import annotations

from typing import Final

from devices.codecs.mbus.records import Meaning, Records
from devices.errors import PayloadError

SIZE: Final = 16
STATUS: Final = 5  # index of the status byte in the data
_BINARY: Final = 0x01
_STORED: Final = 0x02
_SAME_BUT_HISTORIC: Final = 0x3E
# First of three consecutive unit codes: times 1, 10 and 100.
_UNITS: Final = (
    (0x02, "energy", "kWh", 1e-3),
    (0x05, "energy", "kWh", 1.0),
    (0x08, "energy", "kWh", 1e3),
    (0x0B, "energy", "MJ", 1e-3),
    (0x0E, "energy", "MJ", 1.0),
    (0x11, "energy", "MJ", 1e3),
    (0x14, "power", "kW", 1e-3),
    (0x17, "power", "kW", 1.0),
    (0x1A, "power", "kW", 1e3),
    (0x1D, "power", "kW", 1 / 3600),
    (0x20, "power", "kW", 1 / 3.6),
    (0x23, "power", "kW", 1e3 / 3.6),
    (0x26, "volume", "m3", 1e-6),
    (0x29, "volume", "m3", 1e-3),
    (0x2C, "volume", "m3", 1.0),
    (0x2F, "flow", "m3/h", 1e-6),
    (0x32, "flow", "m3/h", 1e-3),
    (0x35, "flow", "m3/h", 1.0),
)
MEANINGS: Final = {
    first + step: Meaning(name, unit, scale * 10**step) for first, name, unit, scale in _UNITS for step in range(3)
} | {0x38: Meaning("temperature", "degC", 1e-3), 0x39: Meaning("hca", "")}


def parse(data: bytes, *, offset: int, high_first: bool) -> Records:
    """Both counters of `data`, which stands at `offset` in the payload; PayloadError unless it has 16 bytes."""
    if len(data) != SIZE:
        raise PayloadError(
            f"mbus: expected {SIZE} bytes of fixed data, got {len(data)}; nothing was used", offset=offset
        )
    found = Records()
    status, first, second = data[STATUS], data[6] & 0x3F, data[7] & 0x3F
    stored, historic = bool(status & _STORED), second == _SAME_BUT_HISTORIC
    counters = ((first, data[8:12], stored), (first if historic else second, data[12:16], stored or historic))
    for code, raw, past in counters:
        number = _number(raw, binary=bool(status & _BINARY), high_first=high_first)
        meaning = MEANINGS.get(code)
        if meaning is not None and number is not None:
            found.put(meaning, "_s1" if past else "", number * meaning.scale)
    return found


def _number(raw: bytes, *, binary: bool, high_first: bool) -> float | None:
    """A counter; None where its digits are no digits."""
    ordered = raw if high_first else raw[::-1]
    if binary:
        return float(int.from_bytes(ordered, "big"))
    digits = ordered.hex()
    return float(digits) if digits.isdecimal() else None
