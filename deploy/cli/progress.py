"""How far a long command is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """How far `title` is: a bar on a terminal, a line for each quarter elsewhere; on standard error."""
    import sys  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(title)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    told = [0]

    def tell(done: int, total: int) -> None:
        quarter = 4 * done // max(total, 1)
        if quarter > told[0]:
            told[0] = quarter
            print(f"{title}: {25 * quarter} %", file=sys.stderr)

    yield tell
