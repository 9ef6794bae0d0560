"""M-Bus data records (EN 13757-3): DIF, VIF and value, one after another, to named values with plain units.

From: the body of a variable data frame, or the records that a LoRaWAN meter (Elvaco) sends without a frame. To: the
codecs. pyMeterBus takes the records apart; this file names them, brings each name to one unit, and leaves out what a
meter itself marks as no value. Names: `energy`, `volume`, `supply_temperature`, ...; a record of another storage,
tariff, subunit or function than the present one gets a suffix (`_s1`, `_t1`, `_u1`, `_max`, `_min`, `_error`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from devices.codecs import NUMBER_MAX
from devices.codecs.mbus.library import (
    DataEncoding,
    FunctionType,
    MeasureUnit,
    TelegramBody,
    VIFUnit,
    VIFUnitExt,
    VIFUnitSecExt,
)
from devices.errors import PayloadError

BODY_MAX: Final = 1024  # a wired frame carries 240 at most; LoRaWAN 222
_STATE_CHARACTERS: Final = 32
_VARIABLE_DATA: Final = 0x72  # the library reads records only behind a header
_HEADER: Final = bytes([_VARIABLE_DATA]) + bytes(12)
_PER_HOUR: Final = 3600.0


class Meaning(NamedTuple):
    """A name, its unit, and what the library's number is multiplied by to be in that unit."""

    name: str
    unit: str
    scale: float = 1.0


# By the library's own words: what the record measures, and in which unit the library gives it.
_MEANINGS: Final[dict[tuple[object, object], Meaning]] = {
    (VIFUnit.ENERGY_WH, MeasureUnit.WH): Meaning("energy", "kWh", 1e-3),
    (VIFUnit.ENERGY_J, MeasureUnit.J): Meaning("energy", "MJ", 1e-6),
    (VIFUnit.VOLUME, MeasureUnit.M3): Meaning("volume", "m3"),
    (VIFUnit.MASS, MeasureUnit.KG): Meaning("mass", "kg"),
    (VIFUnit.POWER_W, MeasureUnit.W): Meaning("power", "kW", 1e-3),
    (VIFUnit.POWER_J_H, MeasureUnit.J_H): Meaning("power", "kW", 1e-3 / _PER_HOUR),
    (VIFUnit.VOLUME_FLOW, MeasureUnit.M3_H): Meaning("flow", "m3/h"),
    (VIFUnit.VOLUME_FLOW_EXT, MeasureUnit.M3_MIN): Meaning("flow", "m3/h", 60.0),
    (VIFUnit.VOLUME_FLOW_EXT_S, MeasureUnit.M3_S): Meaning("flow", "m3/h", _PER_HOUR),
    (VIFUnit.MASS_FLOW, MeasureUnit.KG_H): Meaning("mass_flow", "kg/h"),
    (VIFUnit.FLOW_TEMPERATURE, MeasureUnit.C): Meaning("supply_temperature", "degC"),
    (VIFUnit.RETURN_TEMPERATURE, MeasureUnit.C): Meaning("return_temperature", "degC"),
    (VIFUnit.TEMPERATURE_DIFFERENCE, MeasureUnit.K): Meaning("temperature_difference", "K"),
    (VIFUnit.EXTERNAL_TEMPERATURE, MeasureUnit.C): Meaning("external_temperature", "degC"),
    (VIFUnit.PRESSURE, MeasureUnit.BAR): Meaning("pressure", "bar"),
    (VIFUnit.UNITS_FOR_HCA, MeasureUnit.HCA): Meaning("hca", ""),
    (VIFUnitExt.ERROR_FLAGS, MeasureUnit.NONE): Meaning("error_flags", ""),
    (VIFUnitExt.DIGITAL_INPUT, MeasureUnit.NONE): Meaning("digital_input", ""),
    (VIFUnitExt.DIGITAL_OUTPUT, MeasureUnit.NONE): Meaning("digital_output", ""),
    (VIFUnitExt.DIMENSIONLESS, MeasureUnit.NONE): Meaning("number", ""),
    (VIFUnitExt.VOLTS, MeasureUnit.V): Meaning("voltage", "V"),
    (VIFUnitExt.AMPERE, MeasureUnit.A): Meaning("current", "A"),
    (VIFUnitExt.RSSI, MeasureUnit.DBM): Meaning("rssi", "dBm"),
    (VIFUnitSecExt.RELATIVE_HUMIDITY, MeasureUnit.PERCENT): Meaning("humidity", "%"),
    ("Energy", MeasureUnit.WH): Meaning("energy", "kWh", 1e-3),
    ("Energy", "Reserved"): Meaning("energy", "MJ", 1e-6),  # 0.1 and 1 GJ; the library lacks the unit
    ("Volume", MeasureUnit.M3): Meaning("volume", "m3"),
    ("Mass", MeasureUnit.KG): Meaning("mass", "kg"),
    ("Power", MeasureUnit.W): Meaning("power", "kW", 1e-3),
    ("Power", MeasureUnit.J): Meaning("power", "kW", 1e-3 / _PER_HOUR),
    ("Flow temperature", "degF"): Meaning("supply_temperature", "degF"),
    ("Return temperature", "degF"): Meaning("return_temperature", "degF"),
    ("External temperature", "degF"): Meaning("external_temperature", "degF"),
}
# Durations: hours, or days where the meter counts days. VIF bits: 10 hours, 11 days, below: finer.
_DURATIONS: Final = {VIFUnit.ON_TIME: "on_", VIFUnit.OPERATING_TIME: ""}
_FUNCTIONS: Final = {
    FunctionType.MAXIMUM_VALUE: "_max",
    FunctionType.MINIMUM_VALUE: "_min",
    FunctionType.ERROR_STATE_VALUE: "_error",
}
_NUMBERS: Final = {VIFUnit.FABRICATION_NO: "fabrication_number", VIFUnit.IDENTIFICATION: "identification"}
_POSITIVE: Final = 0x3B  # sums of positive contributions only: what a heat meter's register is
_NEGATIVE: Final = 0x3C
_RECORD_ERRORS: Final = range(0x01, 0x20)  # the meter's word that this record holds no value
_TYPE_F: Final = 4  # bytes: minute to year
_TYPE_I: Final = 6  # bytes: second to year


