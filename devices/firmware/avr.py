"""AVR parts by signature: how much flash, in which pages, and what a bootloader keeps of it.

From: the part's datasheet, tables "Device ID" and "No. of words in a page and no. of pages in the flash". To: the
STK500 driver and its simulator, which know a part by the signature it answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `flash`, `page`: bytes. `boot`: bytes at the end of flash that optiboot takes as it is shipped."""

    name: str
    flash: int
    page: int
    boot: int


def _family(flash: int, page: int, boot: int, names: Mapping[str, str]) -> dict[str, Part]:
    return {signature: Part(name, flash, page, boot) for signature, name in names.items()}


PARTS: Final[Mapping[str, Part]] = {
    **_family(
        8 * _KIB,
        64,
        512,
        {"1e9307": "ATmega8", "1e930a": "ATmega88", "1e930f": "ATmega88P", "1e9316": "ATmega88PB"},
    ),
    **_family(
        16 * _KIB,
        128,
        512,
        {
            "1e9403": "ATmega16",
            "1e9406": "ATmega168",
            "1e940a": "ATmega164P",
            "1e940b": "ATmega168P",
            "1e940f": "ATmega164A",
            "1e9415": "ATmega168PB",
        },
    ),
    **_family(
        32 * _KIB,
        128,
        512,
        {
            "1e9502": "ATmega32",
            "1e9508": "ATmega324P",
            "1e950f": "ATmega328P",
            "1e9511": "ATmega324PA",
            "1e9514": "ATmega328",
            "1e9515": "ATmega324A",
            "1e9516": "ATmega328PB",
        },
    ),
    # The smallest boot section of these is 1 KiB, whatever stands in it.
    **_family(64 * _KIB, 256, _KIB, {"1e9609": "ATmega644", "1e960a": "ATmega644P"}),
    **_family(128 * _KIB, 256, _KIB, {"1e9703": "ATmega1280", "1e9705": "ATmega1284P", "1e9706": "ATmega1284"}),
}
