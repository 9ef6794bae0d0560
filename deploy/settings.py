"""Settings: every layer's own dataclasses, composed from one TOML file and the environment.

From: `undercity.toml` and `UNDERCITY_SECTION__KEY` variables, which win. To: the wiring, as one frozen `Settings`.
A name that nobody knows is refused with the nearest one that somebody does. A secret never stands in the TOML
file: it comes from the environment, or from a file of its own named by `KEY_file`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dashboards.console.settings import ConsoleSettings
from deploy.clock import ClockSettings
from deploy.errors import SettingsError
from deploy.secrecy import MASK, is_secret, mask_text
from ingest.journal import JournalSettings
from ingest.mqtt_settings import MqttSettings
from ingest.rules import TopicSettings
from ingest.sparkplug_settings import SparkplugSettings
from ingest.tcp_settings import TcpSettings
from ingest.timeseries.settings import EmbeddedSettings, InfluxSettings
from ingest.timeseries.sink import SinkSettings
from processors.engines.local import EngineSettings
from processors.notify.settings import NotifySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where everything that must survive a restart lives.

    `dir`: the data folder; every file of ours is below it. Relative to the settings file.
    """

    dir: Path = Path("undercity-data")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The operations database: registry, alerts, cases, outbox.

    `url`: SQLAlchemy URL, `postgresql+psycopg://user@host/name` in production; empty for a SQLite file in the data
    folder. `password`: of the user in `url`, so that the URL itself needs no secret.
    """

    url: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The time-series store.

    `kind`: `embedded` keeps readings in the data folder, `influx` in an InfluxDB 2.7 server. `retention_days`: older
    readings are deleted. `housekeeping_s`: how often that is seen to, and closed days are sorted.
    """

    kind: Literal["embedded", "influx"] = "embedded"
    retention_days: float = 1826.0
    housekeeping_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.retention_days <= 0 or self.housekeeping_s <= 0:
            raise SettingsError(
                [f"store: expected retention_days and housekeeping_s above 0, got {self.retention_days}"]
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Where the supervisor serves `/metrics`, `/healthz` and `/readyz`.

    `host`: address to listen on, this machine alone by default. `port`: TCP port, 0 to serve none.
    `stale_s`: a role that has not written its status for longer counts as hung. `lag_warn`: deliveries a cursor
    may be behind the journal before `/readyz` says so.
    """

    host: str = "127.0.0.1"
    port: int = 8401
    stale_s: float = 15.0
    lag_warn: int = 200_000

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError([f"metrics.port: expected 0 to 65535, got {self.port}"])
        if self.stale_s <= 2:
            # A status is written once a second; two may be missed on a busy machine.
            raise SettingsError([f"metrics.stale_s: expected more than 2, got {self.stale_s}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how it looks.

    `level`: least severity that is written. `format`: `json` is one object a line, `console` for eyes, `auto` is
    console on a terminal and JSON elsewhere.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How `undercity run` looks after its roles.

    `ingest_workers`: ingest processes that share the broker's load. `grace_s`: how long each role may take to stop
    before it is killed. `restart_s`, `restart_max_s`: first and longest pause before a dead role is started again.
    `steady_s`: a role that ran so long starts again without a longer pause.
    """

    ingest_workers: int = 1
    grace_s: float = 15.0
    restart_s: float = 0.5
    restart_max_s: float = 30.0
    steady_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.ingest_workers <= 32:
            raise SettingsError([f"run.ingest_workers: expected 1 to 32, got {self.ingest_workers}"])
        if not 0 < self.restart_s <= self.restart_max_s:
            raise SettingsError(
                [f"run.restart_s: expected above 0 and at most restart_max_s, got {self.restart_s}"]
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set; one attribute per section of `undercity.toml`."""

    data: DataSettings = field(default_factory=DataSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    tcp: TcpSettings = field(default_factory=TcpSettings)
    sparkplug: SparkplugSettings = field(default_factory=SparkplugSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    sink: SinkSettings = field(default_factory=SinkSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    embedded: EmbeddedSettings = field(default_factory=EmbeddedSettings)
    influx: InfluxSettings = field(default_factory=InfluxSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    logs: LogSettings = field(default_factory=LogSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        if not self.mqtt.enabled and not self.tcp.port:
            raise SettingsError(
                ["mqtt.enabled: expected true, or a tcp.port for loggers: nothing else takes readings in"]
            )
        if not self.embedded.path.is_absolute():
            path = self.data.dir / self.embedded.path
            object.__setattr__(self, "embedded", replace(self.embedded, path=path))

    @property
    def journal_path(self) -> Path:
        """The journal's file."""
        return self.data.dir / "journal.db"

    @property
    def socket_path(self) -> Path:
        """Where the processor answers reads of the embedded store."""
        return self.data.dir / "store.sock"

    @property
    def desk_path(self) -> Path:
        """Where the TCP listener takes requests to loggers."""
        return self.data.dir / "loggers.sock"

    @property
    def snapshot_dir(self) -> Path:
        """Where the engine saves its state."""
        return self.data.dir / "snapshots"

    @property
    def status_dir(self) -> Path:
        """Where each role writes its heartbeat."""
        return self.data.dir / "status"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the operations database, with its password; never print it."""
        from devices.database import sqlite_url  # noqa: PLC0415  sqlalchemy is slow, and ingest does without

        if not self.database.url:
            return sqlite_url(self.data.dir / "operations.db")
        if not self.database.password:
            return self.database.url
        from sqlalchemy.engine import make_url  # noqa: PLC0415

        return (
            make_url(self.database.url).set(password=self.database.password).render_as_string(hide_password=False)
        )

    def __repr__(self) -> str:
        return "Settings(" + ", ".join(f"{key}={value}" for key, value in shown(self)) + ")"


def secret_field(one: Field[Any]) -> bool:
    """Whether a setting is a secret: its name says so, or its class keeps it out of its own repr."""
    return not one.repr or is_secret(one.name)


def flatten(settings: Any, prefix: str = "") -> Iterator[tuple[str, object, bool]]:
    """Every key, its value and whether that is a secret, in order of declaration; secrets are not masked here."""
    for one in fields(settings):
        value, key = getattr(settings, one.name), prefix + one.name
        if is_dataclass(value):
            yield from flatten(value, key + ".")
        elif isinstance(value, tuple) and any(is_dataclass(item) for item in value):
            for number, item in enumerate(value):
                yield from flatten(item, f"{key}[{number}].")
        else:
            yield key, value, secret_field(one)


def shown(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every key with its value as a person may see it."""
    for key, value, secret in flatten(settings):
        if secret:
            yield key, MASK if value else "(not set)"
        else:
            yield key, mask_text(_toml(value))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, int | float):
        return str(value)
    return '""' if value is None else f'"{value}"'