@dataclass(slots=True)
class Records:
    """Named values of one frame, with their units; words and numbers of identity in `states`.

    `moment`: the meter's own clock, without a zone, None if it sends none. `more`: the meter has further frames.
    """

    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    moment: datetime | None = None
    more: bool = False

    def put(self, meaning: Meaning, suffix: str, number: float) -> None:
        """Add `number`, already in the unit of `meaning`; one that no meter can mean is left out."""
        # Factors such as 0.1 are not exact in binary: 12 digits are more than any record carries.
        value = float(f"{number:.12g}")
        if abs(value) <= NUMBER_MAX:
            name = _free(self.values, meaning.name + suffix)
            self.values[name] = value
            self.units[name] = meaning.unit

    def say(self, name: str, text: str) -> None:
        """Add a word or a number of identity, cut to a length for a list."""
        self.states[_free(self.states, name)] = text[:_STATE_CHARACTERS]


def read_records(body: bytes, *, offset: int = 0) -> tuple[dict[str, float], dict[str, str]]:
    """Values and units by name of bare records, such as an Elvaco meter's LoRaWAN payload behind its first byte.

    `offset`: place of `body` in the payload, for the error. PayloadError when the records do not fit the bytes.

    >>> read_records(bytes.fromhex("04068fa10100" "025a1003"))
    ({'energy': 106895.0, 'supply_temperature': 78.4}, {'energy': 'kWh', 'supply_temperature': 'degC'})
    """
    found = parse(body, offset=offset)
    return found.values, found.units


def parse(body: bytes, *, offset: int = 0, high_first: bool = False) -> Records:
    """All that `body` says; `high_first`: multi-byte values come high byte first (CI 76).

    PayloadError with the offset of the records when they do not fit the bytes.
    """
    if len(body) > BODY_MAX:
        raise PayloadError(
            f"mbus: expected at most {BODY_MAX} bytes of records, got {len(body)}; nothing was used"
        )
    found = Records()
    try:
        telegram = TelegramBody()
        telegram.load([_VARIABLE_DATA | 0x04 * high_first, *_HEADER[1:], *body])
        for place, record in enumerate(telegram.bodyPayload.records, 1):
            _take(found, record, place, offset)
    except PayloadError:
        raise
    except Exception as error:  # noqa: BLE001  the library raises whatever its indexing meets
        reason = f"records that end early or contradict themselves ({type(error).__name__})"
        raise PayloadError(
            f"mbus: expected whole records, got {reason}; nothing was used", offset=offset
        ) from None
    return found


def _take(found: Records, record: Any, place: int, offset: int) -> None:
    """Add one record to `found`, or pass it over where the meter or the standard says it has no number."""
    dib, data = record.dib, record.dataField.parts
    if dib.is_eoud:
        found.more |= dib.more_records_follow
        return
    length, encoding = dib.length_encoding
    if encoding is not DataEncoding.ENCODING_VARIABLE_LENGTH and length != len(data):
        raise PayloadError(
            f"mbus: record {place}: expected {length} bytes of data, got fewer; nothing was used", offset=offset
        )
    try:
        factor, unit, what, _ = record._parse_vifx()  # noqa: SLF001  `interpreted` rounds units away
    except (KeyError, IndexError):
        found.states["unread"] = f"record {place}: its VIF is reserved"
        return
    suffix, factor = _qualified(record, factor)
    if suffix is None or not data:
        return
    if unit in (MeasureUnit.DATE, MeasureUnit.DATE_TIME):
        _clock(found, data, unit, suffix)
    elif what in _NUMBERS:
        found.say(_NUMBERS[what] + suffix, _digits(data, encoding))
    elif (meaning := _meaning(record, what, unit)) is not None:
        number = _number(data, encoding, what)
        if number is not None:
            found.put(meaning, suffix, number * factor * meaning.scale)


