"""What stands where in the city, and who answers for it: devices, sites, gateways.

From: the census (`devices.census`) and the operations database (`devices.catalog`). To: the hot path (as `Entry`),
the console, cases. Codes follow the digital urban management scheme: a grid cell of 15 digits, a component code of 16.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from devices.errors import RegistryError
from devices.fleet import Entry

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_ADDRESS: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
GRID_DIGITS: Final = 15  # 6 district, 3 street, 3 community, 3 serial
# Degrees around mainland China and its coast; enough to catch a slip of the pen, not a border claim.
LONGITUDES: Final = (73.0, 136.0)
LATITUDES: Final = (3.0, 54.0)


class ObjectState(StrEnum):
    """State of the component as the city keeps it: 完好, 破损, 丢失, 废弃."""

    INTACT = "intact"
    DAMAGED = "damaged"
    LOST = "lost"
    ABANDONED = "abandoned"


class CodeLayout(NamedTuple):
    """How a component code divides: digits of district, major class, minor class, serial."""

    district: int
    major: int
    minor: int
    serial: int


CLASSIC_LAYOUT: Final = CodeLayout(6, 2, 2, 6)
NEWER_LAYOUT: Final = CodeLayout(6, 2, 3, 5)


class Component(NamedTuple):
    """A component code taken apart."""

    district: str
    major: str
    minor: str
    serial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Departments:
    """Who manages (主管), owns (权属) and maintains (养护) a component."""

    managing: str = ""
    owning: str = ""
    maintaining: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place where devices stand. `longitude`, `latitude` in degrees, None where nobody measured them."""

    id: str
    name: str = ""
    address: str = ""
    longitude: float | None = None
    latitude: float | None = None

    def __post_init__(self) -> None:
        check_id(self.id, "site")
        if (self.longitude is None) != (self.latitude is None):
            raise RegistryError(f"site {self.id}: expected both longitude and latitude, got one; it was not taken")
        if self.longitude is not None and self.latitude is not None:
            check_position(self.longitude, self.latitude, f"site {self.id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that reports for its children. `site` may be empty."""

    id: str
    site: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        check_id(self.id, "gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One registered device.

    `component_code`: 16 digits or empty. `grid`: 15 digits or empty. `district`, `street`: filled from the codes
    where left empty. `cadence_s`: None for the kind's. `calibration`: quantity -> (gain, offset).
    `registered_us`: UTC; a device that never reports counts as silent from here. `codec`: what it speaks, empty for
    the default of the topic it reports under. `model`: the maker's. `address`: its identity on the wire (MN, DevEUI,
    meter address, Modbus unit, group/node/device). `settings`: its dialect, JSON values that the codec has checked.
    """

    id: str
    kind: str
    site: str = ""
    gateway: str = ""
    component_code: str = ""
    grid: str = ""
    district: str = ""
    street: str = ""
    departments: Departments = field(default_factory=Departments)
    state: ObjectState = ObjectState.INTACT
    cadence_s: float | None = None
    codec: str = ""
    model: str = ""
    address: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    registered_us: int = 0

    def __post_init__(self) -> None:
        check_id(self.id, "device")
        if not self.kind:
            raise RegistryError(f"device {self.id}: expected a kind, got nothing; it was not taken")
        if self.component_code:
            parse_component(self.component_code)
        if self.grid:
            check_grid(self.grid)
        if self.cadence_s is not None and not 1 <= self.cadence_s <= 31 * 86400:
            raise RegistryError(
                f"device {self.id}: expected a cadence of 1 s to 31 days, got {self.cadence_s}; it was not taken"
            )
        for name, (gain, offset) in self.calibration.items():
            if not (0 < abs(gain) < 1e6 and abs(offset) < 1e9):
                raise RegistryError(
                    f"device {self.id}: {name}: expected a finite gain other than 0 and a finite offset, "
                    f"got {gain} and {offset}; it was not taken"
                )
        if self.address and not _ADDRESS.fullmatch(self.address):
            raise RegistryError(
                f"device {self.id}: address {self.address!r:.140}: expected 1 to 128 printable ASCII characters "
                "and no blank; it was not taken"
            )
        if not self.district:
            object.__setattr__(self, "district", (self.grid or self.component_code)[:6])
        if not self.street:
            object.__setattr__(self, "street", self.grid[:9])

    def entry(self) -> Entry:
        """What the hot path needs of it."""
        return Entry(
            id=self.id,
            kind=self.kind,
            district=self.district,
            street=self.street,
            site=self.site,
            gateway=self.gateway,
            cadence_s=self.cadence_s,
            calibration=self.calibration or None,
            codec=self.codec,
            registered_us=self.registered_us,
            model=self.model,
            address=self.address,
            settings=self.settings or None,
        )


class RegistryReader(Protocol):
    """What other layers may ask of the registry."""

    def entries(self) -> Iterable[Entry]:
        """Every device that is expected to report (not the abandoned), for the hot path, by id."""
        ...

    def revision(self) -> int:
        """A number that rises with every change; equal numbers mean an equal registry."""
        ...

    def device(self, device: str) -> Device:
        """One device; RegistryError when it is not registered."""
        ...

    def devices(
        self,
        *,
        kind: str = "",
        district: str = "",
        gateway: str = "",
        site: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> Sequence[Device]:
        """Devices that match every given filter, by id, beginning behind `after`."""
        ...

    def sites(self) -> Sequence[Site]:
        """Every site, by id."""
        ...

    def gateways(self) -> Sequence[Gateway]:
        """Every gateway, by id."""
        ...


def check_id(text: str, what: str) -> str:
    """`text` if it can name a device, site or gateway on the wire; RegistryError otherwise."""
    if not _ID.fullmatch(text):
        raise RegistryError(
            f"{what} {text!r:.90}: expected 1 to 64 characters A-Z a-z 0-9 _ . : -; it was not taken"
        )
    return text


def parse_component(code: str, layout: CodeLayout = CLASSIC_LAYOUT) -> Component:
    """Take a component code apart; RegistryError when it is not digits of that layout.

    >>> parse_component("3205820102048188")
    Component(district='320582', major='01', minor='02', serial='048188')
    >>> parse_component("3205820102048188", NEWER_LAYOUT).minor
    '020'
    """
    _check_digits(code, sum(layout), "component code")
    cuts = [sum(layout[:place]) for place in range(5)]
    return Component(*(code[a:b] for a, b in itertools.pairwise(cuts)))


def check_grid(code: str) -> str:
    """`code` if it is a grid cell of 15 digits; RegistryError otherwise."""
    return _check_digits(code, GRID_DIGITS, "grid cell")


def check_position(longitude: float, latitude: float, who: str) -> None:
    """RegistryError when the point is not in or near China; says so when the two look exchanged."""
    if _within(longitude, LONGITUDES) and _within(latitude, LATITUDES):
        return
    swapped = _within(latitude, LONGITUDES) and _within(longitude, LATITUDES)
    hint = "; longitude and latitude look exchanged" if swapped else ""
    raise RegistryError(
        f"{who}: expected longitude {LONGITUDES[0]:g} to {LONGITUDES[1]:g} and latitude {LATITUDES[0]:g} to "
        f"{LATITUDES[1]:g}, got {longitude:g}, {latitude:g}{hint}; it was not taken"
    )


def _check_digits(code: str, count: int, what: str) -> str:
    if re.fullmatch(r"\d(\.\d+)?[eE]\+?\d+", code, re.ASCII):
        raise RegistryError(
            f"{what} {code}: expected {count} digits, got scientific notation: a spreadsheet has rounded it; "
            "format the column as text and export again; it was not taken"
        )
    if not _DIGITS.fullmatch(code) or len(code) != count:
        raise RegistryError(f"{what} {code!r:.60}: expected {count} digits, got {len(code)} characters; not taken")
    return code


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]
