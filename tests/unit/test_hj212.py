"""HJ 212 packets to samples: published packets, names, times, flags, and what the field sends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices.codecs.hj212 import values
from devices.readings import Quality
from tests.support.hj212 import (
    DOCUMENT,
    MN,
    RECEIVED_US,
    RIGHT,
    T_US,
    WRONG,
    T,
    decode,
    only,
    packet,
    refusal,
)


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
