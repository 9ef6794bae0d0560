"""A board with Zephyr's SMP server behind MCUboot: two slots, trial starts, serial recovery.

From: SMP over a console, as `devices.firmware.smp_console` draws it, read by its own few lines here. To: answers as
Zephyr 4 and MCUboot give them: a list repeats the digest that stands in an image, whether it fits or not; an upload
that lost its place is told where it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from devices.errors import ImageError
from devices.firmware import mcuboot
from devices.firmware.mcuboot_keys import PublicKey

_START, _GOES_ON = b"\x06\x09", b"\x04\x14"
_LINE_MAX: Final = 128
_HEADER: Final = struct.Struct(">BBHHBB")
_ANSWERS_FIRST_S: Final = 0.25  # a reset is answered, then it happens
_OS, _IMAGE = 0, 1
_OK, _INVALID, _NOT_SUPPORTED = 0, 3, 8
_SWAP_USING_SCRATCH: Final = 1
Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How the board's firmware was built.

    `buffer`: bytes of the largest message with length and CRC. `trusts`: MCUboot's key; without one it checks digests
    only. `computes`: the application checks an upload's SHA-256 (CONFIG_IMG_ENABLE_IMAGE_CHECK). `names`: it names its
    platform and buffer. `slot`: bytes of a slot. `starts_s`: seconds from reset to the first answer. `self_confirms`:
    a new application confirms itself. `serves`: the application has an SMP server. `rots_at`: a byte of the slot that
    does not hold what is written, -1: none.
    """

    buffer: int = 384
    trusts: PublicKey | None = None
    computes: bool = False
    names: bool = True
    slot: int = 65_536
    starts_s: float = 0.5
    self_confirms: bool = False
    enters_recovery: bool = True
    serves: bool = True
    rots_at: int = -1


