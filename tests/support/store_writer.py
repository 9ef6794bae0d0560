"""A process that writes to an embedded store until it is killed, and says what is safe.

Run as a program: FOLDER. After each write that returned it prints the cursor. Write n puts one row per device at the
n-th second; every third write repeats the one before with another value.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ingest.timeseries.embedded import EmbeddedSettings, EmbeddedStore
from tests.support.series import SECOND, Row, batch_of, fleet_of, kind_of

KIND = kind_of("well", "level_m", "battery_v")
DEVICES = [f"D{number}" for number in range(50)]
START = 1_767_600_000 * SECOND


def rows_of(number: int) -> list[Row]:
    repeats = number % 3 == 2
    time_us = START + (number - repeats) * SECOND
    return [(device, time_us, {"level_m": float(number)}) for device in DEVICES]


def main() -> None:
    store = EmbeddedStore(EmbeddedSettings(path=Path(sys.argv[1]) / "store.duckdb", wal_mb=1))
    fleet = fleet_of(KIND, DEVICES)
    number = store.cursor()
    while True:
        store.write([batch_of(fleet, rows_of(number))], number + 1)
        number += 1
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % 40 == 0:
            store.compact(START + 10 * 86_400 * SECOND)


if __name__ == "__main__":
    main()
