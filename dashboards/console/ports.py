"""What the console needs from the rest, as small ports; deploy wires the real ones.

Every method may block (a database, a socket) and is called from worker threads, several at a time. A source that
cannot answer now raises an UndercityError; the page then says that its data is stale, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from devices.firmware.journal import Flash
from devices.fleet import Fleet
from devices.spec import Kind
from ingest.timeseries.ports import History, Latest
from processors.alerts.alert import Alert, Change
from processors.alerts.verdicts import Verdict
from processors.backtest.preview import Preview
from processors.thresholds.change import Change as Threshold


class AlertsReader(Protocol):
    """The alert book, to read; `processors.alerts.book.AlertBook` is one."""

    def active(self, limit: int) -> Sequence[Alert]:
        """Alerts whose condition holds, most severe first, then newest first."""
        ...

    def recent(self, limit: int, *, device: str | None = None) -> Sequence[Alert]:
        """Alerts of any state, newest onset first; of one device when given."""
        ...

    def get(self, alert: str) -> Alert | None:
        """The alert with this id, None when there is none."""
        ...

    def history(self, alert: str) -> Sequence[Change]:
        """Every step of one alert, in order."""
        ...

    def changes_since(self, sequence: int, limit: int) -> Sequence[Alert]:
        """Alerts that changed after `sequence`, as they are now, in order of their last change."""
        ...

    def sequence(self) -> int:
        """The last change's number, 0 in an empty book; cheap, asked often."""
        ...


class Acknowledger(Protocol):
    """Where an operator's acknowledgement goes; `processors.alerts.book.AlertBook` is one."""

    def acknowledge(self, alert: str, person: str, at_us: int) -> Alert:
        """Record that `person` has seen `alert`; repeating it changes nothing; UndercityError when refused."""
        ...


class Verdicts(Protocol):
    """Where it is written down whether an alert was true; `processors.alerts.verdicts.VerdictBook` is one."""

    def of(self, alert: str) -> Sequence[Verdict]:
        """The verdicts on one alert, oldest first."""
        ...

    def add(self, verdict: Verdict) -> None:
        """Write `verdict` down; UndercityError when refused."""
        ...


class Thresholds(Protocol):
    """Where the rules' thresholds are changed; UndercityError when refused."""

    def changes(self) -> Sequence[Threshold]:
        """Every change that was ever made, oldest first."""
        ...

    def add(self, change: Threshold) -> Threshold:
        """Write `change` down; it begins a little later."""
        ...

    def withdraw(self, number: int, author: str) -> Threshold:
        """Take a change back; repeating it changes nothing."""
        ...

    def preview(self, change: Threshold, days: float) -> Preview:
        """What `change` would have done to the last `days`; may take long, one at a time."""
        ...


class ReadingsReader(Protocol):
    """The time-series store, to read."""

    def kinds(self) -> Mapping[str, Kind]:
        """Every kind by name."""
        ...

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `ingest.timeseries.ports.TimeSeriesStore.latest`."""
        ...

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """See `ingest.timeseries.ports.TimeSeriesStore.history`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What the registry knows of one device; an empty text where it knows nothing.

    `departments`: in charge 主管, owner 权属, maintainer 养护. `cadence_s`: its expected reporting period.
    `presence`: whether it said that it is there, and when (UTC microseconds); None where its protocol says neither.
    """

    id: str
    kind: str
    site: str = ""
    address: str = ""
    district: str = ""
    street: str = ""
    latitude: float | None = None
    longitude: float | None = None
    departments: tuple[str, str, str] = ("", "", "")
    gateway: str = ""
    grid_cell: str = ""
    component_code: str = ""
    codec: str = ""
    cadence_s: float = 0.0
    registered_us: int = 0
    model: str = ""
    wire_address: str = ""
    presence: tuple[bool, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """One gateway and the last good flash of it; empty texts where nobody flashed it with our tools.

    `proof`: as `devices.firmware.driver.Proof`. `provisioned`: how it was seen to report. `flashed_us`: UTC, 0: never.
    """

    id: str
    site: str = ""
    label: str = ""
    board: str = ""
    revision: str = ""
    serial: str = ""
    version: str = ""
    proof: str = ""
    flashed_us: int = 0
    who: str = ""
    provisioned: str = ""


class GatewaysView(Protocol):
    """The gateways and the journal of flashes, to read."""

    def gateways(self) -> Sequence[GatewayFacts]:
        """Every gateway that is registered or that a device names, by id."""
        ...

    def unfinished(self) -> Sequence[Flash]:
        """Flashes that were cut and not mended since."""
        ...


class RegistryView(Protocol):
    """The registry, to read."""

    def fleet(self) -> Fleet:
        """All registered devices as arrays; cheap to call often, the same object until something changed."""
        ...

    def device(self, device: str) -> DeviceFacts | None:
        """What is known of `device`, None when it is not registered."""
        ...

    def site_name(self, site: str) -> str:
        """The site's name for a person; the id itself where it has none. Must not touch a disk."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How the pipeline is.

    `last_event_us`: arrival time, by our clock, of the newest journal record (ticks included) that the pipeline
    has finished with; None when it never ran. It ages when the pipeline stops and equally when it falls behind.
    `journal_lag`, `store_lag`: deliveries not yet processed, not yet in the time-series store.
    """

    last_event_us: int | None
    link_up: bool = True
    journal_lag: int = 0
    store_lag: int = 0


class Health(Protocol):
    """The pipeline's signs of life."""

    def vitals(self) -> Vitals:
        """The present state; cheap, asked about once a second."""
        ...
