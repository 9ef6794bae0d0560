"""`undercity journal check|stats`: whether the journal is whole, how large it is, and who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from deploy.cli.options import ConfigOption, JsonOption, settings_from

if TYPE_CHECKING:
    from ingest.journal import Journal, JournalStats


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look into the journal; it may be in use meanwhile.", no_args_is_help=True)
    group.command("check")(check)
    group.command("stats")(stats)
    app.add_typer(group, name="journal")


def _open(config: ConfigOption) -> Journal:
    from ingest.journal import Journal  # noqa: PLC0415  quick help needs no layers

    settings = settings_from(config)
    return Journal(settings.journal_path, settings.journal, read_only=True)


def check(config: ConfigOption = None) -> None:
    """Read every block back and compare its checksum; exit code 1 if anything is damaged or missing."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    journal = _open(config)
    try:
        total = journal.stats().deliveries
        # Progress goes to standard error, and only to a terminal; the verdict is what a script reads.
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("reading back", total=total)
            faults = journal.check(lambda count: progress.advance(task, count))
    finally:
        journal.close()
    for fault in faults:
        print(fault)
    if faults:
        print(f"journal {journal.path}: {len(faults)} faults in {total} deliveries; what is whole stays readable")
        raise typer.Exit(1)
    print(f"journal {journal.path}: whole; {total} deliveries read back")


def stats(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Print size, span in time, and how far each consumer is."""
    journal = _open(config)
    try:
        found = journal.stats()
    finally:
        journal.close()
    if as_json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(_lines(str(journal.path), found)))


def _lines(path: str, found: JournalStats) -> list[str]:
    each = found.bytes_on_disk / found.deliveries if found.deliveries else 0.0
    lines = [
        f"journal      {path}",
        f"deliveries   {found.deliveries}, offsets {found.first} to {found.next}, in {found.blocks} commits",
        f"on disk      {found.bytes_on_disk / 1e6:.1f} MB, {each:.0f} bytes a delivery",
        f"received     {_moment(found.from_us)} to {_moment(found.to_us)}",
    ]
    for name, offset in found.cursors.items():
        lines.append(f"cursor       {name} at {offset}, {max(0, found.next - offset)} behind")
    return lines


def _moment(time_us: int | None) -> str:
    from processors.findings import iso  # noqa: PLC0415

    return "-" if time_us is None else iso(time_us)
