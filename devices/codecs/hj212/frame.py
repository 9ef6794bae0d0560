"""One HJ 212 packet: `##` + 4 decimal digits of length + data segment + 4 hexadecimal digits of checksum + CR LF.

    ##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&1C80
      ^len ^---------------------------- segment: fields, and CP between && and && --------------------------^ ^crc

From: bytes off a wire. To: the codec beside this file, and the TCP listener. `split` cuts a stream into packets,
`parse` reads one, `build` writes one. Tolerant reading takes what loggers in the field send: checksum in lower case,
QN or Flag missing, fields in any order, LF or nothing at the end, segments up to 9999 bytes. Strict reading does not.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from devices.codecs.hj212 import cipher
from devices.codecs.hj212.checksum import DIALECTS, crc
from devices.codecs.hj212.header import Header, check_strictly, read_header, refusal
from devices.codecs.hj212.stream import (
    BLANK,
    CHECK,
    CLOSE,
    HEAD,
    PACKET_MAX,
    SEGMENT_MAX,
    START,
    TAIL,
    Garbage,
    Split,
    split,
)
from devices.errors import PayloadError

__all__ = [
    "PACKET_MAX", "Frame", "Garbage", "Header", "Packet", "Split", "build", "crc", "parse", "read", "refusal", "split",
]  # fmt: skip

_OPEN: Final = b"CP=&&"
_QN: Final = re.compile(rb"(?<![^;])QN=([0-9]{13,17});")
_MARKS: Final = re.compile(r"[;&#\r\n]")
_STRICT_SEGMENT: Final = 1024
_STRICT_CP: Final = 950


class Packet(Header, frozen=True, kw_only=True):
    """One packet, its checksum right, its CP decrypted. `cp_offset`: byte of the packet where CP's content begins."""

    cp: str = ""
    cp_offset: int = 0

    def items(self) -> list[dict[str, str]]:
        """CP's items in order, each with its sub-fields by name; of equal names in one item the first counts."""
        found = []
        for item in self.cp.split(";"):
            pairs = [part.partition("=") for part in item.split(",") if part]
            if pairs:
                found.append({name: value for name, _, value in reversed(pairs)})
        return found

    def fields(self) -> dict[str, str]:
        """All of CP's sub-fields by name; of equal names the first counts."""
        return {name: value for item in reversed(self.items()) for name, value in item.items()}


class Frame(NamedTuple):
    """A packet among other bytes: `end` is behind its checksum, `cp` its decrypted content, from `cp_offset` on.

    `qn` is apart from `header`, which does not change from packet to packet and is kept.
    """

    end: int
    qn: str
    header: Header
    cp: bytes
    cp_offset: int


def read(
    data: bytes,
    start: int = 0,
    *,
    crc_dialect: str = "hj212",
    strict: bool = False,
    sm4_key: bytes | None = None,
    version: str = "",
) -> Frame:
    """The packet that begins at `start` of `data`; PayloadError with the byte where reading stopped.

    `version`: 2005, 2017 or 2025, which strict reading holds the packet to; empty for any.
    """
    first = start + HEAD
    end = _end(data, start)
    segment = data[first:end]
    qn, header, opened, closed = _fields(segment, first)
    cp = segment[opened:closed]
    if sm4_key is not None and cipher.applies(header.cn):
        cp = cipher.decrypt(cp, sm4_key)
        segment = segment[:opened] + cp + segment[closed:]
    check = data[end : end + TAIL]
    wanted = b"%04X" % DIALECTS[crc_dialect](segment)
    if check != wanted and check.upper() != wanted:
        raise refusal(f"checksum {wanted.decode()} ({crc_dialect})", check.decode("ascii"), end)
    if strict:
        if check != wanted:
            raise refusal("the checksum in upper case", check.decode("ascii"), end)
        if len(segment) > _STRICT_SEGMENT or len(cp) > _STRICT_CP:
            raise refusal(
                f"at most {_STRICT_SEGMENT} bytes, CP {_STRICT_CP}", f"{len(segment)}, CP {len(cp)}", start + 2
            )
        if segment[closed:] != CLOSE:
            raise refusal("nothing behind CP", segment[closed + 2 :], first + closed + 2)
        check_strictly(segment[: opened - len(_OPEN)], first, version)
    return Frame(end + TAIL, qn, header, cp, first + opened)


