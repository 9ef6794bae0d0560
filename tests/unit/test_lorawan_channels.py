"""LoRaWAN payloads besides the plain report: alarms, a device's own events, identities, and what disagrees."""

from __future__ import annotations

import pytest

from devices.codecs import Context
from devices.codecs.chirpstack import CODEC as CHIRPSTACK
from devices.codecs.lorawan import CODEC
from devices.codecs.ttn import CODEC as TTN
from devices.errors import PayloadError
from devices.readings import Sample

# Hex as the maker publishes it: SensorDecoders em-series READMEs; Packet-Decoder tests and DecoderDocs.
PUBLISHED = [
    (
        "EM400-TLD",
        "8367E8000184 82410601",
        {"temperature": 23.2, "distance": 1601.0},
        {"temperature_alarm": "threshold_alarm", "distance_alarm": "threshold_alarm"},
    ),
    ("EM500-SWL", "017564 03770200", {"battery": 100.0, "water_level": 2.0}, {}),
    ("RBS301-TILT", "1901030126000000000000", {"battery_voltage": 2.6}, {"event": "supervisory"}),
    ("RBS301-TILT", "190201", {}, {"event": "tamper 01"}),
    ("RBS301-TILT", "1BFB01B906", {}, {"event": "link quality"}),
    ("RBS301-TILT", "10000A2288AD703C", {}, {"event": "reset"}),
    ("RBS301-TILT", "16FF0311019E0000000000", {}, {"event": "downlink acknowledged"}),
]


def hear(model: str, payload: str) -> Sample:
    (sample,) = CODEC.decode(bytes.fromhex(payload), Context(model=model))
    return sample


def refused(model: str, payload: str) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode(bytes.fromhex(payload), Context(model=model))
    return caught.value


@pytest.mark.parametrize(("model", "payload", "values", "states"), PUBLISHED, ids=lambda part: str(part)[:24])
def test_a_makers_own_examples_mean_what_the_maker_says(
    model: str, payload: str, values: dict[str, float], states: dict[str, str]
) -> None:
    sample = hear(model, payload)
    assert (dict(sample.values), dict(sample.states or {})) == (values, states)


def test_a_distance_alarm_whose_scale_its_maker_disputes_gives_the_word_alone() -> None:
    sample = hear("EM500-UDL", "01756483E91E00050002")
    assert sample.values == {"battery": 100.0}
    assert sample.states == {"distance_alarm": "mutation_alarm"}


def test_an_alarm_byte_of_no_meaning_is_refused_at_its_place() -> None:
    assert refused("EM400-TLD", "8367E80007").offset == 4
    assert refused("EM500-UDL", "83E91E00050003").offset == 6
    assert refused("EM400-TLD", "8367E800").offset == 4


def test_a_heat_meters_number_stands_beside_its_values() -> None:
    payload = "1e04068fa10100041384b71e00022bcf0f023b5d00025a1003025e9801077982253269a511400401fd1700"
    assert hear("CMi4160", payload).states == {"identification": "69322582"}


def test_a_cellular_frame_keeps_both_its_lengths() -> None:
    frame = CODEC.encode(
        [Sample("", 0, {"distance": 315.0}, units={"distance": "mm"})], Context(model="EM400-TLD-NB")
    )
    assert int.from_bytes(frame[3:5], "big") == len(frame) - 5
    assert hear("EM400-TLD-NB", frame.hex()).values["distance"] == 315.0
    assert refused("EM400-TLD-NB", frame[:-1].hex()).offset == 3
    wrong = frame[:3] + b"\0\1" + frame[5:]
    assert refused("EM400-TLD-NB", wrong.hex()).offset == 3


def test_a_whole_number_too_large_for_any_float_is_refused_like_other_large_ones() -> None:
    huge = b"9" * 400
    up = b'{"deviceInfo":{"devEui":"1000000000000001"},"object":{"a":%s}}' % huge
    with pytest.raises(PayloadError, match="numbers within"):
        CHIRPSTACK.decode(up, Context())
    up = b'{"end_device_ids":{"device_id":"a"},"uplink_message":{"decoded_payload":{"a":%s}}}' % huge
    with pytest.raises(PayloadError, match="numbers within"):
        TTN.decode(up, Context())


def test_a_wrong_member_of_an_envelope_is_named_with_its_place() -> None:
    up = b'{"deviceInfo":{"devEui":"1000000000000001"},"rxInfo":[{"rssi":-80},{"rssi":"loud"}]}'
    with pytest.raises(PayloadError, match="rxInfo") as caught:
        CHIRPSTACK.decode(up, Context())
    assert caught.value.offset == up.index(b'"loud"')
