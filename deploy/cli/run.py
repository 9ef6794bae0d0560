"""`undercity run`: all roles under one supervisor, or one role in the foreground.

With `--role` it is what systemd units, containers and the supervisor itself start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, settings_from

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from deploy.settings import Settings
    from deploy.supervisor import Supervisor


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    config: ConfigOption = None,
    role: Annotated[
        str, typer.Option(help="Run this role alone: processor, ingest-0, ingest-tcp, sender, console or health.")
    ] = "",
) -> None:
    """Run the system until Ctrl-C or SIGTERM."""
    settings = settings_from(config, role=role or "supervisor")
    if role:
        from deploy.roles import run_role  # noqa: PLC0415  quick help needs no layers

        run_role(role, settings)
    else:
        _supervise(settings, config)


def _supervise(settings: Settings, config: Path | None) -> None:
    import sys  # noqa: PLC0415
    import threading  # noqa: PLC0415

    from deploy.roles import live_with_parent, only_one, role_names  # noqa: PLC0415
    from deploy.signals import passed_on  # noqa: PLC0415
    from deploy.status import clear  # noqa: PLC0415
    from deploy.supervisor import Supervisor  # noqa: PLC0415

    named = ["--config", str(config.resolve())] if config else []

    def command(role: str) -> list[str]:
        return [sys.executable, "-m", "deploy", "run", "--role", role, *named]

    stop = threading.Event()
    with only_one(settings.data.dir, "supervisor"):
        clear(settings.status_dir)
        supervisor = Supervisor(role_names(settings), command, settings.run)
        with passed_on(_stopper(supervisor, stop)):
            live_with_parent(stop, 2 * settings.run.grace_s)
            _serve_health(settings, stop)
            supervisor.run(stop)


def _stopper(supervisor: Supervisor, stop: threading.Event) -> Callable[[], None]:
    """The first signal asks, the second insists."""

    def tell() -> None:
        if stop.is_set():
            supervisor.kill_all()
        stop.set()

    return tell


def _serve_health(settings: Settings, stop: threading.Event) -> None:
    import threading  # noqa: PLC0415

    from deploy.metrics import health_of, listen, serve  # noqa: PLC0415

    if settings.metrics.port == 0:
        return
    # The address is taken here, so that one which is in use is refused before any role starts.
    listener = listen(settings.metrics.host, settings.metrics.port)
    threading.Thread(target=serve, args=(health_of(settings), listener, stop), name="health", daemon=True).start()
