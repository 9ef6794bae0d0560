"""A Sparkplug B payload: its time, its number in the sequence, its metrics, each with one value.

From: bytes (`read`), or what somebody wants said (`write`, `write_metric`). To: the codec, which gives the metrics
their names and types back out of the births. Data sets, templates, arrays and files are stepped over.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from devices.codecs.sparkplug import wire
from devices.codecs.sparkplug.wire import Budget, refusal
from devices.errors import PayloadError

PAYLOAD_MAX: Final = 256 * 1024
METRICS_MAX: Final = 3_000
FIELDS_MAX: Final = 30_000
NAME_BYTES_MAX: Final = 256
TEXT_CHARS_MAX: Final = 200

INT8, INT16, INT32, INT64 = 1, 2, 3, 4
UINT8, UINT16, UINT32, UINT64 = 5, 6, 7, 8
FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME, TEXT, UUID = 9, 10, 11, 12, 13, 14, 15
DATASET, ARRAYS_END = 16, 35  # from the first to behind the last type that holds more than one value
SIGNED: Final = {INT8: 8, INT16: 16, INT32: 32, INT64: 64}
UNSIGNED: Final = {UINT8: 8, UINT16: 16, UINT32: 32, UINT64: 64}
TEXTS: Final = frozenset({STRING, TEXT, UUID})
BAD, GOOD, STALE = 0, 192, 500  # values of the property Quality

# tags: number << 3 | wire type
_TIMESTAMP, _METRIC, _SEQ = 0x08, 0x12, 0x18
_KNOWN_OF_PAYLOAD: Final = frozenset({1, 2, 3})
_NAME, _ALIAS, _AT, _DATATYPE, _HISTORICAL, _TRANSIENT, _NULL = 0x0A, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38
_PROPERTIES, _INT, _LONG, _FLOAT, _DOUBLE, _BOOLEAN, _STRING = 0x4A, 0x50, 0x58, 0x65, 0x69, 0x70, 0x7A
_KNOWN_OF_METRIC: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15})
_OTHERS: Final = frozenset({16, 17, 18, 19})  # bytes, data set, template, extension
_KEY, _VALUE = 0x0A, 0x12
_PROPERTY_INT, _PROPERTY_LONG, _PROPERTY_STRING = 0x18, 0x20, 0x42
_UINT32: Final = 0xFFFF_FFFF

Form = Literal["", "integer", "float", "boolean", "text", "other"]


class Metric(msgspec.Struct, gc=False):
    """One metric as it stands in the payload, from byte `at` on.

    `alias`, `time_ms`, `quality`: -1 where the payload says none; `datatype`: 0 there. `unit`: the property engUnit as
    written. `form`: which of the value fields was there, empty for none; `value` is not yet read by its type.
    """

    at: int
    name: str = ""
    alias: int = -1
    time_ms: int = -1
    datatype: int = 0
    historical: bool = False
    transient: bool = False
    null: bool = False
    unit: str = ""
    quality: int = -1
    form: Form = ""
    value: float | str = 0


class Payload(msgspec.Struct):
    """What came: `time_ms` and `seq` are -1 where absent."""

    metrics: list[Metric]
    time_ms: int = -1
    seq: int = -1


def read(data: bytes) -> Payload:
    """Read a payload; PayloadError with the byte where it stops being one, or being of reasonable size."""
    if not 0 < len(data) <= PAYLOAD_MAX:
        raise refusal(f"expected 1 to {PAYLOAD_MAX} bytes, got {len(data)}", min(len(data), PAYLOAD_MAX))
    budget = Budget(FIELDS_MAX)
    payload = Payload([])
    known = False
    for tag, value, stop in wire.fields(data, 0, len(data), budget):
        if tag == _METRIC:
            if len(payload.metrics) >= METRICS_MAX:
                raise refusal(f"expected at most {METRICS_MAX} metrics in a payload, got more", value)
            payload.metrics.append(_metric(data, value, stop, budget))
        elif tag == _TIMESTAMP:
            payload.time_ms = value
        elif tag == _SEQ:
            if value > 255:
                raise refusal(f"expected seq 0 to 255, got {value}", stop - 1)
            payload.seq = value
        elif tag >> 3 in _KNOWN_OF_PAYLOAD:
            raise _mistyped("payload", tag, stop)
        else:
            continue
        known = True
    if not known:
        raise refusal("expected a timestamp, metrics or seq, got none of them", 0)
    return payload


def _metric(data: bytes, at: int, end: int, budget: Budget) -> Metric:  # noqa: C901, PLR0912  one arm per field
    metric = Metric(at)
    for tag, value, stop in wire.fields(data, at, end, budget):
        if tag == _NAME:
            metric.name = _text(data, value, stop, "a metric's name", NAME_BYTES_MAX)
        elif tag == _ALIAS:
            metric.alias = value
        elif tag == _AT:
            metric.time_ms = value
        elif tag == _DATATYPE:
            metric.datatype = value & _UINT32
        elif tag == _INT:
            metric.form, metric.value = "integer", value & _UINT32
        elif tag == _LONG:
            metric.form, metric.value = "integer", value
        elif tag == _FLOAT:
            metric.form, metric.value = "float", wire.float32(data, value)
        elif tag == _DOUBLE:
            metric.form, metric.value = "float", wire.float64(data, value)
        elif tag == _BOOLEAN:
            metric.form, metric.value = "boolean", int(value != 0)
        elif tag == _STRING:
            metric.form, metric.value = "text", _text(data, value, stop, "a text", PAYLOAD_MAX)[:TEXT_CHARS_MAX]
        elif tag == _NULL:
            metric.null = value != 0
        elif tag == _HISTORICAL:
            metric.historical = value != 0
        elif tag == _TRANSIENT:
            metric.transient = value != 0
        elif tag == _PROPERTIES:
            _properties(data, value, stop, budget, metric)
        elif tag >> 3 in _OTHERS:
            metric.form = "other"
        elif tag >> 3 in _KNOWN_OF_METRIC:
            raise _mistyped("metric", tag, stop)
    return metric


def _properties(data: bytes, at: int, end: int, budget: Budget, metric: Metric) -> None:
    """Take engUnit and Quality out of a property set: n keys and n values, matched by their order."""
    wanted: dict[int, bytes] = {}
    keys = values = 0
    found: dict[int, tuple[int, int]] = {}
    for tag, value, stop in wire.fields(data, at, end, budget):
        if tag == _KEY:
            key = data[value:stop] if stop - value <= 16 else b""
            if key in (b"engUnit", b"Quality"):
                wanted[keys] = key
            keys += 1
        elif tag == _VALUE:
            found[values] = (value, stop)
            values += 1
    if keys != values:
        raise refusal(f"expected as many property values as keys, got {keys} keys and {values} values", at)
    for place, key in wanted.items():
        for tag, value, stop in wire.fields(data, *found[place], budget):
            if key == b"engUnit" and tag == _PROPERTY_STRING:
                metric.unit = _text(data, value, stop, "engUnit", NAME_BYTES_MAX)
            elif key == b"Quality" and tag in (_PROPERTY_INT, _PROPERTY_LONG):
                metric.quality = value & _UINT32


def _text(data: bytes, at: int, stop: int, what: str, most: int) -> str:
    if stop - at > most:
        raise refusal(f"expected {what} of up to {most} bytes, got {stop - at}", at)
    try:
        return data[at:stop].decode()
    except UnicodeDecodeError as error:
        raise refusal(f"expected {what} in UTF-8, got {data[at:stop][:20]!r}", at + error.start) from None


def _mistyped(where: str, tag: int, at: int) -> PayloadError:
    return refusal(f"expected field {tag >> 3} of a {where} as Sparkplug B types it, got type {tag & 7}", at)


def write(metrics: list[bytes], *, time_ms: int, seq: int | None) -> bytes:
    """A payload of `metrics` as `write_metric` made them; `seq` None for a message outside the sequence."""
    body = wire.number(1, time_ms) + b"".join(wire.block(2, metric) for metric in metrics)
    return body if seq is None else body + wire.number(3, seq)


def write_metric(metric: Metric) -> bytes:
    """The bytes of `metric`: name or alias, time, type, properties and its value by its form."""
    parts = [wire.block(1, metric.name.encode())] if metric.name else []
    for field, value in ((2, metric.alias), (3, metric.time_ms)):
        if value >= 0:
            parts.append(wire.number(field, value))
    if metric.datatype:
        parts.append(wire.number(4, metric.datatype))
    if metric.null:
        parts.append(wire.number(7, 1))
    parts.append(_write_properties(metric))
    if metric.form == "text":
        parts.append(wire.block(15, str(metric.value).encode()))
    elif metric.form == "float":
        parts.append(wire.double(13, float(metric.value)))
    elif metric.form == "boolean":
        parts.append(wire.number(14, int(metric.value)))
    elif metric.form == "integer":
        parts.append(wire.number(11, int(metric.value)))
    return b"".join(parts)


def _write_properties(metric: Metric) -> bytes:
    keys, values = [], []
    if metric.unit:
        keys.append(wire.block(1, b"engUnit"))
        values.append(wire.block(2, wire.number(1, STRING) + wire.block(8, metric.unit.encode())))
    if metric.quality >= 0:
        keys.append(wire.block(1, b"Quality"))
        values.append(wire.block(2, wire.number(1, INT32) + wire.number(3, metric.quality)))
    return wire.block(9, b"".join(keys + values)) if keys else b""
