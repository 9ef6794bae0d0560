"""Lines on the disk before InfluxDB: the pipeline goes on while the server is away.

    write -> lines -> spool (a journal of our own) -> thread -> InfluxDB
                          |
                      the cursor that the pipeline sees

From: the sink. To: `InfluxStore`, block by block and in order, tried again for as long as it takes. A block leaves
the spool when the server has answered for each of its lines; after a crash the last one is written again, which
changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from devices.readings import Batch
from devices.spec import Kind
from ingest.errors import JournalError, StoreError, StoreUnavailable
from ingest.journal import Delivery, Journal, JournalSettings
from ingest.timeseries.influx import InfluxStore
from ingest.timeseries.lines import ALERTS, LineBuilder, mark_lines
from ingest.timeseries.ports import History, Latest, Mark, Rejected, Written
from ingest.timeseries.retry import RetryPolicy
from ingest.timeseries.rows import admit, merged

log = structlog.get_logger(__name__)
_CONSUMER = "influx"
# A name with $ is a mark, not a consumer: trimming does not wait for it.
_STORED = "$stored"
# Alerts go on while somebody else holds the spool: rather lose a mark than wait longer.
_MARK_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """Where lines wait. `request_bytes`: small blocks are joined into requests of about this size.

    `idle_s`: how often the thread looks when it was told of nothing. `trim_every`: after so many requests what is done
    leaves the file.
    """

    path: Path = Path("spool.db")
    request_bytes: int = 1_000_000
    idle_s: float = 0.5
    trim_every: int = 20
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if self.request_bytes < 1 or self.idle_s <= 0 or self.trim_every < 1:
            raise StoreError("spool: expected request_bytes >= 1, idle_s > 0 and trim_every >= 1")


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits in the spool. `since_us`: when the oldest of it came, None when nothing waits."""

    writes: int
    since_us: int | None
    failing: str = ""


