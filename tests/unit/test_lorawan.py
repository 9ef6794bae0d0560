"""LoRaWAN payloads, bare and in envelopes: what published packets mean, what is refused, what comes back as sent."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.codecs import Codec, Context, load
from devices.codecs.lorawan.codec import MODELS, find
from devices.errors import PayloadError, RegistryError
from devices.readings import Sample
from tests.support.vectors import FOLDER

LORAWAN, CHIRPSTACK, TTN = (load()[name] for name in ("lorawan", "chirpstack", "ttn"))
T0 = 1_767_600_000_000_000
EUI = "24e124454e282635"
# The sources' own words for what we call otherwise; for a unit or a word of theirs, ours.
NAMES = {
    "tilt_deg": "tilt",
    "pressure_bar": "pressure",
    "battery_V": "battery_voltage",
    "flow_temperature": "supply_temperature",
    "error_flag": "error_flags",
    "serial": "identification",
    "lora_rssi": "rssi",
    "lora_snr": "snr",
}


def published(name: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["vectors"]


def hear(codec: Codec, payload: bytes, **known: Any) -> Sample:
    (sample,) = codec.decode(payload, Context(received_us=T0, **known))
    return sample


def said(sample: Sample) -> dict[str, object]:
    return {**sample.values, **(sample.states or {})}


def compare(expected: dict[str, object], sample: Sample) -> int:
    """How many of the published values are ours, equal."""
    ours, same = said(sample), 0
    for name, value in expected.items():
        known = NAMES.get(name, name)
        if known in ours:
            mine = ours[known]
            assert mine == (pytest.approx(value, abs=1e-9) if isinstance(mine, float) else str(value)), name
            same += 1
    return same


@pytest.mark.parametrize("vector", published("lorawan"), ids=lambda one: f"{one['model']}-{one['hex'][:12]}")
def test_a_published_payload_means_what_its_source_says(vector: dict[str, Any]) -> None:
    sample = hear(LORAWAN, bytes.fromhex(vector["hex"]), model=vector["model"], port=vector["port"])
    assert compare(vector["expected"], sample) == len(vector["expected"]), said(sample)
    assert sample.time_us == T0


@pytest.mark.parametrize("vector", published("chirpstack"), ids=lambda one: one["model"])
def test_a_published_chirpstack_event_means_what_its_source_says(vector: dict[str, Any]) -> None:
    event = vector["json"]
    sample = hear(CHIRPSTACK, json.dumps(event).encode(), model=vector["model"])
    raw = base64.b64decode(event["data"])
    bare = hear(LORAWAN, raw, model=vector["model"], port=event["fPort"])
    # Some published results carry another packet's battery: what the bytes say counts.
    expected = {name: value for name, value in vector["expected"].items() if name not in ("battery", "pressure")}
    compare(expected, sample)
    assert sample.values.items() >= bare.values.items()
    assert sample.device == event["deviceInfo"]["devEui"].lower()
    assert sample.seq == event["fCnt"]
    assert sample.time_us == int(datetime.fromisoformat(event["time"]).timestamp() * 1e6)
    assert (sample.values["rssi"], sample.values["snr"]) == (
        event["rxInfo"][0]["rssi"],
        event["rxInfo"][0]["snr"],
    )
    assert sample.units is not None
    assert (sample.units["rssi"], sample.units["snr"]) == ("dBm", "dB")
    assert (sample.states or {})["deduplication_id"] == event["deduplicationId"]


@pytest.mark.parametrize("vector", published("ttn"), ids=lambda one: one["model"])
def test_a_published_uplink_of_the_things_stack_means_what_its_source_says(vector: dict[str, Any]) -> None:
    sample = hear(TTN, json.dumps(vector["json"]).encode(), model=vector["model"])
    assert compare(vector["expected"], sample) == 6
    assert (sample.device, sample.seq) == ("1000000000000001", 10335)
    assert sample.time_us // 1000 == vector["expected"]["ts"]
    assert (sample.values["rssi"], sample.values["snr"]) == (-35.0, 13.2)


def test_a_registered_device_id_is_the_identity_as_good_as_the_eui() -> None:
    payload = json.dumps(published("ttn")[0]["json"]).encode()
    topic = "v3/app@ttn/devices/eui-1000000000000001/up"
    assert hear(TTN, payload, topic=topic, device="eui-1000000000000001", model="EM310-TILT").device == (
        "eui-1000000000000001"
    )
    with pytest.raises(PayloadError, match="the device of its topic"):
        hear(TTN, payload, topic="v3/app@ttn/devices/other/up", model="EM310-TILT")


def up(**members: object) -> bytes:
    body = {"deviceInfo": {"devEui": EUI.upper()}, "time": "2026-01-05T08:00:00.123456789+08:00", **members}
    return json.dumps(body).encode()


def test_what_the_server_left_out_is_zero() -> None:
    sample = hear(CHIRPSTACK, up(object={"tilt_deg": 3}, rxInfo=[{}]))
    assert sample.seq == 0
    assert sample.values == {"tilt_deg": 3.0, "rssi": 0.0, "snr": 0.0}
    assert sample.time_us == 1_767_571_200_123_457


def test_the_gateway_that_heard_best_counts() -> None:
    heard = [{"rssi": -80, "snr": 2}, {"rssi": -110, "snr": 7.5}, {"rssi": -70, "snr": -3}]
    sample = hear(CHIRPSTACK, up(object={"a": 1}, rxInfo=heard))
    assert (sample.values["rssi"], sample.values["snr"]) == (-110.0, 7.5)
    assert (sample.states or {})["gateways"] == "3"


def test_an_object_is_used_when_the_model_is_none_of_ours_and_only_then() -> None:
    decoded = {"level": {"value": 1.5, "ok": True}, "name": "x", "list": [1]}
    sample = hear(CHIRPSTACK, up(object=decoded, data="AXVc"), model="Acme 9")
    assert sample.values == {"level.value": 1.5, "level.ok": 1.0}
    assert (sample.states or {})["name"] == "x"
    ours = hear(CHIRPSTACK, up(object=decoded, data="AXVc", fPort=85), model="EM500-PP")
    assert ours.values == {"battery": 92.0}
    with pytest.raises(PayloadError, match="expected a registered model among"):
        hear(CHIRPSTACK, up(data="AXVc"))


def test_events_that_say_nothing_of_the_field_give_nothing_and_status_gives_the_battery() -> None:
    topic = f"application/7/device/{EUI}/event/"
    for event in ("join", "ack", "txack", "log"):
        assert CHIRPSTACK.decode(up(), Context(topic=topic + event)) == ()
    assert hear(CHIRPSTACK, up(batteryLevel=75.5), topic=topic + "status").values == {"battery": 75.5}
    assert CHIRPSTACK.decode(up(externalPowerSource=True), Context(topic=topic + "status")) == ()
    with pytest.raises(PayloadError, match="expected the DevEUI of its topic, 0000000000000001"):
        hear(CHIRPSTACK, up(object={"a": 1}), topic="application/7/device/0000000000000001/event/up")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "expected JSON"),
        (b"[]", "the envelope of an uplink"),
        (b"{}", "the envelope of an uplink"),
        (b'{"deviceInfo":{"devEui":"xyz"}}', "the envelope of an uplink"),
        (up(fCnt=-1), "the envelope of an uplink"),
        (up(fPort=256), "the envelope of an uplink"),
        (up(time="yesterday"), "the envelope of an uplink"),
        (up(data="%%%", fPort=85), "expected base64"),
        (up(data="AXVc", fPort=1), "expected fPort 85, got 1"),
        (up(object={"a": 1e300}), "numbers within"),
        (up(object={"": 1}), "names of 1 to 64"),
        (up(object={str(i): i for i in range(70)}), "at most 64 values"),
        (b"[" * 100_000, "at most 65536 bytes"),
        (up(object={"a": 1})[:-1] + b',"b":' + b"[" * 60_000, "expected JSON"),
        (up(object={"a": 1}, rxInfo=[{}] * 65), "the envelope of an uplink"),
    ],
)
def test_an_envelope_that_cannot_be_right_is_refused_with_what_was_expected(payload: bytes, reason: str) -> None:
    model = "" if b"object" in payload else "EM500-PP"
    with pytest.raises(PayloadError, match=reason):
        CHIRPSTACK.decode(payload, Context(model=model))


@pytest.mark.parametrize(
    ("model", "payload", "offset", "reason"),
    [
        ("EM320-TILT", "", 0, "an empty payload"),
        ("EM320-TILT", "0175", 2, "1 bytes of battery, got 0"),
        ("EM320-TILT", "017565", 2, "0 to 100 %, got 101"),
        ("EM320-TILT", "01755C04", 4, "a channel and its type"),
        ("EM320-TILT", "01755C037B0A00", 3, "a channel among 01 75, 03 d4, got 03 7b"),
        ("EM320-TILT", "03D400000100", 6, "6 bytes of tilt"),
        ("EM310-TILT", "03CF00000000282308", 8, "three alarm bits"),
        ("EM310-TILT", "03CF000000004C4F00", 2, "angles of -180 to 180"),
        ("EM310-UDL", "040002", 2, "a position of 00 or 01"),
        ("RBS301-TILT", "2b0a0238", 0, "protocol version 1, got 2"),
        ("RBS301-TILT", "1b0b0238", 1, "message type"),
        ("RBS301-TILT", "1b0a0438", 2, "an event of 00 to 03"),
        ("RBS301-TILT", "1b0a02b5", 3, "0 to 180"),
        ("RBS301-TILT", "1b0a023800", 4, "4 bytes"),
        ("DL-PR26", "01016700033e8060170c7f", 0, "protocol version 2"),
        ("DL-PR26", "02016700043e8060170c7f", 3, "flags 0001 to 0003"),
        ("DL-PR26", "02016700033e806017", 9, "2 bytes of battery"),
        ("DL-PR26", "02016700020c7f00", 7, "7 bytes by its flags"),
        ("CMi4160", "1f04068fa10100", 0, "message type 1e"),
        ("CMi4160", "1e04068f", -2, ""),
        ("Acme 9", "00", -1, "expected a model among"),
    ],
)
def test_a_payload_that_is_not_of_its_model_is_refused_where_it_ends(
    model: str, payload: str, offset: int, reason: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        LORAWAN.decode(bytes.fromhex(payload), Context(model=model))
    assert reason in str(caught.value)
    assert offset in (-2, caught.value.offset)


def test_what_a_device_says_of_itself_when_it_joins_is_no_reading() -> None:
    joining = bytes.fromhex("ff0bffff0101ff166794c02000420005ff090200ff0a0102ff0f00")
    assert LORAWAN.decode(joining, Context(model="EM320-TILT")) == ()
    assert hear(LORAWAN, joining + bytes.fromhex("01755c"), model="EM320-TILT").values == {"battery": 92.0}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("EM320-TILT", "EM320-TILT"),
        ("milesight em320-tilt", "EM320-TILT"),
        ("Milesight EM400-TLD NB-IoT", "EM400-TLD NB-IoT"),
        ("EM400-TLD", "EM400-TLD"),
        ("RadioBridge tilt (RBS301-TILT)", "RBS301-TILT"),
        ("Elvaco CMi4160 heat meter", "CMi4160"),
        ("EM320-TILT-2", None),
        ("EM320", None),
        ("", None),
    ],
)
def test_a_model_is_found_by_its_name_and_by_no_part_of_it(text: str, name: str | None) -> None:
    found = find(text)
    assert (found.name if found else None) == name


def test_a_housing_upside_down_is_tilted_by_180_degrees() -> None:
    upside_down = LORAWAN.encode([Sample("", T0, {"angle_z": -90.0})], Context(model="EM310-TILT"))
    assert hear(LORAWAN, upside_down, model="EM310-TILT").values["tilt"] == 180.0


def test_a_probes_span_is_on_its_label_and_in_its_settings() -> None:
    span = {"pmin_bar": 0.0, "pmax_bar": 3.0}
    LORAWAN.check(span)
    payload = bytes.fromhex("0201670001c0006017")
    assert hear(LORAWAN, payload, model="DL-PR26", settings=span).values["pressure"] == 3.0
    assert hear(LORAWAN, payload, model="DL-PR26").values["pressure"] == 1.0
    for wrong in ({"pmax_bar": "3"}, {"pmin_bar": 2, "pmax_bar": 1}, {"range": 3}):
        with pytest.raises(RegistryError):
            CHIRPSTACK.check(wrong)


RANGES = {
    "battery": (0, 100),
    "tilt": (0, 180),
    "temperature": (-40, 90),
    "pressure": (0, 1),
    "distance": (0, 60_000),
    "water_level": (0, 60_000),
    "battery_voltage": (0, 5),
    "energy": (0, 1e6),
}
STEPS = {"tilt": 1.0, "pressure": 1.0, "battery": 1.0, "distance": 1.0, "water_level": 1.0}


@st.composite
def spoken(draw: st.DrawFn) -> tuple[str, dict[str, float]]:
    """A model and values that it can carry."""
    name = draw(st.sampled_from(sorted(MODELS)))
    fields = [field for field in MODELS[name].fields if not field.startswith("angle_")]
    chosen = draw(st.lists(st.sampled_from(fields), min_size=1, unique=True))
    if name == "RBS301-TILT":
        chosen = ["tilt"]
    return name, {field: draw(st.floats(*RANGES.get(field, (0, 100)))) for field in chosen}


@given(spoken(), st.integers(0, 2**32 - 1), st.integers(T0, T0 + 10**13))
def test_what_is_encoded_comes_back_within_its_resolution(
    asked: tuple[str, dict[str, float]], count: int, time_us: int
) -> None:
    model, values = asked
    sample = Sample(EUI, time_us, values, count)
    for codec in (LORAWAN, CHIRPSTACK, TTN):
        context = Context(model=model, device=EUI, received_us=T0)
        (back,) = codec.decode(codec.encode([sample], context), context)
        for name, value in values.items():
            assert back.values[name] == pytest.approx(value, abs=STEPS.get(name, 0.11)), (codec.name, name)
        if codec is not LORAWAN:
            assert (back.device, back.seq, back.time_us) == (EUI, count, time_us)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.floats(-1e9, 1e9), min_size=1, max_size=20
    ).filter(lambda values: not {"rssi", "snr"} & set(values))
)
def test_without_a_model_any_values_travel_as_an_object(values: dict[str, float]) -> None:
    for codec in (CHIRPSTACK, TTN):
        context = Context(device=EUI)
        (back,) = codec.decode(codec.encode([Sample("", T0, values, 5)], context), context)
        assert {name: back.values[name] for name in values} == values


@given(st.sampled_from(sorted(MODELS)), st.binary(max_size=60), st.integers(-1, 255))
def test_any_bytes_are_a_sample_or_a_refusal(model: str, payload: bytes, port: int) -> None:
    for codec in (LORAWAN, CHIRPSTACK, TTN):
        try:
            samples = codec.decode(payload, Context(model=model, port=port))
        except PayloadError:
            continue
        assert all(abs(value) < 1e15 for sample in samples for value in sample.values.values())


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=12,
    )
)
def test_any_json_in_an_envelope_is_a_sample_or_a_refusal(value: object) -> None:
    for codec, member in ((CHIRPSTACK, "object"), (TTN, "decoded_payload")):
        body: dict[str, object] = {"deviceInfo": {"devEui": EUI}, member: value, "rxInfo": value, "fCnt": value}
        if codec is TTN:
            body = {"end_device_ids": {"device_id": "a"}, "uplink_message": {member: value}}
        try:
            codec.decode(msgspec.json.encode(body), Context())
        except PayloadError:
            continue


def test_a_time_that_cannot_be_right_gives_way_to_the_next() -> None:
    assert hear(CHIRPSTACK, up(time="1970-01-01T00:00:00Z", object={"a": 1})).time_us == T0
    gateway = {"gwTime": "2026-01-05T00:00:00Z"}
    sample = hear(CHIRPSTACK, up(time=None, object={"a": 1}, rxInfo=[gateway]))
    assert sample.time_us == int(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1e6)
