"""CPU per message of each stage, in one process, on realistic 200-byte messages of five quantities."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devices.codecs import load as load_codecs
from devices.fleet import Entry, build
from devices.kinds import load as load_kinds
from ingest.decode import Decoder, segments
from ingest.journal import Block, Delivery, Journal
from ingest.timeseries.embedded import EmbeddedSettings, EmbeddedStore
from processors.engines.local import Engine, EngineSettings
from tests.benchmarks.load import DISTRICT, payload

KIND = "manhole_cover"
QUANTITIES = 5  # of the kind's, in each message


@dataclass(slots=True)
class Stage:
    """One row of the table."""

    name: str
    us_per_message: float


def cpu(run: Callable[[], object]) -> float:
    """Seconds of this process's CPU that `run` took, all threads."""
    started = time.process_time()
    run()
    return time.process_time() - started


def messages(devices: int, count: int, start_us: int) -> list[Delivery]:
    """Round-robin readings at each quantity's usual level, arriving 15,000 a second."""
    kind = load_kinds()[KIND]
    middle = [(q.name, kind.simulate.shapes[q.name].level) for q in kind.quantities[:QUANTITIES]]
    out = []
    for i in range(count):
        round_, place = divmod(i, devices)
        body = payload(
            f"MC-{place:06d}",
            (start_us + i * 66) // 1000,
            round_ + 1,
            [(name, value + (i % 7) * 0.01) for name, value in middle],
        )
        out.append(Delivery(f"city/{DISTRICT}/{KIND}/MC-{place:06d}/up", body, start_us + i * 66))
    return out


def entries(count: int) -> list[Entry]:
    """`count` covers in one district."""
    return [Entry(f"MC-{i:06d}", KIND, DISTRICT, registered_us=0) for i in range(count)]


def run(devices: int = 5000, count: int = 60_000, commit: int = 150) -> tuple[list[Stage], float]:
    """The stages' costs, and bytes on disk per stored value."""
    start_us = time.time_ns() // 1000
    deliveries = messages(devices, count, start_us)
    fleet = build(load_kinds(), entries(devices))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        groups = [deliveries[i : i + commit] for i in range(0, count, commit)]
        append = cpu(lambda: [journal.append(group) for group in groups])
        blocks: list[Block] = []
        read = cpu(lambda: blocks.extend(_all(journal)))
        settings = EngineSettings()
        decoder = Decoder(fleet, load_codecs())
        decoded = []
        cut = int(settings.segment_s * 1e6)
        decode = cpu(lambda: decoded.extend(decoder.decode(s) for s in segments(blocks, span_us=cut, rows=1024)))
        engine = Engine(fleet, settings)
        outcomes = []
        detect = cpu(lambda: outcomes.extend(engine.process(one) for one in decoded))
        path = Path(folder) / "readings.duckdb"
        store = EmbeddedStore(EmbeddedSettings(path=path))
        batches = [batch for outcome in outcomes for batch in outcome.batches]
        size = 8
        write = cpu(lambda: [store.write(batches[i : i + size], i) for i in range(0, len(batches), size)])
        store.close()
        per_value = path.stat().st_size / (count * QUANTITIES)
        journal.close()
    costs = [("journal append", append), ("journal read", read), ("decode", decode)]
    costs += [("order, quality, detectors", detect), ("DuckDB", write)]
    return [Stage(name, seconds / count * 1e6) for name, seconds in costs], per_value


def _all(journal: Journal) -> list[Block]:
    out: list[Block] = []
    offset = 0
    while blocks := journal.read(offset, limit=256):
        out += blocks
        offset = blocks[-1].next
    return out


if __name__ == "__main__":
    stages, per_value = run()
    for stage in stages:
        print(f"{stage.name:30} {stage.us_per_message:6.2f} us")
    print(f"{'sum':30} {sum(s.us_per_message for s in stages):6.2f} us;  {per_value:.1f} bytes per value")
