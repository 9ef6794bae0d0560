"""`undercity gateway simulate|conformance`: a gateway without hardware, and the checklist for one with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.gateway_ports import PortArgument
from deploy.cli.options import JsonOption


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command()(simulate)
    group.command()(conformance)


def simulate(
    pty: Annotated[bool, typer.Option("--pty", help="Behind a pseudo-terminal instead of a TCP port.")] = False,
    board: Annotated[str, typer.Option("--board", help="Board it says it is.")] = "gw-sim",
    revision: Annotated[str, typer.Option("--revision", help="Hardware revision it says it is.")] = "r2",
    serial: Annotated[str, typer.Option("--serial", help="Serial number it says it has.")] = "SIM-0001",
    flash: Annotated[
        Path | None, typer.Option("--flash", help="File that keeps its configuration, as its flash would.")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", help="Real time, such as 60s; without it until Ctrl-C.")] = "",
) -> None:
    """Run a gateway without hardware, to be provisioned and to report to a real broker; the first line is its port."""
    import threading  # noqa: PLC0415  quick help needs no layers

    from deploy.durations import seconds  # noqa: PLC0415
    from deploy.gateways.modem import PahoModem  # noqa: PLC0415
    from deploy.signals import passed_on  # noqa: PLC0415
    from devices.firmware.authority import make_request  # noqa: PLC0415
    from devices.simulator.boards.application import GatewayApplication  # noqa: PLC0415
    from devices.simulator.boards.gateway import Identity  # noqa: PLC0415
    from devices.simulator.boards.serving import serve_pty, serve_tcp  # noqa: PLC0415
    from devices.simulator.boards.slots import Slots  # noqa: PLC0415

    for_s = seconds(lasts, "--for") if lasts else None
    stop = threading.Event()
    identity = Identity(board=board, revision=revision, serial=serial)
    modem = PahoModem()
    gateway = GatewayApplication(identity, network=modem, slots=Slots(flash), make_request=make_request)
    with (serve_pty if pty else serve_tcp)(gateway) as served, passed_on(stop.set):
        print(served.url, flush=True)
        stop.wait(for_s)
    modem.close()


def conformance(
    port: PortArgument,
    baud: Annotated[int, typer.Option("--baud", help="Speed of the gateway's console.")] = 115200,
    json: JsonOption = False,
) -> None:
    """Check a board on a bench against the gateway protocol; exit code 1 when a check fails.

    It commits test configurations, so never use it on a gateway in service.
    """
    from dataclasses import asdict  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from deploy.cli.gateway_provision import opened  # noqa: PLC0415
    from devices.firmware.application.conformance import Verdict, run  # noqa: PLC0415

    failed = 0
    results = []
    with opened(port, baud, words=False) as (_, link):
        for result in run(link):
            failed += result.verdict is Verdict.FAILED
            results.append(result)
            if not json:
                why = f": {result.why}" if result.why else ""
                print(f"{result.name:4}{result.verdict.value:10}{result.claim}{why}", flush=True)
    if json:
        print(msgspec.json.encode([asdict(one) for one in results]).decode())
    else:
        passed = sum(one.verdict is Verdict.PASSED for one in results)
        print(f"{passed} passed, {failed} failed, {len(results) - passed - failed} not tried")
    if failed:
        raise typer.Exit(1)