class SmpBoard:
    """The board; `slots` is its flash, `offsets` where each chunk it took began."""

    def __init__(self, runs: bytes, build: Build | None = None, *, recovery: bool = False) -> None:
        self.build = build or Build()
        self.slots = [bytearray(runs), bytearray()]
        self.recovery = recovery
        self.offsets: list[int] = []
        self._pending = False
        self._trial = False
        self._restart_in: float | None = None
        self._into_recovery = False
        self._away = 0.0
        self._forget()

    @property
    def running(self) -> bytes:
        """The image that runs; empty in serial recovery."""
        return b"" if self.recovery else bytes(self.slots[0])

    def receive(self, data: bytes) -> bytes:
        """Bytes from the host arrive; what the board answers at once."""
        if self._away or not (self.recovery or self.build.serves):
            return b""
        answers = b""
        self._line += data
        while (end := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[:end])
            del self._line[: end + 1]
            answers += self._taken(line)
        del self._line[:-_LINE_MAX]
        return answers

    def elapse(self, seconds: float) -> bytes:
        """Time passes: a restart that was asked for, a start that ends."""
        if self._restart_in is not None:
            self._restart_in -= seconds
            if self._restart_in <= 0:
                self.power_cut()
            return b""
        if not self._away:
            return b""
        self._away = max(self._away - seconds, 0.0)
        return b"" if self._away else self._started()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Control lines lead nowhere on this board."""

    def power_cut(self) -> None:
        """Power goes and returns: the slots stay, the conversation and the upload's place are gone."""
        self._forget()
        self._restart_in = None
        self._away = self.build.starts_s

    def _forget(self) -> None:
        self._line = bytearray()
        self._message: bytearray | None = None
        self._upload: tuple[int, bytes] = (0, b"")  # (bytes in all, digest as the host gave it)
        self._offset = 0

    # MCUboot

    def _started(self) -> bytes:
        """What MCUboot does at a start."""
        self.recovery, self._into_recovery = self._into_recovery, False
        if not self.recovery:
            if self._pending and self._valid(1):
                self.slots.reverse()
                self._trial = not self.build.self_confirms
            elif self._trial:
                self.slots.reverse()  # it was never confirmed
                self._trial = False
            elif self._pending:
                self.slots[1].clear()
            self._pending = False
            self.recovery = not self._valid(0)
        return b"*** Booting MCUboot ***\r\nI: Starting bootloader\r\n"

    def _valid(self, slot: int) -> bool:
        content = bytes(self.slots[slot])
        try:
            header = mcuboot.looked_into(content, "slot")
            if self.build.trusts is not None:
                mcuboot.checked(content, self.build.trusts, "slot")
        except ImageError:
            return False
        under = header.header_size + header.size + int.from_bytes(content[10:12], "little")
        return hashlib.new(header.digest_kind.lower(), content[:under]).digest() == header.digest

    # SMP over a console

    def _taken(self, line: bytes) -> bytes:
        start = max(line.rfind(_START), line.rfind(_GOES_ON))
        if start < 0 or len(line) - start >= _LINE_MAX:
            return b""
        if line[start : start + 2] == _START:
            self._message = bytearray()
        if self._message is None:
            return b""
        try:
            self._message += base64.b64decode(line[start + 2 :], validate=True)
        except binascii.Error:
            self._message = None
            return b""
        length = int.from_bytes(self._message[:2], "big")
        if len(self._message) > self.build.buffer or length + 2 > self.build.buffer:
            self._message = None  # it goes beyond the buffer and is dropped, unanswered
            return b""
        if len(self._message) < length + 2:
            return b""
        whole, self._message = bytes(self._message[2 : length + 2]), None
        # A message with its CRC behind it has a CRC of nought.
        return self._answered(whole[:-2]) if length > _HEADER.size + 2 and not binascii.crc_hqx(whole, 0) else b""

    def _answered(self, message: bytes) -> bytes:
        operation, _, length, group, sequence, command = _HEADER.unpack_from(message)
        try:
            values = cbor2.loads(message[_HEADER.size :])
        except (cbor2.CBORError, ValueError):
            return b""
        if length != len(message) - _HEADER.size or not isinstance(values, dict):
            return b""
        handle = self._commands().get((group, command, operation & 7))
        body = cbor2.dumps(dict(handle(values) if handle else {"rc": _NOT_SUPPORTED}))
        head = _HEADER.pack((operation & 0xF8) | ((operation & 7) + 1), 0, len(body), group, sequence, command)
        framed = head + body + binascii.crc_hqx(head + body, 0).to_bytes(2, "big")
        text = base64.b64encode(len(framed).to_bytes(2, "big") + framed)
        lines = [text[at : at + 124] for at in range(0, len(text), 124)]
        return b"".join((_GOES_ON if at else _START) + line + b"\n" for at, line in enumerate(lines))

    def _commands(self) -> dict[tuple[int, int, int], Callable[[dict[str, Any]], Answer]]:
        always: dict[tuple[int, int, int], Callable[[dict[str, Any]], Answer]] = {
            (_OS, 5, 2): self._reset,
            (_IMAGE, 0, 0): lambda _: {"images": self._listed()},
            (_IMAGE, 1, 2): self._uploaded,
        }
        if self.build.names:
            always[_OS, 6, 0] = lambda _: {"buf_size": self.build.buffer, "buf_count": 1}
        if self.recovery:
            return always
        if self.build.names:
            always[_OS, 7, 0] = lambda asked: {
                "output": "unknown" if asked.get("format") == "n" else "gw100@r2/stm32"
            }
        return always | {
            (_OS, 8, 0): lambda asked: (
                {"bootloader": "MCUboot"} | ({"response": {"mode": _SWAP_USING_SCRATCH}} if asked else {})
            ),
            (_IMAGE, 0, 2): self._marked,
        }

    def _reset(self, asked: dict[str, Any]) -> Answer:
        if asked.get("boot_mode") and not self.build.enters_recovery:
            return {"rc": _NOT_SUPPORTED}
        self._restart_in = _ANSWERS_FIRST_S
        self._into_recovery = bool(asked.get("boot_mode"))
        return {"rc": _OK} if self.recovery else {}

    def _listed(self) -> list[Answer]:
        found: list[Answer] = []
        for slot, content in enumerate(self.slots):
            try:
                header = mcuboot.looked_into(bytes(content), "slot")
            except ImageError:
                continue
            one: dict[str, Any] = {"slot": slot, "version": header.version, "hash": header.digest}
            first = slot == 0
            if not self.recovery:
                one |= {
                    "active": first,
                    "confirmed": first and not self._trial,
                    "pending": not first and self._pending,
                }
            found.append(one)
        return found

    def _marked(self, asked: dict[str, Any]) -> Answer:
        held = [one["slot"] for one in self._listed() if one["hash"] == asked.get("hash")]
        if not held:
            return {"err": {"group": _IMAGE, "rc": 24}}  # INVALID_HASH
        if asked.get("confirm") and held[0] == 0:
            self._trial = False
        elif held[-1] == 1:
            self._pending = True
        return {"images": self._listed()}

    def _uploaded(self, asked: dict[str, Any]) -> Answer:
        offset, data, sha = asked.get("off", -1), asked.get("data", b""), asked.get("sha", b"")
        slot = 0 if self.recovery else 1
        if offset == 0:
            total = asked.get("len", 0)
            if not 0 < total <= self.build.slot:
                return {"rc": _INVALID} if self.recovery else {"err": {"group": _IMAGE, "rc": 30}}
            resumes = not self.recovery and sha and self._upload == (total, sha) and self._offset < total
            if not resumes:
                self.slots[slot].clear()
                self._upload, self._offset = (total, sha), 0
        total, sha = self._upload
        if offset == self._offset and data and offset + len(data) <= total:
            self.offsets.append(offset)
            self.slots[slot][offset:] = data
            if offset <= self.build.rots_at < offset + len(data):
                self.slots[slot][self.build.rots_at] ^= 0x10
            self._offset += len(data)
        if self.recovery:
            return {"rc": _OK, "off": self._offset}
        answer: dict[str, Any] = {"off": self._offset}
        if 0 < total == self._offset:
            if self.build.computes and sha:
                answer["match"] = hashlib.sha256(self.slots[slot]).digest() == sha
            self._upload, self._offset = (0, b""), 0  # an application forgets an upload that is whole
        return answer