def _qualified(record: Any, factor: float) -> tuple[str | None, float]:
    """The suffix of the record's name and its factor; None when an extension says that there is no value."""
    storage, tariff, subunit = record.dib.parse_dife()
    suffix = _FUNCTIONS.get(record.dib.function_type, "")
    for letter, number in (("s", storage), ("t", tariff), ("u", subunit)):
        if number:
            suffix += f"_{letter}{number}"
    extensions = record.vib.parts[1:]
    if record.vib.parts[:1] in ([0xFB], [0xFD]):
        extensions = extensions[1:]
    for extension in extensions:
        code = extension & 0x7F
        if code in _RECORD_ERRORS:
            return None, factor
        if 0x70 <= code <= 0x77:
            factor *= 10.0 ** ((code & 7) - 6)
        elif code == 0x7D:
            factor *= 1000.0
        elif code == _NEGATIVE:
            suffix += "_negative"
        elif code not in (0, _POSITIVE):
            suffix += f"_x{code:02x}"
    return suffix, factor


def _meaning(record: Any, what: object, unit: object) -> Meaning | None:
    if what in _DURATIONS:
        days = record.vib.parts[0] & 3 == 3
        prefix = _DURATIONS[what]
        return Meaning(f"{prefix}days", "d", 1 / 86400) if days else Meaning(f"{prefix}hours", "h", 1 / _PER_HOUR)
    return _MEANINGS.get((what, unit))


def _number(data: Sequence[int], encoding: DataEncoding, what: object) -> float | None:
    """The raw number; None where digits are no digits, or where the value is the one that stands for none."""
    raw = bytes(data)
    if encoding is DataEncoding.ENCODING_BCD:
        return _decimal(raw)
    if encoding is DataEncoding.ENCODING_REAL:
        return _real(raw)
    if encoding is not DataEncoding.ENCODING_INTEGER:
        return None
    if what in (VIFUnitExt.ERROR_FLAGS, VIFUnitExt.DIGITAL_INPUT, VIFUnitExt.DIGITAL_OUTPUT):
        return float(int.from_bytes(raw, "little"))  # bits, which have no sign
    number = int.from_bytes(raw, "little", signed=True)
    none = -(1 << (8 * len(raw) - 1))  # EN 13757-3 type B: the lowest number stands for "no value"
    return None if number == none else float(number)


def _decimal(raw: bytes) -> float | None:
    digits = raw[::-1].hex()
    negative = digits[0] == "f"
    if negative:
        digits = "0" + digits[1:]
    return (-1.0 if negative else 1.0) * int(digits) if digits.isdecimal() else None


def _real(raw: bytes) -> float | None:
    (number,) = struct.unpack("<f", raw)
    return float(number) if math.isfinite(number) else None


def _digits(data: Sequence[int], encoding: DataEncoding) -> str:
    """A number of identity; of a full secondary address (8 bytes) the meter's number, its first four."""
    if encoding is DataEncoding.ENCODING_INTEGER and len(data) != 8:
        return str(int.from_bytes(bytes(data), "little"))
    return bytes(data[:4] if len(data) == 8 else data)[::-1].hex().upper()


def _clock(found: Records, data: Sequence[int], unit: object, suffix: str) -> None:
    """Take the meter's clock; other moments (a due date, the time of a maximum) go into the words."""
    if unit is MeasureUnit.DATE:
        if (day := _day(data)) is not None:
            found.say("date" + suffix, day.date().isoformat())
    elif (moment := _moment(data)) is not None:
        if suffix or found.moment is not None:
            found.say("time_point" + suffix, moment.isoformat())
        else:
            found.moment = moment


def _moment(data: Sequence[int]) -> datetime | None:
    """Type F (4 bytes) or I (6 bytes); None when the meter marks it invalid or no such moment exists."""
    if len(data) == _TYPE_F:
        second, (minute, hour, day, month) = 0, data
        invalid = minute & 0x80
    elif len(data) == _TYPE_I:
        second, minute, hour, day, month, _ = data
        invalid = minute & 0x80
    else:
        return None
    date = _day((day, month))
    if invalid or date is None:
        return None
    try:
        return date.replace(hour=hour & 0x1F, minute=minute & 0x3F, second=second & 0x3F)
    except ValueError:
        return None


def _day(data: Sequence[int]) -> datetime | None:
    """Type G, 2 bytes: day, month, and seven bits of year of which 0 to 80 are of this century."""
    if len(data) != 2:
        return None
    year = (data[1] & 0xF0) >> 1 | data[0] >> 5
    try:
        return datetime(2000 + year if year <= 80 else 1900 + year, data[1] & 0x0F, data[0] & 0x1F)  # noqa: DTZ001
    except ValueError:
        return None


def _free(taken: dict[str, Any], name: str) -> str:
    """`name`, or with `_2`, `_3`, ... where the frame has said it before."""
    if name not in taken:
        return name
    count = 2
    while f"{name}_{count}" in taken:
        count += 1
    return f"{name}_{count}"
