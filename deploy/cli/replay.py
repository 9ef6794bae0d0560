"""`undercity replay`: the journal again, through the same code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deploy.cli.options import ConfigOption, moment, settings_from


def register(app: typer.Typer) -> None:
    """Add `replay`."""
    app.command()(replay)


def replay(
    config: ConfigOption = None,
    from_: Annotated[str, typer.Option("--from", help="First arrival, ISO 8601 UTC; default: all.")] = "",
    to: Annotated[str, typer.Option("--to", help="Up to this arrival, ISO 8601 UTC; default: all.")] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare with what the live run stated; exit 1 on any difference.")
    ] = False,
) -> None:
    """Print the findings of a stretch of the journal as JSON lines; stores nothing and wakes nobody."""
    from deploy.offline import replayed, stated  # noqa: PLC0415  heavy imports, this command only

    settings = settings_from(config)
    zone, nothing = "UTC", "nothing was replayed"
    span = moment(from_, "--from", zone, done=nothing), moment(to, "--to", zone, done=nothing)
    lines = [finding.line() for finding in replayed(settings, *span)]
    if not compare:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
        return
    live = stated(settings, *span)
    replayed_again, stated_live = set(lines), set(live)
    gone = [one for one in live if one not in replayed_again]
    new = [one for one in lines if one not in stated_live]
    for mark, some in ((b"- ", gone), (b"+ ", new)):
        for line in some:
            sys.stdout.buffer.write(mark + line + b"\n")
    print(
        f"{len(lines)} findings replayed, {len(live)} stated live, {len(gone) + len(new)} differ", file=sys.stderr
    )
    if gone or new:
        raise typer.Exit(1)
