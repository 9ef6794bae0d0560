"""JSON v1: `{"v":1,"id":"WP-0412","t":1767600000000,"seq":123,"m":{"pressure_kpa":412.5}}`, or an array of such.

From: raw payloads out of the journal, via `ingest.decode`. To: samples. `t` is epoch milliseconds or an ISO 8601 time
that carries its zone; `seq` and `q` (the instrument's own flags: bad, suspect, maintenance) may be absent. Members
this version does not know are passed over. Any bytes give samples or a PayloadError, nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from devices.beijing import EPOCH, MICROSECOND, micros
from devices.codecs import NUMBER_MAX, Context, Settings, refuse_unknown
from devices.errors import PayloadError
from devices.jsontext import first_duplicate, locate
from devices.readings import Quality, Sample
from devices.spec import Text

PAYLOAD_MAX: Final = 256 * 1024
SAMPLES_MAX: Final = 2000
QUANTITIES_MAX: Final = 64
SEQ_MAX: Final = 2**53
_FROM_MS: Final = 946_684_800_000  # 2000-01-01
_TO_MS: Final = 4_102_444_800_000  # 2100-01-01
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_CACHE_MAX: Final = 300_000
_FLAGS: Final = {"bad": Quality.BAD, "suspect": Quality.SUSPECT, "maintenance": Quality.MAINTENANCE}
_FLAG_NAMES: Final = {quality: name for name, quality in _FLAGS.items()}

_Number = Annotated[float, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
_Millis = Annotated[int, Meta(ge=_FROM_MS, lt=_TO_MS)]
_Moment = Annotated[datetime, Meta(tz=True)]


class _Wire(msgspec.Struct, gc=False):
    v: Literal[1]
    id: str
    t: _Millis | _Moment
    m: Annotated[dict[str, _Number], Meta(min_length=1, max_length=QUANTITIES_MAX)]
    seq: Annotated[int, Meta(ge=0, le=SEQ_MAX)] = -1
    q: dict[str, Literal["bad", "suspect", "maintenance"]] | None = None


_Document = _Wire | Annotated[list[_Wire], Meta(min_length=1, max_length=SAMPLES_MAX)]
_DECODER: Final = msgspec.json.Decoder(_Document)
_NUMBER: Final = msgspec.json.Decoder(_Number)
_FLAG: Final = msgspec.json.Decoder(Literal["bad", "suspect", "maintenance"])
_ENCODER: Final = msgspec.json.Encoder()
_WANTED: Final = {
    (): f"one sample object or an array of 1 to {SAMPLES_MAX}",
    ("v",): "version 1",
    ("id",): "a text of 1 to 64 characters A-Z a-z 0-9 _ . : -",
    ("t",): "epoch milliseconds or an ISO 8601 time with its zone (Z or +08:00), from 2000 to 2099",
    ("m",): f"an object of 1 to {QUANTITIES_MAX} numbers",
    ("m", "*"): f"a finite number within {NUMBER_MAX:.0e} of zero",
    ("seq",): "a whole number from 0 to 2^53",
    ("q",): "an object of flags",
    ("q", "*"): "bad, suspect or maintenance",
}


class JsonV1:
    """The codec; it keeps only which names it has already found well-formed."""

    name: Final = "json"
    title: Final = Text("自有 JSON 格式（v1）", "our own JSON, version 1")
    models: Final = ()

    def __init__(self) -> None:
        self._good_ids: set[str] = set()
        self._good_names: set[tuple[str, ...]] = set()

    def decode(self, payload: bytes, context: Context | None = None) -> tuple[Sample, ...]:  # noqa: ARG002
        """The samples in `payload`, in its order; PayloadError with offset and reason unless all are well-formed."""
        if len(payload) > PAYLOAD_MAX:
            raise PayloadError(
                f"json v1: expected at most {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was used",
                offset=PAYLOAD_MAX,
            )
        try:
            wire = _DECODER.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _explained(payload, error) from None
        if type(wire) is _Wire:
            # The usual message: a known device, known names, no flags, each key once. All else goes the long way.
            time, values = wire.t, wire.m
            if (
                type(time) is int
                and wire.q is None
                and wire.id in self._good_ids
                and (*values,) in self._good_names
            ):
                quotes = (12 if wire.seq >= 0 else 10) + 2 * len(values)
                if payload.count(b'"') == quotes:
                    return (Sample(wire.id, time * 1000, values, wire.seq),)
            samples: tuple[Sample, ...] = (self._sample(payload, wire, -1),)
            quotes = _quotes(wire)
        else:
            assert isinstance(wire, list)  # noqa: S101  the decoder's other branch
            samples = tuple(self._sample(payload, one, place) for place, one in enumerate(wire))
            quotes = sum(map(_quotes, wire))
        # A key named twice adds two quotation marks that the decoded result does not account for.
        if payload.count(b'"') != quotes and (duplicate := first_duplicate(payload)):
            key, offset = duplicate
            raise PayloadError(
                f"json v1: expected each key once, got {key!r:.80} again; nothing was used", offset=offset
            )
        return samples

    def _sample(self, payload: bytes, wire: _Wire, place: int) -> Sample:
        names = tuple(wire.m)
        if wire.id not in self._good_ids:
            self._check_id(payload, wire.id, place)
        if names not in self._good_names:
            self._check_names(payload, names, place)
        time_us = wire.t * 1000 if type(wire.t) is int else _microseconds(payload, wire.t, place)
        if wire.q is None:
            return Sample(wire.id, time_us, wire.m, wire.seq)
        return Sample(wire.id, time_us, wire.m, wire.seq, _flags(payload, wire, place))

    def _check_id(self, payload: bytes, name: str, place: int) -> None:
        if not _NAME.fullmatch(name):
            raise _refusal(payload, place, ("id",))
        if len(self._good_ids) >= _CACHE_MAX:
            self._good_ids.clear()
        self._good_ids.add(name)

    def _check_names(self, payload: bytes, names: tuple[str, ...], place: int) -> None:
        for name in names:
            if not _NAME.fullmatch(name):
                raise PayloadError(
                    f"json v1: {_title(place)}m: expected names of 1 to 64 characters A-Z a-z 0-9 _ . : -, "
                    f"got {name!a:.80}; nothing was used",
                    offset=_offset(payload, place, ("m",)),
                )
        if len(self._good_names) >= _CACHE_MAX // 100:
            self._good_names.clear()
        self._good_names.add(names)

    def encode(self, samples: Sequence[Sample], context: Context | None = None) -> bytes:  # noqa: ARG002
        """A payload that decodes to `samples`; one sample is an object, more are an array.

        Times on a whole millisecond go as numbers, others as ISO text; a GOOD flag is the absence of one.
        PayloadError when a sample breaks the format's bounds.
        """
        if not 1 <= len(samples) <= SAMPLES_MAX:
            raise PayloadError(
                f"json v1: expected 1 to {SAMPLES_MAX} samples, got {len(samples)}; nothing was encoded"
            )
        wires = [_wire(sample) for sample in samples]
        payload = _ENCODER.encode(wires[0] if len(wires) == 1 else wires)
        if len(payload) > PAYLOAD_MAX:
            raise PayloadError(
                f"json v1: expected at most {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was encoded"
            )
        return payload

    def fields(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """None of its own: it carries any quantity of any kind."""
        return {}

    def check(self, settings: Settings) -> None:
        """RegistryError: it has no dialects."""
        refuse_unknown(self.name, settings, ())


def _quotes(wire: _Wire) -> int:
    count = 10 + 2 * len(wire.m)  # v, id, t, m and the id's value
    if wire.seq >= 0:
        count += 2
    if type(wire.t) is not int:
        count += 2
    if wire.q is not None:
        count += 2 + 4 * len(wire.q)
    return count


def _microseconds(payload: bytes, moment: object, place: int) -> int:
    if isinstance(moment, datetime):
        since = micros(moment)
        if _FROM_MS * 1000 <= since < _TO_MS * 1000:
            return since
    raise _refusal(payload, place, ("t",))


def _flags(payload: bytes, wire: _Wire, place: int) -> dict[str, Quality]:
    flags = wire.q or {}
    for name in flags:
        if name not in wire.m:
            raise PayloadError(
                f"json v1: {_title(place)}q: expected only names that m carries, got {name!a:.80}; nothing was used",
                offset=_offset(payload, place, ("q",)),
            )
    return {name: _FLAGS[flag] for name, flag in flags.items()}


def _wire(sample: Sample) -> dict[str, object]:
    names_fit = _NAME.fullmatch(sample.device) and all(_NAME.fullmatch(name) for name in sample.values)
    if not (names_fit and 1 <= len(sample.values) <= QUANTITIES_MAX):
        raise PayloadError(
            f"json v1: {sample.device!a:.80}: expected 1 to {QUANTITIES_MAX} quantities with plain names; "
            "nothing was encoded"
        )
    for name, value in sample.values.items():
        if not (math.isfinite(value) and abs(value) <= NUMBER_MAX):
            raise PayloadError(
                f"json v1: {sample.device}: {name}: expected {_WANTED['m', '*']}, got {value}; nothing was encoded"
            )
    if not (_FROM_MS * 1000 <= sample.time_us < _TO_MS * 1000 and -1 <= sample.seq <= SEQ_MAX):
        raise PayloadError(
            f"json v1: {sample.device}: time {sample.time_us} us or seq {sample.seq} is out of bounds; "
            "nothing was encoded"
        )
    millis, rest = divmod(sample.time_us, 1000)
    wire: dict[str, object] = {"v": 1, "id": sample.device}
    wire["t"] = millis if rest == 0 else (EPOCH + sample.time_us * MICROSECOND).isoformat()
    if sample.seq >= 0:
        wire["seq"] = sample.seq
    wire["m"] = sample.values
    flags = {name: _FLAG_NAMES[flag] for name, flag in (sample.flags or {}).items() if flag in _FLAG_NAMES}
    if flags:
        wire["q"] = flags
    return wire


def _explained(payload: bytes, error: Exception) -> PayloadError:
    """`error` of the parser as a refusal with its byte offset."""
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        return _invalid(payload, text)
    if isinstance(error, RecursionError):
        return PayloadError("json v1: expected plain samples, got deep nesting; nothing was used", offset=0)
    if isinstance(error, UnicodeDecodeError):
        try:
            payload.decode()
            offset = -1
        except UnicodeDecodeError as whole:
            offset = whole.start
        return PayloadError("json v1: expected UTF-8, got other bytes; nothing was used", offset=offset)
    if found := re.search(r"\(byte (\d+)\)", text):
        offset = int(found.group(1)) - text.count("trailing")  # there the parser points one byte further
        got = payload[offset : offset + 12]
        reason = text.partition(" (byte")[0].removeprefix("JSON is malformed: ")
        return PayloadError(f"json v1: expected JSON, got {reason} at {got!r}; nothing was used", offset=offset)
    return PayloadError(
        f"json v1: expected whole JSON, got {len(payload)} bytes that end early; nothing was used",
        offset=len(payload),
    )


def _invalid(payload: bytes, text: str) -> PayloadError:
    reason, _, where = text.partition(" - at `")
    place, path = -1, []
    for name, index in re.findall(r"\.([A-Za-z_]\w*)|\[(\d+|\.\.\.)\]", where):
        if index.isdigit():
            place = int(index)
        else:
            path.append(name or "*")
    if reason.startswith("Object missing"):
        field = reason.rpartition("field ")[2].strip("`")
        return PayloadError(
            f"json v1: {_title(place)}expected the field {field}, got none; nothing was used",
            offset=_offset(payload, place, ()),
        )
    return _refusal(payload, place, tuple(path))


def _refusal(payload: bytes, place: int, path: tuple[str, ...]) -> PayloadError:
    decoder = _NUMBER if path[:1] == ("m",) else _FLAG
    found = locate(payload, _full(place, path), lambda token: not _accepts(decoder, token))
    where, offset, token = found or ([], -1, b"something else")
    name = ".".join(str(part) for part in where[(place >= 0) :])
    wanted = _WANTED.get(path, "another type")
    text = token[:40].decode("utf-8", "backslashreplace")
    got = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)  # for a terminal
    title = _title(place) + (f"{name!a:.80}"[1:-1] + ": " if name else "")
    return PayloadError(f"json v1: {title}expected {wanted}, got {got}; nothing was used", offset=offset)


def _accepts(decoder: msgspec.json.Decoder[Any], token: bytes) -> bool:
    try:
        decoder.decode(token)
    except (msgspec.DecodeError, ValueError):
        return False
    return True


def _full(place: int, path: tuple[str, ...]) -> tuple[str | int, ...]:
    return (place, *path) if place >= 0 else path


def _offset(payload: bytes, place: int, path: tuple[str, ...]) -> int:
    found = locate(payload, _full(place, path))
    return found[1] if found else -1


def _title(place: int) -> str:
    return f"sample {place}: " if place >= 0 else ""


CODEC: Final = JsonV1()
