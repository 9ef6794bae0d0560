"""The registry in the operations database: what `RegistryReader` promises, and one way to write.

From: SQLite or PostgreSQL. To: every layer that asks for a `RegistryReader`; the census writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, Table, bindparam, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from devices.dialect import MASK, unmasked
from devices.errors import RegistryError
from devices.fleet import Entry
from devices.registry import Departments, Device, Gateway, ObjectState, Site
from devices.tables import DEVICE, GATEWAY, REGISTRY_REVISION, SITE

_CALIBRATION: Final = msgspec.json.Decoder(dict[str, tuple[float, float]])
_SETTINGS: Final = msgspec.json.Decoder(dict[str, Any])
_HOT: Final = (
    DEVICE.c.id,
    DEVICE.c.kind,
    DEVICE.c.district,
    DEVICE.c.street,
    DEVICE.c.site,
    DEVICE.c.gateway,
    DEVICE.c.cadence_s,
    DEVICE.c.calibration,
    DEVICE.c.codec,
    DEVICE.c.registered_us,
    DEVICE.c.model,
    DEVICE.c.wire_address,
    DEVICE.c.settings,
)
_CHUNK: Final = 500  # ids per IN list; SQLite allows 32,766 variables, older builds 999

Values = dict[str, Any]


class Outcome(NamedTuple):
    """What a write did to the devices (sites and gateways follow silently)."""

    added: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class SqlRegistry:
    """Reader and writer of the registry over `engine`; safe to use from several threads."""

    engine: Engine

    def entries(self) -> list[Entry]:
        """Every device that is expected to report, by id. Abandoned ones are left out."""
        wanted = select(*_HOT).where(DEVICE.c.state != ObjectState.ABANDONED.value).order_by(DEVICE.c.id)
        located = select(SITE.c.id, SITE.c.longitude, SITE.c.latitude).where(SITE.c.longitude.is_not(None))
        with _reading(self.engine) as connection:
            places = {row[0]: (row[1], row[2]) for row in connection.execute(located)}
            # The columns stand in the order of Entry's fields: 100,000 devices load at every start.
            return [
                Entry(
                    *row[:6],
                    *(row[6], _pairs(row[7]), *row[8:12], _settings(row[12]), places.get(row[4])),
                )
                for row in connection.execute(wanted)
            ]

    def revision(self) -> int:
        """0 for a registry nothing was ever written to."""
        with _reading(self.engine) as connection:
            return int(connection.scalar(select(REGISTRY_REVISION.c.revision)) or 0)

    def device(self, device: str) -> Device:
        """One device; RegistryError when it is not registered."""
        with _reading(self.engine) as connection:
            row = connection.execute(select(DEVICE).where(DEVICE.c.id == device)).mappings().first()
        if row is None:
            raise RegistryError(f"device {device}: not registered; import it with 'undercity devices import'")
        return _device(row)

    def devices(
        self,
        *,
        kind: str = "",
        district: str = "",
        gateway: str = "",
        site: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[Device]:
        """Devices that match every given filter, by id, beginning behind `after`."""
        wanted = select(DEVICE).where(DEVICE.c.id > after).order_by(DEVICE.c.id).limit(limit)
        for column, value in (("kind", kind), ("district", district), ("gateway", gateway), ("site", site)):
            if value:
                wanted = wanted.where(DEVICE.c[column] == value)
        with _reading(self.engine) as connection:
            return [_device(row) for row in connection.execute(wanted).mappings()]

    def sites(self) -> list[Site]:
        """Every site, by id."""
        with _reading(self.engine) as connection:
            return [Site(**row) for row in connection.execute(select(SITE).order_by(SITE.c.id)).mappings()]

    def gateways(self) -> list[Gateway]:
        """Every gateway, by id."""
        with _reading(self.engine) as connection:
            return [
                Gateway(**row) for row in connection.execute(select(GATEWAY).order_by(GATEWAY.c.id)).mappings()
            ]

    def put(
        self,
        devices: Iterable[Device],
        *,
        sites: Iterable[Site] = (),
        gateways: Iterable[Gateway] = (),
        keep: Collection[str] = (),
        dry_run: bool = False,
    ) -> Outcome:
        """Write all of it or, on any error, nothing; what is there already and equal stays untouched.

        A device keeps the `registered_us` it has. `keep`: columns that stay as they are where the row is known,
        because the caller's source does not carry them. `dry_run` counts and writes nothing.
        """
        keeping = {"registered_us", *keep}
        with _writing(self.engine) as connection:
            touched = 0
            for table, rows in ((SITE, map(_site_row, sites)), (GATEWAY, map(_gateway_row, gateways))):
                outcome = _merge(connection, table, {row["id"]: row for row in rows}, keeping, dry_run=dry_run)
                touched += outcome.added + outcome.changed
            outcome = _merge(connection, DEVICE, {d.id: _device_row(d) for d in devices}, keeping, dry_run=dry_run)
            if not dry_run and touched + outcome.added + outcome.changed:
                _raise_revision(connection)
        return outcome

    def remove(self, devices: Iterable[str]) -> int:
        """Take devices out of the registry; how many were there."""
        removed = 0
        with _writing(self.engine) as connection:
            for part in _chunks(list(devices)):
                removed += connection.execute(delete(DEVICE).where(DEVICE.c.id.in_(part))).rowcount
            if removed:
                _raise_revision(connection)
        return removed


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose failures are told in one line."""
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise RegistryError(f"registry: {_first_line(error)}; nothing was read") from error


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """A transaction: all of it or, when anything fails, nothing."""
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise RegistryError(f"registry: {_first_line(error)}; nothing was written") from error


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _merge(
    connection: Connection, table: Table, rows: dict[str, Values], keep: Collection[str], *, dry_run: bool
) -> Outcome:
    known: dict[str, Values] = {}
    for part in _chunks(list(rows)):
        for row in connection.execute(select(table).where(table.c.id.in_(part))).mappings():
            known[row["id"]] = {str(name): value for name, value in row.items()}
    added = [row for key, row in rows.items() if key not in known]
    for newcomer in added:
        if MASK in newcomer.get("settings", ""):
            unmasked(_settings(newcomer["settings"]) or {}, {}, newcomer["id"])
    changed = []
    for key, old in known.items():
        new = {**rows[key], **{name: old[name] for name in keep if name in old}}
        if MASK in new.get("settings", ""):
            new["settings"] = _packed(
                unmasked(_settings(new["settings"]) or {}, _settings(old["settings"]) or {}, key)
            )
        if new != old:
            changed.append(new)
    if not dry_run:
        if added:
            connection.execute(insert(table), added)
        if changed:
            values: dict[str, Any] = {
                column.name: bindparam(f"new_{column.name}") for column in table.columns if column.name != "id"
            }
            statement = update(table).where(table.c.id == bindparam("new_id")).values(values)
            connection.execute(statement, [{f"new_{k}": v for k, v in row.items()} for row in changed])
    return Outcome(len(added), len(changed), len(rows) - len(added) - len(changed))


