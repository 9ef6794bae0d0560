"""SenML packs in JSON (RFC 8428): `[{"bn":"WP-0412:","bt":1.76e9,"n":"pressure","u":"Pa","v":412500}]`.

From: raw payloads out of the journal, via `ingest.decode`. To: samples in time order, one per device and instant. The
device is the base name without its last separator, the field is the record's name; without a base name the record's
own name is split at its last `:` or `/`. Any bytes give samples or a PayloadError, nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from devices.codecs import NUMBER_MAX, Context, Settings, refuse_unknown
from devices.errors import PayloadError
from devices.jsontext import first_duplicate, locate
from devices.readings import Sample
from devices.spec import Text

PAYLOAD_MAX: Final = 64 * 1024
RECORDS_MAX: Final = 2000
VERSION: Final = 10  # of RFC 8428; a newer one may mean something else
RELATIVE_BELOW_S: Final = 2**28  # such times count from now (section 4.5.3)
_FROM_US: Final = 946_684_800_000_000  # 2000-01-01
_TO_US: Final = 4_102_444_800_000_000  # 2100-01-01
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]{0,254}", re.ASCII)
_DEVICE_ONLY: Final = re.compile(r"urn:dev:[a-z0-9]+:[^:/]+", re.ASCII)  # a device's URN with no field behind it
_SEPARATORS: Final = ":/_.-"
_TEXT_MAX: Final = 200
_VALUES: Final = ("v", "vs", "vb", "vd")
_NUMBERS: Final = ("bt", "bv", "bs", "v", "s", "t", "ut")
_TEXTS: Final = ("bn", "bu", "n", "u", "vs", "vd")

# Their unit -> ours and the factor; primary units of RFC 8428, secondary ones of RFC 8798. What is not here keeps its
# name: units that we share, those that nobody registered but loggers send (kPa, mH2O), and those we have none for.
_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "Cel": ("degC", 1.0),
    "%RH": ("%", 1.0),
    "%EL": ("%", 1.0),
    "/100": ("%", 1.0),
    "/": ("", 1.0),
    "l": ("L", 1.0),
    "l/s": ("L/s", 1.0),
    "hPa": ("mbar", 1.0),
    "km": ("m", 1e3),
    "mg/l": ("mg/L", 1.0),
    "ug/m3": ("mg/m3", 1e-3),
    "kg/m3": ("g/m3", 1e3),
    "g": ("kg", 1e-3),  # gram; our g is an acceleration
}
_THEIRS: Final = {"degC": "Cel", "": "/", "L": "l", "L/s": "l/s"}


class _Reading(NamedTuple):
    """One resolved record."""

    device: str
    field: str
    time_us: int
    unit: str | None
    value: float | None
    total: float | None
    word: str | None


class Senml:
    """The codec; stateless."""

    name: Final = "senml"
    title: Final = Text("SenML（RFC 8428 JSON）", "SenML in JSON, RFC 8428")
    models: Final = ()

    def decode(self, payload: bytes, context: Context) -> tuple[Sample, ...]:
        """The samples of a pack, earliest first; none when it has only base fields; PayloadError otherwise."""
        records = _parsed(payload)
        base: dict[str, Any] = {}
        readings = []
        for place, record in enumerate(records):
            _check(payload, place, record)
            base.update((key, value) for key, value in record.items() if key in ("bn", "bt", "bu", "bv", "bs"))
            if not _values(record):
                continue
            readings.append(_resolved(payload, place, record, base, context.received_us))
        if len({record.get("bver", VERSION) for record in records}) > 1 and any("bver" in r for r in records[1:]):
            raise _refusal(payload, 0, "bver", "one version in all records", "several")
        return _grouped(readings)

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:  # noqa: ARG002
        """A pack that decodes to `samples` in time order; PayloadError for names or numbers SenML cannot carry."""
        records = [record for sample in samples for record in _records(sample)]
        if not 1 <= len(records) <= RECORDS_MAX:
            raise PayloadError(
                f"senml: expected 1 to {RECORDS_MAX} records, got {len(records)}; nothing was encoded"
            )
        payload = msgspec.json.encode(records)
        if len(payload) > PAYLOAD_MAX:
            raise PayloadError(
                f"senml: expected at most {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was encoded"
            )
        return payload

    def fields(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """None of its own: it carries any name."""
        return {}

    def check(self, settings: Settings) -> None:
        """RegistryError: it has no dialects."""
        refuse_unknown(self.name, settings, ())


def _parsed(payload: bytes) -> list[dict[str, Any]]:
    if len(payload) > PAYLOAD_MAX:
        raise PayloadError(
            f"senml: expected at most {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was used",
            offset=PAYLOAD_MAX,
        )
    try:
        records = msgspec.json.decode(payload, type=list[dict[str, Any]])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        offset = int(found.group(1)) if found else (len(payload) if "truncated" in str(error) else 0)
        reason = "deep nesting" if isinstance(error, RecursionError) else str(error).partition(" (byte")[0]
        raise PayloadError(
            f"senml: expected a JSON array of records, got {reason!a:.120}; nothing was used",
            offset=min(offset, len(payload)),
        ) from None
    if not 1 <= len(records) <= RECORDS_MAX:
        raise PayloadError(
            f"senml: expected 1 to {RECORDS_MAX} records, got {len(records)}; nothing was used", offset=0
        )
    # Each key named twice adds quotation marks that the parsed records do not account for.
    quotes = 2 * sum(len(record) + sum(isinstance(v, str) for v in record.values()) for record in records)
    if payload.count(b'"') != quotes and (duplicate := first_duplicate(payload)):
        key, offset = duplicate
        raise PayloadError(
            f"senml: expected each key once, got {key!a:.80} again; nothing was used", offset=offset
        )
    return records


def _check(payload: bytes, place: int, record: dict[str, Any]) -> None:
    """PayloadError unless the labels have their types, and none must be understood that we do not know."""
    for key, value in record.items():
        if key.endswith("_"):
            raise _refusal(payload, place, key, "no label that must be understood", f"{key!a:.40}")
        if key in _NUMBERS and not (
            type(value) in (int, float) and math.isfinite(value) and abs(value) <= NUMBER_MAX
        ):
            raise _refusal(payload, place, key, f"a finite number within {NUMBER_MAX:.0e}", f"{value!a:.40}")
        if key in _TEXTS and not isinstance(value, str):
            raise _refusal(payload, place, key, "a text", f"{value!a:.40}")
    if "vb" in record and not isinstance(record["vb"], bool):
        raise _refusal(payload, place, "vb", "true or false", f"{record['vb']!a:.40}")
    version = record.get("bver", VERSION)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise _refusal(payload, place, "bver", f"a version up to {VERSION}", f"{version!a:.40}")
    given = [key for key in _VALUES if key in record]
    if len(given) > 1:
        raise _refusal(payload, place, given[1], "one value", " and ".join(given))


def _values(record: dict[str, Any]) -> bool:
    return "s" in record or any(key in record for key in _VALUES)


def _resolved(
    payload: bytes, place: int, record: dict[str, Any], base: dict[str, Any], received_us: int
) -> _Reading:
    device, field = _identity(payload, place, base.get("bn", ""), record.get("n", ""))
    unit, factor = _unit(record.get("u", base.get("bu")))
    value = total = word = None
    if "v" in record:
        value = _number(payload, place, "v", (base.get("bv", 0) + record["v"]) * factor)
    elif "vb" in record:
        value = float(record["vb"])
    else:
        word = record.get("vs", record.get("vd"))
    if "s" in record or ("bs" in base and "v" in record):
        total = _number(payload, place, "s", (base.get("bs", 0) + record.get("s", 0)) * factor)
    time_us = _time(payload, place, base.get("bt", 0) + record.get("t", 0), received_us)
    return _Reading(device, field, time_us, unit if "v" in record else None, value, total, word)


def _identity(payload: bytes, place: int, base: str, name: str) -> tuple[str, str]:
    whole = base + name
    if not _NAME.fullmatch(whole):
        label = "n" if name else "bn"
        wanted = "a name of 1 to 255 characters A-Z a-z 0-9 - : . / _ that begins with a letter or digit"
        raise _refusal(payload, place, label, wanted, f"{whole!a:.80}")
    if base and name:
        return base.rstrip(_SEPARATORS), name
    if base or _DEVICE_ONLY.fullmatch(whole):
        return whole.rstrip(_SEPARATORS), "value"
    cut = max(name.rfind(":"), name.rfind("/"))
    if cut < 0:
        return "", name
    return name[:cut].rstrip(_SEPARATORS), name[cut + 1 :] or "value"


def _unit(name: str | None) -> tuple[str | None, float]:
    return (None, 1.0) if name is None else _UNITS.get(name, (name[:_TEXT_MAX], 1.0))


def _number(payload: bytes, place: int, key: str, value: float) -> float:
    if abs(value) > NUMBER_MAX:
        raise _refusal(payload, place, key, f"a number within {NUMBER_MAX:.0e}", f"{value:g}")
    return float(value)


def _time(payload: bytes, place: int, seconds: float, received_us: int) -> int:
    if seconds < RELATIVE_BELOW_S:
        time_us = received_us + round(seconds * 1e6)
        fits = seconds > -RELATIVE_BELOW_S
    else:
        time_us = round(seconds * 1e6)
        fits = _FROM_US <= time_us < _TO_US
    if not fits:
        wanted = "seconds from now, or since 1970 and within 2000 to 2099"
        raise _refusal(payload, place, "t", wanted, f"{seconds:.0f}")
    return time_us


def _grouped(readings: list[_Reading]) -> tuple[Sample, ...]:
    """One sample per device and instant, earliest first; a name that comes again opens another."""
    samples: list[Sample] = []
    latest: dict[tuple[str, int], Sample] = {}
    for one in sorted(readings, key=lambda reading: reading.time_us):
        key = (one.device, one.time_us)
        found = latest.get(key)
        if found is None or one.field in found.values or one.field in (found.states or {}):
            found = latest[key] = Sample(one.device, one.time_us, {}, units={}, states={})
            samples.append(found)
        _add(found, one)
    return tuple(s if s.states else Sample(s.device, s.time_us, s.values, units=s.units) for s in samples)


def _add(sample: Sample, one: _Reading) -> None:
    values, units, states = sample.values, sample.units, sample.states
    assert isinstance(values, dict) and isinstance(units, dict) and isinstance(states, dict)  # noqa: S101, PT018
    if one.value is not None:
        values[one.field] = one.value
        if one.unit is not None:
            units[one.field] = one.unit
    if one.total is not None:
        values[f"{one.field}_sum"] = one.total
    if one.word is not None:
        states[one.field] = one.word[:_TEXT_MAX]


def _records(sample: Sample) -> list[dict[str, Any]]:
    if not _FROM_US <= sample.time_us < _TO_US:
        raise _unfit(sample, "a time from 2000 to 2099", str(sample.time_us))
    if sample.device and (sample.device[-1] in _SEPARATORS or not _NAME.fullmatch(sample.device)):
        raise _unfit(sample, "a device name of A-Z a-z 0-9 - : . / _", f"{sample.device!a:.80}")
    records: list[dict[str, Any]] = []
    for name, value in sample.values.items():
        unit = (sample.units or {}).get(name)
        if not (math.isfinite(value) and abs(value) <= NUMBER_MAX) or unit == "g":
            raise _unfit(sample, f"{name!a:.80} finite, within {NUMBER_MAX:.0e}, in no g", f"{value} {unit}")
        record: dict[str, Any] = {"n": name, "v": value}
        if unit is not None:
            record["u"] = _THEIRS.get(unit, unit)
        records.append(record)
    records += [{"n": name, "vs": word} for name, word in (sample.states or {}).items()]
    for record in records:
        if not _NAME.fullmatch(record["n"]) or (not sample.device and re.search("[:/]", record["n"])):
            raise _unfit(sample, "names of A-Z a-z 0-9 - . _", f"{record['n']!a:.80}")
    if records:
        head = {"bn": sample.device and f"{sample.device}:", "bt": sample.time_us / 1e6}
        records[0] = {**head, **records[0]}
    return records


def _unfit(sample: Sample, wanted: str, got: str) -> PayloadError:
    return PayloadError(f"senml: {sample.device!a:.80}: expected {wanted}, got {got}; nothing was encoded")


def _refusal(payload: bytes, place: int, key: str, wanted: str, got: str) -> PayloadError:
    found = locate(payload, (place, key)) or locate(payload, (place,))
    return PayloadError(
        f"senml: record {place}: {key!a:.40}: expected {wanted}, got {got}; nothing was used".replace("'", ""),
        offset=found[1] if found else -1,
    )


CODEC: Final = Senml()
