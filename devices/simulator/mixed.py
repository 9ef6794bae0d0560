"""What the devices of the example city speak when it is mixed: each kind what the field speaks.

From: `devices.simulator.example`. To: the registry, as codec, model, address and settings. All addresses are invented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devices.fleet import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One protocol as the registry states it. `address`: a format of the device's serial number."""

    codec: str
    model: str = ""
    address: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


_PASSWORD: Final = "990100"  # noqa: S105  no secret: these loggers exist on this machine only
_INLET: Final = {
    "e10201-Rtd": "cod_mgl",
    "e10301-Rtd": "nh3n_mgl",
    "e10101-Rtd": "flow_ls",
    "e10601-Rtd": "ph",
    "e10501-Rtd": "tn_mgl",
    "e10401-Rtd": "tp_mgl",
}
# Names of our own for the currents, as a maker would choose his.
_FUME: Final = {"a34041-Rtd": "fume_mgm3:mg/m3", "fan01-Rtd": "fan_a:A", "cleaner01-Rtd": "purifier_a:A"}
_INTEGERS: Final = [
    {"name": "pressure", "address": 0, "type": "int16", "scale": 0.1, "unit": "kPa"},
    {"name": "battery_voltage", "address": 1, "scale": 0.001, "unit": "V"},
    {"name": "temperature", "address": 2, "type": "int16", "scale": 0.1, "unit": "degC"},
    {"name": "signal", "address": 3, "type": "int16", "unit": "dBm"},
]
_FLOATS: Final = [
    {"name": "pressure", "address": 100, "type": "float32", "order": "cdab", "unit": "bar"},
    {"name": "temperature", "address": 102, "type": "float32", "order": "cdab", "unit": "degC"},
    {"name": "battery", "address": 104, "unit": "%"},
]
# Devices of one kind take turns.
SPEECHES: Final[Mapping[str, tuple[Speech, ...]]] = {
    # A maker's tilt sensor, and one that the network server decodes for us, with water level and shocks.
    "manhole_cover": (
        Speech(codec="chirpstack", model="EM320-TILT", address="02a1{:012x}"),
        Speech(codec="chirpstack", address="02a2{:012x}"),
    ),
    # Transmitters behind DTUs: a map of integers, one of floats whose DTU sends what it asked too, and a maker's own.
    "water_pressure": (
        Speech(codec="modbus", settings={"unit": 1, "registers": _INTEGERS}),
        Speech(codec="modbus", settings={"unit": 17, "with_request": True, "registers": _FLOATS}),
        Speech(codec="modbus", model="pressure-a", settings={"unit": 1}),
    ),
    "heat_meter": (
        Speech(codec="cjt188", address="00111100{:06d}"),
        Speech(codec="mbus", address="66{:06d}"),
    ),
    # By the codes for sewage, and by those for the inlet of a treatment plant.
    "sewage_inflow": (
        Speech(codec="hj212", address="9901000032{:014d}", settings={"st": "32", "password": _PASSWORD}),
        Speech(
            codec="hj212",
            address="9901000052{:014d}",
            settings={"st": "52", "password": _PASSWORD, "fields": _INLET},
        ),
    ),
    # Fume monitors have no type of their own in HJ 212; makers choose one, and sometimes another checksum.
    "kitchen_exhaust": (
        Speech(
            codec="hj212",
            address="9901000031{:014d}",
            settings={"st": "31", "password": _PASSWORD, "fields": _FUME},
        ),
        Speech(
            codec="hj212",
            address="9901000051{:014d}",
            settings={"st": "51", "password": _PASSWORD, "crc": "modbus", "fields": _FUME},
        ),
    ),
}
_DEFAULT: Final = (Speech(codec="json"),)


def speech(kind: str, serial: int) -> Speech:
    """What the device number `serial` of `kind` speaks; our JSON for a kind that has nothing here."""
    turns = SPEECHES.get(kind, _DEFAULT)
    turn = turns[serial % len(turns)]
    return Speech(
        codec=turn.codec, model=turn.model, address=turn.address.format(serial), settings=dict(turn.settings)
    )


def spoken(entries: Iterable[Entry]) -> str:
    """How many devices speak what, for a person.

    >>> spoken([Entry("HM-1", "heat_meter", codec="mbus"), Entry("HM-2", "heat_meter", codec="mbus")])
    '2 mbus'
    """
    counts = Counter(entry.codec or "json" for entry in entries)
    return ", ".join(f"{count} {codec}" for codec, count in counts.most_common())
