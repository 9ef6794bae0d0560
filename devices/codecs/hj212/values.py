"""The values in a packet's CP: `DataTime=20210412154500;w01018-Rtd=235.29,w01018-Flag=N;w21003-Rtd=34.41,...`.

From: CP's content. To: one `Readings` per DataTime. A logger sends the same names every time, so a content is cut at
its marks and its names looked up as one (`_Shape`); only a content of new names, or one with anything unusual in it,
is read item by item. Both ways give the same.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from operator import itemgetter
from typing import Any, Final, NamedTuple

from devices.codecs import NUMBER_MAX
from devices.codecs.hj212.factors import unit_of
from devices.codecs.hj212.header import refusal
from devices.codecs.hj212.moments import beijing_us
from devices.readings import Quality

# Stopped, fault, over range, no communication, and of 2005 no power: no measurement. In maintenance, calibration, or
# set by hand: not the water's value. Neither ever alarms. H and L of 2005 and letters we do not know may be true.
FLAGS: Final = {
    "N": Quality.GOOD,
    "": Quality.GOOD,
    "M": Quality.MAINTENANCE,
    "C": Quality.MAINTENANCE,
    "S": Quality.MAINTENANCE,
    "D": Quality.BAD,
    "B": Quality.BAD,
    "T": Quality.BAD,
    "F": Quality.BAD,
    "P": Quality.BAD,
}
_SECONDS: Final = 14  # digits of yyyyMMddHHmmss
_GOOD: Final = b"N"
_DATA_TIME: Final = b"DataTime"
_FLAG: Final = b"Flag"
_TEXTS: Final = frozenset({"EFlag", "SampleTime", "Info", "SN"})  # sub-fields that are no measurement
_NUMBERS: Final = frozenset({"Rtd", "Avg", "Min", "Max", "Cou", "ZsRtd", "ZsAvg", "ZsMin", "ZsMax", "RS", "RT"})
_NAME: Final = re.compile(rb"([A-Za-z0-9_.]{1,32})-([A-Za-z0-9_]{1,16})")
_NUMBER: Final = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOTHING: Final = frozenset(
    {b"", b"-", b"--", b"---", b"nan", b"null", b"none", b"n/a"}
)  # an instrument with no value
_AS_SEPARATOR: Final = bytes.maketrans(b"=,", b";;")
_BUT_MARKS: Final = bytes(set(range(256)) - set(b"=,;"))
_SHAPES_MAX: Final = 1000  # a city's loggers are of far fewer makes
_SHAPE_PARTS: Final = 400


class Kind(StrEnum):
    """What a sub-field's name says of its value."""

    TIME = "time"
    FLAG = "flag"
    NUMBER = "number"  # must be one
    PERHAPS = "perhaps"  # a name we do not know: a reading if it is a number
    TEXT = "text"


class Key(NamedTuple):
    """A sub-field's name, understood. `name`: of the value, such as w01018-Rtd. `factor`: what a flag belongs to."""

    kind: Kind
    name: str
    factor: str
    unit: str


@dataclass(slots=True)
class Readings:
    """The values of one DataTime. `time_us`: None without one. `letters`: factor -> data flag."""

    time_us: int | None
    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)

    def flags(self) -> dict[str, Quality] | None:
        """Each flagged value with what its letter means; the flag without a factor is for values without their own."""
        everyone = self.letters.get("", "")
        found: dict[str, Quality] = {}
        for name in self.values:
            quality = FLAGS.get(self.letters.get(name.partition("-")[0], everyone), Quality.SUSPECT)
            if quality is not Quality.GOOD:
                found[name] = quality
        return found or None

    def words(self) -> dict[str, str] | None:
        """The letters other than N, by the names they have on the wire."""
        found = {
            f"{factor}-Flag" if factor else "Flag": x for factor, x in self.letters.items() if x not in ("", "N")
        }
        return found or None


class _Shape(NamedTuple):
    """What the names of a content say: where in it time, numbers and flags stand."""

    marks: bytes
    time: int
    numbers: Any  # itemgetter
    names: tuple[str, ...]
    units: dict[str, str]
    flags: Any
    good: list[bytes]


_keys: dict[bytes, Key] = {}
_shapes: dict[tuple[bytes, ...], _Shape] = {}


def read_values(cp: bytes, offset: int, *, strict: bool = False) -> list[Readings]:
    """The readings in `cp`, which stands at `offset`, one for each DataTime; PayloadError with the byte at fault.

    `units` may be shared between calls: nobody changes them.
    """
    if strict:  # what is tolerated must not hide behind what was learnt
        return _each(cp, offset, strict=True)
    parts = cp.translate(_AS_SEPARATOR).split(b";")
    names = (*parts[::2],)
    shape = _shapes.get(names)
    if shape is not None:
        usual = _usual(cp, parts, shape)
        if usual is not None:
            return [usual]
    found = _each(cp, offset, strict=False)
    if shape is None and len(found) == 1 and len(parts) <= _SHAPE_PARTS:
        _learn(cp, names)
    return found


def _usual(cp: bytes, parts: list[bytes], shape: _Shape) -> Readings | None:
    """The readings when everything is as always: right marks, a known time, plain numbers, every flag N."""
    if cp.translate(None, _BUT_MARKS) != shape.marks or b"_" in cp or shape.flags(parts) != shape.good:
        return None
    time_us = beijing_us(parts[shape.time])
    try:
        numbers = [*map(float, shape.numbers(parts))]
    except ValueError:
        return None
    if time_us is None or not isfinite(sum(numbers)) or max(numbers) > NUMBER_MAX or min(numbers) < -NUMBER_MAX:
        return None
    return Readings(time_us, dict(zip(shape.names, numbers, strict=True)), shape.units)


