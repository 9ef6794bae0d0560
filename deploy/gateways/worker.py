"""One board's process among many: flashes it, tells how far it is, leaves the rest to the journal.

From: `many.Rollout`, forked off a process that has imported this module and nothing that was opened. To: the journal of
flashes, and a pipe that carries (step, bytes done, bytes in all).
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Final

from deploy.gateways.laptop import Place, PlacedBook
from deploy.gateways.single import Job, run
from devices.errors import UndercityError
from devices.firmware.driver import Step
from devices.firmware.drivers import load as load_drivers

_EVERY_S: Final = 0.1

load_drivers()  # before any board's process begins, so that none has to wait for it


def work(job: Job, place: Place, pipe: Connection) -> None:
    """Flash one board; exit code 1 when it did not succeed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    told_at = 0.0

    def told(step: Step, done: int, total: int) -> None:
        nonlocal told_at
        if done in {0, total} or time.monotonic() - told_at > _EVERY_S:
            told_at = time.monotonic()
            # Who listened may be gone; the board is flashed all the same.
            with contextlib.suppress(OSError):
                pipe.send((step.value, done, total))

    try:
        run(job, PlacedBook(place), told)
    except (UndercityError, KeyboardInterrupt):
        sys.exit(1)  # the journal says why
    finally:
        pipe.close()
