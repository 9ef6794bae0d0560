"""Milesight sensors: a payload is a list of channels, each `channel, type, data`; numbers low byte first.

    01 75 5C          battery 92 %
    03 D4 00 00 01 00 50 46   tilt: x, y, z as int16 / 2 / 100 degrees, lowest bit: that axis is in alarm (EM320-TILT)
    03 CF 00 00 00 00 28 23 07   tilt: int16 / 100 degrees, then a byte of alarm bits (EM310-TILT)

Layouts after the maker's published user guides and decoders. An angle is the inclination of that axis of the
housing against the horizontal: z at 90 degrees is a housing that stands upright, so `tilt` = 90 - z.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from devices.codecs import Settings
from devices.codecs.lorawan.device import Model, Uplink, integer, need, refusal

_INT16: Final = struct.Struct("<h")
_UINT16: Final = struct.Struct("<H")
_HUNDREDTH: Final = 0.0101  # of a degree, what the wire tells apart
_TILT: Final = struct.Struct("<hhh")
_AXES: Final = ("x", "y", "z")
# What a device says of itself when it joins: serial number, versions. Type -> bytes.
_INFO: Final = {0x01: 1, 0x08: 6, 0x09: 2, 0x0A: 2, 0x0B: 1, 0x0F: 1, 0x16: 8, 0x18: 1, 0xFE: 1, 0xFF: 2}
_NB_HEAD: Final = 9
_CSQ: Final = 20  # of what we build: -73 dBm


class Channel(NamedTuple):
    """One channel: `size` bytes of data, how they are read into an uplink and how built."""

    size: int
    what: str
    read: Callable[[str, bytes, int, Uplink], None]
    build: Callable[[str, Mapping[str, float]], bytes]
    fields: Mapping[str, str]


def _scaled(name: str, unit: str, layout: struct.Struct, per_unit: float) -> Channel:
    """A plain number of `layout`, `per_unit` counts to one `unit`."""
    bits = 8 * layout.size
    low, high = (0, 2**bits - 1) if layout is _UINT16 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def read(_model: str, data: bytes, _at: int, into: Uplink) -> None:
        into.add(name, layout.unpack(data)[0] / per_unit, unit)

    def build(model: str, values: Mapping[str, float]) -> bytes:
        return layout.pack(integer(model, name, values[name] * per_unit, low, high))

    return Channel(layout.size, name, read, build, {name: unit})


def _read_battery(model: str, data: bytes, at: int, into: Uplink) -> None:
    if data[0] > 100:
        raise refusal(model, "a battery of 0 to 100 %", str(data[0]), at)
    into.add("battery", float(data[0]), "%")


def _build_battery(model: str, values: Mapping[str, float]) -> bytes:
    return bytes([integer(model, "battery", values["battery"], 0, 100)])


def _read_position(model: str, data: bytes, at: int, into: Uplink) -> None:
    if data[0] > 1:
        raise refusal(model, "a position of 00 or 01", f"{data[0]:02x}", at)
    into.states["position"] = "tilt" if data[0] else "normal"


def _angles(model: str, counts: tuple[int, ...], per_degree: float, at: int, into: Uplink) -> None:
    for axis, count in zip(_AXES, counts, strict=True):
        angle = count / per_degree
        if not -180 <= angle <= 180:
            raise refusal(model, "angles of -180 to 180 degrees", f"{axis} = {angle:g}", at)
        into.add(f"angle_{axis}", angle, "deg")
    into.add("tilt", round(90.0 - into.values["angle_z"], 2), "deg")
    if not 0 <= into.values["tilt"] <= 180:
        raise refusal(model, "z between -90 and 90 degrees", f"{into.values['angle_z']:g}", at)


def _read_tilt_halves(model: str, data: bytes, at: int, into: Uplink) -> None:
    counts = _TILT.unpack(data)
    _angles(model, tuple(count >> 1 for count in counts), 100, at, into)
    for axis, count in zip(_AXES, counts, strict=True):
        into.states[f"threshold_{axis}"] = "trigger" if count & 1 else "normal"


def _read_tilt_bits(model: str, data: bytes, at: int, into: Uplink) -> None:
    _angles(model, _TILT.unpack(data[:6]), 100, at, into)
    if data[6] > 7:
        raise refusal(model, "three alarm bits", f"{data[6]:02x}", at + 6)
    for place, axis in enumerate(_AXES):
        into.states[f"threshold_{axis}"] = "trigger" if data[6] >> place & 1 else "normal"


def _pose(model: str, values: Mapping[str, float]) -> tuple[float, float, float]:
    """The three angles; where only the tilt is given, about the y axis. PayloadError for a pose that nothing takes."""
    tilt = values.get("tilt", 90.0 - values.get("angle_z", 90.0))
    lean = tilt if tilt <= 90 else 180 - tilt
    pose = values.get("angle_x", lean), values.get("angle_y", 0.0), values.get("angle_z", 90.0 - tilt)
    for axis, angle, most in zip(_AXES, pose, (180, 180, 90), strict=True):
        if not -most <= angle <= most:
            raise refusal(model, f"an angle_{axis} of {-most} to {most} degrees", f"{angle:g}", -1)
    if abs(90.0 - pose[2] - tilt) > _HUNDREDTH:
        raise refusal(model, f"a tilt of 90 - angle_z = {90.0 - pose[2]:g}", f"{tilt:g}", -1)
    return pose


def _build_tilt_halves(model: str, values: Mapping[str, float]) -> bytes:
    return _TILT.pack(
        *(integer(model, "angle", angle * 100, -16384, 16383) << 1 for angle in _pose(model, values))
    )


def _build_tilt_bits(model: str, values: Mapping[str, float]) -> bytes:
    return (
        _TILT.pack(*(integer(model, "angle", angle * 100, -32768, 32767) for angle in _pose(model, values)))
        + b"\0"
    )


def _alarmed(name: str, plain: Channel, words: tuple[str, ...]) -> Channel:
    """A number that a threshold made the device send, and a byte that says whether it was crossed or left."""

    def read(model: str, data: bytes, at: int, into: Uplink) -> None:
        plain.read(model, data[: plain.size], at, into)
        _word(model, f"{name}_alarm", data[plain.size :], at + plain.size, words, into)

    return Channel(plain.size + 1, f"{name} and its alarm", read, plain.build, {})


def _word(model: str, name: str, data: bytes, at: int, words: tuple[str, ...], into: Uplink) -> None:
    if data[0] >= len(words):
        raise refusal(model, f"{name} of 00 to {len(words) - 1:02x}", f"{data[0]:02x}", at)
    into.states[name] = words[data[0]]


def _read_mutation(model: str, data: bytes, at: int, into: Uplink) -> None:
    # The maker's guide and decoder disagree on the scale of the two distances here: the word alone is taken.
    _word(model, "distance_alarm", data[4:], at + 4, ("normal", "threshold_alarm", "mutation_alarm"), into)


def _read_disassembly(_model: str, data: bytes, _at: int, into: Uplink) -> None:
    into.states["disassembly_alarm"] = "moved" if data[0] == 1 else "unknown"


def _nothing(_model: str, _values: Mapping[str, float]) -> bytes:
    return b""  # a channel that the simulator has no use for


_RELEASE: Final = ("threshold_alarm_release", "threshold_alarm")
_ANGLES: Final = {"tilt": "deg", "angle_x": "deg", "angle_y": "deg", "angle_z": "deg"}
_BATTERY: Final = Channel(1, "battery", _read_battery, _build_battery, {"battery": "%"})
_POSITION: Final = Channel(1, "position", _read_position, lambda *_: b"\0", {})
_TEMPERATURE: Final = _scaled("temperature", "degC", _INT16, 10)
_DISTANCE: Final = _scaled("distance", "mm", _UINT16, 1)

Table = Mapping[tuple[int, int], Channel]
_TABLES: Final[Mapping[str, tuple[str, Table]]] = {
    "EM310-TILT": (
        "tilt",
        {
            (0x01, 0x75): _BATTERY,
            (0x03, 0xCF): Channel(7, "tilt", _read_tilt_bits, _build_tilt_bits, _ANGLES),
        },
    ),
    "EM320-TILT": (
        "tilt",
        {
            (0x01, 0x75): _BATTERY,
            (0x03, 0xD4): Channel(6, "tilt", _read_tilt_halves, _build_tilt_halves, _ANGLES),
        },
    ),
    "EM500-PP": (
        "pipe pressure",
        {(0x01, 0x75): _BATTERY, (0x03, 0x7B): _scaled("pressure", "kPa", _UINT16, 1)},
    ),
    "EM500-SWL": (
        "submersible water level",
        {(0x01, 0x75): _BATTERY, (0x03, 0x77): _scaled("water_level", "cm", _UINT16, 1)},
    ),
    "EM500-UDL": (
        "ultrasonic distance",
        {
            (0x01, 0x75): _BATTERY,
            (0x03, 0x82): _DISTANCE,
            (0x83, 0xE9): Channel(5, "a distance alarm", _read_mutation, _nothing, {}),
        },
    ),
    "EM310-UDL": (
        "ultrasonic distance and position",
        {(0x01, 0x75): _BATTERY, (0x03, 0x82): _DISTANCE, (0x04, 0x00): _POSITION},
    ),
    "EM400-TLD": (
        "time-of-flight distance, temperature and position",
        {
            (0x01, 0x75): _BATTERY,
            (0x03, 0x67): _TEMPERATURE,
            (0x04, 0x82): _DISTANCE,
            (0x05, 0x00): _POSITION,
            (0x06, 0x88): Channel(
                9, "a location", lambda *_: None, _nothing, {}
            ),  # NB-IoT; a fixed asset's is known
            (0x83, 0x67): _alarmed("temperature", _TEMPERATURE, _RELEASE),
            (0x84, 0x82): _alarmed("distance", _DISTANCE, _RELEASE),
            (0x88, 0x00): Channel(1, "a disassembly alarm", _read_disassembly, _nothing, {}),
        },
    ),
}


def _read(model: str, table: Table, payload: bytes, into: Uplink, at: int = 0) -> None:
    """Every channel of `payload` from `at` on."""
    if at == len(payload):
        raise refusal(model, "at least one channel", "an empty payload", at)
    while at < len(payload):
        need(model, payload, 2, "a channel and its type", at)
        number, kind = payload[at], payload[at + 1]
        if number == 0xFF and kind in _INFO:
            need(model, payload, 2 + _INFO[kind], "what it says of itself", at)
            at += 2 + _INFO[kind]
            continue
        channel = table.get((number, kind))
        if channel is None:
            known = ", ".join(f"{a:02x} {b:02x}" for a, b in table)
            raise refusal(model, f"a channel among {known}", f"{number:02x} {kind:02x}", at)
        need(model, payload, channel.size, channel.what, at + 2)
        channel.read(model, payload[at + 2 : at + 2 + channel.size], at + 2, into)
        at += 2 + channel.size


def _model(name: str, reads: str, table: Table) -> Model:
    def decode(payload: bytes, _settings: Settings) -> Uplink:
        into = Uplink()
        _read(name, table, payload, into)
        return into

    def encode(values: Mapping[str, float], _settings: Settings) -> bytes:
        parts = [
            bytes(key) + channel.build(name, values)
            for key, channel in table.items()
            if any(field in values for field in channel.fields)
        ]
        if not parts:
            raise refusal(name, f"values among {', '.join(fields)}", ", ".join(values) or "none", -1)
        return b"".join(parts)

    fields = {field: unit for channel in table.values() for field, unit in channel.fields.items()}
    return Model(
        name=name, maker="Milesight", reads=reads, decode=decode, encode=encode, fields=fields, ports=(85,)
    )


def _nb_text(payload: bytes, at: int, size: int, what: str) -> str:
    """One of the texts in an NB-IoT frame's head."""
    raw = payload[at : at + size]
    if not raw.isalnum():
        raise refusal("EM400-TLD NB-IoT", f"{what} in letters and digits", raw.hex(" "), at)
    return raw.decode("ascii")


