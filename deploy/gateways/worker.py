"""One board's process among many: flashes it, tells how far it is, leaves the rest to the journal.

From: `many.Rollout`, forked off a process that has imported this module and nothing that was opened. To: the journal of
flashes, and a pipe that carries (step, bytes done, bytes in all).
"""

from __future__ import annotations

import contextlib
import signal
import sys
from multiprocessing.connection import Connection

from deploy.gateways.laptop import Place, PlacedBook
from deploy.gateways.single import Job, run, seldom
from devices.errors import UndercityError
from devices.firmware.driver import Step
from devices.firmware.drivers import load as load_drivers

load_drivers()  # before any board's process begins, so that none has to wait for it


def work(job: Job, place: Place, pipe: Connection) -> None:
    """Flash one board; exit code 1 when it did not succeed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def tell(step: Step, done: int, total: int) -> None:
        # Who listened may be gone; the board is flashed all the same.
        with contextlib.suppress(OSError):
            pipe.send((step.value, done, total))

    try:
        run(job, PlacedBook(place), seldom(tell))
    except (UndercityError, KeyboardInterrupt):
        sys.exit(1)  # the journal says why
    finally:
        pipe.close()
