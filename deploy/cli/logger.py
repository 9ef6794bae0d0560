"""`undercity logger list|time|set-clock|backfill`: HJ 212 loggers at the TCP listener, and what they may be asked.

These are all the requests there are. The listener sends them over the connection that the logger made.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, JsonOption, settings_from

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.settings import Settings
    from ingest.tcp_desk import Question
    from ingest.tcp_roster import Status

_Logger = Annotated[str, typer.Argument(metavar="LOGGER", help="Its MN, or the id of its device.")]
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
_MARGIN_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="HJ 212 loggers at the TCP listener.", no_args_is_help=True)
    group.command("list")(list_loggers)
    group.command("time")(time)
    group.command("set-clock")(set_clock)
    group.command("backfill")(backfill)
    app.add_typer(group, name="logger")


def list_loggers(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """List the registered loggers: who is connected, and when each was heard last."""
    from ingest.tcp_desk import Question  # noqa: PLC0415  quick help needs no layers

    rows, _ = _ask(settings_from(config), Question(ask="list"))
    if as_json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.encode(rows).decode())
        return
    from deploy.cli.alerts import print_table  # noqa: PLC0415

    head = ("MN", "device", "from", "last packet", "CN", "packets", "refused")
    if rows:
        print_table(head, [_cells(row) for row in rows])
    connected = sum(bool(row.peer) for row in rows)
    print(f"{len(rows)} loggers registered, {connected} connected")


def _cells(row: Status) -> tuple[str, ...]:
    from devices.beijing import beijing  # noqa: PLC0415

    heard = f"{beijing(row.at_us):%Y-%m-%d %H:%M:%S}" if row.at_us else "never"
    peer = (row.peer or "not connected") + (" (asked)" if row.busy else "")
    return row.mn, row.device, peer, heard, str(row.cn or ""), str(row.packets), str(row.refused)


def time(logger: _Logger, config: ConfigOption = None) -> None:
    """Ask a logger what time its clock shows (1011). Exit code 1 unless it says so."""
    from ingest.tcp_desk import Question  # noqa: PLC0415

    _tell(config, Question(ask="time", logger=logger))


def set_clock(logger: _Logger, config: ConfigOption = None) -> None:
    """Set a logger's clock to ours, in Beijing time (1012). Exit code 1 unless the logger says that it is done."""
    from ingest.tcp_desk import Question  # noqa: PLC0415

    _tell(config, Question(ask="clock", logger=logger))


def backfill(
    logger: _Logger,
    begin: Annotated[datetime, typer.Option("--from", formats=_TIMES, help="First minute, Beijing time.")],
    end: Annotated[datetime, typer.Option("--to", formats=_TIMES, help="Last minute, Beijing time.")],
    config: ConfigOption = None,
) -> None:
    """Ask a logger to send minute values again (2051); they are taken in like any other. Exit code 1 unless done."""
    from devices.beijing import BEIJING  # noqa: PLC0415
    from ingest.tcp_desk import Question  # noqa: PLC0415

    begin_us, end_us = (int(one.replace(tzinfo=BEIJING).timestamp() * 1e6) for one in (begin, end))
    _tell(config, Question(ask="minutes", logger=logger, from_us=begin_us, to_us=end_us))


def _tell(config: Path | None, question: Question) -> None:
    from ingest.tcp_settings import TcpError  # noqa: PLC0415

    _, (ok, text) = _ask(settings_from(config), question)
    if not ok:
        raise TcpError(_named(question.logger, text))
    print(_named(question.logger, text))


def _named(logger: str, text: str) -> str:
    """The outcome behind the name that was asked for, unless it says a name itself."""
    return text if ": " in text and text.startswith(logger) else f"{logger}: {text}"


def _ask(settings: Settings, question: Question) -> tuple[list[Status], tuple[bool, str]]:
    """The listener's rows and outcome; what it says meanwhile is printed as it comes."""
    from deploy.storelink import store_socket  # noqa: PLC0415
    from ingest.tcp_desk import ask  # noqa: PLC0415

    patience_s = max(settings.tcp.reply_timeout_s, settings.tcp.execute_timeout_s) + _MARGIN_S
    rows: list[Status] = []
    for line in ask(store_socket(settings.desk_path), question, patience_s):
        if line.row is not None:
            rows.append(line.row)
        if line.say:
            print(f"{question.logger}: {line.say}")
        if line.done:
            return rows, (line.ok, line.text)
    raise AssertionError("the last line is done, or an error was raised")