def _end(data: bytes, start: int) -> int:
    """Where the checksum of the packet at `start` stands."""
    if not data.startswith(START, start):
        raise refusal("##", data[start : start + 12], start)
    length = data[start + 2 : start + HEAD]
    if len(length) < HEAD - 2 or not length.isdigit():
        raise refusal("4 digits of length", length, start + 2)
    end = start + HEAD + int(length)
    if end + TAIL > len(data):
        raise refusal(f"{int(length)} bytes and a checksum", f"{len(data) - start - HEAD} bytes", len(data))
    if not CHECK.fullmatch(data, end, end + TAIL):
        raise refusal(f"4 hexadecimal digits after {int(length)} bytes", data[end : end + TAIL], end)
    return end


def _fields(segment: bytes, offset: int) -> tuple[str, Header, int, int]:
    """QN, the header, and where in `segment` CP's content begins and ends."""
    at = segment.find(_OPEN)
    if at < 0:
        raise refusal("CP=&&", "none", offset)
    opened, closed = at + len(_OPEN), segment.rfind(CLOSE)
    if closed < opened:
        raise refusal("&& behind CP", "none", offset + len(segment))
    fields = segment[:at]
    if closed + len(CLOSE) < len(segment):  # fields in any order: some stand behind CP
        fields += segment[closed + len(CLOSE) :].lstrip(b";") + b";"
    # QN changes with every packet; the rest has most often been read before.
    found = _QN.search(fields)
    if found is None:
        header = read_header(fields, offset)
        return header.qn, header, opened, closed
    header = read_header(fields[: found.start()] + fields[found.end() :], offset)
    return found[1].decode("ascii"), header, opened, closed


def parse(
    packet: bytes,
    *,
    crc_dialect: str = "hj212",
    strict: bool = False,
    sm4_key: bytes | None = None,
    version: str = "",
) -> Packet:
    """The one packet that `packet` is, with or without its end of line; PayloadError otherwise.

    Strict: an end of line must be CR LF, the fields complete, in order and in form, and the lengths the standard's.
    """
    frame = read(packet, crc_dialect=crc_dialect, strict=strict, sm4_key=sm4_key, version=version)
    rest = packet[frame.end :]
    if rest.strip(BLANK) or (strict and rest not in (b"", b"\r\n")):
        raise refusal("CR LF and nothing else behind the checksum", rest, frame.end)
    header = frame.header
    return Packet(
        qn=frame.qn,
        st=header.st,
        cn=header.cn,
        pw=header.pw,
        mn=header.mn,
        flag=header.flag,
        pnum=header.pnum,
        pno=header.pno,
        other=header.other,
        cp=frame.cp.decode("utf-8", "backslashreplace"),
        cp_offset=frame.cp_offset,
    )


def build(
    *,
    qn: str,
    st: str,
    cn: str,
    pw: str,
    mn: str,
    flag: int | None,
    cp: str,
    pnum: int | None = None,
    pno: int | None = None,
    crc_dialect: str = "hj212",
    sm4_key: bytes | None = None,
) -> bytes:
    """One packet with its CR LF; PayloadError when it gets too long. Empty texts and None are left out."""
    named = {"QN": qn, "ST": st, "CN": cn, "PW": pw, "MN": mn, "Flag": flag, "PNUM": pnum, "PNO": pno}
    texts = [f"{name}={value}" for name, value in named.items() if value not in ("", None)]
    for text in texts:
        if _MARKS.search(text):
            shown = text.partition("=")[0]  # not the value, which may be the password
            raise PayloadError(
                f"hj212: {shown}: expected a text without ; & # and ends of line; nothing was built"
            )
    head = "".join(f"{text};" for text in texts)
    try:
        prefix, plain = head.encode() + _OPEN, cp.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(
            f"hj212: expected text that UTF-8 can write, got {error.reason}; nothing was built"
        ) from None
    if len(prefix) + len(plain) + len(CLOSE) > SEGMENT_MAX:
        raise PayloadError(
            f"hj212: expected a segment of at most {SEGMENT_MAX} bytes, got {len(prefix) + len(plain) + 2}; "
            "nothing was built"
        )
    check = DIALECTS[crc_dialect](prefix + plain + CLOSE)
    sent = cipher.encrypt(plain, sm4_key) if sm4_key is not None and cipher.applies(cn) else plain
    return b"##%04d%b%b&&%04X\r\n" % (len(prefix) + len(plain) + len(CLOSE), prefix, sent, check)
