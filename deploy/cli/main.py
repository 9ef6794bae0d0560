"""`undercity`: finds the commands in this folder and turns every refusal into one line.

Each command file offers `register(app)`. What ends a command reaches the person as one line on standard error:
exit code 1 for a refusal or a failing disk or database, 2 for a wrong word, 130 for Ctrl-C. A traceback is a bug.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import sqlite3
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

_DATABASES = {"psycopg", "sqlalchemy", "_duckdb"}


def _register_all() -> None:
    for module_info in pkgutil.iter_modules(deploy.cli.__path__):
        module = importlib.import_module(f"deploy.cli.{module_info.name}")
        register = getattr(module, "register", None)
        if register is not None:
            register(app)


def main() -> None:
    """Run one command; the console script's entry."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without our signs still gets the rest
    sys.exit(_run())


def _run() -> int:
    """Run one command; its exit code."""
    try:
        _register_all()
        command = typer.main.get_command(app)
        # Not `app()`: Typer would draw its own boxes, and leave with code 1 when `head` has seen enough.
        with command.make_context("undercity", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _refuse("interrupted", 130)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its text is the help, which is on the screen already
            return 2
        said = reason(error)
        if said is None:
            raise
        return _refuse(said, getattr(error, "exit_code", 1))
    return 0


def reason(error: Exception) -> str | None:
    """What a person is told of `error`, one line for each thing to mend; None for a bug of ours."""
    if isinstance(error, UndercityError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; the command ended here"
    if hasattr(error, "format_message"):  # Typer's usage errors, whose class is its own affair
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "undercity"
        said = " ".join(str(error.format_message()).split()).rstrip(".")
        return f"{path.removeprefix('undercity').strip()}: {said}; see '{path} --help'".removeprefix(": ")
    cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps what the driver said
    if isinstance(cause, sqlite3.Error) or type(cause).__module__.partition(".")[0] in _DATABASES:
        said = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        return f"database: {said}; the command ended here"
    return None


def _refuse(said: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"undercity: {said}", file=sys.stderr)
    return code
