"""`undercity rules list|set|withdraw|history`: thresholds, changed by a person with a name, for whom, from when."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, JsonOption, moment, settings_from, wall_clock
from deploy.cli.progress import progress_bar
from devices.errors import UndercityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploy.settings import Settings
    from processors.backtest.preview import Preview
    from processors.thresholds.book import ThresholdBook
    from processors.thresholds.change import Change

_SHOWN = 20  # alerts that a preview lists


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look at the rules, and change their thresholds.", no_args_is_help=True)
    group.command("list")(list_rules)
    group.command("set")(set_threshold)
    group.command("withdraw")(withdraw)
    group.command("history")(history)
    app.add_typer(group, name="rules")


@contextmanager
def _opened(settings: Settings) -> Iterator[ThresholdBook]:
    from deploy.schema import open_existing  # noqa: PLC0415
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from devices.kinds import load  # noqa: PLC0415
    from processors.thresholds.book import ThresholdBook  # noqa: PLC0415

    database = open_existing(settings.database_url)
    try:
        yield ThresholdBook(database, load(), entries=SqlRegistry(database).entries)
    finally:
        database.dispose()


def list_rules(
    config: ConfigOption = None,
    *,
    kind: Annotated[str, typer.Option(help="Only this kind.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Every rule with its thresholds: as declared, and what was changed and holds now."""
    from math import isnan  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from devices.kinds import load  # noqa: PLC0415
    from processors.thresholds.change import changeable, declared, of_rule  # noqa: PLC0415

    settings, kinds = settings_from(config), load()
    if kind and kind not in kinds:
        raise UndercityError(f"--kind: expected one of {', '.join(kinds)}, got {kind!r:.60}; nothing was listed")
    now = time.time_ns() // 1000
    with _opened(settings) as book:
        holding = [change for change in book.changes() if change.holds(now)]
    for one in kinds.values():
        for use in one.detectors if kind in {"", one.name} else ():
            numbers = {name: number for name, number in sorted(declared(use).items()) if name in changeable(use)}
            numbers = {name: number for name, number in numbers.items() if not isnan(number)}
            mine = list(of_rule(holding, one.name, use.rule))
            if as_json:
                changes = [_plain(change) for change in mine]
                row = {"kind": one.name, "rule": use.rule, "detector": use.detector, "version": use.version}
                print(msgspec.json.encode(row | {"declared": numbers, "changes": changes}).decode())
                continue
            print(f"{one.name} {use.rule}  {use.title.zh} / {use.title.en}")
            print("    " + "  ".join(f"{name}={value:g}" for name, value in numbers.items()))
            for change in mine:
                print(f"    {_said(change)}")


