from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import load as load_codecs
from devices.fleet import Entry
from devices.readings import Quality, Reason
from ingest.decode import Decoded, Decoder, segments
from ingest.journal import LINK, Delivery
from tests.support.city import T0, block, reading, ticks
from tests.support.kinds import fleet_of, wells

FLEET = fleet_of([*wells(2, gateway="GW-1"), Entry("WE-9", "well", calibration={"level_m": (2.0, 0.5)})])
TOPIC = "city/d/well/WE-0/up"


def decode(*deliveries: Delivery) -> Decoded:
    return Decoder(FLEET, load_codecs()).decode(block(deliveries, first=100))


def sent(body: object, topic: str = TOPIC) -> Delivery:
    return Delivery(topic, json.dumps(body).encode(), T0)


def body(device: str, **values: float) -> dict[str, object]:
    return {"v": 1, "id": device, "t": T0 // 1000, "m": values}


def reasons(decoded: Decoded) -> list[str]:
    return [one.reason for one in decoded.refused]


def test_readings_keep_journal_order_and_offsets():
    decoded = decode(reading(1, 0, 2.5), *ticks(0, 1), reading(0, 1, 3.5, seq=7))
    (batch,) = decoded.batches
    assert batch.offset.tolist() == [100, 102]
    assert [FLEET.kinds["well"].ids[d] for d in batch.device] == ["WE-1", "WE-0"]
    assert batch.values[:, 0].tolist() == [2.5, 3.5]
    assert batch.seq.tolist() == [-1, 7]
    assert batch.quality[0].tolist() == [Quality.GOOD, Quality.MISSING]
    assert decoded.controls == 1


def test_calibration_is_gain_then_offset():
    decoded = decode(sent(body("WE-9", level_m=10), "city/d/well/WE-9/up"))
    assert decoded.batches[0].values[0, 0] == 20.5


def test_a_foreign_id_in_the_payload_is_refused_with_both_names():
    decoded = decode(sent(body("WE-1", level_m=1)))
    assert decoded.batches == []
    assert reasons(decoded) == ["WE-0: its payload names WE-1; a device reports under its own id only"]


def test_an_unknown_device_kind_and_topic_are_refused_each_with_its_reason():
    decoded = decode(
        sent(body("WE-7", level_m=1), "city/d/well/WE-7/up"),
        sent(body("X", level_m=1), "city/d/spaceship/X/up"),
        sent(body("X", level_m=1), "house/kitchen"),
        sent(body("WE-0", level_m=1), "city/d/well/WE-0/down"),
    )
    assert [
        word in reason
        for word, reason in zip(
            ["not registered", "kind spaceship is unknown", "expected city/", "under down"],
            reasons(decoded),
            strict=True,
        )
    ] == [True] * 4
    assert [one.offset for one in decoded.refused] == [100, 101, 102, 103]


def test_an_unknown_quantity_is_refused_and_the_others_are_kept():
    decoded = decode(sent(body("WE-0", level_m=1, mood=3)))
    assert decoded.batches[0].values[0, 0] == 1
    assert reasons(decoded) == ["WE-0: well has no quantity mood; the others were stored"]
    assert decode(sent(body("WE-0", mood=3))).batches == []


def test_a_gateway_reports_for_its_own_children_and_for_no_others():
    decoded = decode(
        sent(
            [body("WE-0", level_m=1), body("WE-9", level_m=2), body("WE-1", level_m=3)], "city/d/gateway/GW-1/up"
        ),
        sent([body("WE-0", level_m=1)], "city/d/gateway/GW-2/up"),
    )
    assert decoded.batches[0].values[:, 0].tolist() == [1, 3]
    assert reasons(decoded) == [
        "WE-9: registered under gateway none, not GW-1",
        "GW-2: no registered device belongs to this gateway; nothing was stored",
    ]
    assert decoded.refused[0].part == 1


def test_the_instruments_own_flag_becomes_quality():
    message = body("WE-0", level_m=1) | {"q": {"level_m": "maintenance"}}
    batch = decode(sent(message)).batches[0]
    assert (batch.quality[0, 0], batch.reasons[0, 0]) == (Quality.MAINTENANCE, Reason.INSTRUMENT)


def test_bytes_that_do_not_decode_carry_offset_and_reason():
    (refused,) = decode(Delivery(TOPIC, b'{"v":1,"id":', T0)).refused
    assert refused.byte_offset >= 0
    assert refused.delivery.payload == b'{"v":1,"id":'
    assert (refused.device, refused.kind, refused.codec) == ("WE-0", "well", "json")


@settings(max_examples=200, deadline=None)
@given(topic=st.text(max_size=60), payload=st.binary(max_size=80))
def test_whatever_comes_is_a_reading_or_a_refusal(topic, payload):
    for one in (topic, TOPIC):
        decoded = decode(Delivery(one, payload, T0))
        assert len(decoded.refused) + sum(map(len, decoded.batches)) + decoded.controls >= (one != TOPIC)


@given(
    gaps=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 7), min_size=40, max_size=40),
)
def test_segments_lose_nothing_and_span_at_most_a_second(gaps, sizes):
    clock = np.cumsum(gaps).tolist()
    blocks, first = [], 0
    for size in sizes:
        part = [Delivery(LINK, b"", t) for t in clock[first : first + size]]
        if part:
            blocks.append(block(part, first))
        first += size
    pieces = list(segments(blocks, span_us=1_000_000, rows=5))
    assert [t for piece in pieces for t in piece.received_us] == clock
    assert [piece.first for piece in pieces] == np.cumsum([0, *(len(p.topics) for p in pieces[:-1])]).tolist()
    assert all(len(p.topics) <= 5 and p.received_us[-1] - p.received_us[0] <= 1_000_000 for p in pieces)
