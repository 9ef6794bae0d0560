"""ChirpStack v4: `application/{application}/device/{DevEUI}/event/{event}`, JSON, a LoRaWAN payload inside.

From: raw payloads out of the journal, via `ingest.decode`. To: samples. `fCnt` is the sample's counter, so that an
uplink nobody heard shows as a gap. The server leaves out fields that are zero: a missing fCnt, fPort, rssi or snr is 0.
Of the events, `up` carries readings and `status` the battery; the others say nothing of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from devices.codecs import Context
from devices.codecs.lorawan import envelope
from devices.codecs.lorawan.device import Uplink
from devices.readings import Sample
from devices.spec import Text

_EUI: Final = r"^[0-9a-fA-F]{16}$"
_SILENT: Final = ("join", "ack", "txack", "log", "location", "integration")
_NO_BATTERY: Final = 255


class _Device(msgspec.Struct, gc=False):
    devEui: Annotated[str, Meta(pattern=_EUI)]  # noqa: N815  the server's spelling
    deviceName: envelope.Short = ""  # noqa: N815


class _Heard(msgspec.Struct, gc=False):
    rssi: envelope.Number = 0.0
    snr: envelope.Number = 0.0
    gwTime: envelope.Moment | None = None  # noqa: N815
    nsTime: envelope.Moment | None = None  # noqa: N815


class _Up(msgspec.Struct):
    deviceInfo: _Device  # noqa: N815
    time: envelope.Moment | None = None
    deduplicationId: envelope.Short = ""  # noqa: N815
    fCnt: envelope.Count = 0  # noqa: N815
    fPort: envelope.Port = 0  # noqa: N815
    data: str = ""
    object: dict[str, Any] | None = None
    rxInfo: Annotated[list[_Heard], Meta(max_length=64)] = msgspec.field(default_factory=list)  # noqa: N815


class _Status(msgspec.Struct):
    deviceInfo: _Device  # noqa: N815
    time: envelope.Moment | None = None
    batteryLevel: Annotated[float, Meta(ge=0, le=100)] | None = None  # noqa: N815
    batteryLevelUnavailable: bool = False  # noqa: N815
    externalPowerSource: bool = False  # noqa: N815
    margin: envelope.Number = 0.0


_UP: Final = msgspec.json.Decoder(_Up)
_STATUS: Final = msgspec.json.Decoder(_Status)


class Chirpstack(envelope.Envelope):
    """The codec; stateless."""

    name: Final = "chirpstack"
    title: Final = Text("ChirpStack v4 事件（LoRaWAN）", "ChirpStack v4 events, LoRaWAN inside")

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """The sample of one event; none for events without readings; PayloadError otherwise."""
        event = context.topic.rpartition("/")[2] if "/event/" in context.topic else "up"
        if event in _SILENT:
            return ()
        if event == "status":
            return self._status(payload, context)
        up = envelope.parsed(self.name, payload, _UP)
        self._identity(up.deviceInfo.devEui, context)
        uplink = envelope.read(self.name, up.data, up.fPort, up.object, context)
        envelope.add_radio(uplink, [(one.snr, one.rssi) for one in up.rxInfo])
        if up.deduplicationId:
            uplink.states["deduplication_id"] = up.deduplicationId
        moments = [up.time, *(moment for one in up.rxInfo for moment in (one.gwTime, one.nsTime))]
        return self._sample(up.deviceInfo.devEui, envelope.micros(moments, context.received_us), uplink, up.fCnt)

    def _status(self, payload: bytes, context: Context) -> Sequence[Sample]:
        status = envelope.parsed(self.name, payload, _STATUS)
        self._identity(status.deviceInfo.devEui, context)
        uplink = Uplink()
        if not status.batteryLevelUnavailable and not status.externalPowerSource:
            uplink.add("battery", status.batteryLevel or 0.0, "%")
        at_us = envelope.micros([status.time], context.received_us)
        return self._sample(status.deviceInfo.devEui, at_us, uplink, -1) if uplink.values else ()

    @staticmethod
    def _sample(eui: str, time_us: int, uplink: Uplink, count: int) -> Sequence[Sample]:
        return (Sample(eui.lower(), time_us, uplink.values, count, None, uplink.units, uplink.states or None),)

    def _identity(self, eui: str, context: Context) -> None:
        levels = context.topic.split("/")
        if len(levels) > 3 and levels[0] == "application" and levels[3].casefold() != eui.casefold():
            raise envelope.refusal(self.name, f"the DevEUI of its topic, {levels[3]:.40}", eui)

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """The `up` event of one sample; PayloadError when the model or an object cannot carry it."""
        sample, inside, (rssi, snr) = self.inside(samples, context, "fPort", "data", "object")
        eui = (sample.device or context.device).lower()
        body: dict[str, Any] = {
            "deduplicationId": f"{eui}-{sample.time_us}-{max(sample.seq, 0)}",
            "time": envelope.stamp(sample.time_us),
            "deviceInfo": {"applicationName": "city", "deviceName": eui, "devEui": eui, "tags": {}},
            "adr": True,
            "dr": 5,
            "fCnt": max(sample.seq, 0),
            "confirmed": False,
            "rxInfo": [{"gatewayId": "0016c001f1500001", "rssi": rssi, "snr": snr, "crcStatus": "CRC_OK"}],
            **inside,
        }
        payload = msgspec.json.encode(body)
        return self.proven(payload, context)


CODEC: Final = Chirpstack()
