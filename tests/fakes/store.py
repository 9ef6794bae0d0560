"""A time-series store that fails when told to, and remembers what it was given."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from devices.readings import Batch
from ingest.errors import StoreUnavailable
from ingest.timeseries.ports import Rejected, Written


class FlakyStore:
    """The writing half of `TimeSeriesStore`. `down`: every write fails. `refuse`: device rows it never takes."""

    def __init__(self) -> None:
        self.down = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.refuse: set[int] = set()
        self.rows: list[tuple[int, int]] = []  # (device row, time us) in the order of writing
        self.attempts = 0
        self._upto = 0

    def write(self, batches: Sequence[Batch], upto: int) -> Written:
        self.gate.wait(10)
        self.attempts += 1
        if self.down.is_set():
            raise StoreUnavailable("the store is away")
        rejected = []
        for batch in batches:
            for device, time_us in zip(batch.device.tolist(), batch.time_us.tolist(), strict=True):
                if device in self.refuse:
                    rejected.append(Rejected(batch.fleet.ids[device], batch.fleet.kind.name, time_us, "no"))
                else:
                    self.rows.append((device, time_us))
        self._upto = upto
        return Written(sum(map(len, batches)), tuple(rejected))

    def cursor(self) -> int:
        return self._upto
