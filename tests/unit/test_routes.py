"""Topics to devices: who spoke, in which codec, and what the codec was told."""

from __future__ import annotations

import json

import msgspec
import pytest

from devices.codecs import load as load_codecs
from devices.fleet import Entry, build
from devices.readings import Quality
from ingest.decode import Decoded, Decoder, Presence
from ingest.journal import Delivery
from ingest.routes import Memory
from ingest.rules import BUILT_IN, parse
from tests.fakes.codec import SpokenCodec
from tests.support.city import T0, block
from tests.support.kinds import WELL

RULES = (
    parse("dtu/{address}/up spoken"),
    parse("byid/{device}/up spoken"),
    parse("bus/{gateway}/up spoken"),
    parse("pool/# spoken"),
    parse("node/{group}/{node} spoken"),
    *BUILT_IN,
)
ENTRIES = [
    Entry("WE-0", "well", codec="spoken", address="AB01", model="X1", settings={"dial": 3}),
    Entry("WE-1", "well", codec="spoken", address="AB02", settings={"clock": "received"}),
    Entry("WE-2", "well", gateway="GW-1", codec="spoken", address="1"),
    Entry("WE-3", "well", gateway="GW-1", codec="spoken", address="2", settings={"dial": 4}),
    Entry("WE-4", "well", codec="spoken", address="twin"),
    Entry("WE-5", "well", codec="spoken", address="twin"),
    Entry("WE-6", "well", codec="other", address="AB06"),
    Entry("WE-7", "well", gateway="GW-2", codec="spoken"),
    Entry("WE-8", "well", gateway="GW-2", codec="json"),
    Entry("WE-9", "well", codec="spoken"),
    Entry("WE-11", "well", gateway="GW-3", codec="spoken"),
    Entry("WE-10", "well", codec="spoken", address="plant/edge1/tank"),
]
FLEET = build({"well": WELL}, ENTRIES)


