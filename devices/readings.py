"""Samples, readings and the columnar batch that carries them.

From: codecs (samples). To: quality, detectors and stores (batches). Everything inside is UTC microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
Bool = NDArray[np.bool_]


class Quality(IntEnum):
    """How far a value may be trusted (after QARTOD); larger is worse."""

    GOOD = 0
    SUSPECT = 1
    MAINTENANCE = 2
    BAD = 3
    MISSING = 4


class Reason(IntFlag):
    """Why a value is not good; several may hold."""

    NONE = 0
    PHYSICAL_RANGE = 1
    PLAUSIBLE_RANGE = 2
    RATE = 4
    FLAT = 8
    FUTURE_CLOCK = 16
    STALE_CLOCK = 32
    INSTRUMENT = 64
    LATE = 128


class Sample(msgspec.Struct, frozen=True, gc=False):
    """What a codec yields: one device, one instant, some quantities.

    `time_us`: UTC microseconds by the device's clock. `seq`: the device's own counter, -1 without one.
    `flags`: the instrument's own judgement per quantity, where its protocol carries one. `units`: unit of each value
    that the protocol states one for, as `devices.units` writes it; None where names and units are the kind's own.
    `states`: what the frame says in words (an event, a valve, whether the sender is there), for a person.
    """

    device: str
    time_us: int
    values: Mapping[str, float]
    seq: int = -1
    flags: Mapping[str, Quality] | None = None
    units: Mapping[str, str] | None = None
    states: Mapping[str, str] | None = None


@dataclass(slots=True)
class Batch:
    """Readings of one kind, columnar, in journal order; n rows, q quantities of `fleet.kind`.

    `device`: (n,) row in `fleet`. `time_us`, `received_us`: (n,) UTC. `offset`: (n,) journal offset of the delivery.
    `seq`: (n,) device counter or -1. `values`: (n, q), NaN where absent. `quality`: (n, q) Quality
    (MISSING where absent). `reasons`: (n, q) Reason. `late`: (n,) true where it must wake nobody.
    """

    fleet: KindFleet
    device: Int32
    time_us: Int64
    received_us: Int64
    offset: Int64
    seq: Int64
    values: Float64
    quality: UInt8
    reasons: UInt16
    late: Bool

    def __len__(self) -> int:
        return len(self.device)

    def take(self, rows: Int64 | Bool) -> Batch:
        """The rows selected by an index or a mask, as a new batch."""
        return Batch(
            self.fleet,
            self.device[rows],
            self.time_us[rows],
            self.received_us[rows],
            self.offset[rows],
            self.seq[rows],
            self.values[rows],
            self.quality[rows],
            self.reasons[rows],
            self.late[rows],
        )


def empty(fleet: KindFleet) -> Batch:
    """A batch of no rows."""
    none = np.empty(0, dtype=np.int64)
    values = np.empty((0, len(fleet.kind.quantities)))
    return Batch(
        fleet,
        none.astype(np.int32),
        none,
        none,
        none,
        none,
        values,
        values.astype(np.uint8),
        values.astype(np.uint16),
        none.astype(np.bool_),
    )


def concat(batches: list[Batch]) -> Batch:
    """One batch of all rows of `batches`, which must be of one kind and not empty."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    names = ("device", "time_us", "received_us", "offset", "seq", "values", "quality", "reasons", "late")
    return Batch(first.fleet, *(np.concatenate([getattr(b, n) for b in batches]) for n in names))
