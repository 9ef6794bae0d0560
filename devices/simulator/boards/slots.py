"""A configuration in flash that survives a power cut at any byte: two slots, the newer whole one counts.

    magic 4 | generation u32 | length u16 | body | CRC-32 over all before

From: the simulated gateway application. To: itself after a restart. A write goes to the slot that does not count, so
that the one in force is never touched; it counts when its CRC is there. A hardware maker may do the same with two
flash pages.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

_MAGIC: Final = b"UGC1"
_HEAD: Final = 10
_CRC: Final = 4


class PowerCutError(Exception):
    """Raised inside a board when its power goes in the middle of a write."""


class Slots:
    """Two flash pages, and one for the key of a certificate that is still to come.

    `tear_at`: the next write of a configuration stops behind so many bytes, once: the power went. `file`: keeps the
    pages, so that a simulated board can be switched off; all in hex, a line each.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.pages = [b"", b""]
        self.pending = b""
        self.tear_at: int | None = None
        self._file = file
        if file is not None and file.exists():
            lines = file.read_text(encoding="ascii").splitlines()
            *self.pages, self.pending = [bytes.fromhex(line) for line in (*lines, "", "", "")[:3]]

    def read(self) -> bytes:
        """The body in force; empty before the first."""
        return max(map(_parsed, self.pages))[1]

    def write(self, body: bytes) -> None:
        """Put `body` in force: afterwards it is, or what was before is."""
        generations = [_parsed(page)[0] for page in self.pages]
        older = generations.index(min(generations))
        head = _MAGIC + (max(generations) + 1).to_bytes(4, "big") + len(body).to_bytes(2, "big")
        record = head + body + zlib.crc32(head + body).to_bytes(_CRC, "big")
        if self.tear_at is not None:
            torn, self.tear_at = record[: self.tear_at], None
            self.pages[older] = torn
            raise PowerCutError
        self.pages[older] = record
        self._save()

    def keep_pending(self, body: bytes) -> None:
        """Keep what belongs to a certificate that is still to come, in place of what was kept so."""
        self.pending = body
        self._save()

    def _save(self) -> None:
        if self._file is not None:
            self._file.touch(mode=0o600)  # it holds secrets
            lines = [f"{page.hex()}\n" for page in (*self.pages, self.pending)]
            self._file.write_text("".join(lines), encoding="ascii")


def _parsed(page: bytes) -> tuple[int, bytes]:
    """Generation and body of a page that is whole; 0 and nothing of one that is not."""
    if page[:4] != _MAGIC or len(page) < _HEAD + _CRC:
        return 0, b""
    size = int.from_bytes(page[8:_HEAD], "big")
    whole, crc = page[: _HEAD + size], page[_HEAD + size : _HEAD + size + _CRC]
    if len(whole) < _HEAD + size or zlib.crc32(whole).to_bytes(_CRC, "big") != crc:
        return 0, b""
    return int.from_bytes(page[4:8], "big"), whole[_HEAD:]