def set_threshold(
    kind: Annotated[str, typer.Argument(help="Kind of device.")],
    what: Annotated[str, typer.Argument(metavar="RULE.PARAMETER", help="For instance pressure_low.low.")],
    value: Annotated[
        float, typer.Argument(help="In the unit of the rule's quantity, or in seconds where named _s.")
    ],
    config: ConfigOption = None,
    *,
    by: Annotated[str, typer.Option("--by", help="Who changes it.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    device: Annotated[str, typer.Option(help="Only for this device.")] = "",
    site: Annotated[str, typer.Option(help="For the devices of this site.")] = "",
    group: Annotated[str, typer.Option(help="For devices whose setting 'group' is this.")] = "",
    street: Annotated[str, typer.Option(help="For the devices of this street.")] = "",
    district: Annotated[str, typer.Option(help="For the devices of this district.")] = "",
    from_: Annotated[str, typer.Option("--from", help="From when; default: now.")] = "",
    until: Annotated[str, typer.Option("--until", help="Until when; default: until it is taken back.")] = "",
    preview: Annotated[
        float, typer.Option(min=0.0, max=366.0, help="Change nothing; show what it does to the last so many days.")
    ] = 0.0,
) -> None:
    """Set a threshold, for the whole kind unless a device, site, group, street or district is named.

    It begins some seconds after it is written down, never before: the past is judged by what held then.
    """
    from processors.thresholds.change import FOREVER, Change, Scope  # noqa: PLC0415

    settings = settings_from(config)
    named = {"device": device, "site": site, "group": group, "street": street, "district": district}
    chosen = [(scope, target) for scope, target in named.items() if target]
    if len(chosen) > 1:
        options = " and ".join(f"--{scope}" for scope, _ in chosen)
        raise UndercityError(f"rules set: expected one of them, got {options}; nothing was changed")
    scope, target = chosen[0] if chosen else ("kind", kind)
    rule, _, param = what.partition(".")
    zone, nothing = settings.notify.zone, "nothing was changed"
    begin, end = moment(from_, "--from", zone, done=nothing), moment(until, "--until", zone, done=nothing)
    change = Change(
        kind=kind,
        rule=rule,
        param=param,
        value=value,
        scope=Scope(scope),
        target=target,
        effective_us=0 if begin is None else begin,
        until_us=FOREVER if end is None else end,
        author=by,
        reason=reason,
    )
    local = wall_clock(settings)
    with _opened(settings) as book:
        if not preview:
            change = book.add(change)
            print(f"{_said(change)}; holds from {local(change.effective_us)}")
            return
        change = book.drafted(change)
    from deploy.preview import previewed  # noqa: PLC0415

    _show(previewed(settings, change, preview, progress_bar), local)


def withdraw(
    number: Annotated[
        int, typer.Argument(min=1, max=2**62, help="Number of the change, as 'undercity rules history' shows it.")
    ],
    config: ConfigOption = None,
    *,
    by: Annotated[str, typer.Option("--by", help="Who takes it back.")],
) -> None:
    """Take a change back; what held before it holds again."""
    settings = settings_from(config)
    local = wall_clock(settings)
    with _opened(settings) as book:
        change = book.withdraw(number, by)
    print(f"{_said(change)}; taken back by {change.withdrawn_by}, holds until {local(change.withdrawn_us)}")


def history(
    config: ConfigOption = None,
    *,
    kind: Annotated[str, typer.Option(help="Only this kind.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Every change that was ever made, oldest first."""
    import msgspec  # noqa: PLC0415

    from processors.thresholds.change import FOREVER  # noqa: PLC0415

    settings = settings_from(config)
    local = wall_clock(settings)
    with _opened(settings) as book:
        changes = book.changes()
    for change in changes:
        if kind and change.kind != kind:
            continue
        if as_json:
            print(msgspec.json.encode(_plain(change)).decode())
            continue
        until = "" if change.until_us == FOREVER else f" until {local(change.until_us)}"
        back = "" if change.withdrawn_us == FOREVER else f"; taken back by {change.withdrawn_by}"
        print(f"{local(change.recorded_us)}  {_said(change)}; from {local(change.effective_us)}{until}{back}")


def _said(change: Change) -> str:
    number = f"#{change.number} " if change.number else ""
    who = "" if change.scope == "kind" else f" for {change.scope} {change.target}"
    why = f": {change.reason}" if change.reason else ""
    return f"{number}{change.kind} {change.rule}.{change.param} = {change.value:g}{who}, by {change.author}{why}"


def _plain(change: Change) -> dict[str, object]:
    from dataclasses import asdict  # noqa: PLC0415

    from processors.thresholds.change import FOREVER  # noqa: PLC0415

    return {name: None if value == FOREVER else value for name, value in asdict(change).items()}


def _show(found: Preview, local: Callable[[int | None], str]) -> None:
    print(_said(found.change))
    print(
        f"{local(found.start_us)} to {local(found.end_us)}: {found.before} alerts as it is, {found.after} with it"
    )
    for mark, spans in (("+", found.gained), ("-", found.lost)):
        for span in spans[:_SHOWN]:
            print(f"{mark} {local(span.raised_us)}  {span.device}  {span.finding.evidence.why.get('en', '')}")
        if len(spans) > _SHOWN:
            print(f"{mark} and {len(spans) - _SHOWN} more")
    print("nothing was changed")
