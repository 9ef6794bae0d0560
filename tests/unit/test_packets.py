from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ingest.packets import Inbox, PacketError, PublishParser, Receipts, Stop, packet_end, release_id

TOPIC = "city/pudong/water_pressure/WP-0412/up"


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int = 1
    packet_id: int = 7
    properties: bytes = b""
    retain: bool = False


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(message: Message) -> bytes:
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if message.qos:
        body += message.packet_id.to_bytes(2, "big")
    body += varint(len(message.properties)) + message.properties + message.payload
    return bytes([0x30 | message.qos << 1 | message.retain]) + varint(len(body)) + body


def parser(max_payload: int = 1 << 20, max_packet: int = 2 << 20) -> PublishParser:
    return PublishParser(max_payload_bytes=max_payload, max_packet_bytes=max_packet)


MESSAGES = st.lists(
    st.builds(
        Message,
        topic=st.sampled_from([TOPIC, "a", "城/区"]),
        payload=st.binary(max_size=300),
        qos=st.sampled_from([0, 1, 2]),
        packet_id=st.integers(1, 65535),
        properties=st.binary(max_size=200),
        retain=st.booleans(),
    ),
    max_size=12,
)


@given(MESSAGES, st.lists(st.integers(0, 2000), max_size=6))
def test_however_the_bytes_are_cut_the_same_messages_come_out(messages, cuts):
    stream = b"".join(map(packet, messages))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    inbox, rest, one = Inbox(), b"", parser()
    for start, end in itertools.pairwise(edges):
        data = rest + stream[start:end]
        used, stop = one.parse(data, inbox, limit=10_000)
        assert stop is Stop.MORE
        rest = data[used:]
    assert rest == b""
    assert list(zip(inbox.topics, inbox.payloads, strict=True)) == [(m.topic, m.payload) for m in messages]
    assert inbox.receipts.ack == [m.packet_id.to_bytes(2, "big") for m in messages if m.qos == 1]
    assert inbox.receipts.receive == [m.packet_id.to_bytes(2, "big") for m in messages if m.qos == 2]


@settings(max_examples=300)
@given(st.binary(max_size=60), st.sampled_from([b"", b"\x32", b"\x32\x0a\x00\x01a", b"\x30\x85\x80"]))
def test_any_bytes_give_messages_or_a_packet_error(data, head):
    data = head + data
    try:
        used, stop = parser().parse(data, Inbox(), limit=100)
    except PacketError:
        return
    assert 0 <= used <= len(data)
    if stop is Stop.OTHER:
        assert used < packet_end(data, used) <= len(data)


def test_it_reads_what_paho_itself_writes():
    sender = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    queued: list[bytes] = []
    sender._packet_queue = lambda _command, data, *_: queued.append(bytes(data)) or 0
    sender._sock = object()
    sender._send_publish(300, TOPIC.encode(), b"x" * 5000, qos=1)
    sender._sock = None
    inbox = Inbox()
    assert parser().parse(queued[0], inbox, limit=1) == (len(queued[0]), Stop.MORE)
    assert (inbox.topics, inbox.payloads) == ([TOPIC], [b"x" * 5000])
    assert inbox.receipts.packets() == b"\x40\x02\x01\x2c"


def test_another_packet_stops_the_walk_and_can_be_stepped_over():
    data = packet(Message(TOPIC, b"1")) + b"\xd0\x00" + packet(Message(TOPIC, b"2"))
    inbox, one = Inbox(), parser()
    at, stop = one.parse(data, inbox, limit=10)
    assert (data[at], stop) == (0xD0, Stop.OTHER)
    assert one.parse(data, inbox, limit=10, start=packet_end(data, at)) == (len(data), Stop.MORE)
    assert inbox.payloads == [b"1", b"2"]


def test_no_more_than_the_limit_is_taken():
    data = packet(Message(TOPIC, b"1")) * 5
    inbox = Inbox()
    used, stop = parser().parse(data, inbox, limit=3)
    assert (len(inbox.topics), stop, used) == (3, Stop.FULL, len(data) // 5 * 3)


def test_an_oversized_payload_is_refused_with_its_first_bytes_and_still_acknowledged():
    data = packet(Message(TOPIC, b"z" * 2000, packet_id=9)) + packet(Message(TOPIC, b"fine", packet_id=10))
    inbox = Inbox()
    parser(max_payload=1000).parse(data, inbox, limit=10)
    (refusal,) = inbox.refusals
    assert (refusal.topic, refusal.size, refusal.sample) == (TOPIC, 2000, b"z" * 256)
    assert inbox.payloads == [b"fine"]
    assert inbox.receipts.packets() == b"\x40\x02\x00\x09\x40\x02\x00\x0a"


def test_nobody_can_write_our_control_records():
    inbox = Inbox()
    parser().parse(packet(Message("$undercity/link", b"up")), inbox, limit=1)
    assert inbox.topics == []
    assert "journal's own" in inbox.refusals[0].reason


def test_a_topic_that_is_no_text_is_refused_and_acknowledged():
    inbox = Inbox()
    parser().parse(b"\x32\x07\x00\x02\xff\xfe\x00\x05\x00", inbox, limit=1)
    assert inbox.refusals[0].reason == "expected a topic in UTF-8"
    assert inbox.receipts.ack == [b"\x00\x05"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x32\xff\xff\xff\xff\x01", "four bytes"),
        (b"\x32\x01\x00\x00", "length 1"),
        (b"\x32\x05\x00\x09ab\x00", "topic of 9 bytes"),
        (b"\x32\x05\x00\x01a\x00\x01", "topic of 1 bytes in 5"),
        (b"\x36\x06\x00\x01a\x00\x01\x00", "QoS 3"),
        (b"\x32\x05\x00\x00\x00\x01\x00", "alias"),
        (b"\x32\x06\x00\x01a\x00\x01\x09", "properties"),
        (b"\x32\xff\xff\xff\x7f\x00", "packets of up to"),
    ],
)
def test_broken_packets_end_the_connection(data, reason):
    with pytest.raises(PacketError, match=reason):
        parser().parse(data, Inbox(), limit=1)


def test_receipts_are_one_run_of_packets():
    receipts = Receipts(ack=[b"\0\1", b"\0\2"], receive=[b"\0\3"], release=[b"\0\4"])
    assert receipts.packets() == b"\x40\2\0\1\x40\2\0\2\x50\2\0\3\x70\2\0\4"
    assert not Receipts()
    assert release_id(b"\x62\x02\x00\x09") == b"\x00\x09"
    with pytest.raises(PacketError, match="PUBREL"):
        release_id(b"\x62\x01\x00")
