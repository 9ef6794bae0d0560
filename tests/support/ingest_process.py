"""An ingest worker as a process: `python -m tests.support.ingest_process PORT JOURNAL INDEX [GROUP]`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from ingest.journal import JournalSettings
from ingest.mqtt import run_worker
from tests.support.broker import quick_settings


def main(port: str, journal: str, index: str, group: str = "") -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = quick_settings(int(port), share_group=group)
    run_worker(settings, Path(journal), JournalSettings(), stop, index=int(index))


if __name__ == "__main__":
    main(*sys.argv[1:])
