"""Frames that a person captured: bytes, hex or text in, samples as JSON lines out.

From: a file or a pipe. To: `undercity decode`, which gives the bytes to a codec, and a person or a script behind it.

A capture of nothing but hex digits is hex; anything else is the bytes themselves. That is unambiguous: no text protocol
has a frame of hex digits alone, and no binary one starts with one, but a Modbus reply of a device at address 0x30 to
0x66, which `--raw` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from deploy.errors import DeployError
from devices.beijing import beijing
from devices.readings import Quality, Sample
from ingest.rules import BUILT_IN

CAPTURE_MAX: Final = 1024 * 1024  # hex with white space of the longest frame any codec takes
TEXT_CODECS: Final = frozenset({"json", "hj212", "chirpstack", "ttn", "senml"})
_HEX: Final = re.compile(rb"(?:0[xX](?=[0-9A-Fa-f])|[0-9A-Fa-f\s,:-])+")
_NO_DIGIT: Final = re.compile(rb"0[xX]|[^0-9A-Fa-f]")
_LINE_END: Final = re.compile(rb"(?:[\r\n \t]|\\r|\\n)+")
_WHOLE_MAX: Final = 2**53


class CaptureError(DeployError):
    """Raised when a file or a pipe holds nothing that could be a frame."""


class Form(Enum):
    """How a capture holds its frame."""

    AUTO = "auto"
    HEX = "hex"
    TEXT = "text"
    RAW = "raw"


class Line(NamedTuple):
    """One line of a capture: its number from 1, the topic in front of the frame (empty without), and the frame."""

    number: int
    topic: str
    frame: bytes


def read(stream: BinaryIO, name: str) -> bytes:
    """All of a capture; CaptureError when it is empty or longer than any frame."""
    content = stream.read(CAPTURE_MAX + 1)
    if not content:
        raise CaptureError(f"{name}: expected a frame, got nothing; nothing was decoded")
    if len(content) > CAPTURE_MAX:
        raise CaptureError(f"{name}: expected at most {CAPTURE_MAX} bytes, got more; nothing was decoded")
    return content


def lines(stream: BinaryIO, name: str) -> Iterator[Line]:
    """The lines of a capture that hold something, as they come; CaptureError when one is longer than any frame.

    A line may begin with the topic that its frame came under, as `mosquitto_sub -F '%t %x'` writes it.
    """
    number = 0
    while content := stream.readline(CAPTURE_MAX + 1):
        number += 1
        if len(content) > CAPTURE_MAX:
            raise CaptureError(
                f"{name} line {number}: expected at most {CAPTURE_MAX} bytes, got more; the rest was not read"
            )
        content = content.strip()
        if content:
            yield _line(number, content)
    if not number:
        raise CaptureError(f"{name}: expected a frame, got nothing; nothing was decoded")


def _line(number: int, content: bytes) -> Line:
    first, _, rest = content.partition(b" ")
    # Hex has no slash, JSON begins with a bracket and HJ 212 with ##, so a first word with a slash is a topic.
    if b"/" in first and rest and first[:1] not in b"{[#":
        return Line(number, first.decode("utf-8", "replace"), rest.strip())
    return Line(number, "", content)


def sender(topic: str) -> str:
    """Whose frames come under `topic`: one memory for all of an edge node's topics, one for each topic elsewhere.

    >>> sender("spBv1.0/City/DDATA/Edge1/Logger")
    'City/Edge1'
    """
    for rule in BUILT_IN:
        if (found := rule.match(topic.split("/"))) is not None:
            return "/".join(found[name] for name in ("group", "node", "address") if name in found)
    return topic


def frame(content: bytes, codec: str, form: Form = Form.AUTO) -> bytes:
    r"""The frame within a capture; CaptureError when it is to be hex and is not.

    >>> frame(b"68 AE 16", "cjt188")
    b'h\xae\x16'
    >>> frame(b'{"v":1}\n', "json")
    b'{"v":1}\n'
    """
    if form is Form.RAW:
        return content
    if form is Form.HEX or (form is Form.AUTO and _HEX.fullmatch(content)):
        return _from_hex(content)
    return _tidied(content) if codec in TEXT_CODECS else content


def almost_hex(content: bytes) -> str:
    """Why a capture that begins like hex is not; empty when it is hex, or never looked like it.

    >>> almost_hex(b"68 AE l6")
    "read as bytes, as hex has no b'l' at byte 6"
    """
    found = _HEX.match(content)
    if found is None or found.end() in (len(content), *range(4)) or not content.isascii():
        return ""
    return f"read as bytes, as hex has no {content[found.end() : found.end() + 1]!r} at byte {found.end()}"


def _from_hex(content: bytes) -> bytes:
    if not _HEX.fullmatch(content):
        place = found.end() if (found := _HEX.match(content)) else 0
        raise CaptureError(
            f"expected hex digits, got {content[place : place + 1]!r} at byte {place}; nothing was decoded"
        )
    digits = _NO_DIGIT.sub(b"", content)
    if not digits:
        raise CaptureError("expected a frame, got nothing but white space; nothing was decoded")
    if len(digits) % 2:
        raise CaptureError(
            f"expected hex digits in pairs, got {len(digits)} of them; nothing was decoded (bytes that only look "
            "like hex: --raw)"
        )
    return bytes.fromhex(digits.decode("ascii"))


def _tidied(content: bytes) -> bytes:
    """The text without what an editor did to it: a byte order mark, a lost, doubled or escaped line end."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    start = content.lstrip()
    if not start.startswith(b"##"):
        return content
    return _LINE_END.sub(_line_end, start + b"\n")


def _line_end(run: re.Match[bytes]) -> bytes:
    ends = run.end() == len(run.string) or run.string.startswith(b"##", run.end())
    return b"\r\n" if ends else run[0]


def written(payload: bytes, codec: str) -> str:
    """A frame as `frame` reads it: text for the text protocols, hex for the others."""
    if codec in TEXT_CODECS:
        return payload.decode("utf-8", "backslashreplace").rstrip("\r\n")
    return payload.hex()


def shown(sample: Sample) -> str:
    """A sample as one line of JSON, without what it does not have; its time is Beijing's.

    >>> shown(Sample("M-1", 1767600000000000, {"volume": 12.5, "hours": 287.0}, units={"volume": "m3"}))
    '{"device":"M-1","time":"2026-01-05T16:00:00+08:00","values":{"volume":12.5,"hours":287},"units":{"volume":"m3"}}'
    """
    line: dict[str, Any] = {"device": sample.device} if sample.device else {}
    line["time"] = iso(sample.time_us)
    line["values"] = {name: _short(value) for name, value in sample.values.items()}
    flags = {
        name: Quality(flag).name.lower() for name, flag in (sample.flags or {}).items() if flag != Quality.GOOD
    }
    units = {name: unit for name, unit in (sample.units or {}).items() if name in sample.values}
    more = {"units": units, "flags": flags, "states": dict(sample.states or {})}
    line.update({name: part for name, part in more.items() if part})
    if sample.seq >= 0:
        line["seq"] = sample.seq
    return msgspec.json.encode(line).decode()


def iso(time_us: int) -> str:
    """A time of day in Beijing."""
    return beijing(time_us).isoformat()


def _short(value: float) -> float | int:
    whole = abs(value) <= _WHOLE_MAX and value == int(value)
    return int(value) if whole else value
