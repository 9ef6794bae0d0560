"""Feeds the store beside the pipeline, so that an alert never waits for a database.

From: the pipeline, judged rows of one segment after another. To: the store, joined into large writes. The store's
cursor moves with its rows, so whatever was queued at a crash comes again from the journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from devices.readings import Batch, concat
from ingest.errors import IngestError, StoreUnavailable
from ingest.timeseries.ports import Rejected, TimeSeriesStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """How readings are gathered into writes.

    `every_s`: a write at least so often. `rows`: or when so many rows wait. `queue_rows`: the pipeline waits when
    more than this are unwritten. `retry_s`, `retry_max_s`: first and longest pause after the store failed.
    """

    every_s: float = 1.0
    rows: int = 20_000
    queue_rows: int = 400_000
    retry_s: float = 0.5
    retry_max_s: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.rows <= self.queue_rows:
            raise IngestError(f"sink: expected 0 < rows <= queue_rows, got {self.rows} and {self.queue_rows}")


class StoreSink:
    """A writer thread with a bounded queue; `put` and `flush` belong to the pipeline's thread."""

    def __init__(
        self,
        store: TimeSeriesStore,
        settings: SinkSettings,
        on_rejected: Callable[[Sequence[Rejected]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_rejected = on_rejected
        self._changed = threading.Condition()
        self._waiting: list[Batch] = []
        self._rows = 0
        self._upto = self._written = store.cursor()
        self._urgent = False
        self._stopping = False
        self.rows_written = 0
        self.last_rows_s = 0.0  # Unix time at which rows were last stored
        self.failing = ""
        self._thread = threading.Thread(target=self._run, name="store-sink", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Journal offset up to which the store has everything."""
        return self._written

    def put(self, batches: Sequence[Batch], upto: int) -> None:
        """Queue the rows of a segment that ends before `upto`; waits while the queue is full."""
        with self._changed:
            while self._rows > self._settings.queue_rows and not self._stopping:
                self._changed.wait(0.1)
            self._waiting += batches
            self._rows += sum(len(batch) for batch in batches)
            self._upto = max(self._upto, upto)
            if self._rows >= self._settings.rows:
                self._changed.notify_all()

    def flush(self, upto: int, timeout_s: float) -> bool:
        """Wait until the store has everything before `upto`; False when it has not after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            while self._written < upto and time.monotonic() < deadline and self._thread.is_alive():
                self._changed.wait(0.05)
            return self._written >= upto

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and stop; False when the store would not take it in time (the journal has it)."""
        whole = self.flush(self._upto, timeout_s)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return whole

    def _run(self) -> None:
        while True:
            batches, upto = self._gather()
            if upto is None:
                return
            self._write(batches, upto)

    def _gather(self) -> tuple[list[Batch], int | None]:
        deadline = time.monotonic() + self._settings.every_s
        with self._changed:
            while not (self._urgent or self._stopping or self._rows >= self._settings.rows):
                left = deadline - time.monotonic()
                if left <= 0 and self._upto > self._written:
                    break
                self._changed.wait(max(left, 0.02))
            if self._stopping:
                return [], None
            self._urgent = False
            batches, self._waiting, self._rows = self._waiting, [], 0
            self._changed.notify_all()
            return batches, self._upto

    def _write(self, batches: list[Batch], upto: int) -> None:
        if upto <= self._written and not batches:
            return
        by_kind: dict[str, list[Batch]] = {}
        for batch in batches:
            by_kind.setdefault(batch.fleet.kind.name, []).append(batch)
        joined = [concat(parts) for parts in by_kind.values()]
        pause = self._settings.retry_s
        while not self._stopping:
            try:
                written = self._store.write(joined, upto)
            except StoreUnavailable as error:
                if not self.failing:
                    log.warning("store_unavailable", reason=str(error), now="readings wait; alerts go on")
                self.failing = str(error)
                with self._changed:
                    self._changed.wait(pause)
                pause = min(pause * 2, self._settings.retry_max_s)
                continue
            self._done(written.rows, written.rejected, upto)
            return

    def _done(self, rows: int, rejected: Sequence[Rejected], upto: int) -> None:
        if self.failing:
            log.info("store_recovered", waited_for=self.failing)
            self.failing = ""
        if rejected:
            self._on_rejected(rejected)
        with self._changed:
            self.rows_written += rows
            if rows:
                self.last_rows_s = time.time()
            self._written = upto
            self._changed.notify_all()
