"""What passes on a gateway's serial line, as lines for a person: frames, log text, and readings wherever they stand.

From: the bytes of a line, in bursts as they came. To: one line for each frame of the gateway protocol, each log line,
and below it what the codecs read in it: JSON, HJ 212, hex or bare frames of CJ/T 188, M-Bus and Modbus. What no codec
knows is text with its control characters escaped. No secret of the protocol, and no HJ 212 password, is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from deploy.captured import shown
from deploy.gateways.log_text import LogText, escaped
from devices.codecs import Codec, Context
from devices.codecs import load as load_codecs
from devices.errors import PayloadError
from devices.firmware.application.configuration import RULES, Field, told
from devices.firmware.application.frames import Damaged, Frame, FrameReader, Words
from devices.firmware.application.messages import ANSWER, REASONS, REFUSAL, Request, Tag, unpack
from devices.readings import Sample
from ingest.tcp_session import without_password

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}[ :-]?){5,}")
_HEX_WORD: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}[ :-]?){4,}[0-9A-Fa-f]{2}(?![0-9A-Za-z])")
_TEXTS: Final = (("json", re.compile(r"[\[{].*\"v\".*[\]}]")), ("hj212", re.compile(r"##\d{4}.*")))
_BARE: Final = ("cjt188", "mbus", "modbus")  # the narrower frames first
_STRICT: Final = {"json", "hj212"}  # whatever begins like one is one, so that its fault is worth a line
_BURST_MAX: Final = 8192
_SHOWN: Final = 160


class Monitor:
    """Gives each line to `line`. `now_us`: UTC by our clock, for frames that state no time."""

    def __init__(self, line: Callable[[str], None], now_us: Callable[[], int]) -> None:
        self._line = line
        self._now_us = now_us
        self._codecs = load_codecs()
        self._memories: dict[str, dict[str, Any]] = {}
        self._reader = FrameReader()
        self._text = LogText(self._log_line)
        self._burst = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came; it is looked at with the next silence, or when it is much."""
        self._burst += data
        if len(self._burst) >= _BURST_MAX:
            self.silence()

    def silence(self) -> None:
        """The line was silent for a moment: what came before belongs together."""
        burst = bytes(self._burst)
        self._burst.clear()
        if not burst:
            return
        if _binary(burst) and not self._reader.inside:
            name, samples = self._bare(burst)
            if name:
                self._line(f"{burst.hex(' ').upper()[:_SHOWN]}")
                self._say(name, samples)
                return
        for item in self._reader.feed(burst):
            if isinstance(item, Words):
                self._text.feed(item.data)
            else:
                self._text.flush()
                self._line(described(item) if isinstance(item, Frame) else _damaged(item))

    def flush(self) -> None:
        """The end: what is held comes out."""
        self.silence()
        for item in self._reader.flush():
            self._line(_damaged(item) if isinstance(item, Damaged) else escaped(getattr(item, "data", b"")))
        self._text.flush()

    def _log_line(self, text: str) -> None:
        text = without_password(text.encode()).decode()
        self._line(text)
        for name, payload in _candidates(text):
            try:
                samples = self._decode(name, payload)
            except PayloadError as error:
                if name in _STRICT:
                    where = f" (stopped at byte {error.offset} of {len(payload)})" if error.offset >= 0 else ""
                    self._line(f"  ! {name}: {' '.join(str(error).split())}{where}")
                    return
                continue
            self._say(name, samples)
            return

    def _bare(self, burst: bytes) -> tuple[str, list[Sample]]:
        """Which codec reads a whole burst, and what; no name when none does."""
        for name in _BARE:
            try:
                return name, self._decode(name, burst)
            except PayloadError:
                continue
        return "", []

    def _decode(self, name: str, payload: bytes) -> list[Sample]:
        codec: Codec = self._codecs[name]
        memory = self._memories.setdefault(name, {})
        return list(codec.decode(payload, Context(received_us=self._now_us(), memory=memory)))

    def _say(self, name: str, samples: list[Sample]) -> None:
        for sample in samples:
            self._line(f"  = {name}: {shown(sample)}")
        if not samples:
            self._line(f"  = {name}: a well-formed frame without readings")


def described(frame: Frame) -> str:
    """A frame of the gateway protocol as one line, its secrets as set or not set."""
    number, kind = frame.type, "asks"
    if number & REFUSAL == REFUSAL:
        number, kind = number - REFUSAL, "refused"
    elif number & ANSWER:
        number, kind = number - ANSWER, "answer"
    name = Request(number).name if number in set(Request) else f"{number:#04x}"
    try:
        values = unpack(frame.body)
    except PayloadError as error:
        return f"<{name} {kind} #{frame.sequence}> {error}"
    return f"<{name} {kind} #{frame.sequence}> {' '.join(_values(values))}".rstrip()


def _values(values: Mapping[int, bytes]) -> Iterator[str]:
    for tag, value in values.items():
        if tag in RULES:
            yield f"{Field(tag).name}={told(tag, value)!r:.80}"
        elif tag == Tag.CODE and value and value[0] in REASONS:
            yield f"({REASONS[value[0]].en})"
        elif tag in set(Tag):
            yield f"{Tag(tag).name}={_short(Tag(tag), value)}"
        else:
            yield f"{tag:#04x}={len(value)} bytes"


_TAGS_OF_TEXT: Final = {Tag.BOARD, Tag.REVISION, Tag.CHIP, Tag.SERIAL, Tag.VERSION, Tag.TEXT}
_TAGS_OF_BYTES: Final = {
    Tag.IMAGE_DIGEST,
    Tag.COMMIT_ID,
    Tag.FIELDS_KNOWN,
    Tag.FIELDS_SET,
    Tag.CSR_DER,
    Tag.PROTOCOLS,
}


def _short(tag: Tag, value: bytes) -> str:
    if tag in _TAGS_OF_TEXT:
        return repr(escaped(value))
    if tag in _TAGS_OF_BYTES or len(value) > 8:
        return value.hex()[:40]
    return str(int.from_bytes(value, "big"))


def _damaged(item: Damaged) -> str:
    # Its bytes may be half of a frame with a password in it: only how many there were.
    return f"<damaged> {len(item.data)} bytes: {item.reason}"


def _candidates(text: str) -> Iterator[tuple[str, bytes]]:
    """Payloads that may stand in a log line, each with the codec that might read it."""
    for name, pattern in _TEXTS:
        if (found := pattern.search(text)) is not None:
            end = "\r\n" if name == "hj212" else ""
            yield name, (found[0] + end).encode()
            return
    found = _HEX.fullmatch(text.strip()) or max(
        _HEX_WORD.finditer(text), key=lambda one: len(one[0]), default=None
    )
    if found is None:
        return
    digits = re.sub(r"[ :-]", "", found[0])
    for name in _BARE if len(digits) % 2 == 0 else ():
        yield name, bytes.fromhex(digits)


def _binary(burst: bytes) -> bool:
    """Whether there are bytes in it that no text has."""
    if any(byte < 0x08 for byte in burst):
        return True
    try:
        burst.decode()
    except UnicodeDecodeError:
        return True
    return False
