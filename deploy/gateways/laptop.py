"""The journal of flashes on this machine, be it a laptop in a cabinet or the city's server.

From: settings, or none at all: then a folder `undercity-data` here, as everywhere else. To: the gateway commands.
"""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Final, NamedTuple

from deploy.cli.options import settings_from
from deploy.wiring import open_database
from devices.database import connect
from devices.firmware.journal import FlashBook

LINES: Final = "flashes.jsonl"


def flash_book(config: Path | None) -> PlacedBook:
    """The journal, its database brought to the present schema, its JSON lines beside it."""
    settings = settings_from(config)
    open_database(settings).dispose()
    return PlacedBook(Place(settings.database_url, settings.data.dir / LINES))


class Place(NamedTuple):
    """Where a journal is: what another process needs to open it too."""

    database_url: str
    lines: Path


class PlacedBook(FlashBook):
    """A journal that knows where it is; the schema there must be as it has to."""

    def __init__(self, place: Place) -> None:
        super().__init__(connect(place.database_url), lambda: time.time_ns() // 1000, lines=place.lines)
        self.place = place


def person(name: str) -> str:
    """Who does it: the name given, or the login's."""
    if name.strip():
        return " ".join(name.split())[:64]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a machine without accounts
        return "unknown"
