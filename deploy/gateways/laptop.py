"""The journal of flashes on this machine, be it a laptop in a cabinet or the city's server.

From: settings, or none at all: then a folder `undercity-data` here, as everywhere else. To: the gateway commands.
"""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Final

from deploy.cli.options import settings_from
from deploy.wiring import open_database
from devices.firmware.journal import FlashBook

LINES: Final = "flashes.jsonl"


def flash_book(config: Path | None) -> FlashBook:
    """The journal, its database brought to the present schema, its JSON lines beside it."""
    settings = settings_from(config)
    database = open_database(settings)
    return FlashBook(database, lambda: time.time_ns() // 1000, lines=settings.data.dir / LINES)


def person(name: str) -> str:
    """Who does it: the name given, or the login's."""
    if name.strip():
        return " ".join(name.split())[:64]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a machine without accounts
        return "unknown"
