"""`undercity`: finds the commands in this folder and turns every refusal into one line.

Each command file offers `register(app)`. An `UndercityError` reaches the person as its text and exit code 1.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import typer

import deploy.cli
from devices.errors import UndercityError

app = typer.Typer(
    name="undercity",
    help="Real-time monitoring of a city's underground utilities.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _register_all() -> None:
    for module_info in pkgutil.iter_modules(deploy.cli.__path__):
        module = importlib.import_module(f"deploy.cli.{module_info.name}")
        register = getattr(module, "register", None)
        if register is not None:
            register(app)


def main() -> None:
    """Run one command; the console script's entry."""
    _register_all()
    try:
        app()
    except UndercityError as error:
        print(f"undercity: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
