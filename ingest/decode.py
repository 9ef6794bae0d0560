"""Deliveries to columnar readings.

From: journal blocks. To: the engine (batches in journal order) and quarantine (what could not be used, with
offset and reason). Pure: the same block and fleet give the same result. Calibration is applied here; quality
is judged later, in event-time order, by `ingest.quality`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from devices.codecs import Codec
from devices.errors import PayloadError
from devices.fleet import Fleet, KindFleet
from devices.readings import Batch, Bool, Int64, Quality, Reason, Sample
from ingest.journal import CONTROL, REFUSED, TCP_LINK, TCP_TICK, Block, Delivery
from ingest.reads import Reader
from ingest.routes import Memory, Route, Router, Scope
from ingest.rules import BUILT_IN, Rule
from ingest.topics import LOGGERS

_ROUTES_MAX = 400_000
_REFUSED_LOGGER = f'"topic":"{LOGGERS}/'.encode()


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


class Presence(NamedTuple):
    """What a protocol with births and deaths says of a sender, by its name on the wire.

    `at_us`: when it came, UTC microseconds by our clock.
    """

    offset: int
    at_us: int
    sender: str
    online: bool


@dataclass(slots=True)
class Decoded:
    """A segment of the journal, decoded: one batch per kind that reported, uncalibrated rows never.

    `loggers`: (n,) which records came from the TCP listener. `listener`: the segment begins with its start or end.
    """

    timeline: Timeline
    batches: list[Batch]
    refused: list[Refused]
    controls: int
    presence: list[Presence]
    loggers: Bool
    listener: bool


def segments(blocks: Iterable[Block], *, span_us: int, rows: int, edges: Sequence[int] = ()) -> Iterator[Block]:
    """Join and cut consecutive blocks into pieces of at most `rows` deliveries and about `span_us` of our clock.

    Results do not depend on where the cuts fall; larger pieces only cost less. `edges`: ascending moments by our clock
    that no piece lies across, because something else holds from there on.
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
                yield from _cut(joined, span_us, rows, edges)
            joined = block
    if joined is not None:
        yield from _cut(joined, span_us, rows, edges)


def _cut(block: Block, span_us: int, rows: int, edges: Sequence[int]) -> Iterator[Block]:
    clock = np.maximum.accumulate(np.array(block.received_us, dtype=np.int64))
    # From its first word on the listener has a clock of its own: a segment begins there.
    links = [place for place, topic in enumerate(block.topics) if topic == TCP_LINK]
    start = 0
    while start < len(clock):
        within = int(np.searchsorted(clock, clock[start] + span_us, side="right"))
        end = min(max(within, start + 1), start + rows, *(link for link in links if link > start))
        following = bisect_right(edges, int(clock[start]))
        if following < len(edges):
            end = min(end, max(start + 1, int(np.searchsorted(clock, edges[following]))))
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


