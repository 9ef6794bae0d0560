"""`undercity backtest`: rules over readings that are already there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, moment, settings_from
from deploy.cli.progress import progress_bar
from devices.errors import UndercityError

if TYPE_CHECKING:
    from deploy.backtest_sources import Source
    from devices.spec import Kind
    from processors.backtest.series import Asked


def register(app: typer.Typer) -> None:
    """Add `backtest`."""
    app.command()(backtest)


def backtest(
    config: ConfigOption = None,
    *,
    kind: Annotated[str, typer.Option(help="Kind of device; 'generic' for a file that is none of them.")],
    file: Annotated[Path | None, typer.Option(help="CSV or Parquet; without it the journal.")] = None,
    store: Annotated[bool, typer.Option("--store", help="What the time series store holds instead.")] = False,
    from_: Annotated[str, typer.Option("--from", help="First time, ISO 8601; default: all.")] = "",
    to: Annotated[str, typer.Option("--to", help="Up to this time, ISO 8601; default: all.")] = "",
    detector: Annotated[
        list[str] | None, typer.Option(help="Only this rule or detector; may be repeated.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="RULE.PARAM=VALUE: compare today's rules with this change; may be repeated."),
    ] = None,
    alerts: Annotated[Path | None, typer.Option(help="Write one row per alert to this CSV.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write a score in [0, 1] per row of a single series.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page for a person.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Labels: CSV with start, end, device, label.")] = None,
    columns: Annotated[str, typer.Option(help="Only these columns, such as 'n*,p7'.")] = "",
    unit: Annotated[str, typer.Option(help="Unit of the file's values; default: by name, else the kind's.")] = "",
    time: Annotated[str, typer.Option(help="The file's time column; default: found by itself.")] = "",
    timezone: Annotated[str, typer.Option(help="What times without an offset mean.")] = "Asia/Shanghai",
    quantity: Annotated[str, typer.Option(help="What each column holds where columns are devices.")] = "",
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=QUANTITY of the kind; may be repeated.")
    ] = None,
) -> None:
    """Say what rules would have raised over readings that are there, and what a change of them would have meant."""
    import sys  # noqa: PLC0415  with the heavy ones

    from deploy import backtest as work  # noqa: PLC0415  heavy imports, this command only
    from deploy.backtest_output import check_outputs, figures, tables, write_alerts, write_scores  # noqa: PLC0415
    from deploy.cli.alerts import print_table  # noqa: PLC0415
    from processors.backtest.compare import parsed  # noqa: PLC0415
    from processors.backtest.files import zone_of  # noqa: PLC0415
    from processors.backtest.labels import read_labels  # noqa: PLC0415
    from processors.backtest.series import Asked  # noqa: PLC0415

    check_outputs((alerts, scores, report), (file, truth, config))
    changes = [parsed(text) for text in set_ or []]
    zone_of(timezone)
    asked = Asked(
        columns=columns,
        unit=unit,
        time=time,
        zone=timezone,
        quantity=quantity,
        named=dict(_pair(text) for text in map_ or []),
        detector=(detector or [""])[0] if kind == "generic" else "",
        from_us=moment(from_, "--from", timezone),
        to_us=moment(to, "--to", timezone),
    )
    declared = _kind(kind)
    if asked.from_us is not None and asked.to_us is not None and asked.from_us >= asked.to_us:
        raise UndercityError(f"--from: expected a time before --to, got {from_!r} and {to!r}; nothing was run")
    if scores is not None and (file is None or store):
        raise UndercityError("--scores: expected --file with one series, got none; nothing was run")
    source = _source(config, declared, file, asked, store=store)
    for note in source.notes:
        print(f"note: {note.en}", file=sys.stderr)
    wanted = work.Wanted(
        detectors=detector or (),
        changes=changes,
        labels=None if truth is None else read_labels(truth, timezone),
        verdicts=None if file is not None else _verdicts(config),
        scores=scores is not None,
    )
    found = work.backtest(source, wanted, progress_bar)
    if alerts is not None:
        write_alerts(alerts, found.newest.spans, source.stamp)
    if scores is not None:
        write_scores(scores, found)
    if report is not None:
        from deploy.backtest_report import write_report  # noqa: PLC0415

        write_report(report, found)
    for line in figures(found):
        print(line)
    for names, rows in tables(found):
        print()
        print_table(names, rows)
    for path in (alerts, scores, report):
        if path is not None:
            print(f"written: {path}")


def _kind(name: str) -> Kind | None:
    from devices.kinds import load  # noqa: PLC0415

    if name == "generic":
        return None
    found = load().get(name)
    if found is None:
        raise UndercityError(
            f"--kind: expected one of {', '.join(load())}, generic; got {name!r:.60}; nothing was run"
        )
    return found


def _source(config: Path | None, kind: Kind | None, file: Path | None, asked: Asked, *, store: bool) -> Source:
    from deploy import backtest_sources as sources  # noqa: PLC0415
    from processors.backtest.files import zone_of  # noqa: PLC0415

    if file is not None and store:
        raise UndercityError("--file: expected it without --store, got both; nothing was run")
    if file is not None:
        return sources.file_source(file, kind, asked)
    if kind is None:
        raise UndercityError("--kind generic: expected --file, got none; nothing was run")
    settings, zone = settings_from(config), zone_of(asked.zone)
    if not store:
        return sources.journal_source(settings, kind, (asked.from_us, asked.to_us), zone)
    span = (asked.from_us or 0, asked.to_us or 4_102_444_800_000_000)
    with progress_bar("reading the store") as progress:
        return sources.store_source(settings, kind, span, zone, progress)


def _verdicts(config: Path | None) -> dict[str, bool] | None:
    """What crews found, None where nobody has said anything yet."""
    from deploy.schema import open_existing  # noqa: PLC0415
    from processors.alerts.verdicts import VerdictBook  # noqa: PLC0415

    return VerdictBook(open_existing(settings_from(config).database_url)).newest() or None


def _pair(text: str) -> tuple[str, str]:
    column, equals, quantity = text.rpartition("=")
    if not equals or not column.strip() or not quantity.strip():
        raise UndercityError(f"--map: expected COLUMN=QUANTITY, got {text!r:.60}; nothing was run")
    return column.strip(), quantity.strip()
