"""The conversation on one connection, without a network: whatever the pieces, whoever speaks."""

from __future__ import annotations

import contextlib
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.codecs.hj212.checksum import crc
from devices.codecs.hj212.frame import build
from devices.errors import PayloadError
from ingest.tcp_downlink import answer_for, build_answer
from ingest.tcp_loggers import LoggerRule, rule_of
from ingest.tcp_session import Accepted, Refused, Session, without_password
from ingest.tcp_settings import TcpSettings
from tests.support.listening import entry
from tests.support.logger import data, packet

MN = "010000A8900016F000169DC0"
RULES = {MN: LoggerRule(MN, "inflow-1", password="123456"), "B2": LoggerRule("B2", "fume-2")}


def session(**settings: object) -> Session:
    return Session(RULES.get, TcpSettings(**settings))  # type: ignore[arg-type]


def taken(events: list[Accepted | Refused]) -> list[bytes]:
    return [event.raw + b"\r\n" for event in events if isinstance(event, Accepted)]


def reasons(events: list[Accepted | Refused]) -> list[str]:
    return [event.refusal.reason for event in events if isinstance(event, Refused)]


@given(st.lists(st.integers(0, 600), max_size=20), st.lists(st.sampled_from([MN, "B2"]), min_size=1, max_size=6))
def test_however_the_stream_is_cut_the_same_packets_come_out(cuts: list[int], senders: list[str]) -> None:
    sent = [packet(mn, number) for number, mn in enumerate(senders)]
    stream, talk, events = b"".join(sent), session(), []
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        events += talk.feed(stream[begin:end], 0.0)
    assert taken(events) == sent
    assert talk.half_since is None
    assert not talk.ending


@given(st.lists(st.binary(max_size=300), max_size=12))
def test_any_bytes_are_refused_or_kept_and_the_buffer_stays_small(pieces: list[bytes]) -> None:
    talk = session()
    for piece in pieces:
        assert not taken(talk.feed(piece, 0.0))
        assert talk.pending < 20_000


@given(st.integers(0, 130), st.integers(1, 255))
def test_a_damaged_packet_never_swallows_the_next(place: int, change: int) -> None:
    damaged = bytearray(packet("B2", 1))
    damaged[place % len(damaged)] ^= change
    talk = session()
    last = packet("B2", 3)
    # A length that grew makes it wait for more: the packets behind show that there is none.
    assert taken(talk.feed(bytes(damaged) + packet("B2", 2) + last + last, 0.0))[-1] == last


_FIELD = st.one_of(st.sampled_from([b"2011", b"5", b"123456", b"20260105140000001"]), st.binary(max_size=8))


@given(
    st.tuples(_FIELD, _FIELD, _FIELD, _FIELD),
    st.sampled_from([MN.encode(), b"B2", b"FEED"]),
    st.binary(max_size=20),
)
def test_whatever_stands_in_a_packet_with_a_right_checksum_is_taken_or_refused(
    fields: tuple[bytes, ...], mn: bytes, content: bytes
) -> None:
    number, command, password, flag = fields
    head = b"QN=%b;ST=32;CN=%b;PW=%b;MN=%b;Flag=%b;CP=&&" % (number, command, password, mn, flag)
    segment = head + content + b"&&"
    for event in session().feed(b"##%04d%b%04X\r\n" % (len(segment), segment, crc(segment)), 0.0):
        if isinstance(event, Refused):
            msgspec.json.encode(event.refusal._asdict())
        elif (answer := answer_for(event.cn, event.packet.flag)) is not None:
            with contextlib.suppress(PayloadError):
                heard = event.packet
                build_answer(answer, event.rule, qn=heard.qn, pw=heard.pw, flag=heard.flag or 0)


def test_a_stranger_is_refused_and_sent_away_after_a_few_packets() -> None:
    talk = session(strangers_max=2)
    first = talk.feed(packet("FEED", 1), 0.0)
    assert reasons(first) == [
        "MN FEED: not registered with codec hj212; import it with 'undercity devices import'"
    ]
    assert not talk.ending
    talk.feed(packet("FEED", 2), 0.0)
    assert talk.ending == "2 packets of loggers that are not registered"
    assert talk.feed(packet("B2", 3), 0.0) == []


def test_a_wrong_password_ends_the_connection_and_is_written_nowhere() -> None:
    talk = session()
    (event,) = talk.feed(packet(MN, 1, pw="654321"), 0.0)
    assert isinstance(event, Refused)
    assert event.refusal.topic == f"hj212/{MN}/up"
    assert "expected the password of inflow-1" in event.refusal.reason
    assert b"654321" not in event.refusal.sample
    assert b"PW=******;" in event.refusal.sample
    assert talk.ending == f"{MN}: wrong password"


