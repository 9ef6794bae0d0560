"""The table of many boards: a bar each on a terminal, a line for each end elsewhere; on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.gateways.many import NOT_BEGUN, Row, share
from devices.firmware.journal import Result

_SIGNS = {Result.DONE: "✓", Result.RUNNING: "…", NOT_BEGUN: "·"}


@contextmanager
def drawing(title: str) -> Iterator[Callable[[list[Row]], None]]:
    """Draws the rows it is called with."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=5) as live:
            yield lambda rows: live.update(table(title, rows))
        return
    told: set[str] = set()

    def tell(rows: list[Row]) -> None:
        for row in rows:
            if row.ended and row.port.device not in told:
                told.add(row.port.device)
                console.print(line(row), markup=False, highlight=False, soft_wrap=True)

    yield tell


def table(title: str, rows: list[Row]) -> Table:
    """The rows as they stand."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "port", "group", "board", "step", "", "seconds", "what"):
        drawn.add_column(heading, no_wrap=heading != "what")
    for row in rows:
        drawn.add_row(
            _SIGNS.get(row.result, "✗"),
            row.port.device,
            str(row.group),
            f"{row.board} {row.serial}".strip(),
            row.step,
            ProgressBar(total=1.0, completed=share(row), width=24),
            f"{row.seconds:.1f}" if row.seconds else "",
            Text(row.why or row.proof or row.result),
        )
    return drawn


def line(row: Row) -> str:
    """One board's end, for a log."""
    who = f"{row.port.device} {row.board} {row.serial}".strip()
    return f"{who}: {row.result} after {row.seconds:.1f} s{f': {row.why}' if row.why else ''}"
