"""The M-Bus codec: a meter's answers to samples, and back for the simulator.

From: payload bytes, through `frames`. To: samples named as in `records`. A sample's device is the identification number
of the frame's header, 8 digits; its time is the meter's own clock (Beijing time) where the frame carries one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from devices.beijing import BEIJING, micros
from devices.codecs import Context, Settings, refuse_unknown
from devices.codecs.mbus import fixed, records
from devices.codecs.mbus.building import FIELDS, answer
from devices.codecs.mbus.frames import FIXED, NO_HEADER, PAYLOAD_MAX, Frame, answers
from devices.codecs.mbus.records import Records
from devices.errors import PayloadError
from devices.readings import Quality, Sample
from devices.spec import Text

_HEADER: Final = 12  # of variable data: identification 4, maker 2, version, medium, access, status, signature 2
_STATUS: Final = 9
_HIGH_FIRST: Final = 0x04
_ENCRYPTED: Final = frozenset((2, 3, 4, 5, 7, 8, 9, 10, 13))  # modes of the signature word; 0 is plain
_POWER_LOW, _PERMANENT, _TEMPORARY = 0x04, 0x08, 0x10
_MEDIA: Final = {
    0x02: "electricity",
    0x03: "gas",
    0x04: "heat",
    0x06: "warm water",
    0x07: "water",
    0x08: "heat cost",
    0x0A: "cooling",
    0x0B: "cooling",
    0x0C: "heat",
    0x0D: "heat and cooling",
    0x15: "hot water",
    0x16: "cold water",
}


class MBus:
    """The codec; stateless."""

    name: Final = "mbus"
    title: Final = Text("M-Bus 仪表应答帧（EN 13757）", "M-Bus answers of meters (EN 13757)")
    models: Final = ()

    def decode(self, payload: bytes, context: Context) -> tuple[Sample, ...]:
        """A sample for every answer in `payload`; none where there are only requests and acknowledgements.

        PayloadError unless every frame holds, and when no answer has a number.
        """
        samples = tuple(_sample(frame, context.received_us) for frame in answers(payload))
        if samples and not any(sample.values for sample in samples):
            raise PayloadError("mbus: expected a reading, got no record with a number; nothing was used", offset=0)
        return samples

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """The answers of heat meters that read as `samples`; PayloadError when a frame cannot carry one."""
        payload = b"".join(answer(sample, sample.device or context.device) for sample in samples)
        if not 0 < len(payload) <= PAYLOAD_MAX:
            raise PayloadError(
                f"mbus: expected frames of 1 to {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was built"
            )
        return payload

    def fields(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """What the simulated heat meter reports."""
        return FIELDS

    def check(self, settings: Settings) -> None:
        """RegistryError: it has no dialects."""
        refuse_unknown(self.name, settings, ())


def _sample(frame: Frame, received_us: int) -> Sample:
    high_first = frame.ci != NO_HEADER and bool(frame.ci & _HIGH_FIRST)
    if frame.ci == NO_HEADER:
        found = records.parse(frame.data, offset=frame.data_offset)
        return _named(found, found.states.get("fabrication_number", ""), 0, received_us)
    if frame.ci in FIXED:
        found = fixed.parse(frame.data, offset=frame.data_offset, high_first=high_first)
        return _named(
            found, _identity(frame, high_first=high_first), frame.data[fixed.STATUS] & ~0x03, received_us
        )
    _plain(frame, high_first=high_first)
    found = records.parse(frame.data[_HEADER:], offset=frame.data_offset + _HEADER, high_first=high_first)
    found.states |= _maker(frame, high_first=high_first)
    return _named(found, _identity(frame, high_first=high_first), frame.data[_STATUS], received_us)


def _plain(frame: Frame, *, high_first: bool) -> None:
    """Refuse variable data whose header is cut short or whose records are encrypted."""
    if len(frame.data) < _HEADER:
        raise PayloadError(
            f"mbus: expected a header of {_HEADER} bytes, got {len(frame.data)}; nothing was used",
            offset=frame.data_offset + len(frame.data),
        )
    mode = frame.data[10 if high_first else 11] & 0x1F
    if mode in _ENCRYPTED:
        raise PayloadError(
            f"mbus: expected plain records, got encrypted ones (mode {mode}); nothing was used",
            offset=frame.data_offset + 10,
        )


def _identity(frame: Frame, *, high_first: bool) -> str:
    number = frame.data[:4]
    return (number if high_first else number[::-1]).hex().upper()


def _maker(frame: Frame, *, high_first: bool) -> dict[str, str]:
    """Maker and medium in words."""
    code = int.from_bytes(frame.data[4:6], "big" if high_first else "little")
    letters = "".join(chr((code >> shift & 0x1F) + 64) for shift in (10, 5, 0))
    medium = frame.data[7]
    return {"manufacturer": letters, "medium": _MEDIA.get(medium, f"{medium:02X}")}


def _named(found: Records, device: str, status: int, received_us: int) -> Sample:
    """The sample; `status`: the header's byte, whose errors make every value suspect."""
    words = [
        word for bit, word in ((_PERMANENT, "permanent error"), (_TEMPORARY, "temporary error")) if status & bit
    ]
    if status & 0x03 == 0x02:
        words.append("application error")
    flags = dict.fromkeys(found.values, Quality.SUSPECT) if words else None
    if found.values:
        found.values["battery_low"] = float(bool(status & _POWER_LOW))
        found.units["battery_low"] = ""
    if words:
        found.states["status"] = ", ".join(words)
    if found.more:
        found.states["more"] = "the meter has further frames"
    return Sample(
        device,
        received_us if found.moment is None else micros(found.moment.replace(tzinfo=BEIJING)),
        found.values,
        flags=flags,
        units=found.units,
        states=found.states or None,
    )
