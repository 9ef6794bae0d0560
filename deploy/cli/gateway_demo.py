"""`undercity gateway demo`: from a blank board to its readings on the console, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(group: typer.Typer) -> None:
    """Add the command."""
    group.command()(demo)


def demo(
    for_: Annotated[
        str, typer.Option("--for", help="End this long after its first reading; else at Ctrl-C.")
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the console on 127.0.0.1.")] = 8400,
    devices: Annotated[int, typer.Option(min=1, max=2000, help="How many devices the city has beside it.")] = 40,
    python: Annotated[
        bool, typer.Option("--python", help="A board simulated in Python, even where QEMU is installed.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Keep the files here; a temporary folder otherwise.")] = None,
) -> None:
    """Flash an emulated board, provision it, and show its readings in the console of a small running city."""
    import tempfile  # noqa: PLC0415  quick help needs no layers
    import threading  # noqa: PLC0415
    from contextlib import ExitStack  # noqa: PLC0415

    from deploy.cli.progress import progress_bar  # noqa: PLC0415
    from deploy.demo.start import plan_for  # noqa: PLC0415
    from deploy.durations import seconds  # noqa: PLC0415
    from deploy.gateways.demo import demo as shown  # noqa: PLC0415
    from deploy.gateways.single import told_by  # noqa: PLC0415
    from deploy.signals import passed_on  # noqa: PLC0415

    for_s = seconds(for_, "--for") if for_ else None
    stop = threading.Event()

    def until(_url: str) -> None:
        if for_s is None:
            print("Ctrl-C ends it", flush=True)
        stop.wait(for_s)

    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="undercity-gateway-")))
        plan = plan_for(folder, devices=devices, seed=1, speed=1.0, port=port, for_s=None)
        bar = stack.enter_context(progress_bar("flash"))
        stack.enter_context(passed_on(stop.set))
        done = shown(plan, lambda line: print(line, flush=True), told_by(bar), python=python, until=until)
    print(
        f"{done.flash.board} {done.flash.serial}: flashed, provisioned, and {done.stored} reading(s) of "
        f"{done.first.device} in the store"
    )
