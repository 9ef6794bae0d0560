"""`undercity gateway monitor`: a gateway's log on the screen and in a file, with what is decoded in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.gateway_ports import PortArgument

if TYPE_CHECKING:
    import threading
    from typing import TextIO

    from deploy.gateways.monitor import Monitor
    from devices.firmware.link import SerialLink


def add(group: typer.Typer) -> None:
    """Add the command."""
    group.command()(monitor)


def monitor(
    port: PortArgument,
    baud: Annotated[int, typer.Option("--baud", help="Speed of the line.")] = 115200,
    parity: Annotated[str, typer.Option("--parity", help="N, E or O; a meter bus often has E.")] = "N",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to append the same lines to.")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", help="Real time, such as 60s; without it until Ctrl-C.")] = "",
) -> None:
    """Show what passes on a line: log text, frames of the gateway protocol, readings as text, hex or bare frames.

    It only listens. A line that goes away is waited for.
    """
    import threading  # noqa: PLC0415  quick help needs no layers
    import time  # noqa: PLC0415
    from contextlib import ExitStack  # noqa: PLC0415

    from deploy.durations import seconds  # noqa: PLC0415
    from deploy.gateways.monitor import Monitor  # noqa: PLC0415
    from deploy.signals import passed_on  # noqa: PLC0415
    from devices.errors import PortError  # noqa: PLC0415
    from devices.firmware.link import Line, SerialLink  # noqa: PLC0415
    from devices.firmware.ports import chosen, explained, listed  # noqa: PLC0415

    if parity not in ("N", "E", "O"):
        raise typer.BadParameter(f"expected N, E or O, got {parity!r:.20}", param_hint="'--parity'")
    until = time.monotonic() + seconds(lasts, "--for") if lasts else float("inf")
    found = chosen(port, listed())
    stop = threading.Event()
    with ExitStack() as stack:
        file = stack.enter_context(output.open("a", encoding="utf-8")) if output is not None else None
        try:
            link = SerialLink(found.device, Line(baud, parity))
        except PortError as error:
            raise explained(found, error) from None
        stack.callback(link.close)
        stack.enter_context(passed_on(stop.set))
        seen = Monitor(lambda line: _write(line, file), lambda: time.time_ns() // 1000)
        stack.callback(seen.flush)
        while not stop.is_set() and time.monotonic() < until:
            _listen(link, seen, stop)


def _listen(link: SerialLink, seen: Monitor, stop: threading.Event) -> None:
    """What comes in the next moment; a line that is gone is opened again."""
    from devices.errors import LinkError  # noqa: PLC0415

    try:
        data = link.read(4096, 0.02)
    except LinkError as error:
        seen.flush()
        _note(str(error))
        while not stop.wait(0.5):
            try:
                link.reopen()
            except LinkError:
                continue
            _note(f"{link.url}: the line is back")
            return
        return
    if data:
        seen.feed(data)
    else:
        seen.silence()


def _note(text: str) -> None:
    import sys  # noqa: PLC0415

    print(f"undercity: {text}", file=sys.stderr, flush=True)


def _write(line: str, file: TextIO | None) -> None:
    from datetime import datetime  # noqa: PLC0415

    from devices.beijing import BEIJING  # noqa: PLC0415

    stamped = f"{datetime.now(BEIJING):%H:%M:%S.%f}"[:-3] + f" {line}"
    print(stamped, flush=True)
    if file is not None:
        print(stamped, file=file, flush=True)
