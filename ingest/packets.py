"""MQTT v5 PUBLISH packets, parsed many at a time.

From: bytes as the socket gave them. To: `ingest.mqtt_client`, which appends them to the journal in one go.

    fixed header        topic           packet id     properties       payload
    0011 dqqr  varint | u16  UTF-8   |  u16 if q>0 | varint  bytes | the rest

One call walks a whole read: a header check, a dictionary look-up for the topic, two slices per packet. Packets of
any other type are left to paho.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

from ingest.errors import IngestError
from ingest.journal import CONTROL

PUBLISH: Final = 0x30
PUBREL: Final = 0x60
_PUBACK_HEAD: Final = b"\x40\x02"  # two bytes follow: the packet id; no reason code means success
_PUBREC_HEAD: Final = b"\x50\x02"
_PUBCOMP_HEAD: Final = b"\x70\x02"
_TOPICS_MAX: Final = 400_000  # a city has fewer devices; whoever varies topics must not fill our memory
_SAMPLE_BYTES: Final = 256


class PacketError(IngestError):
    """Raised when the broker sends bytes that are not MQTT v5; the connection cannot be trusted any further."""


class Stop(Enum):
    """Why parsing ended where it did."""

    MORE = auto()  # the packet at hand is not complete yet
    OTHER = auto()  # a complete packet of another type stands there
    FULL = auto()  # as many messages as were asked for


class Refusal(NamedTuple):
    """A delivery that is acknowledged but not stored whole: `size` bytes, of which `sample` are the first."""

    topic: str
    size: int
    reason: str
    sample: bytes


@dataclass(slots=True)
class Receipts:
    """Packet ids, two bytes each, that the broker waits for; `release` are QoS 2 messages it has let go."""

    ack: list[bytes] = field(default_factory=list)
    receive: list[bytes] = field(default_factory=list)
    release: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ack or self.receive or self.release)

    def packets(self) -> bytes:
        """Every answer, one behind the other, ready for one write."""
        parts = ((_PUBACK_HEAD, self.ack), (_PUBREC_HEAD, self.receive), (_PUBCOMP_HEAD, self.release))
        return b"".join(head + head.join(ids) for head, ids in parts if ids)


@dataclass(slots=True)
class Inbox:
    """Deliveries that arrived and are not yet in the journal; topics and payloads are parallel."""

    topics: list[str] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    receipts: Receipts = field(default_factory=Receipts)

    def __len__(self) -> int:
        return len(self.topics) + len(self.refusals)


class PublishParser:
    """Parses the PUBLISH packets of one connection; remembers topics so that each is checked once."""

    def __init__(self, *, max_payload_bytes: int, max_packet_bytes: int) -> None:
        self._max_payload = max_payload_bytes
        self._max_packet = max_packet_bytes
        self._topics: dict[bytes, str] = {}

    # One loop with everything in it: a call per packet would cost more than the work does.
    def parse(  # noqa: C901, PLR0912
        self, data: bytes, inbox: Inbox, *, limit: int, start: int = 0
    ) -> tuple[int, Stop]:
        """Move every complete PUBLISH of `data` from `start` on into `inbox`, at most `limit` of them.

        Returns the offset of the first byte not used and why it ended there. PacketError when the bytes
        are no MQTT v5, or a packet is larger than we allowed the broker to send.
        """
        pos, size = start, len(data)
        topics, payloads, acks = inbox.topics, inbox.payloads, inbox.receipts.ack
        known, max_payload = self._topics, self._max_payload
        last = size - 2
        while pos <= last:
            if limit <= 0:
                return pos, Stop.FULL
            head, length = data[pos], data[pos + 1]
            body = pos + 2
            if length > 127:
                length, body = _varint(data, pos + 1)
                if length < 0:
                    return pos, Stop.MORE
            end = body + length
            if end > size:
                self._check_size(length)
                return pos, Stop.MORE
            if head & 0xF0 != PUBLISH:
                return pos, Stop.OTHER
            if length < 3:
                raise _malformed(f"length {length}")
            topic_end = at = body + 2 + (data[body] << 8 | data[body + 1])
            qos = head & 0x06
            if qos:
                at += 2
            if at >= end:
                raise _malformed(f"topic of {topic_end - body - 2} bytes in {length}")
            properties = data[at]
            at += 1
            if properties:
                at = _behind_properties(data, at - 1, end)
            topic = known.get(data[body + 2 : topic_end])
            if topic is None or end - at > max_payload:
                self._unusual(data[body + 2 : topic_end], data[at:end], inbox)
            else:
                topics.append(topic)
                payloads.append(data[at:end])
            if qos == 2:
                acks.append(data[topic_end : topic_end + 2])
            elif qos:
                _receipt_of(qos, data[topic_end : topic_end + 2], inbox.receipts)
            limit -= 1
            pos = end
        return pos, Stop.MORE

    def _unusual(self, raw_topic: bytes, payload: bytes, inbox: Inbox) -> None:
        """A topic seen for the first time, or a payload that is too large."""
        topic, reason = self._learn(raw_topic)
        if not reason and len(payload) > self._max_payload:
            reason = f"expected up to {self._max_payload} bytes of payload, got {len(payload)}"
        if reason:
            inbox.refusals.append(Refusal(topic, len(payload), reason, payload[:_SAMPLE_BYTES]))
        else:
            inbox.topics.append(topic)
            inbox.payloads.append(payload)

    def _learn(self, raw: bytes) -> tuple[str, str]:
        """The topic, and the reason why it cannot be used, if any."""
        if not raw:
            raise PacketError("broker: expected a topic, got an alias, which we never allow; reconnecting")
        try:
            topic = raw.decode()
        except UnicodeDecodeError:
            return raw.decode("utf-8", "backslashreplace"), "expected a topic in UTF-8"
        if topic.startswith(CONTROL):
            return topic, f"topics under {CONTROL} are the journal's own"
        if len(self._topics) >= _TOPICS_MAX:
            self._topics.clear()
        self._topics[raw] = topic
        return topic, ""

    def _check_size(self, length: int) -> None:
        if length > self._max_packet:
            raise PacketError(
                f"broker: expected packets of up to {self._max_packet} bytes, got {length}; reconnecting"
            )


def packet_end(data: bytes, pos: int) -> int:
    """Offset behind the packet at `pos`, whose header must be complete."""
    length, body = _varint(data, pos + 1)
    return body + length


def release_id(packet: bytes) -> bytes:
    """The packet id of a PUBREL."""
    _, body = _varint(packet, 1)
    if len(packet) < body + 2:
        raise _malformed("a PUBREL without packet id")
    return packet[body : body + 2]


def _receipt_of(qos: int, packet_id: bytes, receipts: Receipts) -> None:
    # We subscribe at QoS 1; a QoS 2 delivery is left over from a session that another program began.
    if qos == 6:
        raise _malformed("QoS 3")
    receipts.receive.append(packet_id)


def _behind_properties(data: bytes, pos: int, end: int) -> int:
    """Offset of the payload; user properties and subscription identifiers mean nothing to us."""
    size, at = _varint(data, pos)
    if size < 0 or at + size > end:
        raise _malformed("properties longer than the packet")
    return at + size


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """A variable byte integer and the offset behind it; -1 when its bytes have not all arrived."""
    value = shift = 0
    for at in range(pos, min(pos + 4, len(data))):
        value |= (data[at] & 0x7F) << shift
        if data[at] < 128:
            return value, at + 1
        shift += 7
    if len(data) - pos >= 4:
        raise _malformed("a length of more than four bytes")
    return -1, pos


def _malformed(what: str) -> PacketError:
    return PacketError(f"broker: expected an MQTT v5 packet, got {what}; reconnecting")