def test_without_a_password_in_the_registry_any_is_taken() -> None:
    assert len(taken(session().feed(packet("B2", 1, pw="654321"), 0.0))) == 1


def test_a_wrong_checksum_is_refused_and_the_next_packet_is_taken() -> None:
    bad = packet(MN, 1)[:-6] + b"0000\r\n"
    talk = session(faults_max=3)
    events = talk.feed(bad + bad + packet(MN, 2) + bad + bad, 0.0)
    assert len(taken(events)) == 1
    assert "checksum" in reasons(events)[0]
    assert reasons(events)[0].endswith("it was dropped without a reply")
    assert not talk.ending, "four bad ones, but never three in a row"
    talk.feed(bad, 0.0)
    assert talk.ending == "3 packets in a row could not be read"


def test_each_logger_has_its_own_checksum() -> None:
    rule = rule_of(entry("C3", crc="modbus-swapped"))
    assert rule is not None
    talk = Session({"C3": rule}.get, TcpSettings())
    swapped = build(
        qn="20260105140000001",
        st="31",
        cn="2011",
        pw="123456",
        mn="C3",
        flag=5,
        cp=data(),
        crc_dialect="modbus-swapped",
    )
    assert taken(talk.feed(swapped, 0.0)) == [swapped]
    assert reasons(talk.feed(packet("C3", 1), 0.0)) != []


def test_an_encrypted_packet_is_taken_with_its_key_and_refused_without() -> None:
    key = "0123456789abcdef"
    rule = rule_of(entry("E5", sm4_key=key))
    assert rule is not None
    sealed = build(
        qn="20260105140000001", st="32", cn="2011", pw="123456", mn="E5", flag=9, cp=data(), sm4_key=key.encode()
    )
    assert len(taken(Session({"E5": rule}.get, TcpSettings()).feed(sealed, 0.0))) == 1
    plain = LoggerRule("E5", "dev")
    assert taken(Session({"E5": plain}.get, TcpSettings()).feed(sealed, 0.0)) == []


def test_garbage_is_recorded_once_and_too_much_of_it_ends_the_connection() -> None:
    talk = session()
    assert len(reasons(talk.feed(b"AT+CSQ 99999\r\n", 0.0))) == 1
    assert reasons(talk.feed(b"AT+CSQ 99999\r\n", 0.0)) == []
    assert len(reasons(talk.feed(b"x" * 5000, 0.0))) == 1
    assert talk.ending == "expected HJ 212 packets, got 5028 bytes of something else"


def test_blanks_between_packets_are_nothing() -> None:
    assert session().feed(b"\r\n\r\n \0" + packet(MN, 1) + b"\r\n", 0.0)[1:] == []


def test_the_time_of_half_a_packet_counts_from_its_first_byte() -> None:
    talk, whole = session(), packet(MN, 1)
    talk.feed(whole[:20], 5.0)
    talk.feed(whole[20:40], 9.0)
    assert talk.half_since == 5.0
    talk.feed(whole[40:] + whole[:9], 11.0)
    assert talk.half_since == 11.0


def test_a_logger_is_addressed_by_the_st_of_its_data_not_of_its_answers() -> None:
    talk = session()
    talk.feed(packet(MN, 1), 0.0)
    talk.feed(build(qn="1", st="91", cn="9012", pw="123456", mn=MN, flag=4, cp="ExeRtn=1"), 0.0)
    assert talk.loggers[MN].st == "32"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b"PW=1;MN=A", b"PW=*;MN=A"), (b"MN=A;PW=secret;CP=&&&&", b"MN=A;PW=******;CP=&&&&"), (b"xPW=1", b"xPW=1")],
)
def test_a_password_is_covered_wherever_it_stands(raw: bytes, shown: bytes) -> None:
    assert without_password(raw) == shown


def test_a_refusal_can_be_written_as_json() -> None:
    (event,) = session().feed(b"\xff\xfe##12", 0.0)
    assert isinstance(event, Refused)
    assert msgspec.json.decode(msgspec.json.encode(event.refusal._asdict()))["topic"] == "hj212/unknown/up"


@pytest.mark.parametrize(
    ("mn", "settings"), [("A/B", {}), ("A#", {}), ("A1", {"crc": "other"}), ("A1", {"sm4_key": "short"})]
)
def test_a_logger_that_could_never_match_has_no_rule(mn: str, settings: dict[str, str]) -> None:
    assert rule_of(entry(mn, **settings)) is None


def test_a_rule_never_shows_its_secrets() -> None:
    rule = rule_of(entry("A1", sm4_key="0123456789abcdef"))
    assert "123456" not in repr(rule)
