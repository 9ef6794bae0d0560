"""When a demo city's day begins, and how far ahead its faults are planned."""

from __future__ import annotations

import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.brokers import HOST
from deploy.demo.system import Plan
from deploy.errors import DeployError

_ZONE = ZoneInfo("Asia/Shanghai")
_MORNING = 10  # o'clock: kitchens are about to start, so every kind has something to show
_AHEAD_H = 24.0
_LONGEST_S = 86_400.0  # the demo remembers every reading to compare it with the store


def plan_for(
    folder: Path, *, devices: int, seed: int, speed: float, port: int, for_s: float | None, mixed: bool = False
) -> Plan:
    """The plan of one run; DeployError for a speed, a time, a folder or a port that cannot be used.

    A fast city begins at ten in the morning of today, a real-time one now.
    """
    if not 1 <= speed <= 3600:
        raise DeployError(f"--speed: expected 1 to 3600, got {speed:g}; nothing was started")
    if for_s is not None and for_s > _LONGEST_S:
        raise DeployError(f"--for: expected at most 24h in a demo, got {for_s / 3600:g}h; nothing was started")
    _check_folder(folder)
    _check_port(port)
    now = datetime.now(_ZONE)
    begin = now if speed == 1 else now.replace(hour=_MORNING, minute=0, second=0, microsecond=0)
    if begin > now + timedelta(hours=12):
        begin -= timedelta(days=1)
    hours = for_s * speed / 3600 if for_s is not None else _AHEAD_H
    start_us = int(begin.timestamp() * 1000) * 1000 if speed != 1 else time.time_ns() // 1_000_000 * 1000
    return Plan(
        folder=folder,
        devices=devices,
        seed=seed,
        speed=speed,
        hours=hours,
        console_port=port,
        start_us=start_us,
        mixed=mixed,
    )


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DeployError(f"--data: expected a folder, {folder} is a file; nothing was started")
    if (folder / "data").exists():
        raise DeployError(
            f"--data: expected a folder without an earlier demo, {folder} has one; nothing was started"
        )


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the console takes it
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DeployError(
                f"--port: expected a free port for the console, {HOST}:{port} says: {error.strerror}; "
                "nothing was started"
            ) from error
