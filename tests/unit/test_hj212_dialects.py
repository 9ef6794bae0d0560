"""HJ 212 dialects, encryption, packets built and read back, and hostile bytes."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs.hj212 import CODEC, cipher, frame, values
from devices.codecs.hj212.factors import WATER, offered
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample
from tests.support.hj212 import (
    DOCUMENT,
    MN,
    RIGHT,
    T_US,
    T,
    context,
    decode,
    only,
    packet,
    refusal,
)

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
