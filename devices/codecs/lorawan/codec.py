"""The codec of bare LoRaWAN payloads, and the way in for the envelopes: model to decoder, values to a sample."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from devices.codecs import Context, Settings, refuse_unknown
from devices.codecs.lorawan import makers, milesight
from devices.codecs.lorawan.device import Model, Uplink, refusal
from devices.errors import PayloadError, RegistryError, SpecError
from devices.readings import Sample
from devices.spec import Text
from devices.units import convert

PAYLOAD_MAX: Final = 242  # the largest application payload that LoRaWAN has
MODELS: Final[Mapping[str, Model]] = {model.name: model for model in (*milesight.MODELS, *makers.MODELS)}
_SPELLINGS: Final = sorted(
    ((name, model) for model in MODELS.values() for name in (model.name.casefold(), *model.names)),
    key=lambda pair: -len(pair[0]),
)


@lru_cache(maxsize=1024)
def find(model: str) -> Model | None:
    """The model that `model` means, by its name within the text: `Milesight EM320-TILT` is EM320-TILT.

    >>> find("Decentlab DL-PR26 pressure/level").name
    'DL-PR26'
    """
    text = model.casefold()
    for name, known in _SPELLINGS:
        if re.search(rf"(?<![a-z0-9-]){re.escape(name)}(?![a-z0-9-])", text):
            return known
    return None


def content(payload: bytes, model: Model, port: int, settings: Settings, where: str = "fPort") -> Uplink:
    """What `payload` of `model` says; PayloadError otherwise. `port` -1: unknown, not checked."""
    if port >= 0 and model.ports and port not in model.ports:
        expected = " or ".join(map(str, model.ports))
        raise refusal(model.name, f"{where} {expected}", str(port), -1)
    if len(payload) > PAYLOAD_MAX:
        raise refusal(model.name, f"at most {PAYLOAD_MAX} bytes", str(len(payload)), PAYLOAD_MAX)
    return model.decode(payload, settings)


def payload_of(sample: Sample, model: Model, settings: Settings) -> bytes:
    """A payload of `model` that says what `sample` says; PayloadError when it cannot."""
    values: dict[str, float] = {}
    for name, value in sample.values.items():
        unit = model.fields.get(name)
        if unit is None or not math.isfinite(value):
            raise PayloadError(
                f"lorawan {model.name}: expected values among {', '.join(model.fields)}, got {name!a:.80}; not encoded"
            )
        try:
            values[name] = convert(value, (sample.units or {}).get(name, unit), unit)
        except SpecError as error:
            raise PayloadError(f"lorawan {model.name}: {name}: {error}") from None
    return model.encode(values, settings)


def check(codec: str, settings: Settings) -> None:
    """RegistryError for settings that no model has."""
    known = {name: kind for model in MODELS.values() for name, kind in model.settings.items()}
    refuse_unknown(codec, settings, tuple(known))
    for name in known:
        value = settings.get(name)
        if value is not None and not (isinstance(value, int | float) and abs(value) < 1e6):
            raise RegistryError(f"codec {codec}: {name}: expected a number, got {value!a:.40}; not taken")
    low, high = settings.get("pmin_bar", 0.0), settings.get("pmax_bar", 1.0)
    if low >= high:
        raise RegistryError(f"codec {codec}: pmin_bar, pmax_bar: expected a span, got {low} to {high}; not taken")


class Lorawan:
    """The codec."""

    name: Final = "lorawan"
    title: Final = Text("LoRaWAN 设备载荷", "LoRaWAN payloads by maker's model")
    models: Final = tuple(MODELS)

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """One sample; PayloadError when the model is unknown or the payload is not of it."""
        model = find(context.model)
        if model is None:
            raise PayloadError(
                f"lorawan: expected a model among {', '.join(MODELS)}, got {context.model!a:.80}; nothing was used"
            )
        uplink = content(payload, model, context.port, context.settings)
        if not uplink.values and not uplink.states:
            return ()
        return (
            Sample(
                uplink.device,
                context.received_us,
                uplink.values,
                -1,
                None,
                uplink.units,
                uplink.states or None,
            ),
        )

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """The payload of one sample; PayloadError when the model cannot carry it."""
        model = find(context.model)
        if model is None or len(samples) != 1:
            raise PayloadError(
                f"lorawan: expected one sample and a model among {', '.join(MODELS)}, "
                f"got {len(samples)} and {context.model!a:.80}; not encoded"
            )
        return payload_of(samples[0], model, context.settings)

    def fields(self, context: Context) -> Mapping[str, str]:
        """What the model carries; nothing for an unknown one."""
        model = find(context.model)
        return model.fields if model is not None else {}

    def check(self, settings: Settings) -> None:
        """RegistryError for settings that no model has."""
        check(self.name, settings)
