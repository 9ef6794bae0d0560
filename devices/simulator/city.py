"""A whole city's deliveries in time order: regular reports, event reports, gateways that speak for their children.

From: registry entries (or an example city) and a seed. To: whoever publishes; the topics and payloads are those of
real devices, each in the protocol that its entry names (`devices.simulator.wire`). A device whose protocol states whole
seconds reports on whole seconds. The city counts `seq` per device as it goes: one city object is one run.
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from devices.codecs import Context
from devices.codecs import load as load_codecs
from devices.fleet import Entry
from devices.readings import Bool, Float64, Int64, Sample
from devices.simulator import faults as faulty
from devices.simulator.chance import keys, uniform
from devices.simulator.faults import Injected, Labelled
from devices.simulator.profiles import KindModel
from devices.simulator.wire import JSON, Channel, Voice, Voices
from devices.spec import Kind

_SLICE_ROWS: Final = 2000  # readings made at a time: enough for numpy, few enough to start at once
_MS: Final = 1000
_GATEWAY_SAMPLES: Final = 500  # a gateway splits what would not fit one payload
_NOTHING: Final[Mapping[str, float]] = {}


class Told(NamedTuple):
    """One reading in a payload, as it must come out in the end.

    `time_us`: None where the protocol states no time and the reading gets that of its receipt. `values`: by quantity,
    of readings without a time, which nothing else tells apart; empty for the others.
    """

    device: str
    time_us: int | None
    values: Mapping[str, float]


class Emission(NamedTuple):
    """One payload to send at `due_us`. `device` is the topic's: a device or a gateway.

    `address`: of the sender on the wire. `channel`: the broker, or a connection of the sender's own.
    """

    due_us: int
    topic: str
    payload: bytes
    device: str
    readings: int
    told: tuple[Told, ...] = ()
    address: str = ""
    channel: Channel = Channel.MQTT


@dataclass(slots=True)
class _Population:
    """All devices of one kind: their regular pace, and the reports that faults add."""

    model: KindModel
    entries: list[Entry]
    voices: list[Voice | None]
    period_us: Int64
    phase_us: Int64
    seq: list[int]
    injected: list[Injected]
    extra_rows: Int64
    extra_us: Int64
    names: list[str]


class City:
    """Every device of `entries`, from `start_us` on, with the faults of `labels`."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        entries: Sequence[Entry],
        *,
        seed: int,
        start_us: int,
        labels: Sequence[Labelled] = (),
    ) -> None:
        self.kinds, self.entries, self.seed = kinds, list(entries), seed
        self.start_us = start_us // _MS * _MS
        self.labels = sorted(labels, key=lambda label: (label.start_us, label.device))
        self._codecs = load_codecs()
        self._voices = Voices(self._codecs)
        self._gateway_districts = {e.gateway: e.district or "none" for e in self.entries if e.gateway}
        self._people = [
            self._population(kind, [e for e in self.entries if e.kind == name]) for name, kind in kinds.items()
        ]
        self._people = [one for one in self._people if one.entries]

    @property
    def rate_per_s(self) -> float:
        """Readings per simulated second without faults."""
        return float(sum((1e6 / one.period_us).sum() for one in self._people))

    @property
    def clockless(self) -> frozenset[str]:
        """Devices whose protocol states no time: their readings get that of their receipt."""
        voices = [
            (entry, voice) for one in self._people for entry, voice in zip(one.entries, one.voices, strict=True)
        ]
        return frozenset(entry.id for entry, voice in voices if voice is not None and not voice.resolution_us)

    def emissions(self, from_us: int, to_us: int) -> Iterator[Emission]:
        """What is due in [from_us, to_us), by time; call it for adjoining spans, in order."""
        step = max(_MS, int(_SLICE_ROWS / max(self.rate_per_s, 1e-9) * 1e6) // _MS * _MS)
        for begin in range(from_us, to_us, step):
            yield from self._slice(begin, min(begin + step, to_us))

    def _slice(self, begin: int, end: int) -> list[Emission]:
        out: list[Emission] = []
        children: dict[tuple[int, str], list[Sample]] = {}
        for people in self._people:
            rows, time_us = _due(people, begin, end)
            if not len(rows):
                continue
            shown = self._values(people, rows, time_us).tolist()
            ahead = faulty.ahead_us(_overlapping(people.injected, begin, end), rows, time_us).tolist()
            for row, moment, fast, numbers in zip(rows.tolist(), time_us.tolist(), ahead, shown, strict=True):
                people.seq[row] += 1
                entry = people.entries[row]
                measured = {n: v for n, v in zip(people.names, numbers, strict=True) if v == v}  # noqa: PLR0124  NaN
                sample = Sample(entry.id, moment + fast, measured, people.seq[row])
                voice = people.voices[row]
                if voice is None:
                    children.setdefault((moment, entry.gateway), []).append(sample)
                else:
                    out += _spoken(entry, voice, sample, moment)
        for (moment, gateway), samples in children.items():
            out += self._gateway(moment, gateway, samples)
        # Stable: an edge node's births stay before its data.
        out.sort(key=operator.attrgetter("due_us"))
        return out

    def _gateway(self, moment: int, gateway: str, samples: list[Sample]) -> Iterator[Emission]:
        topic = f"city/{self._gateway_districts[gateway]}/gateway/{gateway}/up"
        for start in range(0, len(samples), _GATEWAY_SAMPLES):
            part = samples[start : start + _GATEWAY_SAMPLES]
            payload = self._codecs[JSON].encode(part, Context())
            told = tuple(Told(sample.device, sample.time_us, _NOTHING) for sample in part)
            yield Emission(moment, topic, payload, gateway, len(part), told, gateway)

    def _values(self, people: _Population, rows: Int64, time_us: Int64) -> Float64:
        values = people.model.values(rows, time_us)
        active = faulty.bearing(people.injected, int(time_us[0]), int(time_us[-1]))
        faulty.apply(people.model, active, rows, time_us, values, seed=self.seed)
        return people.model.rounded(values)

    def _population(self, kind: Kind, entries: list[Entry]) -> _Population:
        model = KindModel(kind, seed=self.seed, start_us=self.start_us)
        row_of = {entry.id: row for row, entry in enumerate(entries)}
        injected = [
            faulty.inject(model, label, row_of[label.device])
            for label in self.labels
            if label.kind == kind.name and label.device in row_of
        ]
        period = np.array([int((e.cadence_s or kind.cadence_s) * 1e3) * _MS for e in entries], dtype=np.int64)
        # The children of a gateway report together; everything else is spread evenly over its period.
        names = np.array([zlib.crc32((e.gateway or e.id).encode()) for e in entries], dtype=np.int64)
        voices = [self._voice(kind, entry) for entry in entries]
        grain = np.array([_grain_us(voice) for voice in voices], dtype=np.int64)
        period = _upwards(period, grain)
        phase = (uniform(keys(self.seed, 11, names)) * period).astype(np.int64) // _MS * _MS + self.start_us
        rows, moments = _event_reports(injected, grain)
        return _Population(
            model,
            entries,
            voices,
            period,
            _upwards(phase, grain),
            [0] * len(entries),
            injected,
            rows,
            moments,
            [q.name for q in kind.quantities],
        )

    def _voice(self, kind: Kind, entry: Entry) -> Voice | None:
        """None for a child of a gateway that speaks our JSON for it; other protocols' devices report themselves."""
        if entry.gateway and entry.codec in ("", JSON):
            return None
        return self._voices.voice(kind, entry)


def _spoken(entry: Entry, voice: Voice, sample: Sample, due_us: int) -> Iterator[Emission]:
    """What `voice` makes of `sample` at `due_us`, if anything."""
    for said in voice.say(sample):
        told = [Told(entry.id, said.time_us, _NOTHING if said.time_us is not None else said.values)]
        if not said.values:
            told.clear()
        yield Emission(
            due_us,
            said.topic,
            said.payload,
            entry.id,
            len(told),
            tuple(told),
            voice.address,
            voice.channel,
        )


def _grain_us(voice: Voice | None) -> int:
    """Reports happen on multiples of it: what a protocol cannot state must not happen."""
    return max(_MS, voice.resolution_us) if voice is not None else _MS


def _upwards(moments: Int64, grain: Int64) -> Int64:
    """(n,) `moments` on the next multiple of `grain` (n,): never before a fault that a report is about."""
    rounded: Int64 = -(-moments // grain) * grain
    return rounded


def _event_reports(injected: Sequence[Injected], grain: Int64) -> tuple[Int64, Int64]:
    """Rows and times, by time, of the reports that events cause: at onset, at their pace, and at recovery."""
    rows, moments = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for one in injected:
        if one.fault.report_every_s:
            pace = int(one.fault.report_every_s * 1e3) * _MS
            times = np.append(
                np.arange(one.label.start_us, one.label.end_us, pace, dtype=np.int64), one.label.end_us
            )
            moments.append(_upwards(times, np.full(len(times), grain[one.row])))
            rows.append(np.full(len(times), one.row, dtype=np.int64))
    row, moment = np.concatenate(rows), np.concatenate(moments)
    order = np.argsort(moment, kind="stable")
    return row[order], moment[order]


def _due(people: _Population, begin: int, end: int) -> tuple[Int64, Int64]:
    """Rows and times of the reports in [begin, end): by time, each once, the silenced ones left out."""
    first = np.maximum(0, -((people.phase_us - begin) // people.period_us))
    count = np.maximum(0, -((people.phase_us + first * people.period_us - end) // people.period_us))
    rows = np.repeat(np.arange(len(count), dtype=np.int64), count)
    turn = np.arange(len(rows), dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
    time_us = people.phase_us[rows] + (first[rows] + turn) * people.period_us[rows]
    active = _overlapping(people.injected, begin, end)
    regular = ~_eventful(active, rows, time_us)
    rows, time_us = rows[regular], time_us[regular]
    low, high = np.searchsorted(people.extra_us, (begin, end))
    if high > low:
        pairs = np.stack(
            (
                np.append(time_us, people.extra_us[low:high]),
                np.append(rows, people.extra_rows[low:high]),
            )
        )
        time_us, rows = np.unique(pairs, axis=1)
    else:
        order = np.lexsort((rows, time_us))
        rows, time_us = rows[order], time_us[order]
    quiet = faulty.silenced(active, rows, time_us)
    return rows[~quiet], time_us[~quiet]


def _eventful(active: Sequence[Injected], rows: Int64, time_us: Int64) -> Bool:
    """(n,) true where an event's own reports take the place of the regular ones."""
    out = np.zeros(len(rows), dtype=np.bool_)
    for one in active:
        if one.fault.report_every_s:
            out |= (rows == one.row) & (time_us >= one.label.start_us) & (time_us <= one.label.end_us)
    return out


def _overlapping(injected: Sequence[Injected], begin: int, end: int) -> list[Injected]:
    return [one for one in injected if one.label.start_us <= end and one.label.end_us > begin]
