"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devices.errors import UndercityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="UNDERCITY_CONFIG",
        help="Settings file; without it undercity.toml of this folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def settings_from(config: Path | None, *, role: str = "") -> Settings:
    """The settings of `config` and the environment, with logging set up as they say; SettingsError line by line."""
    from deploy.logs import configure  # noqa: PLC0415  quick help needs no layers
    from deploy.settings_loader import load  # noqa: PLC0415

    settings = load(config)
    configure(settings.logs, role=role)
    return settings


def moment(text: str, option: str, zone: str, *, done: str = "nothing was run") -> int | None:
    """`text` as UTC microseconds, None where it is empty; a time without an offset is one of `zone`."""
    from datetime import datetime  # noqa: PLC0415
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    from devices.beijing import micros  # noqa: PLC0415

    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UndercityError(
            f"{option}: expected a time such as 2026-01-05T08:00:00Z, got {text!r:.60}; {done}"
        ) from None
    found = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))
    return micros(found)


def wall_clock(settings: Settings) -> Callable[[int | None], str]:
    """How UTC microseconds are printed: as on every screen; empty for None."""
    from datetime import UTC, datetime  # noqa: PLC0415
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    zone = ZoneInfo(settings.notify.zone)

    def local(time_us: int | None) -> str:
        if time_us is None:
            return ""
        try:
            return f"{datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}"
        except (ValueError, OverflowError, OSError):
            return f"{time_us} us"  # a device's clock may be beyond the calendar

    return local
