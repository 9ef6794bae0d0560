"""The Things Stack v3: `v3/{application}@{tenant}/devices/{device id}/up`, JSON, a LoRaWAN payload inside.

From: raw payloads out of the journal, via `ingest.decode`. To: samples. A device's identity is its DevEUI where the
message has one, else its device id; either may be registered. Fields that are zero are left out. The Things
Network publishes at QoS 0: what is lost between its broker and ours shows only as a gap in `f_cnt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from devices.codecs import Context
from devices.codecs.lorawan import envelope
from devices.readings import Sample
from devices.spec import Text


class _Ids(msgspec.Struct, gc=False):
    device_id: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$")]
    dev_eui: Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{16}$")] | None = None


class _Heard(msgspec.Struct, gc=False):
    rssi: envelope.Number = 0.0
    snr: envelope.Number = 0.0


class _Radio(msgspec.Struct, gc=False):
    time: envelope.Moment | None = None


class _Message(msgspec.Struct):
    f_port: envelope.Port = 0
    f_cnt: envelope.Count = 0
    frm_payload: str = ""
    decoded_payload: dict[str, Any] | None = None
    rx_metadata: Annotated[list[_Heard], Meta(max_length=64)] = msgspec.field(default_factory=list)
    settings: _Radio = msgspec.field(default_factory=_Radio)
    received_at: envelope.Moment | None = None


class _Up(msgspec.Struct):
    end_device_ids: _Ids
    uplink_message: _Message
    received_at: envelope.Moment | None = None


_UP: Final = msgspec.json.Decoder(_Up)


class Ttn(envelope.Envelope):
    """The codec; stateless."""

    name: Final = "ttn"
    title: Final = Text("The Things Stack v3 上行（LoRaWAN）", "The Things Stack v3 uplinks, LoRaWAN inside")

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """The sample of one uplink; PayloadError otherwise."""
        up = envelope.parsed(self.name, payload, _UP)
        ids, message = up.end_device_ids, up.uplink_message
        names = [name for name in (ids.dev_eui, ids.device_id) if name is not None]
        levels = context.topic.split("/")
        if levels[0] == "v3" and len(levels) > 3 and levels[3].casefold() not in map(str.casefold, names):
            raise envelope.refusal(self.name, f"the device of its topic, {levels[3]!a:.80}", " ".join(names))
        uplink = envelope.read(self.name, message.frm_payload, message.f_port, message.decoded_payload, context)
        envelope.add_radio(uplink, [(one.snr, one.rssi) for one in message.rx_metadata])
        at_us = envelope.micros((message.received_at, up.received_at), context.received_us)
        # Under the registered spelling, if it is one of the two: both are the device's own.
        known = context.device.casefold()
        device = next((name for name in names if name.casefold() == known), names[0])
        return (
            Sample(device.lower(), at_us, uplink.values, message.f_cnt, None, uplink.units, uplink.states or None),
        )

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """The uplink of one sample; PayloadError when the model or an object cannot carry it."""
        sample, inside, (rssi, snr) = self.inside(samples, context, "f_port", "frm_payload", "decoded_payload")
        device, at = (sample.device or context.device).lower(), envelope.stamp(sample.time_us)
        message: dict[str, Any] = {
            "f_cnt": max(sample.seq, 0),
            "rx_metadata": [{"gateway_ids": {"gateway_id": "city-1"}, "rssi": rssi, "snr": snr}],
            "received_at": at,
            **inside,
        }
        ids: dict[str, Any] = {"device_id": device, "application_ids": {"application_id": "city"}}
        if len(device) == 16 and all(character in "0123456789abcdef" for character in device):
            ids |= {"device_id": f"eui-{device}", "dev_eui": device.upper()}
        payload = msgspec.json.encode({"end_device_ids": ids, "received_at": at, "uplink_message": message})
        return self.proven(payload, context)


CODEC: Final = Ttn()
