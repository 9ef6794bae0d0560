"""What the envelopes of network servers have in common: base64, somebody else's decoded object, radio quality.

To: the codecs `chirpstack` and `ttn`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from devices import beijing
from devices.codecs import NUMBER_MAX, Context, Settings
from devices.codecs.lorawan.codec import MODELS, check, content, find, payload_of
from devices.codecs.lorawan.device import Uplink
from devices.errors import PayloadError
from devices.jsontext import locate
from devices.readings import Sample

_T = TypeVar("_T")
ENVELOPE_MAX: Final = 64 * 1024
_VALUES_MAX: Final = 64
_DEPTH_MAX: Final = 4
_YEARS: Final = (2000, 2100)
_KEY: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")

Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Port = Annotated[int, Meta(ge=0, le=255)]
Number = Annotated[float, Meta(ge=-1000, le=1000)]
Moment = Annotated[datetime, Meta(tz=True)]
Short = Annotated[str, Meta(max_length=200)]


def parsed(codec: str, payload: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """The envelope; PayloadError with the offset where the parser stopped, if it says."""
    if len(payload) > ENVELOPE_MAX:
        raise refusal(codec, f"at most {ENVELOPE_MAX} bytes", str(len(payload)), ENVELOPE_MAX)
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        text = str(error)
        raise refusal(codec, "the envelope of an uplink", f"{text!a:.160}", _place(payload, text)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        offset = int(found.group(1)) if found else len(payload)
        text = "deep nesting" if isinstance(error, RecursionError) else str(error).partition(" (byte")[0]
        raise refusal(codec, "JSON", f"{text!a:.120}", min(offset, len(payload))) from None


def _place(payload: bytes, text: str) -> int:
    """Where the value stands that the parser's `text` complains of; 0 where it names none."""
    where = text.rpartition(" - at `")[2] if " - at `" in text else ""
    parts = re.findall(r"\.([A-Za-z_]\w*)|\[(\d+)\]", where)
    found = locate(payload, [name or int(index) for name, index in parts]) if parts else None
    return found[1] if found else 0


def refusal(codec: str, expected: str, got: str, offset: int = -1) -> PayloadError:
    """The error for an envelope."""
    return PayloadError(f"{codec}: expected {expected}, got {got}; nothing was used", offset=offset)


def micros(moments: Sequence[datetime | None], received_us: int) -> int:
    """The first time that there is and that can be right, UTC microseconds; else our receipt."""
    for moment in moments:
        if moment is not None and _YEARS[0] <= moment.year < _YEARS[1]:
            return beijing.micros(moment)
    return received_us


def read(codec: str, data: str, port: int, decoded: Mapping[str, Any] | None, context: Context) -> Uplink:
    """The uplink's content: by our own decoder for the registered model, else as the server decoded it."""
    model = find(context.model)
    if model is not None:
        if not data:
            if decoded is None:
                return Uplink()  # a frame without payload: the device is there, and has nothing to say
            raise refusal(codec, f"a payload of {model.name}", "a decoded object alone")
        return content(_bytes(codec, data), model, port, context.settings)
    if decoded:
        return flattened(codec, decoded)
    if not data and decoded is None:
        return Uplink()
    known = ", ".join(MODELS)
    raise refusal(
        codec,
        f"a registered model among {known}, or an object that the server decoded",
        f"model {context.model!a:.60} and no object",
    )


def _bytes(codec: str, data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusal(codec, "base64", f"{error}") from None


def flattened(codec: str, decoded: Mapping[str, Any]) -> Uplink:
    """Somebody else's decoded values: numbers by dotted name, truth as 0 and 1, texts as states."""
    into = Uplink()
    waiting: list[tuple[str, int, Mapping[str, Any]]] = [("", 1, decoded)]
    while waiting:
        prefix, depth, level = waiting.pop(0)
        for key, value in level.items():
            name = f"{prefix}{key}"
            if not _KEY.fullmatch(name):
                raise refusal(codec, "names of 1 to 64 characters", f"{name!a:.80}")
            if isinstance(value, dict) and depth < _DEPTH_MAX:
                waiting.append((f"{name}.", depth + 1, value))
            elif isinstance(value, bool | int | float):
                if not abs(value) <= NUMBER_MAX:  # nor NaN; a whole number may be too large for a float
                    raise refusal(codec, f"numbers within {NUMBER_MAX:.0e}", f"{name} = {value!a:.40}")
                into.values[name] = float(value)
            elif isinstance(value, str):
                into.states[name] = value[:200]
            if len(into.values) + len(into.states) + len(waiting) > _VALUES_MAX:
                raise refusal(codec, f"at most {_VALUES_MAX} values", "more")
    return into


def add_radio(into: Uplink, heard: Sequence[tuple[float, float]]) -> None:
    """The quality at the gateway that heard it best: `heard` are pairs of SNR in dB and RSSI in dBm."""
    if not heard:
        return
    snr, rssi = max(heard)
    into.add("rssi", rssi, "dBm")
    into.add("snr", snr, "dB")
    into.states["gateways"] = str(len(heard))


class Envelope:
    """What the codecs of both envelopes share."""

    name: str
    models: Final = tuple(MODELS)

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """See `Codec.decode`."""
        raise NotImplementedError

    def inside(
        self, samples: Sequence[Sample], context: Context, port: str, data: str, decoded: str
    ) -> tuple[Sample, dict[str, Any], tuple[float, float]]:
        """For building: the one sample; what stands in the envelope under these names; and RSSI and SNR.

        PayloadError when there is not one sample, or the model cannot carry it.
        """
        if len(samples) != 1:
            raise PayloadError(f"{self.name}: expected one sample, got {len(samples)}; not encoded")
        (sample,) = samples
        values = dict(sample.values)
        radio = values.pop("rssi", -80.0), values.pop("snr", 8.0)
        model = find(context.model)
        if model is None:
            return sample, {decoded: values}, radio
        inner = Sample(sample.device, sample.time_us, values, units=sample.units)
        payload = payload_of(inner, model, context.settings) if values else b""
        ports = {port: model.ports[0]} if model.ports else {}
        return sample, {**ports, data: base64.b64encode(payload).decode("ascii")}, radio

    def proven(self, payload: bytes, context: Context) -> bytes:
        """`payload`, which decodes: names and bounds hold; PayloadError otherwise."""
        self.decode(payload, Context(model=context.model, settings=context.settings))
        return payload

    def fields(self, context: Context) -> Mapping[str, str]:
        """What the model carries, and the radio's quality; without a model any name, in an object."""
        model = find(context.model)
        return {**(model.fields if model is not None else {}), "rssi": "dBm", "snr": "dB"}

    def check(self, settings: Settings) -> None:
        """RegistryError for settings that no model has."""
        check(self.name, settings)


def stamp(time_us: int) -> str:
    """RFC 3339 in UTC."""
    return (beijing.EPOCH + time_us * beijing.MICROSECOND).isoformat().replace("+00:00", "Z")
