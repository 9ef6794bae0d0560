"""The registered devices as arrays: what the hot path needs to know of each, and nothing more.

From: a `RegistryReader`. To: decoding, quality, the engine and the stores. Rows are stable for the life of
a fleet; after the registry changes a new fleet is built that keeps every known device on its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.spec import Kind

_NOWHERE = (np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered device, reduced to what the hot path needs.

    `cadence_s`: its own reporting period, None for the kind's. `calibration`: quantity -> (gain, offset). `codec`:
    empty for the default of the topic it reports under. `model`, `address`, `settings`: as a `Device` has them.
    `position`: of its site, longitude and latitude in degrees.
    """

    id: str
    kind: str
    district: str = ""
    street: str = ""
    site: str = ""
    gateway: str = ""
    cadence_s: float | None = None
    calibration: Mapping[str, tuple[float, float]] | None = None
    codec: str = ""
    registered_us: int = 0
    model: str = ""
    address: str = ""
    settings: Mapping[str, Any] | None = None
    position: tuple[float, float] | None = None


@dataclass(slots=True)
class KindFleet:
    """All devices of one kind; n devices, q quantities.

    `cadence_s`: (n,) s. `gain`, `offset`: (n, q), or None while no device is calibrated. `gateway`: (n,)
    row in `Fleet.gateways` or -1. `registered_us`: (n,) UTC: a device that never reports is silent from here.
    `position`: (n, 2) longitude and latitude in degrees, NaN where nobody measured them.
    """

    kind: Kind
    ids: list[str]
    index: dict[str, int]
    district: list[str]
    street: list[str]
    site: list[str]
    gateway_id: list[str]
    codec: list[str]
    model: list[str]
    address: list[str]
    settings: list[Mapping[str, Any] | None]
    cadence_s: NDArray[np.float64]
    registered_us: NDArray[np.int64]
    gateway: NDArray[np.int32]
    position: NDArray[np.float64]
    gain: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class Fleet:
    """Every registered device, by kind."""

    kinds: dict[str, KindFleet]
    gateways: list[str] = field(default_factory=list)
    revision: int = 0

    def find(self, device: str) -> tuple[KindFleet, int] | None:
        """The fleet and row of `device`, None when it is not registered."""
        for fleet in self.kinds.values():
            row = fleet.index.get(device)
            if row is not None:
                return fleet, row
        return None


def build(
    kinds: Mapping[str, Kind], entries: Iterable[Entry], *, revision: int = 0, previous: Fleet | None = None
) -> Fleet:
    """Arrange `entries` by kind; devices in `previous` keep their rows, new ones follow behind.

    An entry of an unknown kind is left out: its deliveries go to quarantine. A device that left the registry keeps
    its row under a name no delivery can carry, so that detector state stays aligned.
    """
    by_kind: dict[str, dict[str, Entry]] = {name: {} for name in kinds}
    for entry in entries:
        if entry.kind in by_kind:
            by_kind[entry.kind][entry.id] = entry
    gateways = list(previous.gateways) if previous else []
    gateway_row = {name: row for row, name in enumerate(gateways)}
    fleets = {}
    for name, kind in kinds.items():
        old = previous.kinds[name].ids if previous and name in previous.kinds else []
        fleets[name] = _kind_fleet(kind, by_kind[name], old, gateways, gateway_row)
    return Fleet(fleets, gateways, revision)


def _kind_fleet(
    kind: Kind, entries: dict[str, Entry], old: list[str], gateways: list[str], gateway_row: dict[str, int]
) -> KindFleet:
    known = set(old)
    ids = old + [device for device in entries if device not in known]
    gone = Entry("", kind.name, registered_us=np.iinfo(np.int64).max)
    rows = [entries.get(device, gone) for device in ids]
    for entry in rows:
        if entry.gateway and entry.gateway not in gateway_row:
            gateway_row[entry.gateway] = len(gateways)
            gateways.append(entry.gateway)
    fleet = KindFleet(
        kind=kind,
        ids=ids,
        index={device: row for row, device in enumerate(ids) if device in entries},
        district=[e.district for e in rows],
        street=[e.street for e in rows],
        site=[e.site for e in rows],
        gateway_id=[e.gateway for e in rows],
        codec=[e.codec for e in rows],
        model=[e.model for e in rows],
        address=[e.address for e in rows],
        settings=[e.settings for e in rows],
        cadence_s=np.array([e.cadence_s or kind.cadence_s for e in rows], dtype=np.float64),
        registered_us=np.array([e.registered_us for e in rows], dtype=np.int64),
        gateway=np.array([gateway_row.get(e.gateway, -1) for e in rows], dtype=np.int32),
        position=np.array([e.position or _NOWHERE for e in rows], dtype=np.float64).reshape(-1, 2),
    )
    _calibrate(fleet, rows)
    return fleet


def _calibrate(fleet: KindFleet, rows: list[Entry]) -> None:
    calibrated = [(row, entry.calibration) for row, entry in enumerate(rows) if entry.calibration]
    if not calibrated:
        return
    shape = (len(rows), len(fleet.kind.quantities))
    fleet.gain, fleet.offset = np.ones(shape), np.zeros(shape)
    for row, calibration in calibrated:
        for quantity, (gain, offset) in calibration.items():
            column = fleet.kind.column(quantity)
            fleet.gain[row, column], fleet.offset[row, column] = gain, offset