class Desk:
    """A decoder and the codec that records what it was told."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.spoken = SpokenCodec("spoken")
        codecs = {**load_codecs(), "spoken": self.spoken, "other": SpokenCodec("other")}
        self.decoder = Decoder(FLEET, codecs, RULES, memory)

    def hear(self, topic: str, *parts: dict[str, object]) -> Decoded:
        return self.decoder.decode(block([Delivery(topic, json.dumps(parts).encode(), T0)]))


def said(**values: object) -> dict[str, object]:
    return {"values": values, "units": dict.fromkeys(values, "m")}


def who(decoded: Decoded) -> list[str]:
    return [FLEET.kinds["well"].ids[row] for batch in decoded.batches for row in batch.device]


@pytest.mark.parametrize(
    ("topic", "device"),
    [
        ("dtu/ab01/up", "WE-0"),
        ("dtu/AB02/up", "WE-1"),
        ("byid/WE-4/up", "WE-4"),
        ("city/d/well/WE-0/up", "WE-0"),
    ],
)
def test_a_topic_names_a_device_by_its_id_or_its_address(topic: str, device: str):
    assert who(Desk().hear(topic, said(level_m=1))) == [device]


def test_the_codec_is_told_what_the_registry_knows_of_the_sender():
    desk = Desk()
    desk.hear("dtu/AB01/up", said(level_m=1))
    (context,) = desk.spoken.seen
    assert (context.device, context.model, context.settings, context.received_us, context.topic) == (
        "AB01",
        "X1",
        {"dial": 3},
        T0,
        "dtu/AB01/up",
    )


def test_the_registrys_codec_comes_before_the_topics():
    desk = Desk()
    assert who(desk.hear("dtu/AB06/up", said(level_m=1))) == ["WE-6"]
    assert desk.spoken.seen == []


def test_a_frame_of_another_address_under_a_devices_topic_is_refused_with_both():
    decoded = Desk().hear("dtu/AB01/up", {"device": "AB02", **said(level_m=1)})
    assert decoded.batches == []
    assert decoded.refused[0].reason == "WE-0: its frame names AB02, registered is AB01; nothing was stored"


def test_an_address_is_the_same_in_capitals_and_without():
    assert who(Desk().hear("city/d/well/WE-0/up", {"device": "ab01", **said(level_m=1)})) == ["WE-0"]
    assert who(Desk().hear("city/d/well/WE-0/up", {"device": "AB01", **said(level_m=1)})) == ["WE-0"]


def test_a_frame_under_a_devices_own_topic_may_call_itself_what_nobody_registered():
    assert who(Desk().hear("city/d/well/WE-9/up", {"device": "00123456", **said(level_m=1)})) == ["WE-9"]


def test_a_gateways_children_are_known_by_address_and_asked_for_their_dialect():
    desk = Desk()
    decoded = desk.hear("bus/GW-1/up", {"device": "1", **said(level_m=1)}, {"device": "WE-3", **said(level_m=2)})
    assert who(decoded) == ["WE-2", "WE-3"]
    child = desk.spoken.seen[0].child("2")
    assert child is not None
    assert (child.device, child.settings) == ("2", {"dial": 4})
    assert desk.spoken.seen[0].child("3") is None
    refused = desk.hear("bus/GW-1/up", {"device": "WE-0", **said(level_m=1)}).refused
    assert refused[0].reason == "WE-0: registered under gateway none, not GW-1"


def test_a_frame_that_names_nobody_is_no_childs():
    decoded = Desk().hear("bus/GW-3/up", said(level_m=1))
    assert decoded.batches == []
    assert "not registered; gateway GW-3 reported it" in decoded.refused[0].reason


def test_a_device_without_an_address_is_known_on_the_wire_by_its_id():
    assert who(Desk().hear("dtu/WE-9/up", said(level_m=1))) == ["WE-9"]
    assert Desk().hear("dtu/WE-1/up", said(level_m=1)).batches == [], "one with an address is known by that"


def test_one_topic_does_not_speak_two_codecs():
    (refused,) = Desk().hear("city/d/gateway/GW-2/up").refused
    assert refused.reason == "GW-2: its devices speak json and spoken; expected one codec behind one topic"


def test_an_open_topic_takes_the_devices_that_its_frames_name():
    decoded = Desk().hear("pool/a/b", {"device": "ab02", **said(level_m=1)}, {"device": "AB99", **said(level_m=1)})
    assert who(decoded) == ["WE-1"]
    assert "AB99: no device with this address is registered" in decoded.refused[0].reason


def test_an_address_of_two_devices_is_refused_with_their_names():
    (refused,) = Desk().hear("dtu/twin/up", said(level_m=1)).refused
    assert refused.reason == "twin: the address of WE-4, WE-5; expected it at one device; nothing was stored"


def test_an_unknown_address_and_a_topic_without_a_rule_are_refused():
    assert "no device with this address" in Desk().hear("dtu/nobody/up", said(level_m=1)).refused[0].reason
    assert "expected city/DISTRICT/KIND/DEVICE" in Desk().hear("else/where", said(level_m=1)).refused[0].reason


def test_a_devices_clock_counts_unless_the_registry_says_ours_does():
    part = {"t": T0 - 5_000_000, **said(level_m=1)}
    desk = Desk()
    assert desk.hear("dtu/AB01/up", part).batches[0].time_us.tolist() == [T0 - 5_000_000]
    assert desk.hear("dtu/AB02/up", part).batches[0].time_us.tolist() == [T0]


def test_flags_follow_the_values_to_their_columns():
    part = {"values": {"level_m": 1.0, "battery_v": 3.5}, "units": {}, "flags": {"battery_v": "MAINTENANCE"}}
    (batch,) = Desk().hear("dtu/AB01/up", part).batches
    assert batch.quality[0].tolist() == [Quality.GOOD, Quality.MAINTENANCE]


def test_values_of_no_quantity_are_passed_over_unless_there_is_no_other():
    decoded = Desk().hear("dtu/AB01/up", {"values": {"level_m": 1, "odd": 2}, "units": {}})
    assert decoded.refused == []
    decoded = Desk().hear("dtu/AB01/up", {"values": {"odd": 2}, "units": {}})
    assert decoded.batches == []
    assert "WE-0: expected a value of well" in decoded.refused[0].reason


def test_births_and_deaths_are_told_by_the_name_on_the_wire():
    decoded = Desk().hear(
        "pool/x",
        {"device": "AB01", "values": {}, "states": {"online": "false"}},
        {"device": "stranger", "values": {}, "states": {"online": "true"}},
    )
    assert decoded.presence == [
        Presence(0, T0, "AB01", online=False),
        Presence(0, T0, "stranger", online=True),
    ]
    assert decoded.refused == []


def test_an_edge_node_is_heard_for_its_devices_and_leaves_nothing_behind_when_it_has_none():
    desk = Desk()
    decoded = desk.hear(
        "node/plant/edge1",
        {"device": "plant/edge1/tank", **said(level_m=1)},
        {"device": "plant/edge1", **said(level_m=9)},
    )
    assert who(decoded) == ["WE-10"]
    assert decoded.refused == [], "what a node says of itself is nobody's reading"
    assert list(desk.decoder.memory) == ["spoken:plant/edge1"]
    (refused,) = desk.hear("node/plant/edge2", {"device": "plant/edge2/tank", **said(level_m=1)}).refused
    assert "plant/edge2: no device of this edge node is registered" in refused.reason
    assert list(desk.decoder.memory) == ["spoken:plant/edge1"]


def test_what_a_sender_said_is_remembered_by_sender_and_survives_a_restart():
    desk = Desk()
    for _ in range(3):
        desk.hear("dtu/AB01/up", said(level_m=1))
    desk.hear("dtu/AB02/up", said(level_m=1))
    kept = msgspec.json.decode(msgspec.json.encode(desk.decoder.memory))
    assert Desk(kept).hear("city/other/well/WE-0/up", said(level_m="said")).batches[0].values[0, 0] == 4
    assert Desk(kept).hear("dtu/AB02/up", said(level_m="said")).batches[0].values[0, 0] == 2
