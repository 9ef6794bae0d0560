"""What the console asks for, answered by the real parts: alert book, registry, store and heartbeats."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from dashboards.console.app import create_app
from dashboards.console.ports import DeviceFacts, GatewayFacts, ReadingsReader, Vitals
from deploy.clock import Clock
from deploy.preview import previewed
from deploy.settings import Settings
from deploy.status import read_all
from deploy.storelink import StoreClient, store_socket
from devices.catalog import SqlRegistry
from devices.errors import RegistryError
from devices.firmware.journal import Flash, FlashBook
from devices.fleet import Fleet, build
from devices.kinds import load as load_kinds
from devices.registry import Device, Gateway, Site
from devices.spec import Kind
from ingest.timeseries.ports import History, Latest, TimeSeriesStore
from processors.alerts.book import AlertBook
from processors.alerts.verdicts import VerdictBook
from processors.backtest.preview import Preview
from processors.errors import ThresholdError
from processors.presence import PresenceBook
from processors.thresholds.book import ThresholdBook
from processors.thresholds.change import Change

if TYPE_CHECKING:
    from sqlalchemy import Engine as Database

_REGISTRY_EVERY_S = 2.0


def console_app(settings: Settings, database: Database) -> Starlette:
    """The console over this city's real parts."""
    registry = SqlRegistry(database)
    view = Registry(registry, PresenceBook(database), load_kinds())
    book = AlertBook(database, settings.notify, now=Clock(settings.clock))
    return create_app(
        Readings(_reader(settings)),
        book,
        view,
        Heartbeats(settings),
        settings.console,
        Clock(settings.clock),
        acknowledger=book,
        thresholds=Thresholds(settings, database),
        gateways_view=Gateways(registry, view, FlashBook(database, Clock(settings.clock))),
        verdicts=VerdictBook(database),
    )


class Thresholds(ThresholdBook):
    """The book of thresholds, with a look at what a change would have done; one such look at a time."""

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(database, load_kinds(), now=Clock(settings.clock), entries=SqlRegistry(database).entries)
        self._settings = settings
        self._looking = threading.Lock()

    def preview(self, change: Change, days: float) -> Preview:
        """See `deploy.preview`; ThresholdError while another look is under way."""
        draft = self.drafted(change)
        if not self._looking.acquire(blocking=False):
            raise ThresholdError(
                "preview: expected to be the only one, another is under way; try again soon",
                "预演：同时只能进行一个，另一个正在进行；请稍后再试",
            )
        try:
            return previewed(self._settings, draft, days, now=Clock(self._settings.clock))
        finally:
            self._looking.release()


def _reader(settings: Settings) -> TimeSeriesStore | StoreClient:
    if settings.store.kind == "influx":
        from ingest.timeseries.influx import InfluxStore  # noqa: PLC0415

        return InfluxStore(settings.influx)
    return StoreClient(store_socket(settings.socket_path))


