"""`undercity alerts list|show|ack|verdict`: the alert book on the command line; times as on every screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, JsonOption, settings_from, wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from processors.alerts.alert import Alert
    from processors.alerts.book import AlertBook
    from processors.alerts.verdicts import VerdictBook

_SHAPES = {"high": "▲1 high", "medium": "◆2 medium", "low": "●3 low"}


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look at alerts, and acknowledge them.", no_args_is_help=True)
    group.command("list")(list_alerts)
    group.command("show")(show)
    group.command("ack")(ack)
    group.command("verdict")(verdict)
    app.add_typer(group, name="alerts")


def _open(config: ConfigOption) -> tuple[AlertBook, Callable[[int | None], str]]:
    from deploy.schema import open_existing  # noqa: PLC0415
    from processors.alerts.book import AlertBook  # noqa: PLC0415

    settings = settings_from(config)
    return AlertBook(open_existing(settings.database_url)), wall_clock(settings)


def list_alerts(
    config: ConfigOption = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also alerts that are over, newest first.")] = False,
    device: Annotated[str | None, typer.Option(help="Only this device's, over or not.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the alerts that hold now, most severe first."""
    book, local = _open(config)
    past = everything or device is not None
    alerts = book.recent(limit, device=device) if past else book.active(limit)
    if as_json:
        _print_json(alerts)
        return
    if not alerts:
        print("no alerts")
        return
    rows = [
        (
            _SHAPES.get(a.severity, a.severity),
            a.state.value,
            a.device,
            a.rule,
            local(a.onset_us),
            _by_how_much(a),
            a.id,
        )
        for a in alerts
    ]
    print_table(("severity", "state", "device", "rule", "since", "observed / limit", "id"), rows)
    if not past and (hidden := sum(book.counts().values()) - len(alerts)) > 0:
        print(f"{hidden} more; see --limit")


def _by_how_much(alert: Alert) -> str:
    evidence = alert.evidence
    if evidence.observed is None:
        return ""
    limit = "" if evidence.limit is None else f" / {evidence.limit:g}"
    return f"{evidence.observed:g}{limit} {evidence.unit}".rstrip()


def _print_json(alerts: Sequence[Alert]) -> None:
    import msgspec  # noqa: PLC0415

    from processors.alerts.alert import as_json  # noqa: PLC0415

    print(msgspec.json.encode([as_json(alert) for alert in alerts]).decode())


def show(
    alert: Annotated[str, typer.Argument(help="Its id.")],
    config: ConfigOption = None,
    *,
    svg: Annotated[Path | None, typer.Option(help="Draw what the rule saw into this file, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one alert: why, what was seen against what limit, and everything that happened to it."""
    from processors.errors import AlertError  # noqa: PLC0415

    book, local = _open(config)
    found = book.get(alert)
    if found is None:
        raise AlertError(f"alert {alert}: there is none with this id; see 'undercity alerts list --all'")
    if as_json:
        _print_json([found])
        return
    evidence = found.evidence
    if svg is not None:
        _draw(found, svg)
    print(
        f"{_SHAPES.get(found.severity, found.severity)}  {found.device} ({found.kind})  {found.rule} v{found.version}"
    )
    for language in ("zh", "en"):
        if language in evidence.why:
            print(f"why       {evidence.why[language]}")
    if evidence.place:
        radius = "" if evidence.radius_m is None else f", within about {evidence.radius_m:.0f} m of the first"
        print(f"nearest   {' '.join(evidence.place)}{radius}")
    print(f"state     {found.state}")
    print(f"since     {local(found.onset_us)}, decided {local(found.raised_us)}")
    if found.cleared_us is not None:
        print(f"cleared   {local(found.cleared_us)}")
    print(f"observed  {_by_how_much(found)}  quality {evidence.quality}, held {evidence.hold_s:g} s")
    print(f"window    {evidence.window[0]} to {evidence.window[1]}, journal offset {found.raised_offset}")
    print(f"params    {', '.join(f'{name}={value:g}' for name, value in evidence.params.items())}")
    print()
    rows = [
        (local(change.at_us), change.step.value, change.after.value, change.by, change.note)
        for change in book.history(alert)
    ]
    print_table(("when", "step", "then", "by", "note"), rows)
    for one in _verdicts(config).of(alert):
        print(f"verdict   {'true' if one.true else 'false'}, {one.by}, {local(one.at_us)}  {one.note}".rstrip())


def _draw(found: Alert, path: Path) -> None:
    from devices.errors import UndercityError  # noqa: PLC0415
    from devices.kinds import load  # noqa: PLC0415
    from processors.evidence.chart import draw  # noqa: PLC0415

    drawn = draw(found.device, found.rule, found.onset_us, found.evidence, load().get(found.kind), zh=True)
    if not drawn:
        raise UndercityError(f"alert {found.id}: it carries no chart; nothing was written")
    try:
        path.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise UndercityError(f"--svg {path}: {error.strerror}; nothing was written") from error


def ack(
    alert: Annotated[str, typer.Argument(help="Its id.")],
    by: Annotated[str, typer.Option(help="Who has seen it.")],
    config: ConfigOption = None,
    *,
    note: Annotated[str, typer.Option(help="What they say about it.")] = "",
) -> None:
    """Record that a person has seen an alert."""
    import time  # noqa: PLC0415

    book, _ = _open(config)
    seen = book.acknowledge(alert, by, time.time_ns() // 1000, note)
    print(f"alert {alert}: {seen.state}, acknowledged by {seen.acknowledged_by}")


def verdict(
    alert: Annotated[str, typer.Argument(help="Its id.")],
    answer: Annotated[str, typer.Argument(help="true or false: whether there was what it said.")],
    by: Annotated[str, typer.Option(help="Who was there.")],
    config: ConfigOption = None,
    *,
    note: Annotated[str, typer.Option(help="What they found.")] = "",
) -> None:
    """Record whether an alert was true; the backtest counts with it, and the newest verdict on an alert is the one."""
    import time  # noqa: PLC0415

    from processors.alerts.verdicts import Verdict  # noqa: PLC0415
    from processors.errors import AlertError  # noqa: PLC0415

    known = {"true": True, "yes": True, "false": False, "no": False}
    if answer.lower() not in known:
        raise AlertError(
            f"alert {alert:.60}: expected true or false, got {answer!r:.40}; nothing was written down"
        )
    true = known[answer.lower()]
    _verdicts(config).add(Verdict(alert, true, by, time.time_ns() // 1000, note))
    print(f"alert {alert}: {'true' if true else 'false'}, says {' '.join(by.split())}")


def _verdicts(config: ConfigOption) -> VerdictBook:
    from deploy.schema import open_existing  # noqa: PLC0415
    from processors.alerts.verdicts import VerdictBook  # noqa: PLC0415

    return VerdictBook(open_existing(settings_from(config).database_url))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for eyes on a terminal, tab-separated lines elsewhere."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
