"""`undercity boards`: Grafana boards from the kinds, into a folder or into a Grafana."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devices.errors import UndercityError

if TYPE_CHECKING:
    from dashboards.grafana.publish import SourceSettings

app = typer.Typer(help="Grafana boards, generated from the declared kinds.", no_args_is_help=True)

Language = Annotated[str, typer.Option("--language", help="zh or en.")]


def register(root: typer.Typer) -> None:
    """Add the group to `undercity`."""
    root.add_typer(app, name="boards")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the boards; made if missing.")],
    language: Language = "zh",
) -> None:
    """Write every board as one JSON file, ready for Grafana's import or provisioning."""
    from dashboards.errors import BoardError  # noqa: PLC0415  keeps `undercity --help` quick
    from dashboards.grafana.boards import build_all  # noqa: PLC0415
    from dashboards.grafana.publish import stamped  # noqa: PLC0415
    from devices.kinds import load  # noqa: PLC0415

    boards = [stamped(board) for board in build_all(load(), language=language)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for board in boards:
            path = folder / f"{board['uid']}.json"
            path.write_text(json.dumps(board, ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")
            print(path)
    except OSError as error:
        raise BoardError(f"boards: expected to write into {folder}, got: {error.strerror}; try another") from error


@app.command()
def publish(
    grafana: Annotated[str, typer.Option("--grafana", metavar="URL", help="Grafana's address.")],
    language: Language = "zh",
    force: Annotated[bool, typer.Option("--force", help="Overwrite boards that were edited in Grafana.")] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a service account's token; else GRAFANA_TOKEN.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.")] = 10.0,
    datasource_url: Annotated[
        str | None, typer.Option(help="Also set up the InfluxDB data source, at this address as Grafana sees it.")
    ] = None,
    datasource_org: Annotated[str, typer.Option(help="InfluxDB organisation of the data source.")] = "undercity",
    datasource_token_file: Annotated[
        Path | None,
        typer.Option(help="File with a read-only InfluxDB token; else UNDERCITY_GRAFANA_INFLUX_TOKEN."),
    ] = None,
) -> None:
    """Put every board into Grafana's folder Undercity; boards edited there are kept unless --force."""
    from dashboards.errors import BoardError  # noqa: PLC0415  keeps `undercity --help` quick
    from dashboards.grafana.boards import build_all  # noqa: PLC0415
    from dashboards.grafana.publish import Grafana, GrafanaSettings, Outcome  # noqa: PLC0415
    from devices.kinds import load  # noqa: PLC0415

    token = _secret(token_file, "GRAFANA_TOKEN")
    server = Grafana(GrafanaSettings(url=grafana, token=token, timeout_s=timeout))
    if datasource_url is not None:
        source = _source(datasource_url, datasource_org, datasource_token_file)
        print(f"data source: {'created' if server.provide_source(source) else 'updated'}")
    outcomes = server.publish(build_all(load(), language=language), force=force)
    for board in outcomes:
        print(f"{board.uid}: {board.outcome.value}")
    if kept := [board.uid for board in outcomes if board.outcome is Outcome.EDITED]:
        raise BoardError(
            f"boards: {', '.join(kept)}: edited in Grafana, so kept as they are; --force overwrites them"
        )


def _source(url: str, organisation: str, token_file: Path | None) -> SourceSettings:
    from dashboards.grafana.publish import SourceSettings  # noqa: PLC0415

    token = _secret(token_file, "UNDERCITY_GRAFANA_INFLUX_TOKEN")
    return SourceSettings(url=url, organisation=organisation, token=token)


def _secret(path: Path | None, variable: str) -> str:
    """The secret in the file, else in the environment variable; UndercityError when there is none."""
    from dashboards.errors import BoardError  # noqa: PLC0415

    try:
        secret = path.read_text("utf-8").strip() if path else os.environ.get(variable, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        refusal: UndercityError = BoardError(f"boards: expected a token in {path}, cannot read it; not published")
        raise refusal from error
    if not secret:
        raise BoardError(f"boards: expected a token in {path or variable}, got none; not published")
    return secret