class Decoder:
    """Decodes segments for one fleet; make a new one when the fleet changes, with the `memory` of the one before.

    `rules`: what topics besides ours mean. `memory`: what senders said before, by codec and sender; JSON values.
    """

    def __init__(
        self,
        fleet: Fleet,
        codecs: Mapping[str, Codec],
        rules: Sequence[Rule] = BUILT_IN,
        memory: Memory | None = None,
    ) -> None:
        self._router = Router(fleet, codecs, rules, memory)
        self._routes: dict[str, Route] = {}
        self._columns = {
            name: {q.name: i for i, q in enumerate(kind_fleet.kind.quantities)}
            for name, kind_fleet in fleet.kinds.items()
        }
        self._readers = {name: Reader(kind_fleet.kind) for name, kind_fleet in fleet.kinds.items()}

    @property
    def memory(self) -> Memory:
        """What senders said before; goes into snapshots."""
        return self._router.memory

    def decode(self, segment: Block) -> Decoded:
        """All readings of `segment`, by kind, in journal order; the rest as refusals."""
        rows: dict[str, _Rows] = {}
        refused: list[Refused] = []
        presence: list[Presence] = []
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
            problem = self._delivery(segment.first + place, delivery, rows, presence)
            if problem:
                refused.extend(problem)
        offsets = np.arange(segment.first, segment.next, dtype=np.int64)
        clock = np.maximum.accumulate(np.array(segment.received_us, dtype=np.int64))
        batches = [r.batch() for r in rows.values() if r.device]
        return Decoded(
            Timeline(offsets, clock),
            batches,
            refused,
            controls,
            presence,
            np.fromiter(map(_from_listener, segment.topics, segment.payloads), np.bool_, len(segment.topics)),
            segment.topics[0] == TCP_LINK,
        )

    def try_decode(self, topic: str, payload: bytes, received_us: int) -> str | None:
        """Why this delivery would be refused today; None when all of it decodes."""
        problem = self._delivery(0, Delivery(topic, payload, received_us), {}, [])
        return problem[0].reason if problem else None

    def _delivery(
        self, offset: int, delivery: Delivery, rows: dict[str, _Rows], presence: list[Presence]
    ) -> list[Refused]:
        """Add the delivery's readings to `rows`; what could not be used comes back."""
        route = self._routes.get(delivery.topic)
        if route is None:
            found = self._router.route(delivery.topic)
            if isinstance(found, str):
                return [_refuse(offset, 0, delivery, -1, found, None)]
            if len(self._routes) > _ROUTES_MAX:
                self._routes.clear()  # A device may vary the district in its topic; memory must not follow.
            route = self._routes[delivery.topic] = found
        route.context.received_us = delivery.received_us
        try:
            samples = route.codec.decode(delivery.payload, route.context)
        except PayloadError as error:
            return [_refuse(offset, 0, delivery, error.offset, str(error), route)]
        refused = []
        for part, sample in enumerate(samples):
            if sample.states is not None and "online" in sample.states:
                online = sample.states["online"] == "true"
                presence.append(Presence(offset, delivery.received_us, sample.device, online))
            reason = self._sample(offset, delivery.received_us, sample, route, rows)
            if reason is not None:
                refused.append(_refuse(offset, part, delivery, -1, reason, route))
        return refused

    def _cut(self, offset: int, record: bytes, received_us: int) -> Refused:
        """A delivery that ingest refused, with the bytes it kept."""
        try:
            cut = msgspec.json.decode(record, type=_Cut)
        except msgspec.DecodeError as error:
            reason = f"record of a refused delivery: {error}; the delivery itself is not known"
            return _refuse(offset, 0, Delivery(REFUSED, record, received_us), -1, reason, None)
        found = self._router.route(cut.topic)
        route = None if isinstance(found, str) else found
        delivery = Delivery(cut.topic, cut.sample, received_us)
        return _refuse(offset, 0, delivery, len(cut.sample), cut.reason, route)._replace(size=cut.size)

    def _sample(
        self, offset: int, received_us: int, sample: Sample, route: Route, rows: dict[str, _Rows]
    ) -> str | None:
        """Add one sample to `rows`; the reason when it cannot be used, or not all of it."""
        if route.fleet is not None and sample.device == route.sender:
            fleet, row = route.fleet, route.row
        else:
            if not sample.values:
                return None
            found = self._router.whose(sample, route)
            if isinstance(found, str):
                # An edge node's figures about itself, where only its devices are registered, are nobody's reading.
                return None if route.scope is Scope.OPEN and sample.device == route.sender else found
            fleet, row = found
        if not sample.values:
            return None
        into = rows.get(fleet.kind.name)
        if into is None:
            into = rows[fleet.kind.name] = self._rows(fleet)
        if sample.units is None:
            reason, columns = _own_names(sample, fleet, into)
        else:
            reason, columns = self._wire_names(sample, fleet, row, into)
        if columns is None:
            return reason
        if sample.flags:
            at = len(into.device)
            into.flags += [(at, columns[n], int(q)) for n, q in sample.flags.items() if n in columns]
        settings = fleet.settings[row]
        ours = settings is not None and settings.get("clock") == "received"
        into.device.append(row)
        into.time_us.append(received_us if ours else sample.time_us)
        into.received_us.append(received_us)
        into.offset.append(offset)
        into.seq.append(sample.seq)
        return reason

    def _wire_names(
        self, sample: Sample, fleet: KindFleet, row: int, into: _Rows
    ) -> tuple[str | None, Mapping[str, int] | None]:
        """Add the values under the protocol's names; what is wrong with them, and the column of each that was taken."""
        assert sample.units is not None  # noqa: S101  asked before
        device = fleet.ids[row]
        places, used, problem = self._readers[fleet.kind.name].plan(
            sample.values, sample.units, fleet.settings[row]
        )
        if not used:
            return f"{device}: {problem}; nothing was stored", None
        values = into.blank.copy()
        columns: dict[str, int] = {}
        for (name, value), place in zip(sample.values.items(), places, strict=True):
            if place.column >= 0:
                values[place.column] = value * place.scale + place.shift
                columns[name] = place.column
        into.values += values
        return (f"{device}: {problem}; the others were stored" if problem else None), columns

    def _rows(self, fleet: KindFleet) -> _Rows:
        return _Rows(fleet, self._columns[fleet.kind.name], [math.nan] * len(fleet.kind.quantities))


def _from_listener(topic: str, payload: bytes) -> bool:
    """Whether a record came from the TCP listener; of one that was refused, by the topic in it."""
    if topic.startswith(CONTROL):
        return topic in (TCP_LINK, TCP_TICK) or (topic == REFUSED and _REFUSED_LOGGER in payload)
    return topic.startswith(f"{LOGGERS}/")


def _own_names(sample: Sample, fleet: KindFleet, into: _Rows) -> tuple[str | None, Mapping[str, int] | None]:
    """Add the values under our own names and units; as `_wire_names`."""
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
        return (
            f"{sample.device}: expected a quantity of {fleet.kind.name}, got {unknown}; nothing was stored",
            None,
        )
    into.values += values
    if unknown:
        return f"{sample.device}: {fleet.kind.name} has no quantity {unknown}; the others were stored", columns
    return None, columns


def _refuse(
    offset: int, part: int, delivery: Delivery, byte_offset: int, reason: str, route: Route | None
) -> Refused:
    if route is None:
        return Refused(offset, part, delivery, byte_offset, reason, "", "", "")
    device = route.sender if route.scope is not Scope.OPEN else ""
    return Refused(offset, part, delivery, byte_offset, reason, device, route.kind, route.codec.name)
