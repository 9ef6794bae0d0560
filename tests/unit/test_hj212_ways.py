"""HJ 212 by the listener's topic, by a device's own topic, as the logger wrote it: the same readings."""

from __future__ import annotations

import pytest

from devices.codecs import load as load_codecs
from devices.codecs.hj212 import frame
from devices.fleet import Entry, build
from devices.kinds import load as load_kinds
from devices.readings import Quality, Reason
from ingest.decode import Decoder
from ingest.journal import Delivery
from tests.support.city import T0, block

MN = "010000A8900016F000169DC0"
FLEET = build(load_kinds(), [Entry("SI-1", "sewage_inflow", codec="hj212", address=MN)])
PACKET = frame.build(
    qn="20260105080001000",
    st="32",
    cn="2011",
    pw="123456",
    mn=MN,
    flag=5,
    cp="DataTime=20260105080000;w01018-Rtd=235.29,w01018-Flag=N;w21003-Rtd=22.5,w21003-Flag=M;w00000-Rtd=98.5,w00000-Flag=N",
)


@pytest.mark.parametrize("topic", [f"hj212/{MN}/up", f"hj212/{MN.lower()}/up", "city/d/sewage_inflow/SI-1/up"])
@pytest.mark.parametrize("payload", [PACKET, PACKET.rstrip(), PACKET.replace(b"\r\n", b"\n")])
def test_the_same_packet_gives_the_same_readings_whichever_way_it_came(topic: str, payload: bytes) -> None:
    decoded = Decoder(FLEET, load_codecs()).decode(block([Delivery(topic, payload, T0)]))
    assert decoded.refused == []
    (batch,) = decoded.batches
    names = [quantity.name for quantity in batch.fleet.kind.quantities]
    row = dict(zip(names, batch.values[0].tolist(), strict=True))
    assert (row["cod_mgl"], row["nh3n_mgl"], row["flow_ls"]) == (235.29, 22.5, 98.5)
    assert batch.time_us.tolist() == [1_767_571_200_000_000], "08:00 in Beijing"
    quality = dict(zip(names, batch.quality[0].tolist(), strict=True))
    assert (quality["cod_mgl"], quality["nh3n_mgl"]) == (Quality.GOOD, Quality.MAINTENANCE)
    assert batch.reasons[0, names.index("nh3n_mgl")] == Reason.INSTRUMENT
