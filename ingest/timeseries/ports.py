"""What a time-series store promises, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from devices.readings import Batch, Float64, Int64, UInt8
from devices.spec import Kind


@dataclass(frozen=True, slots=True)
class Rejected:
    """One point the store refused for good; the others were stored."""

    device: str
    kind: str
    time_us: int
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write."""

    rows: int
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """One quantity of one device over a range, ascending in time; n points.

    Raw: `value` (n,) and `quality` (n,). Downsampled: `time_us` is the bucket's start, `value` its mean, and
    `low`, `high`, `count` are filled; buckets without a value are absent.
    """

    time_us: Int64
    value: Float64
    quality: UInt8
    low: Float64 | None = None
    high: Float64 | None = None
    count: Int64 | None = None


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest value of every quantity of every device of a kind; n devices, q quantities.

    `time_us`: (n, q) UTC, 0 where there never was a value. `values`: (n, q), NaN there. `quality`: (n, q).
    """

    kind: Kind
    devices: list[str] = field(default_factory=list)
    time_us: Int64 | None = None
    values: Float64 | None = None
    quality: UInt8 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One moment of an alert, to be drawn over the curves. `phase`: raise or clear. `time_us`: UTC, event time."""

    kind: str
    device: str
    rule: str
    severity: str
    phase: str
    title_zh: str
    title_en: str
    time_us: int


@runtime_checkable
class Annotates(Protocol):
    """A store that keeps alerts beside the readings, for whoever draws both."""

    def annotate(self, marks: Sequence[Mark]) -> None:
        """Keep `marks`; the same device, rule, severity and time is the same mark.

        It never waits for a server. StoreUnavailable when they cannot be kept here; none of them is known to be.
        """
        ...


class TimeSeriesStore(Protocol):
    """Durable readings. One instance belongs to one thread for writing; reading is safe from any thread."""

    def write(self, batches: Sequence[Batch], upto: int) -> Written:
        """Store all rows of `batches` and the cursor `upto`, durably when this returns.

        Idempotent: a row is identified by device and time; repeating it changes nothing, a row with other
        quantities at the same time adds them, another value replaces. A row without any value stores nothing. A
        row the store refuses for good is reported and never stops the others. StoreUnavailable when nothing is
        known to be stored; the same write may be tried again. The cursor never goes back.
        """
        ...

    def cursor(self) -> int:
        """Journal offset up to which everything is stored; 0 for a new store."""
        ...

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """Values of one quantity with start <= time < end; per bucket of `every_us` when given.

        Buckets begin at multiples of `every_us` since 1970 UTC; MISSING and BAD values stay out of them.
        """
        ...

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """The newest value per device and quantity, not later than `now_us`."""
        ...

    def retain(self, before_us: int) -> None:
        """Delete every row older than `before_us`."""
        ...

    def close(self) -> None:
        """Release what is held; what was written stays."""
        ...
