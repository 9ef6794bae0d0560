"""Deliveries to columnar readings.

From: journal blocks. To: the engine (batches in journal order) and quarantine (what could not be used, with
offset and reason). Pure: the same block and fleet give the same result. Calibration is applied here; quality
is judged later, in event-time order, by `ingest.quality`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from devices.codecs import Codec
from devices.errors import PayloadError
from devices.fleet import Fleet, KindFleet
from devices.readings import Batch, Int64, Quality, Reason, Sample
from ingest.journal import CONTROL, REFUSED, Block, Delivery
from ingest.topics import Topic, TopicError, parse_topic

_ROUTES_MAX = 400_000
GATEWAY = "gateway"  # topic kind under which a gateway sends for its children


class Refused(NamedTuple):
    """One delivery, or a part of it, that could not become a reading; it belongs into quarantine.

    `part`: which sample of the delivery, 0 for all of it. `byte_offset`: where decoding stopped, -1 if unknown.
    `size`: of the payload as it came, where `delivery` has only its first bytes.
    """

    offset: int
    part: int
    delivery: Delivery
    byte_offset: int
    reason: str
    device: str
    kind: str
    codec: str
    size: int | None = None


class _Cut(msgspec.Struct):
    """What the journal keeps of a delivery that ingest refused: an `ingest.packets.Refusal`."""

    topic: str
    size: int
    reason: str
    sample: bytes


@dataclass(slots=True)
class Timeline:
    """Journal offsets of a segment and our clock at each: (n,) and (n,) UTC microseconds, never falling."""

    offset: Int64
    clock: Int64

    def position(self, time_us: int) -> int:
        """Offset of the first delivery that made the clock pass `time_us`, the last one if none did."""
        place = int(np.searchsorted(self.clock, time_us, side="right"))
        return int(self.offset[min(place, len(self.offset) - 1)])


@dataclass(slots=True)
class Decoded:
    """A segment of the journal, decoded: one batch per kind that reported, uncalibrated rows never."""

    timeline: Timeline
    batches: list[Batch]
    refused: list[Refused]
    controls: int


def segments(blocks: Iterable[Block], *, span_us: int, rows: int) -> Iterator[Block]:
    """Join and cut consecutive blocks into pieces of at most `rows` deliveries and about `span_us` of our clock.

    Results do not depend on where the cuts fall; larger pieces only cost less.
    """
    joined: Block | None = None
    for block in blocks:
        if joined is not None and joined.next == block.first and len(joined.topics) < rows:
            joined = Block(
                joined.first,
                joined.topics + block.topics,
                joined.payloads + block.payloads,
                joined.received_us + block.received_us,
            )
        else:
            if joined is not None:
                yield from _cut(joined, span_us, rows)
            joined = block
    if joined is not None:
        yield from _cut(joined, span_us, rows)


def _cut(block: Block, span_us: int, rows: int) -> Iterator[Block]:
    clock = np.maximum.accumulate(np.array(block.received_us, dtype=np.int64))
    start = 0
    while start < len(clock):
        within = int(np.searchsorted(clock, clock[start] + span_us, side="right"))
        end = min(max(within, start + 1), start + rows)
        part = slice(start, end)
        yield Block(block.first + start, block.topics[part], block.payloads[part], block.received_us[part])
        start = end


@dataclass(slots=True)
class _Rows:
    """A batch under construction."""

    fleet: KindFleet
    columns: Mapping[str, int]
    blank: list[float]
    device: list[int] = field(default_factory=list)
    time_us: list[int] = field(default_factory=list)
    received_us: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    seq: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    flags: list[tuple[int, int, int]] = field(default_factory=list)

    def batch(self) -> Batch:
        """The rows as arrays, calibrated, instrument flags in place, quality otherwise unjudged (good)."""
        device = np.array(self.device, dtype=np.int32)
        values = np.array(self.values, dtype=np.float64).reshape(len(device), len(self.blank))
        if self.fleet.gain is not None and self.fleet.offset is not None:
            values = values * self.fleet.gain[device] + self.fleet.offset[device]
        quality = np.where(np.isnan(values), Quality.MISSING, Quality.GOOD).astype(np.uint8)
        reasons = np.zeros(values.shape, dtype=np.uint16)
        for row, column, flag in self.flags:
            quality[row, column] = flag
            reasons[row, column] = Reason.INSTRUMENT
        return Batch(
            self.fleet,
            device,
            np.array(self.time_us, dtype=np.int64),
            np.array(self.received_us, dtype=np.int64),
            np.array(self.offset, dtype=np.int64),
            np.array(self.seq, dtype=np.int64),
            values,
            quality,
            reasons,
            np.zeros(len(device), dtype=np.bool_),
        )


class _Route(NamedTuple):
    """What a topic means: whose it is and how to read it. `fleet` is None for a gateway."""

    topic: Topic
    codec: Codec
    fleet: KindFleet | None
    row: int


class Decoder:
    """Decodes segments for one fleet; make a new one when the fleet changes."""

    def __init__(self, fleet: Fleet, codecs: Mapping[str, Codec]) -> None:
        self._fleet = fleet
        self._codecs = codecs
        self._gateways = set(fleet.gateways)
        self._routes: dict[str, _Route] = {}
        self._columns = {
            name: {q.name: i for i, q in enumerate(kind_fleet.kind.quantities)}
            for name, kind_fleet in fleet.kinds.items()
        }

    def decode(self, segment: Block) -> Decoded:
        """All readings of `segment`, by kind, in journal order; the rest as refusals."""
        rows: dict[str, _Rows] = {}
        refused: list[Refused] = []
        controls = 0
        for place, topic in enumerate(segment.topics):
            if topic.startswith(CONTROL):
                if topic == REFUSED:
                    received_us = segment.received_us[place]
                    refused.append(self._cut(segment.first + place, segment.payloads[place], received_us))
                else:
                    controls += 1
                continue
            delivery = Delivery(topic, segment.payloads[place], segment.received_us[place])
            problem = self._delivery(segment.first + place, delivery, rows)
            if problem:
                refused.extend(problem)
        offsets = np.arange(segment.first, segment.next, dtype=np.int64)
        clock = np.maximum.accumulate(np.array(segment.received_us, dtype=np.int64))
        return Decoded(Timeline(offsets, clock), [r.batch() for r in rows.values() if r.device], refused, controls)

    def try_decode(self, topic: str, payload: bytes, received_us: int) -> str | None:
        """Why this delivery would be refused today; None when all of it decodes."""
        problem = self._delivery(0, Delivery(topic, payload, received_us), {})
        return problem[0].reason if problem else None

    def _delivery(self, offset: int, delivery: Delivery, rows: dict[str, _Rows]) -> list[Refused]:
        """Add the delivery's readings to `rows`; what could not be used comes back."""
        route = self._routes.get(delivery.topic)
        if route is None:
            found = self._route(delivery.topic)
            if isinstance(found, str):
                return [self._refuse(offset, 0, delivery, -1, found, None)]
            if len(self._routes) > _ROUTES_MAX:
                self._routes.clear()  # A device may vary the district in its topic; memory must not follow.
            route = self._routes[delivery.topic] = found
        try:
            samples = route.codec.decode(delivery.payload)
        except PayloadError as error:
            return [self._refuse(offset, 0, delivery, error.offset, str(error), route)]
        refused = []
        for part, sample in enumerate(samples):
            reason = self._sample(offset, delivery.received_us, sample, route, rows)
            if reason is not None:
                refused.append(self._refuse(offset, part, delivery, -1, reason, route))
        return refused

    def _cut(self, offset: int, record: bytes, received_us: int) -> Refused:
        """A delivery that ingest refused, with the bytes it kept."""
        try:
            cut = msgspec.json.decode(record, type=_Cut)
        except msgspec.DecodeError as error:
            reason = f"record of a refused delivery: {error}; the delivery itself is not known"
            return self._refuse(offset, 0, Delivery(REFUSED, record, received_us), -1, reason, None)
        found = self._route(cut.topic)
        route = None if isinstance(found, str) else found
        delivery = Delivery(cut.topic, cut.sample, received_us)
        return self._refuse(offset, 0, delivery, len(cut.sample), cut.reason, route)._replace(size=cut.size)

    def _sample(
        self, offset: int, received_us: int, sample: Sample, route: _Route, rows: dict[str, _Rows]
    ) -> str | None:
        """Add one sample to `rows`; the reason when it cannot be used, or not all of it."""
        if route.fleet is not None and sample.device == route.topic.device:
            fleet, row = route.fleet, route.row
        else:
            found = self._child(sample.device, route)
            if isinstance(found, str):
                return found
            fleet, row = found
        into = rows.get(fleet.kind.name)
        if into is None:
            into = rows[fleet.kind.name] = self._rows(fleet)
        values = into.blank.copy()
        columns = into.columns
        unknown = ""
        for name, value in sample.values.items():
            column = columns.get(name)
            if column is None:
                unknown = name
            else:
                values[column] = value
        if unknown and len(sample.values) == 1:
            return f"{sample.device}: expected a quantity of {fleet.kind.name}, got {unknown}; nothing was stored"
        if sample.flags:
            at = len(into.device)
            into.flags += [(at, columns[n], int(q)) for n, q in sample.flags.items() if n in columns]
        into.device.append(row)
        into.time_us.append(sample.time_us)
        into.received_us.append(received_us)
        into.offset.append(offset)
        into.seq.append(sample.seq)
        into.values += values
        if unknown:
            return f"{sample.device}: {fleet.kind.name} has no quantity {unknown}; the others were stored"
        return None

    def _rows(self, fleet: KindFleet) -> _Rows:
        return _Rows(fleet, self._columns[fleet.kind.name], [math.nan] * len(fleet.kind.quantities))

    def _child(self, device: str, route: _Route) -> tuple[KindFleet, int] | str:
        if route.fleet is not None:
            return f"{route.topic.device}: its payload names {device}; a device reports under its own id only"
        found = self._fleet.find(device)
        if found is None:
            return f"{device}: not registered; gateway {route.topic.device} reported it"
        fleet, row = found
        if fleet.gateway_id[row] != route.topic.device:
            return (
                f"{device}: registered under gateway {fleet.gateway_id[row] or 'none'}, not {route.topic.device}"
            )
        return found

    def _route(self, topic: str) -> _Route | str:
        try:
            parsed = parse_topic(topic)
        except TopicError as error:
            return str(error)
        if parsed.leaf != "up":
            return f"{parsed.device}: readings come under up, this came under {parsed.leaf}; it was not used"
        if parsed.kind == GATEWAY:
            return self._gateway_route(parsed)
        return self._device_route(parsed)

    def _device_route(self, parsed: Topic) -> _Route | str:
        fleet = self._fleet.kinds.get(parsed.kind)
        if fleet is None:
            return f"{parsed.device}: kind {parsed.kind} is unknown; known are {', '.join(self._fleet.kinds)}"
        row = fleet.index.get(parsed.device)
        if row is None:
            return f"{parsed.device}: not registered as {parsed.kind}; import it with 'undercity devices import'"
        codec = self._codecs.get(fleet.codec[row])
        if codec is None:
            return f"{parsed.device}: codec {fleet.codec[row]} is unknown; known are {', '.join(self._codecs)}"
        return _Route(parsed, codec, fleet, row)

    def _gateway_route(self, parsed: Topic) -> _Route | str:
        if parsed.device not in self._gateways:
            return f"{parsed.device}: no registered device belongs to this gateway; nothing was stored"
        return _Route(parsed, self._codecs["json"], None, -1)

    @staticmethod
    def _refuse(
        offset: int, part: int, delivery: Delivery, byte_offset: int, reason: str, route: _Route | None
    ) -> Refused:
        if route is None:
            return Refused(offset, part, delivery, byte_offset, reason, "", "", "")
        name = route.topic
        return Refused(offset, part, delivery, byte_offset, reason, name.device, name.kind, route.codec.name)
