"""`undercity doctor`: look at everything a running city needs, and say what to do."""

from __future__ import annotations

import typer

from deploy.cli.options import ConfigOption, JsonOption, settings_from

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Check broker, stores, disk, clock and registry; exit code 1 if anything fails."""
    from deploy.doctor import Verdict, examine  # noqa: PLC0415  quick help needs no layers

    lines = examine(settings_from(config))
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
