"""`undercity doctor`: look at everything a running city needs, and say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deploy.cli.options import ConfigOption, JsonOption, settings_from

if TYPE_CHECKING:
    from deploy.doctor import Line

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Check broker, stores, disk, clock and registry; exit code 1 if anything fails."""
    from deploy.doctor import Verdict, examine  # noqa: PLC0415  quick help needs no layers

    lines = [_source(config), *examine(settings_from(config))]
    if as_json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.encode(lines).decode())
    else:
        from rich.console import Console  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        console = Console(soft_wrap=True, highlight=False)
        for line in lines:
            text = Text(f"{line.verdict:<5} ", style=_STYLES[line.verdict]).append(
                f"{line.check}: {line.say}", style="default"
            )
            console.print(text.append(f"; {line.do}" if line.do else ""))
    if any(line.verdict is Verdict.FAIL for line in lines):
        raise typer.Exit(1)


def _source(config: Path | None) -> Line:
    """Which settings are looked at."""
    from deploy.doctor import Line, Verdict  # noqa: PLC0415
    from deploy.settings_loader import DEFAULT_FILE  # noqa: PLC0415

    file = config or DEFAULT_FILE
    if file.exists():
        return Line("settings", Verdict.OK, str(file.absolute()))
    say = f"no {DEFAULT_FILE} in {Path.cwd()}: the defaults and the environment are in force"
    return Line(
        "settings", Verdict.OK, say, "--config names another file; undercity settings show prints what is in force"
    )
