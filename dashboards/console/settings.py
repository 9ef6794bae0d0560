"""Settings of the console."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from zoneinfo import ZoneInfo

from dashboards.errors import ConsoleError

LANGUAGES = ("zh", "en")
_POSITIVE = (
    *("heartbeat_s", "alerts_every_s", "values_every_s", "silent_periods", "stop_timeout_s"),
    *("page_rows", "listed_alerts", "counted_alerts", "queue_events", "max_clients"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Where the console listens, how it speaks, and how often it looks.

    `host`, `port`: the address. `language`, `time_zone`: what a page starts with. `page_rows`: rows of a page.
    `max_clients`: pages that may be open at once. `stop_timeout_s`: patience with open pages when stopping.
    `allowed_hosts`: names besides `host` that a browser may use for us; needed when `host` is not loopback.
    `stale_after_s`: without any event of the pipeline for so long by our clock, every page says so. `heartbeat_s`,
    `alerts_every_s`, `values_every_s`: pace of the one poller that serves all pages. `silent_periods`: a device
    counts as silent after so many of its own reporting periods. `queue_events`: events a page may lag before it is
    dropped. `listed_alerts`, `counted_alerts`: active alerts listed on a page, and looked at for the counts.
    """

    host: str = "127.0.0.1"
    port: int = 8400
    language: str = "zh"
    time_zone: str = "Asia/Shanghai"
    stale_after_s: float = 5.0
    heartbeat_s: float = 1.0
    alerts_every_s: float = 0.5
    values_every_s: float = 2.0
    silent_periods: float = 3.0
    page_rows: int = 50
    listed_alerts: int = 100
    counted_alerts: int = 5_000
    queue_events: int = 32
    max_clients: int = 500
    stop_timeout_s: float = 5.0
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise ConsoleError(
                f"console.language: expected one of {LANGUAGES}, got {self.language!r}; not started"
            )
        if not 0 <= self.port <= 65_535:
            raise ConsoleError(f"console.port: expected 0 to 65535, got {self.port}; not started")
        if not self.heartbeat_s < self.stale_after_s:
            raise ConsoleError(
                f"console.stale_after_s: expected more than heartbeat_s {self.heartbeat_s}, "
                f"got {self.stale_after_s}; not started"
            )
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConsoleError(f"console.{name}: expected more than 0, got {getattr(self, name)}; not started")
        self._check_zone()
        if not self._loopback() and not self.allowed_hosts:
            raise ConsoleError(
                f"console.allowed_hosts: host {self.host} is open to others, so expected the names browsers "
                "will use, got none; not started"
            )

    def _check_zone(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ConsoleError(
                f"console.time_zone: expected an IANA name like Asia/Shanghai, got {self.time_zone!r}; not started"
            ) from error

    def _loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> frozenset[str]:
        """Host header names that are answered, lower case, without port."""
        own = {"127.0.0.1", "localhost", "[::1]", self.host.lower()}
        return frozenset(own | {name.lower() for name in self.allowed_hosts})