class SpooledStore:
    """A `TimeSeriesStore`: `write` and `cursor` are the spool's, reading is the server's.

    A reading is on the server a moment after `write` returned, or whenever that answers again. Rows the server
    refuses for good go to `on_rejected`, on the thread; `Written.rejected` has those refused before.
    """

    def __init__(
        self,
        store: InfluxStore,
        settings: SpoolSettings,
        *,
        now: Callable[[], int],
        on_rejected: Callable[[Sequence[Rejected]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._on_rejected = on_rejected
        self._lines = LineBuilder(now())
        # Done is done: the file keeps no more than what waits.
        self._journal_settings = JournalSettings(retention_days=1e-9)
        self._journal = self._spool()
        # Before anything is written: a consumer not heard of would begin at the oldest block still there, and so
        # would the mark.
        self._journal.move_cursor(_CONSUMER, self._journal.cursor(_CONSUMER))
        if self._journal.end() == 0:
            self._journal.move_cursor(_STORED, 0)
        self._upto = self._journal.cursor(_STORED)
        self._state = threading.Condition()
        self._end = self._journal.end()
        self._sent = self._journal.cursor(_CONSUMER)
        self._since_us: int | None = None
        self._failing = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="influx-writer", daemon=True)
        self._thread.start()

    def _spool(self) -> Journal:
        return Journal(self._settings.path, self._journal_settings)

    def write(self, batches: Sequence[Batch], upto: int) -> Written:
        """See `TimeSeriesStore.write`; durable in the spool when this returns."""
        received_us, count = self._now(), 0
        rejected: list[Rejected] = []
        deliveries: list[Delivery] = []
        for batch in batches:
            rows, refusals = admit(batch)
            count += len(rows)
            rejected += refusals
            if block := self._lines.block(merged(rows)):
                deliveries.append(Delivery(f"lines/{batch.fleet.kind.name}", block, received_us))
        end = max(upto, self._upto)
        try:
            self._journal.append(deliveries)
            # A crash between the two repeats lines, which changes nothing.
            self._journal.move_cursor(_STORED, end)
        except JournalError as error:
            raise StoreUnavailable(f"spool: {error}") from error
        self._upto = end
        with self._state:
            self._end = max(self._end, self._journal.end())
            self._state.notify_all()
        return Written(count, tuple(rejected))

    def annotate(self, marks: Sequence[Mark]) -> None:
        """See `Annotates.annotate`; durable in the spool when this returns. From any thread."""
        block = mark_lines(marks)
        if not block:
            return
        try:
            # Alerts come from another thread than rows do, and seldom: a journal of its own for each time.
            spool = Journal(self._settings.path, replace(self._journal_settings, busy_timeout_s=_MARK_PATIENCE_S))
            try:
                spool.append([Delivery(f"lines/{ALERTS}", block, self._now())])
                end = spool.end()
            finally:
                spool.close()
        except JournalError as error:
            raise StoreUnavailable(f"spool: {error}") from error
        with self._state:
            self._end = max(self._end, end)
            self._state.notify_all()

    def cursor(self) -> int:
        """See `TimeSeriesStore.cursor`: everything up to it is durable, here or on the server."""
        return self._upto

    def lag(self) -> Lag:
        """What the server does not have yet, and why."""
        with self._state:
            waiting = self._end - self._sent
            return Lag(waiting, self._since_us if waiting else None, self._failing)

    def drained(self, timeout_s: float) -> bool:
        """Wait until the server has everything; False when it has not after `timeout_s`."""
        with self._state:
            return self._state.wait_for(lambda: self._sent >= self._end, timeout_s)

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """See `TimeSeriesStore.history`; as the server has it now."""
        return self._store.history(kind, device, quantity, start_us, end_us, every_us)

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `TimeSeriesStore.latest`; as the server has it now."""
        return self._store.latest(kind, now_us)

    def retain(self, before_us: int) -> None:
        """See `TimeSeriesStore.retain`."""
        self._store.retain(before_us)

    def close(self) -> None:
        """See `TimeSeriesStore.close`; what waits stays in the spool."""
        self._stop.set()
        with self._state:
            self._state.notify_all()
        self._thread.join()
        self._journal.close()
        self._store.close()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            spool: Journal | None = None
            try:
                spool = self._spool()
                self._forward(spool)
            except JournalError as error:
                failures += 1
                log.error("spool_unreadable", reason=str(error), now="lines wait in it; reading is tried again")  # noqa: TRY400  a line for a person
                self._stop.wait(self._settings.retry.pause_s(failures))
            finally:
                if spool is not None:
                    spool.close()

    def _forward(self, spool: Journal) -> None:
        requests = 0
        while not self._stop.is_set():
            body, upto, since_us = self._next(spool)
            if not body:
                with self._state:
                    if self._sent >= self._end:
                        self._state.wait(self._settings.idle_s)
                continue
            with self._state:
                self._since_us = since_us
            rejected = self._deliver(body)
            if rejected is None:
                return
            if rejected:
                self._on_rejected(rejected)
            spool.move_cursor(_CONSUMER, upto)
            with self._state:
                self._sent = upto
                self._state.notify_all()
            requests += 1
            if requests % self._settings.trim_every == 0:
                spool.retain(self._now())

    def _next(self, spool: Journal) -> tuple[bytes, int, int]:
        """The next request's lines, the offset behind them, and when the first of them came."""
        parts: list[bytes] = []
        size, upto, since_us = 0, self._sent, 0
        for block in spool.read(self._sent):
            since_us = since_us or block.received_us[0]
            parts += block.payloads
            size += sum(map(len, block.payloads))
            upto = block.next
            if size >= self._settings.request_bytes:
                break
        return b"".join(parts), upto, since_us

    def _deliver(self, body: bytes) -> tuple[Rejected, ...] | None:
        """Until the server has answered; None when told to stop before."""
        failures = 0
        while not self._stop.is_set():
            try:
                rejected = self._store.write_block(body)
            except StoreUnavailable as error:
                failures += 1
                if not self._failing:
                    log.warning("influx_unavailable", reason=str(error), now="lines wait in the spool")
                with self._state:
                    self._failing = str(error)
                self._stop.wait(self._settings.retry.pause_s(failures))
                continue
            if self._failing:
                log.info("influx_recovered", waited_for=self._failing)
                with self._state:
                    self._failing = ""
            return rejected
        return None
