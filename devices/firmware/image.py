"""An image and what is promised of it: its manifest.

From: a signed bundle (`bundle.py`) or an MCUboot image (`mcuboot.py`), both checked before an `Image` exists. To:
`flash.flash` and the drivers. Whoever holds an `Image` may rely on it: signature, digest and size were right.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Final

from devices.errors import ImageError
from devices.spec import Text

PAYLOAD_MAX: Final = 64 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,64}", re.ASCII)
_VERSION: Final = re.compile(r"\d{1,5}\.\d{1,5}\.\d{1,5}(\+\d{1,10})?", re.ASCII)
_BOOT: Final = re.compile(r"hello|loader|text:[ -~]{1,60}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the image's maker signed.

    `board`: the maker's name of the board. `revisions`: hardware revisions it is for, at least one. `chip`: as the
    bootloader names it (`stm32:0x413`); empty: any. `version`: MAJOR.MINOR.PATCH with an optional +BUILD.
    `security_counter`: rises when an older image must never run again. `base`: address the payload goes to, bytes.
    `boot`: how one sees that it runs: `hello` (it speaks the gateway protocol), `text:WORD` (it prints this), `loader`
    (only its bootloader can tell). `key`: id of the key that signed it; empty in a manifest not yet signed.
    """

    board: str
    revisions: tuple[str, ...]
    version: str
    security_counter: int
    sha256: str
    size: int
    chip: str = ""
    base: int = 0
    boot: str = "hello"
    notes: Text = field(default=Text("", ""))
    created: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        checked_name("board", self.board)
        for revision in self.revisions:
            checked_name("revision", revision)
        _must(0 < len(self.revisions) <= 32, "revisions", "1 to 32", len(self.revisions))
        _must(not self.chip or bool(_NAME.fullmatch(self.chip)), "chip", "a name such as stm32:0x413", self.chip)
        _must(bool(_VERSION.fullmatch(self.version)), "version", "MAJOR.MINOR.PATCH", self.version)
        _must(0 <= self.security_counter < 2**32, "security counter", "0 to 2^32-1", self.security_counter)
        _must(0 <= self.base < 2**32, "base address", "0 to 0xffffffff", self.base)
        _must(0 < self.size <= PAYLOAD_MAX, "size", f"1 to {PAYLOAD_MAX} bytes", self.size)
        _must(bool(re.fullmatch(r"[0-9a-f]{64}", self.sha256)), "sha256", "64 hex digits", self.sha256)
        _must(bool(_BOOT.fullmatch(self.boot)), "boot check", "hello, loader or text:WORD", self.boot)


@dataclass(frozen=True, slots=True)
class Image:
    """A payload that is what its manifest says; ImageError otherwise."""

    manifest: Manifest
    payload: bytes

    def __post_init__(self) -> None:
        found = hashlib.sha256(self.payload).hexdigest()
        if len(self.payload) != self.manifest.size or found != self.manifest.sha256:
            raise ImageError(
                f"image for {self.manifest.board} {self.manifest.version}: expected {self.manifest.size} bytes with "
                f"digest {self.manifest.sha256[:16]}…, got {len(self.payload)} with {found[:16]}…; it is not used"
            )

    @classmethod
    def of(cls, payload: bytes, **facts: Any) -> Image:
        """`payload` with a manifest of these facts; digest and size are its own."""
        return cls(Manifest(sha256=hashlib.sha256(payload).hexdigest(), size=len(payload), **facts), payload)

    @property
    def digest(self) -> str:
        """SHA-256 of the payload, hex."""
        return self.manifest.sha256


def checked_name(what: str, name: str) -> str:
    """`name`, if it may name a board, a revision or a key; ImageError otherwise."""
    _must(bool(_NAME.fullmatch(name)), what, "1 to 64 letters, digits or _ . : + -", name)
    return name


def _must(right: bool, what: str, expected: str, got: object) -> None:  # noqa: FBT001
    if not right:
        raise ImageError(f"image: {what}: expected {expected}, got {got!r:.80}; nothing was done")
