"""Engine state on disk: a snapshot plus the journal from its cursor rebuilds everything exactly.

One file per snapshot, named by its journal offset, written whole and renamed into place; the newest few are
kept. Arrays are stored with the device ids they belong to, so that a registry that changed meanwhile finds its
rows again.
"""

from __future__ import annotations

import copy
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from devices.fleet import Fleet
from devices.packed import PackedArray, pack, unpack
from devices.readings import Batch, Int64
from ingest.order import Outage
from ingest.routes import Memory
from processors.engines.local import Engine
from processors.engines.rules import Arrays
from processors.engines.sources import Clock, SourceClock
from processors.errors import SnapshotError

_BATCH = ("device", "time_us", "received_us", "offset", "seq", "values", "quality", "reasons", "late")
_MAGIC = b"UCSNAP1\n"
KEEP = 3


class _KindState(msgspec.Struct):
    quantities: list[str]
    ids: list[str]
    parts: dict[str, dict[str, PackedArray]]
    held: dict[str, PackedArray] | None


class State(msgspec.Struct):
    """Everything an engine knows at one journal offset, ready to be written."""

    offset: int
    now_us: int
    listening: bool
    broker: tuple[int, int, int]  # now, outage since, drained
    loggers: tuple[int, int, int]
    kinds: dict[str, _KindState]
    gateways: dict[str, PackedArray]
    gateway_ids: list[str]
    memory: Memory  # of the codecs, by sender


def capture(engine: Engine, offset: int, memory: Memory | None = None) -> State:
    """Copy the engine's state, and the codecs' `memory`, as it is before `offset`; quick, the pipeline hardly waits."""
    kinds = {}
    for name, rules in engine.kinds.items():
        held = rules.order.rows_held()
        kinds[name] = _KindState(
            quantities=[quantity.name for quantity in rules.fleet.kind.quantities],
            ids=list(rules.fleet.ids),
            parts={part: _packed(arrays) for part, arrays in rules.snapshot().items()},
            held=_packed({field: getattr(held, field) for field in _BATCH}) if held is not None else None,
        )
    watch, clock = engine.gateways, engine.clock
    return State(
        offset=offset,
        now_us=clock.now_us,
        listening=clock.listening,
        broker=_source(clock.broker),
        loggers=_source(clock.loggers),
        kinds=kinds,
        gateways=_packed({name: getattr(watch, name) for name in watch.STATE}),
        gateway_ids=list(watch.ids),
        memory=copy.deepcopy({sender: said for sender, said in (memory or {}).items() if said}),
    )


def _source(clock: SourceClock) -> tuple[int, int, int]:
    return clock.now_us, clock.outage.since_us, clock.outage.drained_us


def _clock(saved: tuple[int, int, int]) -> SourceClock:
    return SourceClock(saved[0], Outage(*saved[1:]))


def apply(engine: Engine, state: State) -> None:
    """Put `state` into a fresh engine; devices that left are dropped, new ones start afresh."""
    engine.tune(state.now_us)  # deadlines in the state were reckoned with the numbers of then
    engine.clock = Clock(state.now_us, state.listening, _clock(state.broker), _clock(state.loggers))
    for name, saved in state.kinds.items():
        rules = engine.kinds.get(name)
        if rules is None:
            continue
        index = rules.fleet.index
        rows = np.array([index.get(device, -1) for device in saved.ids], dtype=np.int64)
        rules.restore({part: _unpacked(arrays) for part, arrays in saved.parts.items()}, rows)
        rules.order.hold_again(_held(engine, name, saved, rows))
    known = {gateway: row for row, gateway in enumerate(engine.gateways.ids)}
    places = np.array([known.get(gateway, -1) for gateway in state.gateway_ids], dtype=np.int64)
    for field, array in _unpacked(state.gateways).items():
        getattr(engine.gateways, field)[places[places >= 0]] = array[places >= 0]


def _held(engine: Engine, name: str, saved: _KindState, rows: Int64) -> Batch | None:
    if saved.held is None:
        return None
    arrays = _unpacked(saved.held)
    columns: list[Any] = [arrays[field] for field in _BATCH]
    columns[0] = rows[columns[0]].astype(np.int32)
    batch = Batch(engine.kinds[name].fleet, *columns)
    return batch.take(batch.device >= 0)


def _packed(arrays: Arrays) -> dict[str, PackedArray]:
    return {name: pack(array) for name, array in arrays.items()}


def _unpacked(arrays: dict[str, PackedArray]) -> dict[str, NDArray[Any]]:
    return {name: unpack(packed).copy() for name, packed in arrays.items()}


def _fitting(path: Path, state: State, fleet: Fleet) -> State:
    """`state` if its columns are still those of `fleet`: a quantity must not go on with another one's past."""
    for name, saved in state.kinds.items():
        kind = fleet.kinds.get(name)
        wanted = [quantity.name for quantity in kind.kind.quantities] if kind else saved.quantities
        if saved.quantities != wanted:
            raise SnapshotError(
                f"snapshot {path}: {name}: expected quantities {', '.join(wanted)}, "
                f"got {', '.join(saved.quantities)}; it is not used"
            )
    return state


class SnapshotFolder:
    """The snapshots of one pipeline."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: State) -> Path:
        """Write `state` durably and drop all but the newest few; SnapshotError when the disk refuses."""
        packed = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(state))
        path = self._folder / f"{state.offset:020d}.snapshot"
        draft = path.with_suffix(".draft")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(_MAGIC + zlib.crc32(packed).to_bytes(4, "big") + packed)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            for old in self._paths()[:-KEEP]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise SnapshotError(f"snapshot {path}: {error}; the one before stays in use") from error
        return path

    def load(self, path: Path) -> State:
        """The state in `path`; SnapshotError when it is not whole."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SnapshotError(f"snapshot {path}: {error}; it is not used") from error
        body = data[len(_MAGIC) + 4 :]
        whole = data.startswith(_MAGIC) and zlib.crc32(body) == int.from_bytes(data[8:12], "big")
        if not whole:
            raise SnapshotError(f"snapshot {path}: its checksum does not match; it is not used")
        try:
            return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(body), type=State)
        except (msgspec.DecodeError, zstandard.ZstdError) as error:
            raise SnapshotError(f"snapshot {path}: {error}; it is not used") from error

    def newest(self, fleet: Fleet, *, not_after: int | None = None) -> tuple[State | None, list[str]]:
        """The newest snapshot (at or before offset `not_after`) that is whole and fits the kinds of `fleet`.

        Besides, why newer ones were passed over, one line each.
        """
        problems: list[str] = []
        for path in reversed(self._paths()):
            if not_after is not None and int(path.stem) > not_after:
                continue
            try:
                return _fitting(path, self.load(path), fleet), problems
            except SnapshotError as error:
                problems.append(str(error))
        return None, problems

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.snapshot"))
