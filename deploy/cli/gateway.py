"""`undercity gateway`: an engineer at the bench or in a cabinet, with a laptop and a serial line; no network needed.

The commands lie in `gateway_*.py` beside this file, a few each; every such file offers `add(group)`.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer

import deploy.cli


def register(app: typer.Typer) -> None:
    """Add the group with all its commands."""
    group = typer.Typer(
        help="Gateways over serial: identify, flash, prove, provision, see their data arrive.",
        no_args_is_help=True,
    )
    for info in pkgutil.iter_modules(deploy.cli.__path__):
        if info.name.startswith("gateway_"):
            importlib.import_module(f"deploy.cli.{info.name}").add(group)
    app.add_typer(group, name="gateway")
