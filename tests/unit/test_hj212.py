"""HJ 212 packets to samples and back: published packets, what the field sends, flags, times, dialects, encryption."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import Context
from devices.codecs.hj212 import CODEC, cipher, frame, values
from devices.codecs.hj212.checksum import DIALECTS
from devices.codecs.hj212.factors import WATER, offered
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample

DOCUMENT = json.loads((Path(__file__).parents[1] / "vectors" / "hj212.json").read_text())
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
RIGHT = [v for v in VECTORS if v["crc_verified"]]
WRONG = [v for v in VECTORS if not v["crc_verified"]]
RECEIVED_US = 1_767_600_000_000_000
MN = "010000A8900016F000169DC0"
T = "20210412154500"
T_US = 1_618_213_500_000_000


def context(**dialect: Any) -> Context:
    return Context(received_us=RECEIVED_US, settings=dialect)


def packet(cp: str, *, head: str = "", crc: str = "hj212", end: bytes = b"\r\n", **fields: str) -> bytes:
    """A packet written here, not by `frame.build`, so that it may be wrong."""
    named = {"QN": "20210412154520280", "ST": "32", "CN": "2011", "PW": "123456", "MN": MN, "Flag": "5", **fields}
    head = head or "".join(f"{name}={value};" for name, value in named.items() if value)
    segment = f"{head}CP=&&{cp}&&".encode()
    return b"##%04d%b%04X%b" % (len(segment), segment, DIALECTS[crc](segment), end)


def decode(payload: bytes, **dialect: Any) -> Sequence[Sample]:
    """What `payload` decodes to, now that its names are new and again when they are known."""
    first = CODEC.decode(payload, context(**dialect))
    assert CODEC.decode(payload, context(**dialect)) == first
    return first


def only(payload: bytes, **dialect: Any) -> Sample:
    (sample,) = decode(payload, **dialect)
    return sample


def refusal(payload: bytes, **dialect: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        decode(payload, **dialect)
    text = str(caught.value)
    assert re.fullmatch(r"hj212: expected .*, got .*; nothing was used", text), text
    return caught.value


def as_written(text: str) -> tuple[str, str, dict[str, float]]:
    """MN, DataTime and values of a packet, found by looking for them: nothing here knows how packets are made."""
    (mn,) = re.findall(r"MN=([^;]*)", text)
    times = re.findall(r"DataTime=([0-9]{14})", text)
    found: dict[str, float] = {}
    for name, value in re.findall(r"([A-Za-z0-9]+-(?:Rtd|Avg|Min|Max|Cou|RS))=([-+.0-9]+)", text):
        found.setdefault(name, float(value))
    return mn, times[0] if times else "", found


# Published packets


@pytest.mark.parametrize("vector", RIGHT, ids=lambda v: v["crc_in_packet"] + v["text"][6:26])
def test_a_published_packet_decodes_to_what_its_text_says(vector: dict[str, Any]) -> None:
    mn, moment, wanted = as_written(vector["text"])
    samples = decode(vector["text"].encode())
    if not wanted:
        assert samples == ()
        return
    (sample,) = samples
    local = datetime.strptime(moment, "%Y%m%d%H%M%S").replace(tzinfo=UTC) - timedelta(hours=8)
    assert sample.device == mn
    assert sample.time_us == int(local.timestamp()) * 1_000_000
    assert {name: value for name, value in sample.values.items() if not name.endswith("_2")} == wanted
    assert sample.flags is None


@pytest.mark.parametrize("vector", WRONG, ids=lambda v: v["crc_in_packet"])
def test_a_published_packet_with_a_wrong_checksum_or_length_is_refused_with_both(vector: dict[str, Any]) -> None:
    error = refusal(vector["text"].encode())
    if vector["text"].startswith("##0265"):
        assert "4 hexadecimal digits after 265 bytes" in str(error)
        assert error.offset == 6 + 265
    else:
        assert vector["crc_calculated"] in str(error)
        assert vector["crc_in_packet"] in str(error)
        assert error.offset == len(vector["text"]) - len("CRC4\r\n")


def test_there_are_36_right_and_7_wrong_packets_and_one_encrypted_text() -> None:
    assert (len(RIGHT), len(WRONG), len(DOCUMENT["sm4"])) == (36, 7, 1)


@pytest.mark.parametrize(
    "vector", [v for v in WRONG if v["crc_dialect"] == "modbus_byte_swapped"], ids=lambda v: v["crc_in_packet"]
)
def test_a_swapped_modbus_checksum_is_read_when_the_device_is_known_to_send_it(vector: dict[str, Any]) -> None:
    sample = only(vector["text"].encode(), crc="modbus-swapped")
    assert sample.values.items() == as_written(vector["text"])[2].items()
    refusal(vector["text"].encode(), crc="modbus")


def test_the_dialect_set_is_the_only_one_read() -> None:
    refusal(packet(f"DataTime={T};w01018-Rtd=1"), crc="modbus")
    assert only(packet(f"DataTime={T};w01018-Rtd=1", crc="modbus"), crc="modbus").values == {"w01018-Rtd": 1.0}


# Names, units, times


def test_values_have_their_names_and_the_units_the_standard_fixes() -> None:
    sample = only(
        packet(f"DataTime={T};w00000-Rtd=12.5;w01018-Rtd=300;w01001-Rtd=7.1;ele01-Rtd=1;SB1-RS=2;B01-Rtd=3")
    )
    assert sample.values == {
        "w00000-Rtd": 12.5, "w01018-Rtd": 300, "w01001-Rtd": 7.1, "ele01-Rtd": 1, "SB1-RS": 2, "B01-Rtd": 3,
    }  # fmt: skip
    assert sample.units == {"w00000-Rtd": "L/s", "w01018-Rtd": "mg/L", "w01001-Rtd": "pH", "B01-Rtd": "L/s"}


def test_a_sum_of_flow_is_a_volume_and_a_sum_of_cod_has_no_unit_we_know() -> None:
    sample = only(
        packet(f"DataTime={T};w00000-Cou=9,w00000-Avg=1;w01018-Cou=2,w01018-Avg=3;e10101-Avg=4", CN="2061")
    )
    assert sample.units == {"w00000-Cou": "m3", "w00000-Avg": "L/s", "w01018-Avg": "mg/L", "e10101-Avg": "L/s"}


@pytest.mark.parametrize("cn", ["2011", "2013", "2021", "2031", "2051", "2061", "2062"])
def test_rows_are_stamped_with_their_data_time_which_is_the_start_of_a_period(cn: str) -> None:
    assert only(packet(f"DataTime={T};w01018-Avg=1", CN=cn)).time_us == T_US


def test_a_data_time_of_17_digits_has_milliseconds() -> None:
    assert only(packet(f"DataTime={T}123;w01018-Rtd=1")).time_us == T_US + 123_000


@pytest.mark.parametrize(
    ("qn", "time_us"),
    [
        ("20210412154520280", T_US + 20_280_000),
        ("1617936069734", 1_617_936_069_734_000),
        ("", RECEIVED_US),
        ("20211412154520280", RECEIVED_US),
        ("9999999999999", RECEIVED_US),
        ("never", RECEIVED_US),
    ],
)
def test_without_a_data_time_the_request_number_counts_and_then_the_receipt(qn: str, time_us: int) -> None:
    assert only(packet("w01018-Rtd=1", QN=qn)).time_us == time_us


def test_items_before_the_data_time_are_of_that_moment() -> None:
    assert only(packet(f"w01018-Rtd=1;DataTime={T};w21003-Rtd=2")) == only(
        packet(f"DataTime={T};w01018-Rtd=1;w21003-Rtd=2")
    )


def test_several_data_times_give_several_samples_and_a_repeated_one_gives_one() -> None:
    rows = decode(
        packet(f"DataTime={T};w01018-Rtd=1;DataTime=20210412154600;w01018-Rtd=2;DataTime={T};w21003-Rtd=3")
    )
    assert [(row.time_us - T_US, row.values) for row in rows] == [
        (0, {"w01018-Rtd": 1, "w21003-Rtd": 3}),
        (60_000_000, {"w01018-Rtd": 2}),
    ]


@pytest.mark.parametrize(
    "moment", ["20211312000000", "2021041215450", "20210412154561", "19991231235959", "2021-04-12 15:4"]
)
def test_a_data_time_that_is_none_is_refused_at_its_place(moment: str) -> None:
    body = packet(f"DataTime={moment};w01018-Rtd=1")
    error = refusal(body)
    assert error.offset == body.index(moment.encode())


# Flags


@pytest.mark.parametrize(
    ("letter", "quality"),
    [
        *((x, Quality.MAINTENANCE) for x in "MCS"),
        *((x, Quality.BAD) for x in "DBTFP"),
        *((x, Quality.SUSPECT) for x in "HLX"),
        ("m", Quality.MAINTENANCE),
    ],
)
def test_a_flag_is_the_quality_of_every_value_of_its_factor(letter: str, quality: Quality) -> None:
    cp = f"DataTime={T};w01018-Avg=1,w01018-Max=2,w01018-Flag={letter};w21003-Avg=3,w21003-Flag=N"
    sample = only(packet(cp, CN="2051"))
    assert sample.flags == {"w01018-Avg": quality, "w01018-Max": quality}
    assert sample.states == {"w01018-Flag": letter.upper()}


def test_what_is_flagged_as_maintenance_or_bad_is_not_looked_at_by_detectors() -> None:
    # `processors.engines.rules` uses values up to SUSPECT.
    assert all(
        quality > Quality.SUSPECT for letter, quality in values.FLAGS.items() if letter in "MCDTBSFP" and letter
    )


@pytest.mark.parametrize("cp", ["w01018-Flag=M;w01018-Rtd=1", "w01018-Flag=M,w01018-Rtd=1", "w01018-Rtd=1;Flag=M"])
def test_a_flag_counts_wherever_it_stands_and_one_without_factor_is_for_all(cp: str) -> None:
    assert only(packet(f"DataTime={T};{cp}")).flags == {"w01018-Rtd": Quality.MAINTENANCE}


def test_a_factor_s_own_flag_comes_before_the_one_for_all() -> None:
    sample = only(packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N;w21003-Rtd=2;Flag=D"))
    assert sample.flags == {"w21003-Rtd": Quality.BAD}


# What the field sends


@pytest.mark.parametrize(
    "body",
    [
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N", end=b"\n"),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N", end=b""),
        b"\r\n" + packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N"),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N;"),
        packet(f"DataTime={T};;w01018-Rtd=1,w01018-Flag=N,"),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N", QN="", Flag=""),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N", ST="032"),
        packet(f"DataTime={T};w01018-Rtd= 1.0 ,w01018-Flag=N"),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N", Flag="8"),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N", RF="1"),
        packet(
            f"DataTime={T};w01018-Rtd=1,w01018-Flag=N",
            head=f"MN={MN};Flag=5;ST=32;CN=2011;QN=20210412154520280;PW=123456;",
        ),
    ],
)
def test_a_deviation_seen_in_the_field_is_taken(body: bytes) -> None:
    assert only(body) == only(packet(f"DataTime={T};w01018-Rtd=1,w01018-Flag=N"))


def test_a_checksum_in_lower_case_is_taken_and_refused_when_strict() -> None:
    body = next(v["text"].encode() for v in RIGHT if v["crc_in_packet"] == "cc01")
    decode(body)
    assert "upper case" in str(refusal(body, mode="strict"))


def test_strict_reading_takes_the_standard_s_own_packet() -> None:
    body = next(v["text"].encode() for v in RIGHT if v["crc_in_packet"] == "1C80")
    assert decode(body, mode="strict") == ()
    assert only(packet(f"DataTime={T};w01018-Rtd=1"), mode="strict", version="2017").values == {"w01018-Rtd": 1}
    assert "version" in str(refusal(packet(f"DataTime={T};w01018-Rtd=1"), mode="strict", version="2025"))


def test_a_packet_of_2005_without_request_number_is_strict_for_its_version() -> None:
    body = packet(f"DataTime={T};011-Rtd=1", QN="", Flag="", MN="88888880000001")
    assert only(body, mode="strict", version="2005").device == "88888880000001"
    refusal(body, mode="strict", version="2017")


@pytest.mark.parametrize(
    "body",
    [
        packet(f"DataTime={T};w01018-Rtd=1;"),
        packet(f"DataTime={T}000;w01018-Rtd=1"),
        packet(f"DataTime={T};w01018-Rtd=1,w01018-Rtd=2"),
        packet(f"DataTime={T};w01018-Rtd="),
        packet(f"DataTime={T};" + ";".join(f"w{i:05d}-Rtd=1" for i in range(80))),
        packet(f"DataTime={T};w01018-Rtd=1", MN="Y80110010000010"),
        packet(f"DataTime={T};w01018-Rtd= 1"),
        packet(f"DataTime={T}; w01018-Rtd=1;w01018-Rtd=2"),
        packet(f"DataTime={T};w01018-Rtd=1", Flag=""),
        packet(f"DataTime={T};w01018-Rtd=1", head=f"MN={MN};QN=20210412154520280;ST=32;CN=2011;PW=123456;Flag=5;"),
        packet(f"DataTime={T};w01018-Rtd=1", PW="12345"),
        packet(f"DataTime={T};w01018-Rtd=1", Flag="7"),
        packet(f"DataTime={T};w01018-Rtd=1", QN="1617936069734"),
        packet(f"DataTime={T};w01018-Rtd=1", end=b"\n"),
        packet(f"DataTime={T};w01018-Rtd=1", end=b"\n") * 2,
    ],
)
def test_strict_reading_refuses_what_tolerant_reading_takes(body: bytes) -> None:
    decode(body)
    refusal(body, mode="strict")


def test_of_equal_names_the_first_is_the_value_and_the_second_is_kept_without_a_unit() -> None:
    sample = only(packet(f"DataTime={T};w00000-Avg=66.09,w00000-Avg=19796346,w00000-Avg=3", CN="2051"))
    assert sample.values == {"w00000-Avg": 66.09, "w00000-Avg_2": 19796346, "w00000-Avg_3": 3}
    assert sample.units == {"w00000-Avg": "L/s"}


@pytest.mark.parametrize("nothing", ["", "-", "--", "NaN", "null"])
def test_an_instrument_without_a_value_costs_only_its_own(nothing: str) -> None:
    sample = only(packet(f"DataTime={T};w01018-Rtd={nothing},w01018-Flag=B;w21003-Rtd=2,w21003-Flag=N"))
    assert sample.values == {"w21003-Rtd": 2}
    assert sample.states == {"w01018-Flag": "B"}
    decode(packet(f"DataTime={T};w01018-Rtd=1;w21003-Rtd=2"))
    assert only(packet(f"DataTime={T};w01018-Rtd={nothing};w21003-Rtd=2")).values == {"w21003-Rtd": 2}


@pytest.mark.parametrize("value", ["1e16", "-1e16", "1e999", "inf", "abc", "1_0", "0x10", "1,5x", "１"])
def test_a_value_that_is_no_number_of_reasonable_size_is_refused_at_its_place(value: str) -> None:
    for _ in range(2):  # the second time the names are known
        body = packet(f"DataTime={T};w01018-Rtd={value}")
        error = refusal(body)
        assert error.offset >= body.index(b"w01018-Rtd=") + len("w01018-Rtd=")
        decode(packet(f"DataTime={T};w01018-Rtd=1"))


def test_names_and_values_in_each_other_s_place_are_refused_even_when_the_names_are_known() -> None:
    decode(packet(f"DataTime={T};w01018-Rtd=1"))
    assert "NAME=VALUE" in str(refusal(packet(f"DataTime;{T}=w01018-Rtd;1")))


def test_sub_fields_that_measure_nothing_are_passed_over() -> None:
    cp = f"DataTime={T};w01008-SampleTime={T},w01008-Rtd=5,w01008-EFlag=A01;PolId=w01018;x-Note=hello;x-Level=3"
    assert only(packet(cp)).values == {"w01008-Rtd": 5, "x-Level": 3}


@pytest.mark.parametrize("cn", ["1011", "1062", "9011", "9012", "9013", "9014", "9015", "9021", "3020"])
def test_a_packet_of_another_command_has_no_readings(cn: str) -> None:
    assert decode(packet("PolId=w01018;w01018-Rtd=1", CN=cn)) == ()
    assert decode(packet("", CN=cn)) == ()


def test_a_request_for_old_values_has_no_readings() -> None:
    assert decode(packet(f"BeginTime={T},EndTime=20210412160000", CN="2051")) == ()


# Several packets; parts


def test_several_packets_in_one_payload_all_count() -> None:
    rows = decode(
        packet(f"DataTime={T};w01018-Rtd=1") + b"\n" + packet("DataTime=20210412154600;w01018-Rtd=2", end=b"")
    )
    assert [row.values for row in rows] == [{"w01018-Rtd": 1}, {"w01018-Rtd": 2}]


def test_one_wrong_packet_among_several_refuses_all_and_says_where() -> None:
    good = packet(f"DataTime={T};w01018-Rtd=1")
    error = refusal(good + good[:-6] + b"0000\r\n")
    assert error.offset == 2 * len(good) - 6


def test_the_parts_of_a_table_in_one_payload_are_one_sample() -> None:
    one = packet(f"DataTime={T};w01018-Rtd=1", Flag="7", PNUM="2", PNO="1")
    two = packet(f"DataTime={T};w21003-Rtd=2,w21003-Flag=M", Flag="7", PNUM="2", PNO="2", QN="20210412154521280")
    sample = only(one + two)
    assert sample.values == {"w01018-Rtd": 1, "w21003-Rtd": 2}
    assert sample.flags == {"w21003-Rtd": Quality.MAINTENANCE}
    assert sample.units == {"w01018-Rtd": "mg/L", "w21003-Rtd": "mg/L"}


def test_the_parts_of_a_table_in_payloads_of_their_own_share_device_and_moment() -> None:
    one, two = (
        only(packet(f"DataTime={T};{item}", Flag="6", PNUM="2", PNO=n))
        for item, n in (("a-Rtd=1", "1"), ("b-Rtd=2", "2"))
    )
    assert (one.device, one.time_us) == (two.device, two.time_us)
    assert not one.values.keys() & two.values.keys()


def test_rows_of_one_moment_that_share_a_name_stay_apart() -> None:
    minute, hour = packet(f"DataTime={T};w01018-Avg=1", CN="2051"), packet(f"DataTime={T};w01018-Avg=2", CN="2061")
    assert [row.values["w01018-Avg"] for row in decode(minute + hour)] == [1, 2]


# Settings


def test_the_setting_cn_says_which_data_is_read() -> None:
    minute = packet(f"DataTime={T};w01018-Avg=1", CN="2051")
    assert decode(minute, cn="2011") == ()
    assert len(decode(minute, cn=["2011", "2051"])) == 1


def test_a_wrong_password_is_refused_and_neither_is_shown() -> None:
    body = packet(f"DataTime={T};w01018-Rtd=1", PW="987654")
    assert only(body, password="987654").values
    text = str(refusal(body, password="secret"))
    assert "secret" not in text
    assert "987654" not in text
    assert "987654" not in repr(frame.parse(body))
    refusal(packet(f"DataTime={T};w01018-Rtd=1", PW=""), password="secret")


def test_data_of_another_system_code_is_refused_but_not_an_answer() -> None:
    assert "ST=52" in str(refusal(packet(f"DataTime={T};w01018-Rtd=1"), st="52"))
    assert decode(packet("QnRtn=1", ST="91", CN="9011"), st="52") == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "lenient"}, {"crc": "crc16"}, {"crc": 7}, {"st": "x"}, {"password": ""}, {"password": "a;b"},
        {"sm4_key": "short"}, {"sm4_key": "é" * 16}, {"version": "2008"}, {"version": 2017}, {"cn": "9011"}, {"cn": []},
        {"cn": [["2011"]]}, {"baud": 9600}, {"mode": ["strict"]},
    ],
)  # fmt: skip
def test_a_setting_that_means_nothing_is_refused_when_it_is_made_and_when_it_is_met(wrong: dict[str, Any]) -> None:
    with pytest.raises(RegistryError, match="not taken"):
        CODEC.check(wrong)
    with pytest.raises(PayloadError):
        decode(packet(f"DataTime={T};w01018-Rtd=1"), **wrong)


def test_every_setting_that_has_a_meaning_is_taken() -> None:
    CODEC.check(
        {"mode": "strict", "crc": "modbus", "st": "31", "password": "123456", "version": "2025", "cn": "2051"}
    )
    CODEC.check({"sm4_key": "msbE74gsiSHSEh5e", "clock": "received", "fields": {}})
    CODEC.check({"sm4_key": "0123456789abcdeffedcba9876543210", "cn": ["2011", "2051"]})


# Encryption


def test_the_standard_s_encrypted_login_comes_out_as_printed() -> None:
    (vector,) = DOCUMENT["sm4"]
    assert cipher.credentials(vector["plaintext"], cipher.key_of(vector["key_ascii"])) == vector["expected_base64"]


@pytest.mark.parametrize("item", ["w01018-Rtd=1", "w01018-Rtd=12", "w01018-Rtd=123456789012"])
def test_an_encrypted_packet_needs_its_key(item: str) -> None:
    key = "msbE74gsiSHSEh5e"
    body = frame.build(
        qn="",
        st="32",
        cn="2011",
        pw="123456",
        mn=MN,
        flag=9,
        cp=f"DataTime={T};{item}",
        sm4_key=cipher.key_of(key),
    )
    assert b"w01018" not in body[:-12]
    assert only(body, sm4_key=key) == only(packet(f"DataTime={T};{item}"))
    refusal(body)
    refusal(body, sm4_key="0123456789abcdef")
    assert frame.split(body * 2).packets == [body[:-2]] * 2


def test_what_the_standard_leaves_plain_is_read_plain_with_a_key() -> None:
    assert [cipher.applies(cn) for cn in ("2000", "2999", "1014", "3020")] == [True] * 4
    assert [cipher.applies(cn) for cn in ("1011", "3019", "9014", "9015")] == [False] * 4
    assert decode(packet("QnRtn=1", CN="9011"), sm4_key="msbE74gsiSHSEh5e") == ()


# Round trips, anything at all


NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{2,6}-(Rtd|Avg|Min|Max|Cou|RS)", fullmatch=True)
NUMBERS = st.floats(-1e15, 1e15)
QUALITIES = st.sampled_from((Quality.BAD, Quality.SUSPECT, Quality.MAINTENANCE))


KEYS: Any = st.sampled_from(({}, {"sm4_key": "msbE74gsiSHSEh5e"}))
MODES = st.sampled_from(("tolerant", "strict"))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    found = draw(st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=60))
    factors = draw(st.dictionaries(st.sampled_from(sorted({name.partition("-")[0] for name in found})), QUALITIES))
    states = {f for f in factors if all(n.endswith("RS") for n in found if n.startswith(f"{f}-"))}
    flags = {n: factors[f] for n in found if (f := n.partition("-")[0]) in factors and f not in states}
    seconds = draw(st.integers(946_684_800, 4_102_444_799))
    return Sample(
        draw(st.from_regex(r"[A-Z0-9_]{1,24}", fullmatch=True)), seconds * 1_000_000, found, -1, flags or None
    )


@given(
    samples(),
    st.sampled_from(("hj212", "modbus", "modbus-swapped")),
    st.sampled_from(("2005", "2017", "2025")),
    KEYS,
)
def test_a_sample_comes_back_from_its_packets(sample: Sample, crc: str, version: str, key: dict[str, str]) -> None:
    dialect = context(crc=crc, version=version, **key)
    heard = CODEC.decode(CODEC.encode((sample,), dialect), dialect)
    assert len(heard) == 1
    assert heard[0].values == sample.values
    assert (heard[0].device, heard[0].time_us, heard[0].flags) == (sample.device, sample.time_us, sample.flags)


def test_a_table_too_long_for_one_packet_is_encoded_in_parts_within_the_standard_s_lengths() -> None:
    sample = Sample(MN, T_US, {f"w{i:05d}-Rtd": i + 0.5 for i in range(100)})
    body = CODEC.encode((sample,), context())
    assert only(body, mode="strict", version="2017").values == sample.values
    parts = [frame.parse(one) for one in frame.split(body).packets]
    assert [(part.pnum, part.pno) for part in parts] == [(len(parts), n + 1) for n in range(len(parts))]
    assert len({part.qn for part in parts}) == len(parts) > 1


@pytest.mark.parametrize("cn", ["2011", "2051"])
def test_every_field_offered_is_carried_with_its_unit(cn: str) -> None:
    fields = CODEC.fields(context(cn=cn))
    assert {name.partition("-")[0] for name in fields} >= set(WATER)
    heard = decode(CODEC.encode((Sample(MN, T_US, dict.fromkeys(fields, 1.5)),), context(cn=cn)))[0]
    assert heard.values.keys() == fields.keys()
    assert heard.units == {name: unit for name, unit in fields.items() if unit}


def test_the_worst_flag_among_a_factor_s_values_is_sent() -> None:
    sample = Sample(MN, T_US, {"a-Avg": 1.0, "a-Max": 2.0}, flags={"a-Avg": Quality.BAD, "a-Max": Quality.GOOD})
    assert only(CODEC.encode((sample,), context())).flags == {"a-Avg": Quality.BAD, "a-Max": Quality.BAD}


def test_a_value_in_another_unit_is_sent_in_the_standard_s() -> None:
    sample = Sample(MN, T_US, {"w00000-Rtd": 36.0}, units={"w00000-Rtd": "m3/h"})
    assert only(CODEC.encode((sample,), context())).values["w00000-Rtd"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    "sample",
    [
        Sample(MN, T_US, {}),
        Sample(MN, T_US, {"w01018": 1.0}),
        Sample(MN, T_US, {"w01018-Flag": 1.0}),
        Sample(MN, T_US, {"w01018-Rtd": float("nan")}),
        Sample(MN, T_US, {"w01018-Rtd": 1e16}),
        Sample(MN, T_US, {"w01018-Rtd": 1.0}, units={"w01018-Rtd": "degC"}),
        Sample("a;b", T_US, {"w01018-Rtd": 1.0}),
        Sample("", T_US, {"w01018-Rtd": 1.0}),
        Sample(MN, 0, {"w01018-Rtd": 1.0}),
    ],
)
def test_what_a_packet_cannot_carry_is_refused(sample: Sample) -> None:
    with pytest.raises(PayloadError, match="nothing was encoded"):
        CODEC.encode((sample,), context())


def taken_or_refused(body: bytes, **dialect: Any) -> None:
    try:
        for sample in decode(body, **dialect):
            assert sample.values
            assert all(-1e15 <= value <= 1e15 for value in sample.values.values())
    except PayloadError as error:
        refused = error
    else:
        return
    assert -1 <= refused.offset <= len(body)
    assert "\n" not in str(refused)


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    taken_or_refused(body)
    taken_or_refused(b"##" + body, mode="strict")


@given(st.text("ABDM2013;,=&-_.Rtdw# \r\n", max_size=120), MODES, KEYS)
def test_any_content_is_taken_or_refused(text: str, mode: str, key: dict[str, str]) -> None:
    taken_or_refused(packet(f"DataTime={T};{text}"), mode=mode, **key)


ITEMS = st.lists(
    st.tuples(
        st.sampled_from(
            ["DataTime", "w01018-Rtd", "w01018-Flag", " w01018-Rtd", "w21003-Rtd", "Flag", "x-Y", "", "PolId"]
        ),
        st.sampled_from(["=", "==", "", " ="]),
        st.sampled_from(
            [T, T + "123", "N", "D", "n", "1", " 1.5", "1_0", "nan", "1e5", "1e0001", "-inf", "", "2e15", "+.5"]
        ),
        st.sampled_from([";", ",", ";;", ""]),
    ),
    max_size=6,
)


@given(ITEMS)
@settings(max_examples=300)
def test_known_names_are_read_as_unknown_ones_are(items: list[tuple[str, str, str, str]]) -> None:
    """The way of the usual packet and the way item by item give the same, whatever was learnt before."""
    cp = "".join(map("".join, items)).encode()

    def result() -> object:
        try:
            return values.read_values(cp, 0)
        except PayloadError as error:
            return str(error), error.offset

    first = result()
    assert result() == first
    values._shapes.clear()
    assert result() == first


@given(st.data())
def test_a_mutated_packet_is_taken_or_refused(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(RIGHT))["text"].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    taken_or_refused(bytes(body))


def test_a_changed_digit_is_noticed() -> None:
    """The checksum keeps 8 bits only, but any one changed byte changes it."""
    body = bytearray(packet(f"DataTime={T};w01018-Rtd=1"))
    for place in range(6, len(body) - 6):
        body[place] ^= 1
        refusal(bytes(body))
        body[place] ^= 1


# Bounds


def worst() -> dict[str, bytes]:
    many = packet(f"DataTime={T};" + "a-b=1;" * 1600)
    return {
        "equal names": many * 6,
        "new names": b"".join(
            packet(f"DataTime={T};" + "".join(f"a{i}-b{j}=1;" for i in range(900))) for j in range(7)
        ),
        "parts": packet(f"DataTime={T};a-b=1", head=f"CN=2011;MN={MN};") * 700,
        "times": packet("".join(f"DataTime=2021041215{i // 60 % 60:02d}{i % 60:02d};a-b=1;" for i in range(320)))
        * 6,
        "marks": packet(";" * 9000) * 7,
        "no length": b"##" * 30_000,
        "blanks": packet("") + b" " * 60_000 + b"x",
        "too large": b"#" * 300_000,
    }


@pytest.mark.parametrize(("name", "body"), worst().items(), ids=worst())
def test_no_payload_takes_long_or_much_memory(name: str, body: bytes) -> None:
    spent = []
    for _ in range(3):
        values._shapes.clear()
        started = time.thread_time()
        with suppress(PayloadError):
            CODEC.decode(body, context())
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.05, name
    values._shapes.clear()
    values._keys.clear()
    tracemalloc.start()
    with suppress(PayloadError):
        CODEC.decode(body, context())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000, name


def test_factors_are_offered_with_units_only_where_the_standard_fixes_them() -> None:
    assert offered(("Rtd",))["a34041-Rtd"] == ""
    assert not [name for name in offered(("Rtd",)) if name.startswith("ga")]
