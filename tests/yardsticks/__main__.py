"""All yardsticks in one table: python -m tests.yardsticks --data FOLDER [--quick] [--only NAME]."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tests.yardsticks
from tests.yardsticks.table import Row, show


def names() -> list[str]:
    """Every yardstick in this folder."""
    found = (module.name for module in pkgutil.iter_modules(tests.yardsticks.__path__))
    return sorted(
        name
        for name in found
        if name != "__main__" and hasattr(importlib.import_module(f"{tests.yardsticks.__name__}.{name}"), "run")
    )


def measured(name: str, data: Path | None, quick: bool) -> tuple[list[Row], float]:
    """One yardstick's rows, and the seconds it took."""
    started = time.perf_counter()
    rows = importlib.import_module(f"{tests.yardsticks.__name__}.{name}").run(data, quick)
    return rows, time.perf_counter() - started


def main() -> None:
    """Run and print them."""
    parser = argparse.ArgumentParser(prog="make yardsticks")
    parser.add_argument(
        "--data", type=Path, help="the folder with the public series; without it those are left out"
    )
    parser.add_argument("--quick", action="store_true", help="smaller runs, to see that they work")
    parser.add_argument("--only", choices=names(), action="append", help="this one; may be repeated")
    given = parser.parse_args()
    if given.data is not None and not given.data.is_dir():
        parser.error(f"--data: expected a folder, got {given.data}")
    rows: list[Row] = []
    with ProcessPoolExecutor(2) as workers:
        running = {name: workers.submit(measured, name, given.data, given.quick) for name in given.only or names()}
        for name, task in running.items():
            found, took = task.result()
            print(f"{name}: {took:.0f} s", file=sys.stderr)
            rows += found
    show(rows)


if __name__ == "__main__":
    main()
