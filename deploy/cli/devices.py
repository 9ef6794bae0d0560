"""`undercity devices import|list|show|export`: the city's census file into the registry, and out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, JsonOption, settings_from

if TYPE_CHECKING:
    from devices.catalog import SqlRegistry
    from devices.registry import Device

DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", envvar="UNDERCITY_DATABASE", help="Database URL; without it the settings' own."),
]
KindOption = Annotated[str, typer.Option("--kind", help="Only this kind.")]
GatewayOption = Annotated[str, typer.Option("--gateway", help="Only the children of this gateway.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The registry: which devices there are, and where.", no_args_is_help=True)
    group.command("import")(import_census)
    group.command("list")(list_devices)
    group.command("show")(show)
    group.command("export")(export)
    app.add_typer(group, name="devices")


def _registry(database: str | None, config: Path | None, *, create: bool = False) -> SqlRegistry:
    from deploy.schema import open_existing, upgrade  # noqa: PLC0415  quick help needs no layers
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from devices.database import connect  # noqa: PLC0415

    url = database or settings_from(config).database_url
    if not create:
        return SqlRegistry(open_existing(url))
    if url.startswith("sqlite:///") and not url.endswith(":memory:"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = connect(url)
    upgrade(engine)
    return SqlRegistry(engine)


def import_census(
    file: Annotated[Path, typer.Argument(help="CSV, UTF-8 or GBK, headings in Chinese or English.")],
    database: DatabaseOption = None,
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
    newer_codes: Annotated[bool, typer.Option("--newer-codes", help="Component codes divide 6+2+3+5.")] = False,
) -> None:
    """Take the good rows of a census file; every bad one is named. Exit code 1 if there were bad rows."""
    import time  # noqa: PLC0415

    from devices.census import read  # noqa: PLC0415
    from devices.codecs import load as load_codecs  # noqa: PLC0415
    from devices.errors import RegistryError  # noqa: PLC0415
    from devices.kinds import load as load_kinds  # noqa: PLC0415
    from devices.registry import CLASSIC_LAYOUT, NEWER_LAYOUT  # noqa: PLC0415

    try:
        content = file.read_bytes()
    except OSError as error:
        raise RegistryError(f"{file}: {error.strerror or error}; nothing was imported") from error
    census = read(
        content,
        load_kinds(),
        codecs=load_codecs(),
        registered_us=time.time_ns() // 1000,
        layout=NEWER_LAYOUT if newer_codes else CLASSIC_LAYOUT,
    )
    for problem in census.problems:
        typer.echo(f"{file.name} line {problem.line}: {problem.reason}", err=True)
    if census.ignored:
        typer.echo(f"{file.name}: columns passed over: {', '.join(census.ignored)}", err=True)
    outcome = _registry(database, config, create=True).put(
        census.devices,
        sites=census.sites.values(),
        gateways=census.gateways.values(),
        keep=census.keep,
        dry_run=dry_run,
    )
    print(
        f"{file.name} ({census.encoding}): {outcome.added} added, {outcome.changed} changed, "
        f"{outcome.unchanged} unchanged, {len(census.problems)} refused{'; nothing was written' if dry_run else ''}"
    )
    if census.problems:
        raise typer.Exit(1)


def list_devices(
    database: DatabaseOption = None,
    config: ConfigOption = None,
    kind: KindOption = "",
    gateway: GatewayOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List devices by id."""
    found = _registry(database, config).devices(kind=kind, gateway=gateway, limit=limit)
    if as_json:
        print(_json(found))
        return
    for device in found:
        print(
            "\t".join((device.id, device.kind, device.district or "-", device.gateway or "-", device.site or "-"))
        )


def show(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    database: DatabaseOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one device, everything that is known of it."""
    registry = _registry(database, config)
    found = registry.device(device)
    if as_json:
        print(_json(found))
        return
    print(
        "\n".join(f"{name:<15} {value}" for name, value in (*_facts(found), _presence(registry, found)) if value)
    )


def _presence(registry: SqlRegistry, device: Device) -> tuple[str, str]:
    from datetime import UTC, datetime  # noqa: PLC0415

    from processors.presence import PresenceBook  # noqa: PLC0415

    heard = PresenceBook(registry.engine).of(device.address)
    if heard is None:
        return "presence", ""
    since = datetime.fromtimestamp(heard.at_us / 1e6, UTC)
    return "presence", f"{'online' if heard.online else 'offline'} since {since:%Y-%m-%d %H:%M:%S} UTC"


def _json(found: Device | list[Device]) -> str:
    from dataclasses import replace  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from devices.dialect import masked  # noqa: PLC0415

    if isinstance(found, list):
        return f"[{','.join(map(_json, found))}]"
    return msgspec.json.encode(replace(found, settings=masked(found.settings))).decode()


def _facts(device: Device) -> list[tuple[str, str]]:
    from datetime import UTC, datetime  # noqa: PLC0415

    from devices.dialect import shown  # noqa: PLC0415

    registered = datetime.fromtimestamp(device.registered_us / 1e6, UTC)
    return [
        ("id", device.id),
        ("kind", device.kind),
        ("site", device.site),
        ("gateway", device.gateway),
        ("component code", device.component_code),
        ("grid cell", device.grid),
        ("district", device.district),
        ("street", device.street),
        ("主管 managing", device.departments.managing),
        ("权属 owning", device.departments.owning),
        ("养护 maintaining", device.departments.maintaining),
        ("state", device.state.value),
        ("cadence", f"{device.cadence_s:g} s" if device.cadence_s else "the kind's"),
        ("codec", device.codec or "its topic's"),
        ("model", device.model),
        ("address", device.address),
        ("settings", shown(device.settings)),
        ("calibration", ", ".join(f"{n}: x {g:g} + {o:g}" for n, (g, o) in device.calibration.items())),
        ("registered", f"{registered:%Y-%m-%d %H:%M:%S} UTC" if device.registered_us else ""),
    ]


def export(
    database: DatabaseOption = None,
    config: ConfigOption = None,
    kind: KindOption = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; without it standard output.")
    ] = None,
    english: Annotated[bool, typer.Option("--english", help="English headings.")] = False,
) -> None:
    """Write a census file that `import` takes back and a spreadsheet opens safely (UTF-8 with a mark, CRLF)."""
    from devices.census import write  # noqa: PLC0415
    from devices.errors import RegistryError  # noqa: PLC0415

    registry = _registry(database, config)
    lines = write(registry.devices(kind=kind), registry.sites(), chinese=not english)
    if output is None:
        for line in lines:
            print(line, end="")
        return
    try:
        with output.open("w", encoding="utf-8-sig", newline="") as file:
            file.writelines(lines)
    except OSError as error:
        raise RegistryError(f"{output}: {error.strerror or error}; nothing usable was written") from error