def _raise_revision(connection: Connection) -> None:
    column = REGISTRY_REVISION.c.revision
    if not connection.execute(update(REGISTRY_REVISION).values(revision=column + 1)).rowcount:
        connection.execute(insert(REGISTRY_REVISION).values(id=1, revision=1))


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))


def _pairs(text: str) -> Mapping[str, tuple[float, float]] | None:
    return _CALIBRATION.decode(text) if text else None


def _packed(settings: Mapping[str, Any]) -> str:
    return msgspec.json.encode(settings, order="sorted").decode() if settings else ""


def _settings(text: str) -> dict[str, Any] | None:
    return _SETTINGS.decode(text) if text else None


def _device_row(device: Device) -> Values:
    calibration = msgspec.json.encode(device.calibration, order="sorted").decode() if device.calibration else ""
    return {
        "id": device.id,
        "kind": device.kind,
        "site": device.site,
        "gateway": device.gateway,
        "component_code": device.component_code,
        "grid": device.grid,
        "district": device.district,
        "street": device.street,
        "managing": device.departments.managing,
        "owning": device.departments.owning,
        "maintaining": device.departments.maintaining,
        "state": device.state.value,
        "cadence_s": device.cadence_s,
        "codec": device.codec,
        "model": device.model,
        "wire_address": device.address,
        "settings": _packed(device.settings),
        "calibration": calibration,
        "registered_us": device.registered_us,
    }


def _device(row: RowMapping) -> Device:
    values: Values = {str(name): value for name, value in row.items()}
    departments = Departments(**{name: values.pop(name) for name in ("managing", "owning", "maintaining")})
    values["calibration"] = _pairs(values["calibration"]) or {}
    values["address"] = values.pop("wire_address")
    values["settings"] = _settings(values["settings"]) or {}
    values["state"] = ObjectState(values["state"])
    return Device(**values, departments=departments)


def _site_row(site: Site) -> Values:
    return {
        "id": site.id,
        "name": site.name,
        "address": site.address,
        "longitude": site.longitude,
        "latitude": site.latitude,
    }


def _gateway_row(gateway: Gateway) -> Values:
    return {"id": gateway.id, "site": gateway.site, "label": gateway.label}