class Readings:
    """The store, to read, and the kinds in it."""

    def __init__(self, store: TimeSeriesStore | StoreClient) -> None:
        self._store = store
        self._kinds = load_kinds()

    def kinds(self) -> Mapping[str, Kind]:
        """Every kind by name."""
        return self._kinds

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `TimeSeriesStore.latest`."""
        return self._store.latest(kind, now_us)

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """See `TimeSeriesStore.history`."""
        return self._store.history(kind, device, quantity, start_us, end_us, every_us)


class Registry:
    """The registry, to read; looked at again when its revision moved. Safe from any thread."""

    def __init__(self, registry: SqlRegistry, presence: PresenceBook, kinds: Mapping[str, Kind]) -> None:
        self._registry = registry
        self._presence = presence
        self._kinds = kinds
        self._lock = threading.Lock()
        self._fleet: Fleet | None = None
        self._sites: dict[str, Site] = {}
        self._looked = 0.0

    def fleet(self) -> Fleet:
        """All registered devices; the same object until something changed."""
        with self._lock:
            if self._fleet is None or time.monotonic() - self._looked > _REGISTRY_EVERY_S:
                self._looked = time.monotonic()
                revision = self._registry.revision()
                if self._fleet is None or self._fleet.revision != revision:
                    self._fleet = build(self._kinds, self._registry.entries(), revision=revision)
                    self._sites = {site.id: site for site in self._registry.sites()}
            return self._fleet

    def device(self, device: str) -> DeviceFacts | None:
        """What is known of `device`, None when it is not registered."""
        try:
            found = self._registry.device(device)
        except RegistryError:
            return None
        return self._facts(found)

    def _facts(self, found: Device) -> DeviceFacts:
        site = self._sites.get(found.site)
        departments = found.departments
        kind = self._kinds.get(found.kind)
        return DeviceFacts(
            id=found.id,
            kind=found.kind,
            site=found.site,
            address=site.address if site else "",
            district=found.district,
            street=found.street,
            latitude=site.latitude if site else None,
            longitude=site.longitude if site else None,
            departments=(departments.managing, departments.owning, departments.maintaining),
            gateway=found.gateway,
            grid_cell=found.grid,
            component_code=found.component_code,
            codec=found.codec,
            model=found.model,
            wire_address=found.address,
            presence=self._presence.of(found.address),
            cadence_s=found.cadence_s or (kind.cadence_s if kind else 0.0),
            registered_us=found.registered_us,
        )

    def site_name(self, site: str) -> str:
        """The site's name for a person, its id where it has none; from memory."""
        known = self._sites.get(site)
        return known.name if known and known.name else site


class Gateways:
    """The gateways of the registry, with what the journal of flashes knows of each."""

    def __init__(self, registry: SqlRegistry, view: Registry, flashes: FlashBook) -> None:
        self._registry = registry
        self._view = view
        self._flashes = flashes

    def gateways(self) -> list[GatewayFacts]:
        """Every gateway that is registered or that a device names, by id."""
        registered = {gateway.id: gateway for gateway in self._registry.gateways()}
        flashed = self._flashes.by_gateway()
        named = set(self._view.fleet().gateways)
        return [
            _gateway(registered.get(name, Gateway(id=name)), flashed.get(name))
            for name in sorted(registered.keys() | flashed.keys() | named)
        ]

    def unfinished(self) -> list[Flash]:
        """Flashes that were cut and not mended since."""
        return self._flashes.interrupted()


def _gateway(gateway: Gateway, flash: Flash | None) -> GatewayFacts:
    if flash is None:
        return GatewayFacts(id=gateway.id, site=gateway.site, label=gateway.label)
    return GatewayFacts(
        id=gateway.id,
        site=gateway.site,
        label=gateway.label,
        board=flash.board,
        revision=flash.revision,
        serial=flash.serial,
        version=flash.version,
        proof=flash.proof,
        flashed_us=flash.ended_us,
        who=flash.who,
        provisioned=flash.provisioned,
    )


class Heartbeats:
    """How the pipeline is, from what its roles write."""

    def __init__(self, settings: Settings) -> None:
        self._dir = settings.status_dir
        self._stale_s = settings.metrics.stale_s

    def vitals(self) -> Vitals:
        """The present state."""
        seen = read_all(self._dir, time.time(), stale_s=self._stale_s)
        processor = seen.get("processor")
        if processor is None:
            return Vitals(last_event_us=None)
        fields = processor.status.fields
        workers = [one for name, one in seen.items() if name.startswith("ingest-") and name != "ingest-tcp"]
        links = [one.status.fields.get("connected", 0.0) for one in workers]
        offset = fields.get("offset", 0.0)
        return Vitals(
            last_event_us=int(fields.get("last_received_us", 0)) or None,
            link_up=any(links) if workers else "ingest-tcp" in seen,  # a city may have loggers only
            journal_lag=int(max(0.0, fields.get("journal_next", 0.0) - offset)),
            store_lag=int(max(0.0, offset - fields.get("stored_upto", 0.0))),
        )


__all__ = ["Heartbeats", "Readings", "ReadingsReader", "Registry", "console_app"]
