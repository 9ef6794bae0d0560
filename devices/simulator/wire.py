"""How a simulated device speaks: the codec, address and dialect that the registry gives it, instead of our JSON.

From: registry entries. To: `devices.simulator.city`, which asks a voice for bytes, and `devices.simulator.faults`,
which injects only what a protocol can tell. What a codec can carry, and how finely, is found by asking it: a sample is
encoded and decoded again, and what does not come back is not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import msgspec

from devices.codecs import Codec, Context
from devices.errors import PayloadError, SpecError
from devices.fleet import Entry
from devices.readings import Sample
from devices.simulator.edge import SPARKPLUG, edge_messages, edge_of
from devices.spec import Kind, Quantity
from devices.units import convert

JSON: Final = "json"
_PROBE_US: Final = 1_767_576_603_123_456  # a moment that no resolution coarser than a microsecond can state
_RECEIVED_US: Final = _PROBE_US + 77_777_777
_RESOLUTIONS_US: Final = (1, 1000, 1_000_000, 60_000_000)
_COARSEST_US: Final = 1_000_000  # a report each second is more than a minute's stamp can tell apart


class Channel(StrEnum):
    """What carries a payload: the broker, or a connection of the device's own."""

    MQTT = "mqtt"
    TCP = "tcp"


class Word(NamedTuple):
    """One quantity on the wire: its name there and the unit of its number, None where it is the quantity's own."""

    name: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class Said:
    """A payload under a topic, and what a reader will find in it.

    `time_us`: None where the protocol states no time, so that the reading gets the time of its receipt. `values`: by
    quantity, as they come back from the wire; empty in a message that carries no reading.
    """

    topic: str
    payload: bytes
    time_us: int | None
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Voice:
    """One device's way of speaking.

    `words`: quantity -> its word; what is not here the protocol cannot carry. `resolution_us`: of the times it states,
    0 where it states none. `memory`: what was said before, shared by the devices of one Sparkplug edge node.
    """

    kind: Kind
    codec: Codec
    address: str
    model: str
    settings: Mapping[str, Any]
    topic: str
    channel: Channel
    words: Mapping[str, Word]
    resolution_us: int
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def carries(self) -> frozenset[str]:
        """The quantities that reach us."""
        return frozenset(self.words)

    def say(self, sample: Sample) -> list[Said]:
        """`sample`, named by the kind's quantities, as bytes; nothing when nothing of it can be said.

        More than one message where births come first. PayloadError when the codec cannot carry a value.
        """
        wire = self.on_the_wire(sample)
        if not wire.values:
            return []
        if self.codec.name != SPARKPLUG:
            return [self._said(self.topic, wire, sample)]
        births, topic = edge_messages(self.address, self.memory)
        empty = [self.codec.encode((), self.context(sample.time_us, birth)) for birth in births]
        said = [Said(birth, payload, sample.time_us, {}) for birth, payload in zip(births, empty, strict=True)]
        return [*said, self._said(topic, wire, sample)]

    def _said(self, topic: str, wire: Sample, sample: Sample) -> Said:
        context = self.context(sample.time_us, topic)
        payload = self.codec.encode((wire,), context)
        if self.resolution_us:
            values = {name: sample.values[name] for name in self.words if name in sample.values}
            return Said(topic, payload, sample.time_us, values)
        (heard,) = self.codec.decode(payload, context)
        return Said(topic, payload, None, self.understood(heard))

    def understood(self, heard: Sample) -> dict[str, float]:
        """The quantities in what the codec decoded, in their own units."""
        found = {}
        for name, word in self.words.items():
            if word.name in heard.values:
                unit = (heard.units or {}).get(word.name, word.unit)
                found[name] = _converted(heard.values[word.name], unit, self.kind.quantity(name).unit)
        return found

    def on_the_wire(self, sample: Sample) -> Sample:
        """`sample`, named by quantities, in the protocol's names and units."""
        values, units = {}, {}
        for name, value in sample.values.items():
            word = self.words.get(name)
            if word is not None:
                unit = self.kind.quantity(name).unit
                values[word.name] = value if word.unit is None else convert(value, unit, word.unit)
                units[word.name] = unit if word.unit is None else word.unit
        return Sample(self.address, sample.time_us, values, sample.seq, units=units)

    def context(self, received_us: int, topic: str = "") -> Context:
        """What a reader knows of the device, for a payload that comes at `received_us`."""
        return Context(
            topic=topic or self.topic,
            device=self.address,
            model=self.model,
            received_us=received_us,
            settings=self.settings,
            memory=self.memory,
        )


class Voices:
    """Voices for registered devices; what was found out about a model and its settings is not asked again."""

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self._codecs = codecs
        self._known: dict[tuple[str, ...], tuple[dict[str, Word], int]] = {}
        self._edges: dict[str, dict[str, Any]] = {}

    def voice(self, kind: Kind, entry: Entry) -> Voice:
        """How `entry` of `kind` speaks; SpecError when nothing of the kind can be said that way."""
        codec = self._codecs.get(entry.codec or JSON)
        if codec is None:
            raise SpecError(
                f"{entry.id}: expected a codec among {', '.join(self._codecs)}, got {entry.codec}; it cannot speak"
            )
        settings = entry.settings or {}
        bare = Voice(
            kind=kind,
            codec=codec,
            address=(entry.address if codec.name != JSON else "") or entry.id,
            model=entry.model,
            settings=settings,
            topic=topic_of(entry),
            channel=Channel.TCP if codec.name == "hj212" else Channel.MQTT,
            words={},
            resolution_us=0,
        )
        key = (codec.name, kind.name, entry.model, msgspec.json.encode(settings, order="sorted").decode())
        if key not in self._known:
            self._known[key] = _explore(bare)
        words, resolution_us = self._known[key]
        if not words:
            raise SpecError(f"{entry.id}: {codec.name} {entry.model} carries no quantity of {kind.name}")
        memory = self._edges.setdefault(edge_of(bare.address), {}) if codec.name == SPARKPLUG else {}
        return replace(bare, words=words, resolution_us=resolution_us, memory=memory)


