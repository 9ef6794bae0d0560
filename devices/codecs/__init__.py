"""Wire formats, one file or folder each, found by looking into this folder: no list to edit.

A codec module offers `CODEC`, an object with the `Codec` surface. What a codec must know besides the bytes (whose they
are, the maker's model, a dialect) comes as a `Context` out of the registry; a codec never guesses a dialect.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cache
from typing import Any, Final, Protocol

import msgspec

from devices.errors import SpecError, UnknownSettingError
from devices.readings import Sample
from devices.spec import Text

Settings = Mapping[str, Any]  # a device's dialect: plain JSON values by name


class Context(msgspec.Struct, kw_only=True):
    """What is known of the sender of some bytes.

    `topic`: under which they came, empty offline. `device`: the identity that the topic or the registry gives the
    sender: stands in for the frame's own where a protocol has none. `model`: the maker's model, such as EM310-TILT.
    `port`: LoRaWAN fPort of a bare payload, -1 unknown. `received_us`: UTC by our clock; the time of a frame that
    carries none. `settings`: the device's dialect, checked by `Codec.check`. `memory`: what this sender said before,
    JSON values only and bounded by the codec; kept in snapshots, so a replay sees the same. `child`: the context of
    another address behind the same topic (a meter on a bus), None when it is not registered.
    """

    topic: str = ""
    device: str = ""
    model: str = ""
    port: int = -1
    received_us: int = 0
    settings: Settings = msgspec.field(default_factory=dict)
    memory: MutableMapping[str, Any] = msgspec.field(default_factory=dict)
    child: Callable[[str], Context | None] = lambda _: None


class Codec(Protocol):
    """Turns payload bytes into samples and back.

    `title`: what it reads, for `undercity codecs`. `models`: makers' models it knows apart, empty where the frame says
    all. Samples name values by the protocol's own terms, with their units (`Sample.units`); which quantity of a kind
    they are stands in the kind (`Quantity.reads`) or in the device's setting `fields`.
    """

    name: str
    title: Text
    models: tuple[str, ...]

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """The samples in `payload`; PayloadError with offset and reason, and nothing else, when it has none.

        A well-formed frame that carries no readings (a request, a heartbeat) gives an empty sequence.
        """
        ...

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """A payload that decodes to `samples`; PayloadError when the format cannot carry them."""
        ...

    def fields(self, context: Context) -> Mapping[str, str]:
        """Names that `encode` can carry for this model and these settings, with the unit of each."""
        ...

    def check(self, settings: Settings) -> None:
        """RegistryError when a setting is unknown to this codec or has no meaning."""
        ...


NUMBER_MAX: Final = 1e15  # what lies further from zero is no measurement
COMMON = ("clock", "fields")  # settings of every codec, which decoding itself obeys


def refuse_unknown(codec: str, settings: Settings, known: Sequence[str]) -> None:
    """UnknownSettingError when `settings` has a name that is neither `known` to the codec nor common to all."""
    names = (*known, *COMMON)
    for name in settings:
        if name not in names:
            raise UnknownSettingError(
                f"codec {codec}: expected settings among {', '.join(names)}, got {name!a:.80}; not taken", names
            )


@cache
def load() -> dict[str, Codec]:
    """Every codec in this folder by name; SpecError when a file offers none."""
    codecs: dict[str, Codec] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        codec = getattr(module, "CODEC", None)
        if codec is None:
            raise SpecError(f"{module.__name__}: expected CODEC, got nothing; the file is not used")
        codecs[codec.name] = codec
    return codecs
