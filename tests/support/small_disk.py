"""A process whose files may not grow: what the embedded store does when the disk is full, and afterwards.

Run as a program: FOLDER. It writes until the limit stops it, prints the refusal and what can still be read, then lifts
the limit and writes the same again.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import numpy as np

from ingest.errors import StoreUnavailable
from ingest.timeseries.embedded import EmbeddedSettings, EmbeddedStore
from tests.support.series import SECOND, batch_of, fleet_of, kind_of

KIND = kind_of("well", "level_m")
START = 1_767_600_000 * SECOND


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def main() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = EmbeddedStore(EmbeddedSettings(path=Path(sys.argv[1]) / "store.duckdb", wal_mb=1))
    fleet, chance, number = fleet_of(KIND, ["A"]), np.random.default_rng(1), 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
    while True:
        # Noise does not compress: the file grows quickly.
        rows = [
            ("A", START + (number * 5000 + i) * SECOND, {"level_m": v}) for i, v in enumerate(chance.random(5000))
        ]
        batch = batch_of(fleet, rows)
        try:
            store.write([batch], number + 1)
        except StoreUnavailable as error:
            say(f"refused: {error}")
            break
        number += 1
    for _ in range(2):
        try:
            store.write([batch], number + 1)
        except StoreUnavailable:
            say("refused again")
    say(f"cursor {store.cursor() == number}")
    say("read", len(store.history(KIND, "A", "level_m", 0, START * 2).time_us) == number * 5000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.write([batch], number + 1)
    say("recovered", len(store.history(KIND, "A", "level_m", 0, START * 2).time_us) == (number + 1) * 5000)
    store.close()


if __name__ == "__main__":
    main()
