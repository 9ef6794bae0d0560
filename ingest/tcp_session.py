"""One logger's connection as a state machine without I/O: bytes in, packets and refusals out.

From: `ingest.tcp_connection`, in whatever pieces the network made of the stream. To: `ingest.tcp_listener`.

    bytes ─▶ frames ─▶ whose? ── stranger ──────▶ refused; after a few the connection ends
                         └ known ─▶ CRC, form ──▶ refused without a reply; after many in a row it ends
                                      └ password ▶ refused, the connection ends
                                           └─────▶ accepted
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from devices.codecs.hj212.frame import Packet, parse
from devices.codecs.hj212.stream import Garbage, split
from devices.errors import PayloadError
from ingest.packets import Refusal
from ingest.tcp_downlink import Speech
from ingest.tcp_loggers import MN, LoggerRule
from ingest.tcp_settings import HJ212_TOPIC, TcpSettings

_MN_FIELD: Final = re.compile(rb"(?:^|[;#0-9])MN=([^;&\r\n]{1,64})")
_PW_FIELD: Final = re.compile(rb"(?<![A-Za-z])PW=([^;&\r\n]*)")
_SAMPLE_BYTES: Final = 256
_GARBAGE_BYTES: Final = 4_096  # between two packets; a DTU's own greeting is far shorter
_LOGGERS_MAX: Final = 256  # behind one connection


@dataclass(frozen=True, slots=True)
class Accepted:
    """A packet of a registered logger; `raw` as it came, without its end of line."""

    rule: LoggerRule
    packet: Packet
    raw: bytes
    cn: int

    @property
    def topic(self) -> str:
        """Under which it stands in the journal."""
        return HJ212_TOPIC.format(mn=self.rule.mn)


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that were not taken."""

    refusal: Refusal


Event = Accepted | Refused


class Session:
    """The conversation on one connection. `ending` says why it must be closed, empty while it may go on.

    `loggers`: those heard here, and how they speak. `half_since`: when the packet at hand began, None between packets.
    """

    def __init__(self, find: Callable[[str], LoggerRule | None], settings: TcpSettings) -> None:
        self.ending = ""
        self.loggers: dict[str, Speech] = {}
        self.half_since: float | None = None
        self._find = find
        self._settings = settings
        self._buffer = bytearray()
        self._strangers = 0
        self._faults = 0
        self._skipped = 0

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes, at_s: float) -> list[Event]:
        """What `data`, come at `at_s`, completes; nothing more once the session is ending."""
        if self.ending:
            return []
        self._buffer += data
        frames, consumed, garbage = split(self._buffer)
        del self._buffer[:consumed]
        events: list[Event] = []
        for one in garbage:
            events += self._skip(one)
        for raw in itertools.takewhile(lambda _: not self.ending, frames):
            events.append(self._frame(raw))
        if not self._buffer:
            self.half_since = None
        elif self.half_since is None or frames:
            self.half_since = at_s
        return events

    def _skip(self, garbage: Garbage) -> Iterator[Refused]:
        first = self._skipped == 0
        self._skipped += len(garbage.data)
        if self._skipped > _GARBAGE_BYTES:
            self.ending = f"expected HJ 212 packets, got {self._skipped} bytes of something else"
        if first or self.ending:
            yield self._refused("", garbage.data, f"{garbage.reason}; dropped without a reply")

    def _frame(self, raw: bytes) -> Event:
        found = _MN_FIELD.search(raw)
        mn = found.group(1).decode("ascii", "replace") if found else ""
        rule = self._find(mn)
        try:
            packet = parse(
                raw,
                crc_dialect=rule.crc if rule else "hj212",
                strict=rule.strict if rule else False,
                sm4_key=rule.sm4_key if rule else None,
                version=rule.version if rule else "",
            )
            cn = int(packet.cn or 0)
        except (PayloadError, ValueError) as error:
            self._faults += 1
            if self._faults >= self._settings.faults_max:
                self.ending = f"{self._faults} packets in a row could not be read"
            return self._refused(mn if rule else "", raw, f"{error}; it was dropped without a reply")
        if rule is None or packet.mn != rule.mn:
            return self._stranger(packet.mn, raw)
        if not rule.admits(packet.pw):
            self.ending = f"{mn}: wrong password"
            return self._refused(
                mn, raw, f"{mn}: expected the password of {rule.device}, got another; not answered"
            )
        return self._accepted(rule, packet, raw, cn)

    def _stranger(self, mn: str, raw: bytes) -> Refused:
        self._strangers += 1
        if self._strangers >= self._settings.strangers_max:
            self.ending = f"{self._strangers} packets of loggers that are not registered"
        shown = mn if MN.fullmatch(mn) else repr(mn[:64])
        return self._refused(
            mn, raw, f"MN {shown}: not registered with codec hj212; import it with 'undercity devices import'"
        )

    def _accepted(self, rule: LoggerRule, packet: Packet, raw: bytes, cn: int) -> Event:
        if rule.mn not in self.loggers and len(self.loggers) >= _LOGGERS_MAX:
            self.ending = f"expected at most {_LOGGERS_MAX} loggers behind one connection, got more"
            return self._refused(rule.mn, raw, self.ending)
        self._faults = self._skipped = 0
        # Answers of the logger carry ST=91: how it wants to be addressed stands in its data.
        before = self.loggers.get(rule.mn)
        st = packet.st if packet.st != "91" or before is None else before.st
        self.loggers[rule.mn] = Speech("" if st == "91" else st, packet.flag or 0, packet.pw)
        return Accepted(rule, packet, raw, cn)

    @staticmethod
    def _refused(mn: str, raw: bytes, reason: str) -> Refused:
        topic = HJ212_TOPIC.format(mn=mn if MN.fullmatch(mn) else "unknown")
        return Refused(Refusal(topic, len(raw), reason, without_password(raw)[:_SAMPLE_BYTES]))


def without_password(raw: bytes) -> bytes:
    """`raw` with the password's characters as stars, as many as there were.

    >>> without_password(b"ST=32;PW=123456;MN=A")
    b'ST=32;PW=******;MN=A'
    """
    return _PW_FIELD.sub(lambda found: b"PW=" + b"*" * len(found.group(1)), raw)
