"""Signals, handled where it is safe.

A handler runs in the main thread between any two of its steps. Were that in the middle of `event.wait`, setting the
event there would wait for a lock that the thread itself holds, for ever. So a handler only fills a queue that was made
for it, and a thread does the rest.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

STOPPING: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def passed_on(tell: Callable[[], object], signals: Sequence[signal.Signals] = STOPPING) -> Iterator[None]:
    """While this lasts, call `tell` on a thread of its own, once for each of `signals` that comes."""
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def pass_on() -> None:
        while told.get():
            tell()

    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    before = {number: signal.signal(number, lambda *_: told.put(True)) for number in signals}  # noqa: FBT003
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.put(False)  # noqa: FBT003
