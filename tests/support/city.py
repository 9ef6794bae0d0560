"""Deliveries and engines for tests of the machinery: a few wells with readable numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from devices.codecs import load as load_codecs
from devices.fleet import Fleet
from ingest.decode import Decoder, segments
from ingest.journal import TICK, Block, Delivery
from processors.engines.local import Engine, EngineSettings
from processors.findings import Finding

S = 1_000_000
T0 = 1_700_000_000 * S  # 2023-11-14T22:13:20Z


def reading(
    device: int, time_s: float, level: float, *, seq: int | None = None, received_s: float | None = None
) -> Delivery:
    """One JSON delivery of well WE-`device`; times in seconds after T0."""
    body = {"v": 1, "id": f"WE-{device}", "t": (T0 + int(time_s * S)) // 1000, "m": {"level_m": level}}
    if seq is not None:
        body["seq"] = seq
    received = T0 + int((time_s if received_s is None else received_s) * S)
    return Delivery(f"city/d/well/WE-{device}/up", json.dumps(body).encode(), received)


def ticks(from_s: int, to_s: int) -> list[Delivery]:
    """The journal's own ticks, one a second."""
    return [Delivery(TICK, b"", T0 + s * S) for s in range(from_s, to_s)]


def in_order(*parts: Iterable[Delivery]) -> list[Delivery]:
    """Deliveries of all `parts` by arrival."""
    return sorted((d for part in parts for d in part), key=lambda d: d.received_us)


def block(deliveries: Sequence[Delivery], first: int = 0) -> Block:
    """`deliveries` as the journal would give them back."""
    return Block(
        first,
        [d.topic for d in deliveries],
        [d.payload for d in deliveries],
        [d.received_us for d in deliveries],
    )


def run(engine: Engine, blocks: Iterable[Block]) -> list[Finding]:
    """Feed `blocks` as the pipeline does."""
    decoder = Decoder(engine.fleet, load_codecs())
    settings = engine.settings
    findings = []
    for segment in segments(blocks, span_us=int(settings.segment_s * 1e6), rows=settings.segment_rows):
        findings += engine.process(decoder.decode(segment)).findings
    return findings


def engine_for(fleet: Fleet, **settings: float) -> Engine:
    """A fresh engine over `fleet`."""
    return Engine(fleet, EngineSettings(**settings))  # type: ignore[arg-type]