def carried(voices: Voices, kinds: Mapping[str, Kind], entries: Sequence[Entry]) -> dict[str, frozenset[str]]:
    """Device -> the quantities that its protocol carries."""
    return {entry.id: voices.voice(kinds[entry.kind], entry).carries for entry in entries if entry.kind in kinds}


_APPLICATION: Final = "5f0c2a52-9d3e-4b7e-8a55-6c1d0e9b7a10"  # of the simulated network server


def topic_of(entry: Entry) -> str:
    """Under which topic `entry` reports."""
    address = entry.address or entry.id
    match entry.codec:
        case "chirpstack":
            return f"application/{_APPLICATION}/device/{address}/event/up"
        case "ttn":
            return f"v3/undercity@ttn/devices/{address}/up"
        case "sparkplug":
            return edge_messages(address, {})[1]
        case "hj212":
            return f"hj212/{address}/up"
        case "cjt188" | "mbus" | "modbus" if entry.gateway:
            return f"city/{entry.district or 'none'}/gateway/{entry.gateway}/up"
        case _:
            return f"city/{entry.district or 'none'}/{entry.kind}/{entry.id}/up"


def _explore(bare: Voice) -> tuple[dict[str, Word], int]:
    """What comes back of a typical sample, and the resolution of its time."""
    offered = dict(_candidates(bare))
    # Some codecs carry any name beside those they offer: the quantity's own is worth a try.
    every = {name: offered.get(name, Word(name, None)) for name in bare.kind.simulate.shapes}
    for wanted in (every, offered):
        found = _understood(bare, wanted)
        if found is not None and found[1]:
            return {name: word for name, word in wanted.items() if name in found[1]}, found[0]
    # One after the other: a word that the codec refuses must not cost the others theirs.
    words: dict[str, Word] = {}
    resolution_us = 0
    for name, word in every.items():
        tried = _understood(bare, {**words, name: word})
        if tried is not None and name in tried[1]:
            words[name], resolution_us = word, tried[0]
    return words, resolution_us


def _understood(bare: Voice, words: Mapping[str, Word]) -> tuple[int, Mapping[str, float]] | None:
    """Resolution of the time and values of a typical sample said with `words`; None when it cannot be said."""
    typical = {name: shape.level for name, shape in bare.kind.simulate.shapes.items()}
    voice = replace(bare, words=words, memory={})
    heard = _echo(voice, {name: typical[name] for name in words})
    return (_resolution_us(heard.time_us, bare.settings), voice.understood(heard)) if heard is not None else None


def _candidates(bare: Voice) -> Iterator[tuple[str, Word]]:
    offered = bare.codec.fields(bare.context(_RECEIVED_US))
    for quantity in bare.kind.quantities:
        if quantity.name in bare.kind.simulate.shapes:
            word = _word(quantity, offered, bare.settings.get("fields") or {})
            if word is not None:
                yield quantity.name, word


def _word(quantity: Quantity, offered: Mapping[str, str], fields: Mapping[str, str]) -> Word | None:
    """The device's own setting first, then the quantity's own name, then the names it reads, best first."""
    for name, meaning in fields.items():
        wanted, _, unit = meaning.partition(":")
        if wanted == quantity.name:
            return Word(name, unit or offered.get(name) or quantity.unit)
    if not offered:
        return Word(quantity.name, None)  # it carries any name
    for pattern in (quantity.name, *quantity.reads):
        for name, unit in offered.items():
            if fnmatchcase(name, pattern) and _fits(unit, quantity.unit):
                return Word(name, unit)
    return None


def _fits(source: str, target: str) -> bool:
    try:
        convert(1.0, source, target)
    except SpecError:
        return False
    return True


def _converted(value: float, unit: str | None, target: str) -> float:
    return value if unit is None else convert(value, unit, target)


def _echo(voice: Voice, values: Mapping[str, float]) -> Sample | None:
    wire = voice.on_the_wire(Sample(voice.address, _PROBE_US, values, 1))
    try:
        payload = voice.codec.encode((wire,), voice.context(_PROBE_US))
        heard = voice.codec.decode(payload, voice.context(_RECEIVED_US))
    except (PayloadError, SpecError):
        return None
    return heard[0] if len(heard) == 1 else None


def _resolution_us(heard_us: int, settings: Mapping[str, Any]) -> int:
    if heard_us == _RECEIVED_US or settings.get("clock") == "received":
        return 0
    for resolution in _RESOLUTIONS_US:
        if heard_us == _PROBE_US // resolution * resolution and resolution <= _COARSEST_US:
            return resolution
    apart = (heard_us - _PROBE_US) / 1e6
    raise SpecError(
        f"simulator: expected a time within {_COARSEST_US / 1e6:g} s of the sample's, got one {apart:.3f} s beside it; "
        'set clock to "received" for this device'
    )