def _learn(cp: bytes, names: tuple[bytes, ...]) -> None:
    """Remember the shape of `cp`, which was read, if it has one time, values, and every name once."""
    marks = cp.translate(None, _BUT_MARKS)
    # Every name must be followed by its value: no item without =, no value with one.
    plain = set(marks[::2]) <= {ord("=")} and ord("=") not in marks[1::2]
    trailing = names[-1] == b""
    bare = [name.strip() for name in (names[:-1] if trailing else names)]
    keys = [_key(name) for name in bare]
    kinds = [key.kind for key in keys]
    numbers = [place for place, kind in enumerate(kinds) if kind in (Kind.NUMBER, Kind.PERHAPS)]
    if not plain or len(set(bare)) < len(bare) or kinds.count(Kind.TIME) != 1 or not numbers:
        return
    values = [keys[place].name for place in numbers]
    flags = [place for place, kind in enumerate(kinds) if kind is Kind.FLAG]
    if len(_shapes) >= _SHAPES_MAX:
        _shapes.clear()
    _shapes[names] = _Shape(
        marks=marks,
        time=2 * kinds.index(Kind.TIME) + 1,
        numbers=_getter(numbers),
        names=tuple(values),
        units={key.name: key.unit for key in keys if key.unit},
        flags=_getter(flags),
        good=[_GOOD] * len(flags),
    )


def _getter(places: list[int]) -> Any:
    """Takes the values of `places` out of the parts of a content, as a list."""
    at = [2 * place + 1 for place in places]
    if len(at) > 1:
        get = itemgetter(*at)
        return lambda parts: [*get(parts)]
    return itemgetter(slice(at[0], at[0] + 1) if at else slice(0, 0))


def _key(name: bytes) -> Key:
    """What `name` says; kept, for there are few."""
    key = _keys.get(name)
    if key is None:
        if len(_keys) >= _SHAPES_MAX:
            _keys.clear()
        key = _keys[name] = _understood(name)
    return key


def _understood(name: bytes) -> Key:
    if name == _DATA_TIME:
        return Key(Kind.TIME, "", "", "")
    if name == _FLAG:
        return Key(Kind.FLAG, "", "", "")
    found = _NAME.fullmatch(name)
    if found is None:
        return Key(Kind.TEXT, "", "", "")
    factor, value = found[1].decode("ascii"), found[2].decode("ascii")
    if value == "Flag":
        return Key(Kind.FLAG, "", factor, "")
    kind = Kind.TEXT if value in _TEXTS else Kind.NUMBER if value in _NUMBERS else Kind.PERHAPS
    return Key(kind, f"{factor}-{value}", factor, unit_of(factor, value))


class _Reader:
    """Reads a content item by item."""

    def __init__(self, *, strict: bool) -> None:
        self._into = Readings(None)
        self.found = [self._into]
        self._times: dict[int, Readings] = {}
        self._again: Counter[tuple[int, str]] = Counter()
        self._strict = strict

    def take(self, name: bytes, value: bytes, offset: int) -> None:
        """One sub-field, whose name stands at `offset`."""
        key = _key(name)
        if key.kind is Kind.TIME:
            self._time(value, offset)
        elif key.kind is Kind.FLAG:
            letter = value.strip().decode("utf-8", "backslashreplace").upper()
            self._into.letters.setdefault(key.factor, letter[:16])
        elif key.kind is not Kind.TEXT:
            self._number(key, value, offset + len(name) + 1)

    def _time(self, value: bytes, offset: int) -> None:
        if not value and not self._strict:
            return
        time_us = beijing_us(value)
        if time_us is None or (self._strict and len(value) != _SECONDS):
            raise refusal("DataTime= with 14 digits, a time from 2000 to 2099", value, offset + len("DataTime="))
        if self._into.time_us is None:
            self._into.time_us = time_us  # what stood before it is of the same moment
            self._times[time_us] = self._into
        elif time_us in self._times:
            self._into = self._times[time_us]
        else:
            self._into = self._times[time_us] = Readings(time_us)
            self.found.append(self._into)

    def _number(self, key: Key, value: bytes, offset: int) -> None:
        text = value if self._strict else value.strip()
        if not _NUMBER.fullmatch(text):
            if key.kind is Kind.NUMBER and (self._strict or text.lower() not in _NOTHING):
                raise refusal(f"{key.name}= with a number", value, offset)
            return
        number = float(text)
        if not -NUMBER_MAX <= number <= NUMBER_MAX:
            raise refusal(f"{key.name}= within {NUMBER_MAX:.0e} of zero", value, offset)
        if key.name not in self._into.values:
            self._into.values[key.name] = number
            if key.unit:
                self._into.units[key.name] = key.unit
            return
        if self._strict:
            raise refusal("each name once", key.name, offset - len(key.name) - 1)
        # A flow and its totaliser under one name are seen in the field: the first is the value, the second has no unit.
        self._again[id(self._into), key.name] += 1
        self._into.values.setdefault(f"{key.name}_{self._again[id(self._into), key.name] + 1}", number)


def _each(cp: bytes, offset: int, *, strict: bool) -> list[Readings]:
    reader, at = _Reader(strict=strict), offset
    for part in cp.replace(b",", b";").split(b";"):
        name, equals, value = part.partition(b"=")
        if equals and not (strict and name != name.strip()):
            reader.take(name.strip(), value, at)
        elif equals or strict or part.strip():
            raise refusal("NAME=VALUE in CP", part, at)
        at += len(part) + 1
    return reader.found
