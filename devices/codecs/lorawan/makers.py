"""Radio Bridge, Decentlab and Elvaco: one model each. Layouts after the makers' published guides and decoders."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from devices.codecs import Settings
from devices.codecs.lorawan.device import Model, Uplink, integer, need, refusal
from devices.codecs.mbus.building import FIELDS, build_records
from devices.codecs.mbus.records import parse

_TILT_EVENTS: Final = (
    "Transition to vertical",
    "Transition to horizontal",
    "Report on change toward vertical",
    "Report on change toward horizontal",
)
_TILT: Final = 0x0A
_SUPERVISORY: Final = 0x01
_TAMPER: Final = 0x02
_NO_READING: Final = {
    0x00: "reset",
    0xFA: "device information",
    0xFB: "link quality",
    0xFC: "rate limit exceeded",
    0xFD: "test message",
    0xFF: "downlink acknowledged",
}


def _radiobridge(payload: bytes, _settings: Settings) -> Uplink:
    """`version and counter, message type, event, angle`: `1B 0A 02 38` is 56 degrees. The angle is the maker's own."""
    name = "RBS301-TILT"
    need(name, payload, 2, "version and message type")
    version, kind = payload[0] >> 4, payload[1]
    if version != 1:
        raise refusal(name, "protocol version 1", str(version), 0)
    into = Uplink()
    if kind in _NO_READING:
        into.states["event"] = _NO_READING[kind]
    elif kind == _SUPERVISORY:
        need(name, payload, 5, "a supervisory message")
        into.states["event"] = "supervisory"
        into.add("battery_voltage", (payload[4] >> 4) + (payload[4] & 0x0F) / 10, "V")
    elif kind == _TAMPER:
        need(name, payload, 3, "a tamper event")
        # Which of 00 and 01 is the open housing we have not seen on a device: the byte is shown as it is.
        into.states["event"] = f"tamper {payload[2]:02x}"
    elif kind == _TILT:
        need(name, payload, 4, "a tilt event")
        if payload[2] >= len(_TILT_EVENTS):
            raise refusal(name, "an event of 00 to 03", f"{payload[2]:02x}", 2)
        if payload[3] > 180:
            raise refusal(name, "an angle of 0 to 180 degrees", str(payload[3]), 3)
        if len(payload) > 4:
            raise refusal(name, "4 bytes", str(len(payload)), 4)
        into.states["event"] = _TILT_EVENTS[payload[2]]
        into.add("tilt", float(payload[3]), "deg")
    else:
        raise refusal(name, "message type 0a (tilt) or 01 (supervisory)", f"{kind:02x}", 1)
    return into


def _build_radiobridge(values: Mapping[str, float], _settings: Settings) -> bytes:
    if "tilt" not in values:
        raise refusal("RBS301-TILT", "a tilt", ", ".join(values) or "none", -1)
    return bytes([0x10, _TILT, 0x02, integer("RBS301-TILT", "tilt", values["tilt"], 0, 180)])


_HEAD: Final = struct.Struct(">BHH")


def _decentlab(payload: bytes, settings: Settings) -> Uplink:
    """`02, device id, flags, then what the flags say`: bit 0 pressure and temperature, bit 1 battery; high byte first.

    Pressure counts run from 16384 at `pmin_bar` to 49152 at `pmax_bar`, which are on the probe's label.
    """
    name = "DL-PR26"
    need(name, payload, _HEAD.size, "version, device id and flags")
    version, number, flags = _HEAD.unpack_from(payload)
    if version != 2:
        raise refusal(name, "protocol version 2", str(version), 0)
    if not flags or flags & ~3:
        raise refusal(name, "flags 0001 to 0003", f"{flags:04x}", 3)
    into, at = Uplink(), _HEAD.size
    into.states["device_id"] = str(number)
    if flags & 1:
        need(name, payload, 4, "pressure and temperature", at)
        pressure, temperature = struct.unpack_from(">HH", payload, at)
        low, high = _span(settings)
        into.add("pressure", (pressure - 16384) / 32768 * (high - low) + low, "bar")
        into.add("temperature", (temperature - 384) * 0.003125 - 50, "degC")
        at += 4
    if flags & 2:
        need(name, payload, 2, "battery", at)
        into.add("battery_voltage", int.from_bytes(payload[at : at + 2], "big") / 1000, "V")
        at += 2
    if at != len(payload):
        raise refusal(name, f"{at} bytes by its flags", str(len(payload)), at)
    return into


def _span(settings: Settings) -> tuple[float, float]:
    return float(settings.get("pmin_bar", 0.0)), float(settings.get("pmax_bar", 1.0))


def _build_decentlab(values: Mapping[str, float], settings: Settings) -> bytes:
    name, flags, body = "DL-PR26", 0, b""
    if "pressure" in values or "temperature" in values:
        low, high = _span(settings)
        pressure = (values.get("pressure", low) - low) / (high - low) * 32768 + 16384
        temperature = (values.get("temperature", 0.0) + 50) / 0.003125 + 384
        body += integer(name, "pressure", pressure, 0, 65535).to_bytes(2, "big")
        body += integer(name, "temperature", temperature, 0, 65535).to_bytes(2, "big")
        flags |= 1
    if "battery_voltage" in values:
        body += integer(name, "battery_voltage", values["battery_voltage"] * 1000, 0, 65535).to_bytes(2, "big")
        flags |= 2
    if not flags:
        raise refusal(name, "pressure, temperature or battery_voltage", ", ".join(values) or "none", -1)
    return _HEAD.pack(2, 0, flags) + body


_STANDARD: Final = 0x1E


def _elvaco(payload: bytes, _settings: Settings) -> Uplink:
    """A message type (1E: standard), then M-Bus records."""
    need("CMi4160", payload, 2, "message type and records")
    if payload[0] != _STANDARD:
        raise refusal("CMi4160", "message type 1e (standard)", f"{payload[0]:02x}", 0)
    found = parse(payload[1:], offset=1)  # with what it says in words: the meter's own number
    return Uplink(found.values, found.units, found.states)


def _build_elvaco(values: Mapping[str, float], _settings: Settings) -> bytes:
    return bytes([_STANDARD]) + build_records(values)


MODELS: Final = (
    Model(
        name="RBS301-TILT",
        maker="Radio Bridge",
        reads="tilt events",
        decode=_radiobridge,
        encode=_build_radiobridge,
        fields={"tilt": "deg"},
        ports=(2,),
        names=("radiobridge tilt", "radio bridge tilt"),
    ),
    Model(
        name="DL-PR26",
        maker="Decentlab",
        reads="pressure or level, temperature",
        decode=_decentlab,
        encode=_build_decentlab,
        fields={"pressure": "bar", "temperature": "degC", "battery_voltage": "V"},
        ports=(1,),
        settings={"pmin_bar": float, "pmax_bar": float},
    ),
    Model(
        name="CMi4160",
        maker="Elvaco",
        reads="heat meters, as M-Bus records",
        decode=_elvaco,
        encode=_build_elvaco,
        fields=FIELDS,
        ports=(2,),
    ),
)
