"""The table that `make yardsticks` prints: a figure, its aim, what chance and a trivial rule would reach."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One figure. `met`: whether the aim is reached, None where it could not be measured; `note` says why."""

    yardstick: str
    measure: str
    figure: str
    aim: str
    met: bool | None
    chance: str
    baseline: str
    note: str = ""


def show(rows: Sequence[Row]) -> None:
    """Print `rows` as a table, the notes below."""
    table = Table("yardstick", "measure", "figure", "aim", "met", "chance", "baseline")
    for row in rows:
        met = {True: "yes", False: "NO", None: "-"}[row.met]
        table.add_row(row.yardstick, row.measure, row.figure, row.aim, met, row.chance, row.baseline)
    console = Console(width=160)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.yardstick}, {row.measure}: {row.note}", highlight=False)


def main(run: Callable[[Path | None, bool], list[Row]]) -> None:
    """One yardstick by itself: `python -m tests.yardsticks.NAME --data FOLDER [--quick]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="the folder with the public series")
    parser.add_argument("--quick", action="store_true", help="a smaller run, to see that it works")
    given = parser.parse_args()
    show(run(given.data, given.quick))
