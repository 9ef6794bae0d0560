"""The whole system as real processes, for scenarios and benchmarks: a folder, a settings file, one process per role."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from deploy.settings import Settings
from deploy.settings_loader import load
from deploy.settings_writer import write_settings
from deploy.wiring import open_database
from devices.catalog import SqlRegistry
from devices.registry import Device
from ingest.journal import Journal


def until(condition: Callable[[], bool], what: str, *, within_s: float = 30.0) -> None:
    """Wait for `condition`; fail with `what` when it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s in vain for {what}")
        time.sleep(0.02)


class System:
    """Roles of one data folder against the broker at `port`; kill and start them as you like."""

    def __init__(self, folder: Path, port: int, extra: Mapping[str, Mapping[str, object]] | None = None) -> None:
        self.folder = folder
        self.config = folder / "undercity.toml"
        sections: dict[str, dict[str, object]] = {
            "data": {"dir": str(folder / "data")},
            "mqtt": {"port": port, "reconnect_min_s": 0.1, "reconnect_max_s": 0.5, "connect_timeout_s": 2.0},
            "console": {"port": 0},
            "metrics": {"port": 0},
            "logs": {"format": "json"},
        }
        for name, values in (extra or {}).items():
            sections.setdefault(name, {}).update(values)
        write_settings(self.config, sections)
        self.settings: Settings = load(self.config, {})
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def register(self, devices: Iterable[Device]) -> None:
        """Put devices into the registry."""
        database = open_database(self.settings)
        SqlRegistry(database).put(devices)
        database.dispose()

    def log(self, role: str) -> str:
        """Everything `role` has logged so far."""
        path = self.folder / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *roles: str) -> None:
        """Start roles and go on at once."""
        for role in roles:
            with (self.folder / f"{role}.log").open("ab") as log:
                self._running[role] = subprocess.Popen(
                    [sys.executable, "-m", "deploy", "run", "--role", role, "--config", str(self.config)],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
                )

    def pid(self, role: str) -> int:
        """The role's process."""
        return self._running[role].pid

    def kill(self, *roles: str) -> None:
        """Kill -9, all at once."""
        for role in roles:
            self._running[role].kill()
        for role in roles:
            self._running.pop(role).wait(10)

    def stop(self, *roles: str, within_s: float = 40.0) -> None:
        """SIGTERM and wait; all roles when none is named."""
        chosen = roles or tuple(self._running)
        for role in chosen:
            self._running[role].send_signal(signal.SIGTERM)
        for role in chosen:
            process = self._running.pop(role)
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # its log then says where each thread stands
                process.wait(10)
                raise AssertionError(f"{chosen} did not stop: {self.log(role)[-6000:]}") from None

    def close(self) -> None:
        """End whatever still runs."""
        self.kill(*self._running)

    def journalled(self) -> int:
        """Records in the journal, ticks included."""
        if not self.settings.journal_path.exists():
            return 0
        journal = Journal(self.settings.journal_path, read_only=True)
        try:
            return journal.end()
        finally:
            journal.close()

    def status(self, role: str) -> dict[str, float]:
        """The role's last heartbeat."""
        path = self.settings.status_dir / f"{role}.json"
        try:
            fields = msgspec.json.decode(path.read_bytes())["fields"]
        except (OSError, msgspec.DecodeError):
            return {}
        return dict(fields)

    def caught_up(self) -> bool:
        """Whether the processor has seen the whole journal and the store has taken it."""
        status = self.status("processor")
        return bool(status) and status.get("stored_upto", -1) >= self.journalled() - 3
