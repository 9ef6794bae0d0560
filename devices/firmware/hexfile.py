"""Intel HEX, as compilers for small boards write it: one stretch of bytes and the address it goes to.

From: `undercity gateway image sign`. To: a payload. The `intelhex` library takes the records apart and checks each sum.
"""

from __future__ import annotations

import io
from typing import Final

from intelhex import HexReaderError, HexRecordError, IntelHex, IntelHexError  # type: ignore[import-untyped]  # it carries no types

from devices.errors import ImageError
from devices.firmware.image import PAYLOAD_MAX

_START: Final = b":"
_RECORD: Final = frozenset(b"0123456789ABCDEFabcdef")
_GAP: Final = 0xFF  # what erased flash reads


def is_hex(content: bytes) -> bool:
    """Whether it begins as a record of Intel HEX does; raw code that does by chance is none in its second byte."""
    return content.startswith(_START) and len(content) > 10 and set(content[1:9]) <= _RECORD


def read_hex(content: bytes, name: str) -> tuple[int, bytes]:
    """(address, bytes), gaps filled as erased flash is; ImageError for a damaged file or one that spans too much."""
    image = IntelHex()
    image.padding = _GAP
    try:
        image.loadhex(io.StringIO(content.decode("ascii")))
    except (UnicodeDecodeError, HexRecordError, HexReaderError, IntelHexError) as error:
        raise ImageError(f"{name}: expected Intel HEX: {error}; nothing was signed") from None
    start, end = image.minaddr(), image.maxaddr()
    if start is None or end is None or end - start >= PAYLOAD_MAX:
        raise ImageError(
            f"{name}: expected records within {PAYLOAD_MAX} bytes, got none or more; nothing was signed"
        )
    return start, bytes(image.tobinarray())
