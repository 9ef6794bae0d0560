"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
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
