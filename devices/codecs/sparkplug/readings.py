"""Metrics to samples: numbers by their datatype, one sample per instant.

From: metrics with what their birth says of them. To: the codec. What cannot be a number here (not finite, beyond 1e15,
a value that contradicts its datatype) is named in the state `unusable` and leaves the others alone.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from devices.codecs import NUMBER_MAX
from devices.codecs.sparkplug.births import Known
from devices.codecs.sparkplug.payload import (
    ARRAYS_END,
    BAD,
    BOOLEAN,
    DATASET,
    DATETIME,
    DOUBLE,
    FLOAT,
    GOOD,
    SIGNED,
    STALE,
    TEXTS,
    UNSIGNED,
    Metric,
)
from devices.codecs.sparkplug.wire import refusal
from devices.readings import Quality, Sample
from devices.units import UNITS

FROM_MS: Final = 946_684_800_000  # 2000-01-01
TO_MS: Final = 4_102_444_800_000  # 2100-01-01
STATES_MAX: Final = 64
RESERVED: Final = frozenset({"online", "gap", "unusable", "unknown_units"})
_LISTED_CHARS: Final = 200
_NO_READINGS: Final = frozenset({DATETIME, *range(DATASET, ARRAYS_END)})
_FLAGS: Final = {BAD: Quality.BAD, STALE: Quality.SUSPECT}
QUALITIES: Final = {Quality.BAD: BAD, Quality.SUSPECT: STALE, Quality.GOOD: GOOD}
_CONTROL: Final = ("Node Control/", "Device Control/")
_SPELLINGS: Final = {
    **{unit.symbol: name for name, unit in UNITS.items() if unit.symbol},
    **{name: name for name in UNITS if name},
    "℃": "degC",
    "l": "L",
    "l/s": "L/s",
    "l/min": "L/min",
    "l/h": "L/h",
    "mg/l": "mg/L",
    "μg/L": "ug/L",  # with the Greek letter; the table has the micro sign
    "m^3": "m3",
    "m^3/s": "m3/s",
    "m^3/h": "m3/h",
    "mg/m^3": "mg/m3",
}


class Instant(msgspec.Struct):
    """A sample under construction."""

    values: dict[str, float]
    units: dict[str, str]
    flags: dict[str, Quality]
    states: dict[str, str]


class Readings:
    """Gathers what one payload says, by instant.

    `base_us`: the time of what has none of its own. `lenient`: a time nobody can believe is replaced by it, because
    the device's clock is not asked anyhow.
    """

    def __init__(self, base_us: int, *, lenient: bool) -> None:
        self._base_us = base_us
        self._lenient = lenient
        self._instants: dict[int, Instant] = {}
        self._unusable: list[str] = []
        self._unknown_units: list[str] = []
        self._first: tuple[int, str] | None = None

    def add(self, metric: Metric, known: Known) -> None:
        """Take one metric; a control, an absent value, and what is no reading by its type are passed over."""
        if metric.null or metric.transient or metric.form in ("", "other") or is_control(known.name):
            return
        if known.datatype in _NO_READINGS:
            return
        if metric.form == "text":
            if known.datatype in TEXTS or not known.datatype:
                states = self._at(metric).states
                if known.name not in RESERVED and len(states) < STATES_MAX:
                    states[known.name] = str(metric.value)
            return
        value = number(metric, known.datatype)
        if value is None:
            self._unusable.append(known.name)
            self._first = self._first or (metric.at, f"{known.name!a:.80}: {metric.value!r:.40}")
            return
        instant = self._at(metric)
        instant.values[known.name] = value
        unit = _SPELLINGS.get(known.unit)
        if unit is not None:
            instant.units[known.name] = unit
        elif known.unit:
            self._unknown_units.append(f"{known.name}: {known.unit}")
        if metric.quality in _FLAGS:
            instant.flags[known.name] = _FLAGS[metric.quality]

    def state(self, name: str, words: str) -> None:
        """Say something of the payload as a whole, on the sample of its own time."""
        self._instant(self._base_us).states[name] = words

    def samples(self, device: str, *, units_too: bool) -> tuple[Sample, ...]:
        """All samples, oldest first; PayloadError when there is nothing but what cannot be used."""
        if self._first and not self._instants:
            at, what = self._first
            raise refusal(
                f"expected numbers within {NUMBER_MAX:.0e} of zero, each by its datatype, got {what}", at
            )
        if self._unusable:
            self.state("unusable", _listed(self._unusable))
        if self._unknown_units and units_too:
            self.state("unknown_units", _listed(self._unknown_units))
        return tuple(
            Sample(device, time_us, one.values, -1, one.flags or None, one.units, one.states or None)
            for time_us, one in sorted(self._instants.items())
        )

    def _at(self, metric: Metric) -> Instant:
        if metric.time_ms < 0:
            return self._instant(self._base_us)
        if FROM_MS <= metric.time_ms < TO_MS:
            return self._instant(metric.time_ms * 1000)
        if not self._lenient:
            raise refusal(f"expected a metric's time from 2000 to 2099, got {metric.time_ms} ms", metric.at)
        return self._instant(self._base_us)

    def _instant(self, time_us: int) -> Instant:
        found = self._instants.get(time_us)
        if found is None:
            found = self._instants[time_us] = Instant({}, {}, {}, {})
        return found


def is_control(name: str) -> bool:
    """Whether a metric steers the node or its session and measures nothing."""
    return name == "bdSeq" or name.startswith(_CONTROL)


def number(metric: Metric, datatype: int) -> float | None:
    """The metric's value by its datatype, booleans as 0 and 1; None when it is none that can be used."""
    value = metric.value
    if isinstance(value, str):
        return None
    if metric.form == "boolean":
        return float(value) if datatype in (BOOLEAN, 0) else None
    if metric.form == "float":
        fits = datatype in (FLOAT, DOUBLE, 0) and math.isfinite(value) and abs(value) <= NUMBER_MAX
        return value if fits else None
    whole = _whole(int(value), datatype)
    return float(whole) if whole is not None and abs(whole) <= NUMBER_MAX else None


def _whole(value: int, datatype: int) -> int | None:
    """`value` as an integer of `datatype`: two's complement, in the type's own width or stretched to 32 or 64 bits."""
    if datatype in UNSIGNED:
        return value if value < 1 << UNSIGNED[datatype] else None
    if datatype not in SIGNED:
        return None
    half = 1 << (SIGNED[datatype] - 1)
    for bits in (SIGNED[datatype], 32, 64):
        if value < 1 << bits:
            signed = value - (1 << bits) if value >> (bits - 1) else value
            # 0xFFFFFFFF is -1 of an Int8 too: encoders stretch the sign to the field's width.
            if -half <= signed < half:
                return signed
    return None


def _listed(names: list[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _LISTED_CHARS else text[: _LISTED_CHARS - 1] + "…"