def _decode_nb(payload: bytes, _settings: Settings) -> Uplink:
    """The cellular sister: head, versions, serial number, SIM, signal quality, then the same channels.

    02 | type 2 | length 2 | flag 1 | counter 2 | version 1 | firmware 4 | hardware 4 | SN 16 | IMEI 15 | IMSI 15 |
    ICCID 20 | CSQ 1 | length of the channels 2 | channels
    """
    name = "EM400-TLD NB-IoT"
    need(name, payload, _NB_HEAD + 8 + 16 + 15 + 15 + 20 + 3, "head")
    if payload[0] != 0x02:
        raise refusal(name, "a frame that begins with 02", f"{payload[0]:02x}", 0)
    size = int.from_bytes(payload[3:5], "big")
    if size != len(payload) - 5:
        raise refusal(name, f"{size} bytes behind its length", str(len(payload) - 5), 3)
    into, at = Uplink(), _NB_HEAD + 8
    for what, size in (("sn", 16), ("imei", 15), ("imsi", 15), ("iccid", 20)):
        into.states[what] = _nb_text(payload, at, size, what)
        at += size
    into.device = into.states["sn"]
    into.states["csq"] = str(payload[at])
    if payload[at] <= 31:  # 3GPP TS 27.007: 0 is -113 dBm, each step 2 dB; 99 is unknown
        into.add("rssi", -113.0 + 2 * payload[at], "dBm")
    size = int.from_bytes(payload[at + 1 : at + 3], "big")
    if size != len(payload) - at - 3:
        raise refusal(name, f"{size} bytes of channels", f"{len(payload) - at - 3}", at + 1)
    _read(name, _TABLES["EM400-TLD"][1], payload, into, at + 3)
    return into


def _encode_nb(values: Mapping[str, float], _settings: Settings) -> bytes:
    channels = _plain["EM400-TLD"].encode(values, {})
    body = b"\0\0\0\x01" + b"01010110" + b"0" * 66 + bytes([_CSQ]) + len(channels).to_bytes(2, "big") + channels
    return b"\x02\0\x01" + len(body).to_bytes(2, "big") + body


_plain: Final = {name: _model(name, reads, table) for name, (reads, table) in _TABLES.items()}
MODELS: Final = (
    *_plain.values(),
    Model(
        name="EM400-TLD NB-IoT",
        maker="Milesight",
        reads="the same over NB-IoT, with the SIM's numbers",
        decode=_decode_nb,
        encode=_encode_nb,
        fields=_plain["EM400-TLD"].fields,
        names=("em400-tld-nb",),
    ),
)
