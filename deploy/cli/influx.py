"""`undercity influx setup`: makes an InfluxDB 2.7 server ours, as often as it is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from devices.errors import UndercityError

_TOKEN_ENV = "INFLUX_TOKEN"  # noqa: S105  the variable's name


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The InfluxDB server.", no_args_is_help=True)
    group.callback()(_group)
    group.command("setup")(setup)
    app.add_typer(group, name="influx")


def _group() -> None:
    """The InfluxDB server."""


def setup(
    url: Annotated[str, typer.Option(help="Where the server answers.")] = "http://127.0.0.1:8086",
    org: Annotated[str, typer.Option(help="Organisation; made if missing.")] = "undercity",
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with an operator's token; without it {_TOKEN_ENV}; a new server needs none."),
    ] = None,
    secrets_dir: Annotated[Path, typer.Option(help="Where tokens are written, mode 0600.")] = Path("secrets"),
    raw_days: Annotated[int, typer.Option(help="How long readings are kept.")] = 90,
    hourly_days: Annotated[int, typer.Option(help="How long hourly means are kept.")] = 5 * 365,
) -> None:
    """Make buckets, the hourly task and tokens; what is there already is brought up to date, never doubled."""
    from ingest.timeseries.influx_setup import (  # noqa: PLC0415  quick help needs no layers
        InfluxSetup,
        InfluxSetupSettings,
    )

    settings = InfluxSetupSettings(
        url=url, org=org, secrets_dir=secrets_dir, raw_days=raw_days, hourly_days=hourly_days
    )
    done = InfluxSetup(settings).run(_token(token_file))
    for line in done:
        print(line)
    print(f"influx {url}: {'ready' if done else 'ready; nothing had to be changed'}")


def _token(token_file: Path | None) -> str:
    if token_file is None:
        return os.environ.get(_TOKEN_ENV, "").strip()
    try:
        return token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        got = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        raise UndercityError(
            f"token file {token_file}: expected a readable file, got: {got}; nothing was changed"
        ) from error
