"""What a simulated device says in any protocol is what ingest reads out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from devices.codecs import Context
from devices.codecs import load as load_codecs
from devices.errors import SpecError
from devices.fleet import Entry, build
from devices.kinds import load
from devices.readings import Batch, Sample
from devices.simulator.city import City
from devices.simulator.faults import Labelled, schedule, tells
from devices.simulator.mixed import SPEECHES, speech, spoken
from devices.simulator.profiles import KindModel
from devices.simulator.wire import Channel, Voice, Voices, carried
from ingest.decode import Decoder
from ingest.journal import Block

KINDS, CODECS = load(), load_codecs()
START_US = 1_767_576_600_000_000
FLOAT_REGISTERS = [{"name": "supply_temperature", "address": 0, "type": "float32", "unit": "degC"}]
TURNS = [(kind, turn) for kind, turns in SPEECHES.items() for turn in range(len(turns))]


def mixed_entry(kind: str, serial: int) -> Entry:
    said = speech(kind, serial)
    return Entry(
        f"{KINDS[kind].prefix}-{serial:04d}",
        kind,
        "990100",
        codec=said.codec,
        model=said.model,
        address=said.address,
        settings=said.settings or None,
    )


def read(entry: Entry, voice: Voice, payload: bytes, received_us: int) -> Batch:
    """The one batch that ingest makes of `payload`; fails when any of it was refused."""
    decoder = Decoder(build(KINDS, [entry]), CODECS)
    decoded = decoder.decode(Block(0, [voice.topic], [payload], [received_us]))
    assert decoded.refused == []
    (batch,) = decoded.batches
    return batch


def test_our_json_says_everything_with_its_time() -> None:
    voice = Voices(CODECS).voice(KINDS["heat_meter"], Entry("HM-1", "heat_meter", "d"))
    assert voice.carries == {quantity.name for quantity in KINDS["heat_meter"].quantities}
    assert (voice.resolution_us, voice.channel, voice.topic) == (1, Channel.MQTT, "city/d/heat_meter/HM-1/up")


@pytest.mark.parametrize(("kind", "turn"), TURNS)
def test_ingest_reads_what_a_device_of_the_mixed_city_said(kind: str, turn: int) -> None:
    entry = mixed_entry(kind, 100 * len(SPEECHES[kind]) + turn)
    voice = Voices(CODECS).voice(KINDS[kind], entry)
    model = KindModel(KINDS[kind], seed=3, start_us=START_US)
    grain = max(1000, voice.resolution_us)
    moments = START_US // grain * grain + np.arange(40, dtype=np.int64) * 1_800_000_000
    values = model.rounded(model.values(np.zeros(40, dtype=np.int64), moments))
    names = [quantity.name for quantity in KINDS[kind].quantities]
    for seq, (moment, row) in enumerate(zip(moments.tolist(), values.tolist(), strict=True), 1):
        (said,) = voice.say(Sample(entry.id, moment, dict(zip(names, row, strict=True)), seq))
        batch = read(entry, voice, said.payload, moment + 250_000)
        assert batch.fleet.ids[batch.device[0]] == entry.id
        assert batch.time_us[0] == (said.time_us if voice.resolution_us else moment + 250_000)
        assert said.time_us == (moment if voice.resolution_us else None)
        for column, quantity in enumerate(KINDS[kind].quantities):
            found = batch.values[0, column]
            if quantity.name not in voice.carries:
                continue
            assert found == pytest.approx(row[column], abs=0.51 * 10**-quantity.decimals), quantity.name
            if not voice.resolution_us:
                assert said.values[quantity.name] == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize(("kind", "turn"), TURNS)
def test_settings_of_the_mixed_city_pass_their_codecs_check(kind: str, turn: int) -> None:
    said = speech(kind, turn)
    CODECS[said.codec].check(said.settings)


def test_devices_of_the_mixed_city_carry_what_their_faults_need() -> None:
    """At least two faults that somebody must notice, beside falling silent, for every device."""
    voices = Voices(CODECS)
    for kind, turn in TURNS:
        carries = voices.voice(KINDS[kind], mixed_entry(kind, turn)).carries
        loud = [
            f for f in KINDS[kind].simulate.faults if f.rules and not f.silent and tells(KINDS[kind], f, carries)
        ]
        assert len(loud) >= 2, (kind, turn, carries)


class Coarse:
    """A codec of whole seconds, centidegrees and two names, for the rules of speaking."""

    name = "coarse"
    title = CODECS["json"].title
    models: tuple[str, ...] = ()

    def __init__(self, resolution_us: int = 1_000_000) -> None:
        self.resolution_us = resolution_us

    def encode(self, samples: Any, context: Context) -> bytes:  # noqa: ARG002
        (sample,) = samples
        moment = sample.time_us // self.resolution_us * self.resolution_us if self.resolution_us else -1
        return f"{moment} {sample.values.get('t', 0):.0f} {sample.values.get('p', 0):.0f}".encode()

    def decode(self, payload: bytes, context: Context) -> Any:
        moment, warmth, pressure = map(int, payload.split())
        time_us = moment if moment >= 0 else context.received_us
        return (Sample("", time_us, {"t": float(warmth), "p": float(pressure)}, units={"t": "K", "p": "MPa"}),)

    def fields(self, context: Context) -> Any:  # noqa: ARG002
        return {"t": "K", "p": "MPa", "supply_temperature": "m3"}

    def check(self, settings: Any) -> None: ...


def coarse(resolution_us: int = 1_000_000, **settings: Any) -> tuple[Voices, Entry]:
    entry = Entry("HM-1", "heat_meter", "d", codec="coarse", settings={"fields": {"t": "supply_c"}, **settings})
    return Voices({"coarse": Coarse(resolution_us)}), entry


def test_a_devices_own_fields_name_its_words_and_units_are_the_protocols() -> None:
    voices, entry = coarse()
    voice = voices.voice(KINDS["heat_meter"], entry)
    assert voice.carries == {"supply_c"}
    (said,) = voice.say(Sample("HM-1", START_US, {"supply_c": 70.0, "flow_m3h": 3.0}, 1))
    assert said.payload == f"{START_US} 343 0".encode()


def test_an_event_of_a_whole_second_protocol_is_reported_on_the_seconds_behind_it() -> None:
    settings = {"fields": {"tilt01-Rtd": "tilt_deg:deg"}}
    entry = Entry("MC-1", "manhole_cover", codec="hj212", address="1" * 24, cadence_s=86_400, settings=settings)
    begin = START_US + 60_400_000
    label = Labelled("MC-1", "manhole_cover", "tilted", begin, begin + 9_900_000, ("tilted",))
    city = City(KINDS, [entry], seed=1, start_us=START_US, labels=[label])
    found = list(city.emissions(START_US, START_US + 120_000_000))
    assert [(e.due_us - START_US) / 1e6 for e in found] == [61.0, 66.0, 71.0]
    tilts = [float(e.payload.partition(b"Rtd=")[2].partition(b",")[0]) for e in found]
    assert [tilt > 30 for tilt in tilts] == [True, True, False]
    assert {(e.channel, e.address, e.topic) for e in found} == {(Channel.TCP, "1" * 24, f"hj212/{'1' * 24}/up")}


def test_reports_of_whole_second_protocols_happen_on_whole_seconds() -> None:
    voices, entry = coarse()
    voice = voices.voice(KINDS["heat_meter"], entry)
    assert voice.resolution_us == 1_000_000
    entries = [replace(mixed_entry("heat_meter", serial), cadence_s=60.5) for serial in range(1, 5)]
    city = City(KINDS, entries, seed=1, start_us=START_US + 123_000)
    emissions = list(city.emissions(START_US, START_US + 600_000_000))
    assert len(emissions) >= 4 * 9
    assert {emission.due_us % 1_000_000 for emission in emissions} == {0}
    assert len({(e.device, e.due_us) for e in emissions}) == len(emissions)


def test_a_protocol_without_time_is_told_by_what_comes_back() -> None:
    voices, entry = coarse(0)
    voice = voices.voice(KINDS["heat_meter"], entry)
    assert voice.resolution_us == 0
    (said,) = voice.say(Sample("HM-1", START_US, {"supply_c": 70.4}, 1))
    assert said.time_us is None
    assert said.values["supply_c"] == pytest.approx(70.85, abs=1e-9)  # 343.55 K goes out as 344


def test_times_coarser_than_a_second_are_refused_unless_our_receipt_counts() -> None:
    voices, entry = coarse(60_000_000)
    with pytest.raises(SpecError, match='set clock to "received"'):
        voices.voice(KINDS["heat_meter"], entry)
    voices, entry = coarse(60_000_000, clock="received")
    assert voices.voice(KINDS["heat_meter"], entry).resolution_us == 0


def test_a_device_that_can_say_nothing_of_its_kind_is_refused() -> None:
    voices = Voices({"coarse": Coarse()})
    with pytest.raises(SpecError, match="KE-1: coarse  carries no quantity of kitchen_exhaust"):
        voices.voice(KINDS["kitchen_exhaust"], Entry("KE-1", "kitchen_exhaust", codec="coarse"))
    with pytest.raises(SpecError, match="KE-1: expected a codec among coarse, got morse"):
        voices.voice(KINDS["kitchen_exhaust"], Entry("KE-1", "kitchen_exhaust", codec="morse"))


def foreign(kind: str, codec: str, address: str, topic_gateway: str = "") -> Entry:
    return Entry(f"{KINDS[kind].prefix}-1", kind, "d", gateway=topic_gateway, codec=codec, address=address)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("codec", "address"), [("senml", "urn:x:1"), ("sparkplug", "city/box-1/one"), ("sparkplug", "city/box-1")]
)
def test_any_kind_speaks_protocols_that_carry_any_name(kind: str, codec: str, address: str) -> None:
    entry = foreign(kind, codec, address)
    city = City(KINDS, [entry], seed=1, start_us=START_US)
    # SenML's g is a gram; it has no name for an acceleration in g.
    names = [q.name for q in KINDS[kind].quantities if (codec, q.unit) != ("senml", "g")]
    assert carried(Voices(CODECS), KINDS, [entry]) == {entry.id: set(names)}
    emissions = list(city.emissions(START_US, START_US + int(3 * KINDS[kind].cadence_s * 1e6)))
    told = [(one.device, one.time_us) for emission in emissions for one in emission.told]
    assert len(told) == 3
    decoder = Decoder(build(KINDS, [entry]), CODECS)
    topics, payloads = [e.topic for e in emissions], [e.payload for e in emissions]
    decoded = decoder.decode(Block(0, topics, payloads, [e.due_us for e in emissions]))
    assert decoded.refused == []
    (batch,) = decoded.batches
    assert [(batch.fleet.ids[row], at) for row, at in zip(batch.device, batch.time_us, strict=True)] == told
    assert not np.isnan(batch.values[:, [KINDS[kind].column(name) for name in names]]).any()


@pytest.mark.parametrize(
    ("codec", "addresses", "settings"),
    [("mbus", ("66000001", "66000002"), None), ("modbus", ("7", "8"), {"registers": FLOAT_REGISTERS})],
)
def test_meters_behind_a_collector_speak_under_its_topic(
    codec: str, addresses: tuple[str, ...], settings: dict[str, Any] | None
) -> None:
    entries = [
        Entry(f"HM-{i}", "heat_meter", "d", gateway="GW-1", codec=codec, address=address, settings=settings)
        for i, address in enumerate(addresses)
    ]
    emissions = list(City(KINDS, entries, seed=1, start_us=START_US).emissions(START_US, START_US + 3_600_000_000))
    assert {emission.topic for emission in emissions} == {"city/d/gateway/GW-1/up"}
    decoder = Decoder(build(KINDS, entries), CODECS)
    topics, payloads = [e.topic for e in emissions], [e.payload for e in emissions]
    decoded = decoder.decode(Block(0, topics, payloads, [e.due_us for e in emissions]))
    assert decoded.refused == []
    assert sorted(decoded.batches[0].fleet.ids[row] for row in decoded.batches[0].device) == ["HM-0", "HM-1"]


def test_an_edge_node_is_born_before_its_devices_and_they_before_their_data() -> None:
    entries = [Entry(f"WP-{i}", "water_pressure", "d", codec="sparkplug", address=f"g/n/WP-{i}") for i in (1, 2)]
    city = City(KINDS, entries, seed=1, start_us=START_US)
    topics = [emission.topic for emission in city.emissions(START_US, START_US + 900_000_000)]
    assert topics.count("spBv1.0/g/NBIRTH/n") == 1
    assert topics[0] == "spBv1.0/g/NBIRTH/n"
    assert [topic.split("/")[2] for topic in topics if topic.endswith("WP-1")] == ["DBIRTH", "DDATA", "DDATA"]


def test_a_device_has_no_fault_that_its_protocol_cannot_tell() -> None:
    kind = KINDS["manhole_cover"]
    ids = [f"MC-{number}" for number in range(200)]
    only = {device: frozenset({"tilt_deg"}) for device in ids}
    span = (START_US, START_US + 6 * 3_600_000_000)
    labels = schedule(
        {kind.name: kind}, {kind.name: ids}, seed=1, from_us=span[0], to_us=span[1], share=1, carried=only
    )
    assert len(labels) > 150
    told = {label.fault for label in labels}
    assert {"tilted", "opened", "missing", "rocking", "dropout", "traffic_shock"} <= told
    assert not told & {"flooded", "battery_flat"}


def test_spoken_says_how_many_speak_what() -> None:
    assert (
        spoken([Entry("A", "k"), Entry("B", "k", codec="mbus"), Entry("C", "k", codec="mbus")]) == "2 mbus, 1 json"
    )
