"""`undercity gateway journal ...`: what was flashed onto which board, when, by whom, shown by what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import ConfigOption, JsonOption


def add(group: typer.Typer) -> None:
    """Add the group of commands."""
    journal = typer.Typer(help="The journal of flashes.", no_args_is_help=True)
    journal.command("list")(newest)
    journal.command("import")(take)
    group.add_typer(journal, name="journal")


def newest(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many, newest first.")] = 20,
    gateway: Annotated[str, typer.Option("--gateway", help="Only those of this gateway.")] = "",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the last flashes, newest first."""
    from dataclasses import asdict  # noqa: PLC0415  quick help needs no layers

    import msgspec  # noqa: PLC0415

    from deploy.cli.options import settings_from, wall_clock  # noqa: PLC0415
    from deploy.gateways.laptop import flash_book  # noqa: PLC0415

    local = wall_clock(settings_from(config))
    found = flash_book(config).newest(limit, gateway=gateway)
    if json:
        print(msgspec.json.encode([asdict(one) for one in found]).decode())
        return
    for one in found:
        board = " ".join(filter(None, (one.board, one.revision, one.serial)))
        shown = "; ".join(filter(None, (f"shown by {one.proof}" if one.proof else one.detail, one.provisioned)))
        place = f"gateway {one.gateway}" if one.gateway else one.port
        facts = (
            local(one.begun_us),
            one.result.value,
            board,
            one.version,
            place,
            one.who,
            f"{one.seconds:.1f} s",
            shown,
        )
        print("  ".join(filter(None, facts)))


def take(
    file: Annotated[Path, typer.Argument(help="flashes.jsonl of a laptop's data folder.")],
    config: ConfigOption = None,
) -> None:
    """Take what a laptop flashed in the field into this journal; taking it twice changes nothing."""
    from deploy.gateways.laptop import flash_book  # noqa: PLC0415

    with file.open("rb") as lines:
        taken = flash_book(config).take(lines, file.name)
    print(f"{file}: {taken} entries were new or went further")
