"""The demo's city and the processes that look after it: a folder, a broker, the supervisor with all roles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from deploy.brokers import HOST, LocalBroker, free_port, local_broker
from deploy.clock import Clock
from deploy.errors import DeployError
from deploy.logger_pool import LoggerPool, LoggerSettings
from deploy.roles import LIFELINE
from deploy.settings import Settings
from deploy.settings_loader import load
from deploy.settings_writer import write_settings
from deploy.wiring import open_database
from devices.catalog import SqlRegistry
from devices.codecs import load as load_codecs
from devices.kinds import load as load_kinds
from devices.simulator.city import City
from devices.simulator.example import example
from devices.simulator.faults import Labelled, schedule
from devices.simulator.wire import Voices, carried
from ingest.journal import Journal

_UP_S = 60.0
_FOUNDING_S = 4.0  # longer than the processor takes to notice a new registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the demo is asked for.

    `hours`: how far ahead faults are scheduled, in city time. `mixed`: devices speak the protocols of the field.
    """

    folder: Path
    devices: int
    seed: int
    speed: float
    hours: float
    console_port: int
    start_us: int
    mixed: bool = False


class DemoSystem:
    """Everything that runs during a demo; a context manager that leaves nothing running."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.broker: LocalBroker = local_broker(plan.folder / "broker")
        self.config = plan.folder / "undercity.toml"
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._lifeline: tuple[int, ...] = ()
        self.settings: Settings
        self.clock: Clock
        self.city: City
        self.labels: list[Labelled] = []
        self.start_us = plan.start_us
        self.logger_port = free_port() if plan.mixed else 0

    def loggers(self) -> LoggerPool | None:
        """The city's loggers with connections of their own; None in a city that has none."""
        if not self.logger_port:
            return None
        return LoggerPool(LoggerSettings(host=HOST, port=self.logger_port))

    def __enter__(self) -> Self:
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        self.broker.start()
        try:
            self._settle()
            self._launch()
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.broker.stop()

    def _settle(self) -> None:
        """The settings: bounds that are real seconds in life are city seconds here."""
        plan, speed = self.plan, self.plan.speed
        write_settings(
            self.config,
            {
                "data": {"dir": str(plan.folder.resolve() / "data")},
                "mqtt": {"port": self.broker.port, "tick_s": 0.5},
                # What a logger may send in a second it may send in a city's second.
                "tcp": {
                    "port": self.logger_port,
                    "bind": HOST,
                    "packets_per_s": min(50.0 * speed, 10_000.0),
                    "tick_s": 0.5,
                },
                # A fast city's values are old within a real second: store and show them sooner.
                "sink": {"every_s": 0.2},
                "console": {
                    "port": plan.console_port,
                    "stale_after_s": 5.0 * speed,
                    "values_every_s": 0.5,
                },
                "engine": {
                    "reorder_s": 5.0 * speed,
                    # A role that is killed is back in two or three real seconds. At the usual speed the shortest
                    # silence takes three: a longer absence must count as our own.
                    "max_gap_s": max(10.0, 2.5 * speed),
                    "segment_s": 1.0 * speed,
                    "future_s": 300.0 + 5.0 * speed,
                },
                "metrics": {"port": 0},
                "logs": {"format": "json"},
                "clock": {"speed": speed, "city_us": plan.start_us, "real_us": time.time_ns() // 1000},
            },
        )
        self.settings = load(self.config, {})
        self.clock = Clock(self.settings.clock)

    def _build(self) -> None:
        """Found the city in a running system: it begins to report a few real seconds from now."""
        plan, kinds = self.plan, load_kinds()
        self.start_us = self.clock() + int(_FOUNDING_S * plan.speed * 1e6)
        made = example(kinds, plan.devices, seed=plan.seed, registered_us=self.start_us, mixed=plan.mixed)
        database = open_database(self.settings)
        SqlRegistry(database).put(made.devices, sites=made.sites, gateways=made.gateways)
        database.dispose()
        self.labels = schedule(
            kinds,
            {name: [device.id for device in made.devices if device.kind == name] for name in kinds},
            seed=plan.seed,
            from_us=self.start_us,
            to_us=self.start_us + int(plan.hours * 3600e6),
            carried=carried(Voices(load_codecs()), kinds, made.entries()),
        )
        self.city = City(kinds, made.entries(), seed=plan.seed, start_us=self.start_us, labels=self.labels)
        self._await(lambda: self.status("processor").get("devices") == plan.devices, "the registry taken over")

    def _launch(self) -> None:
        # However we end, even killed, the pipe closes and the roles stop.
        self._lifeline = os.pipe()
        with self._log_path.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "deploy", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", LIFELINE: str(self._lifeline[0])},
                pass_fds=self._lifeline[:1],
                # Ctrl-C is for the demo, which stops the roles when it has counted.
                start_new_session=True,
            )
        self._await(
            lambda: (
                bool(self.status("ingest-0").get("connected"))
                and (not self.logger_port or bool(self.status("ingest-tcp")))
                and "offset" in self.status("processor")
                and (self.settings.status_dir / "console.json").exists()
            ),
            "all roles up",
        )

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _UP_S
        while not condition():
            if not self.alive() or time.monotonic() > deadline:
                raise DeployError(
                    f"demo: expected {what} within {_UP_S:g} s, got: {self._complaint()}; all stopped"
                )
            time.sleep(0.05)

    @property
    def _log_path(self) -> Path:
        return self.plan.folder / "undercity.log"

    def _complaint(self) -> str:
        """The last thing that a role logged as an error; the folder may be gone when a person could read it."""
        lines = self._log_path.read_text("utf-8", errors="replace").splitlines()
        said = [line for line in lines if '"level": "error"' in line and '"role_died"' not in line]
        return (said or lines or ["nothing logged"])[-1]

    def status(self, role: str) -> dict[str, float]:
        """A role's last heartbeat, empty before the first."""
        try:
            fields = msgspec.json.decode((self.settings.status_dir / f"{role}.json").read_bytes())["fields"]
        except (OSError, msgspec.DecodeError, KeyError):
            return {}
        return dict(fields)

    def settled(self) -> bool:
        """Whether everything in the journal is processed and stored."""
        journal = Journal(self.settings.journal_path, read_only=True)
        try:
            end = journal.end()
        finally:
            journal.close()
        # A tick may have come since the last heartbeat.
        return self.status("processor").get("stored_upto", -1.0) >= end - 3

    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def stop(self) -> None:
        """Stop the roles in good order; once more changes nothing."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.send_signal(signal.SIGTERM)
            try:
                supervisor.wait(60)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait(10)
        while self._lifeline:
            os.close(self._lifeline[-1])
            self._lifeline = self._lifeline[:-1]
