"""The CJ/T 188 codec: meters' replies to samples, and back for the simulator.

A sample's device is the meter's address, all 7 bytes, high byte first, as 14 hex digits. Its time is the meter's clock
(Beijing time) where that is set, else our receipt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from devices.codecs import Context, Settings, refuse_unknown
from devices.codecs.cjt188.building import FIELDS, reading
from devices.codecs.cjt188.clock import clock_us
from devices.codecs.cjt188.frames import PAYLOAD_MAX, Reply, replies
from devices.codecs.cjt188.layouts import AUTO, HEAT, LAYOUTS, WATER, WATER_FLOW, Form, read
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample
from devices.spec import Text

_READS: Final = (b"\x90\x1f", b"\x1f\x90", b"\x90\x2f", b"\x2f\x90")
_MONTHS: Final = range(0x20, 0x2C)  # D120 to D12B: what was settled in each of the last twelve months
_HEADER: Final = 3  # DI0 DI1 SER
_STATUS_VALUES: Final = ("valve", "battery_low")
_VALVES: Final = {1: "closed", 2: "undefined", 3: "fault"}
_BATTERY: Final = 0x04
_UNSUPPORTED: Final = 0xFF


class CjT188:
    """The codec; stateless."""

    name: Final = "cjt188"
    title: Final = Text(
        "CJ/T 188-2004 热量表、水表、燃气表应答帧", "CJ/T 188-2004 replies of heat, water and gas meters"
    )
    models: Final = ()

    def decode(self, payload: bytes, context: Context) -> tuple[Sample, ...]:
        """A sample for every reading in `payload`, none for requests; PayloadError unless each frame holds."""
        layout = context.settings.get("layout", AUTO)
        return tuple([_sample(reply, layout, context.received_us) for reply in replies(payload)])

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """Replies that read as `samples`: readings, never a request or a command; PayloadError when one does not fit.

        A sample with nothing but volumes becomes a water meter's, every other a heat meter's.
        """
        layout = context.settings.get("layout", AUTO)
        payload = b"".join([reading(sample, sample.device or context.device, layout) for sample in samples])
        if not 0 < len(payload) <= PAYLOAD_MAX:
            raise PayloadError(
                f"cjt188: expected frames of 1 to {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was built"
            )
        return payload

    def fields(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """What a heat meter's reply carries."""
        return FIELDS

    def check(self, settings: Settings) -> None:
        """RegistryError unless `layout` is one of the known ones and nothing else is set."""
        refuse_unknown(self.name, settings, ("layout",))
        layout = settings.get("layout", AUTO)
        if layout not in LAYOUTS:
            raise RegistryError(
                f"codec cjt188: layout: expected {', '.join(LAYOUTS)}, got {layout!a:.80}; not taken"
            )


def _sample(reply: Reply, layout: str, received_us: int) -> Sample:
    form = _form(reply)
    data = reply.data[_HEADER:]
    found = read(form, data, layout, reply.offset + _HEADER)
    if not found.values:
        raise PayloadError(
            "cjt188: expected decimal digits, got none in any value; nothing was used",
            offset=reply.offset + _HEADER,
        )
    states: dict[str, str] = {}
    at = form.clock_at
    time_us = clock_us(data[at : at + 7], received_us, high_first=found.high_first)
    if time_us is None:
        time_us = received_us
        states["clock"] = "not set"
    if found.absent:
        states["absent"] = ", ".join(found.absent)
    status = data[at + 7 :]
    if len(status) > 2:  # one maker's own form: which of its four bytes are the standard's two is not published
        states["status"] = status.hex().upper()
        flags, units = None, found.units
    else:
        flags = _status(status, found.values, states)
        units = found.units | {name: "" for name in _STATUS_VALUES if name in found.values}
    return Sample(reply.address, time_us, found.values, -1, flags, units, states or None)


def _form(reply: Reply) -> Form:
    """The form of a reply's data, by its length and kind; PayloadError when it is none that holds a reading."""
    size = len(reply.data)
    if size >= _HEADER and reply.data[:2] in _READS:
        heat = 0x20 <= reply.kind < 0x30
        for form in (HEAT,) if heat else (WATER, WATER_FLOW):
            if size == _HEADER + form.size:
                return form
        raise PayloadError(
            f"cjt188: expected {46 if heat else 22} bytes of data from a meter of type {reply.kind:02X}, got {size}; "
            "nothing was used",
            offset=reply.offset - 1,
        )
    high, low = reply.data[:2] if size >= 2 else (0, 0)
    if 0xD1 in (high, low) and (high in _MONTHS or low in _MONTHS):
        raise PayloadError(
            f"cjt188: expected the present reading (DI 901F), got a past month's (DI {high:02X}{low:02X}), which "
            "has no time of its own; nothing was used",
            offset=reply.offset,
        )
    got = reply.data[:2].hex().upper() or "no data"
    raise PayloadError(
        f"cjt188: expected the present reading (DI 901F, 1F90 or 902F), got {got}; nothing was used",
        offset=reply.offset,
    )


def _status(status: bytes, values: dict[str, float], states: dict[str, str]) -> dict[str, Quality] | None:
    """Valve and battery into `values`, all else into `states`; a low battery makes the measured values suspect."""
    first, second = status
    if first == _UNSUPPORTED:
        states["status"] = status.hex().upper()
        return None
    measured = tuple(values)
    valve = first & 0x03
    if valve != 2:
        values["valve"] = float(valve)
    values["battery_low"] = 1.0 if first & _BATTERY else 0.0
    if valve:
        states["valve"] = _VALVES[valve]
    if second or first & ~0x07:
        states["status"] = status.hex().upper()
    return dict.fromkeys(measured, Quality.SUSPECT) if first & _BATTERY else None
