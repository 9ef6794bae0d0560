"""`undercity demo`: a whole city on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.progress import progress_bar


def register(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command()(demo)


def demo(
    devices: Annotated[int, typer.Option(min=1, max=20_000, help="How many devices the city has.")] = 200,
    speed: Annotated[float, typer.Option(help="City seconds per real second; 1 is real time.")] = 60.0,
    for_: Annotated[str, typer.Option("--for", help="End by itself after this long, such as 60s or 5m.")] = "",
    seed: Annotated[int, typer.Option(help="Another seed, another city.")] = 1,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the console on 127.0.0.1.")] = 8400,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Devices speak the field's protocols instead of our JSON.")
    ] = False,
    live_only: Annotated[
        bool,
        typer.Option("--live-only", help="Leave out the faults that take weeks, which are judged afterwards."),
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Keep the files here; a temporary folder otherwise.")] = None,
) -> None:
    """Run a simulated city through a real broker, with faults, and score what came of it."""
    import tempfile  # noqa: PLC0415
    from contextlib import ExitStack  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from deploy.demo.run import report, run  # noqa: PLC0415
    from deploy.demo.slow import slow_faults  # noqa: PLC0415
    from deploy.demo.start import plan_for  # noqa: PLC0415
    from deploy.durations import seconds  # noqa: PLC0415
    from devices.kinds import load  # noqa: PLC0415

    for_s = seconds(for_, "--for") if for_ else None
    console = Console()
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="undercity-demo-")))
        plan = plan_for(folder, devices=devices, seed=seed, speed=speed, port=port, for_s=for_s, mixed=mixed)
        result = run(plan, for_s, console)
        slow = None
        if for_s is not None and not live_only:
            with progress_bar("faults that take weeks, simulated and judged") as progress:
                slow = slow_faults(load(), result.live, seed, progress)
        report(result, console, slow)
    if not result.passed:
        raise typer.Exit(1)
