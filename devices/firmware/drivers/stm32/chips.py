"""STM32 chips by the id their ROM bootloader gives: how flash is divided, where the unique id stands.

From: the reference manual of each line and ST's AN2606. To: the driver, and the simulator. What is not here can be
flashed after a mass erase alone (option `erase=all`), and has no serial number. Left out on purpose: lines whose
sectors depend on option bytes (L4+, H7, two-bank G0 and G4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

FLASH: Final = 0x0800_0000
_K: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Addresses of what the factory wrote. `unique_id`: three words, 96 bits; `flash_kib`: 16 bits."""

    unique_id: tuple[int, int, int]
    flash_kib: int

    @property
    def span(self) -> tuple[int, int]:
        """First address and the one behind the last, multiples of 4: all of it is one short read."""
        return min(*self.unique_id, self.flash_kib) & ~3, max(self.unique_id[2] + 4, (self.flash_kib & ~3) + 4)


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One id. `runs`: (sectors, bytes of each), from the start of flash; the largest chip of that id."""

    name: str
    runs: tuple[tuple[int, int], ...]
    signature: Signature

    @cached_property
    def sectors(self) -> tuple[int, ...]:
        """Bytes of every sector, in order."""
        return tuple(size for count, size in self.runs for _ in range(count))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Offset of every sector from the start of flash, and of the end of the last."""
        return tuple(accumulate(self.sectors, initial=0))


def _three(at: int) -> tuple[int, int, int]:
    return at, at + 4, at + 8


_F0_F3: Final = Signature(unique_id=_three(0x1FFF_F7AC), flash_kib=0x1FFF_F7CC)
_F1: Final = Signature(unique_id=_three(0x1FFF_F7E8), flash_kib=0x1FFF_F7E0)
_F2_F4: Final = Signature(unique_id=_three(0x1FFF_7A10), flash_kib=0x1FFF_7A22)
_F72: Final = Signature(unique_id=_three(0x1FF0_7A10), flash_kib=0x1FF0_7A22)
_F7: Final = Signature(unique_id=_three(0x1FF0_F420), flash_kib=0x1FF0_F442)
_L0: Final = Signature(unique_id=(0x1FF8_0050, 0x1FF8_0054, 0x1FF8_0064), flash_kib=0x1FF8_007C)
_L4_G: Final = Signature(unique_id=_three(0x1FFF_7590), flash_kib=0x1FFF_75E0)

_F4_HEAD: Final = ((4, 16 * _K), (1, 64 * _K))
_F7_HEAD: Final = ((4, 32 * _K), (1, 128 * _K))
_F4_BANK: Final = (*_F4_HEAD, (7, 128 * _K))


def _pages(name: str, count: int, size: int, signature: Signature) -> Chip:
    return Chip(name=name, runs=((count, size),), signature=signature)


CHIPS: Final[dict[int, Chip]] = {
    0x410: _pages("F10x medium density", 128, 1 * _K, _F1),
    0x411: Chip(name="F2", runs=_F4_BANK, signature=_F2_F4),
    0x412: _pages("F10x low density", 32, 1 * _K, _F1),
    0x413: Chip(name="F405, F407, F415, F417", runs=_F4_BANK, signature=_F2_F4),
    0x414: _pages("F10x high density", 256, 2 * _K, _F1),
    0x415: _pages("L47x, L48x", 512, 2 * _K, _L4_G),
    0x417: _pages("L05x, L06x", 512, 128, _L0),
    0x418: _pages("F105, F107", 128, 2 * _K, _F1),
    0x419: Chip(name="F42x, F43x", runs=_F4_BANK * 2, signature=_F2_F4),
    0x420: _pages("F100 low and medium density", 128, 1 * _K, _F1),
    0x421: Chip(name="F446", runs=(*_F4_HEAD, (3, 128 * _K)), signature=_F2_F4),
    0x422: _pages("F302xB, F303xB", 128, 2 * _K, _F0_F3),
    0x423: Chip(name="F401xB, F401xC", runs=(*_F4_HEAD, (1, 128 * _K)), signature=_F2_F4),
    0x425: _pages("L031, L041", 256, 128, _L0),
    0x428: _pages("F100 high density", 256, 2 * _K, _F1),
    0x430: _pages("F10x XL density", 512, 2 * _K, _F1),
    0x431: Chip(name="F411", runs=(*_F4_HEAD, (3, 128 * _K)), signature=_F2_F4),
    0x432: _pages("F37x", 128, 2 * _K, _F0_F3),
    0x433: Chip(name="F401xD, F401xE", runs=(*_F4_HEAD, (3, 128 * _K)), signature=_F2_F4),
    0x434: Chip(name="F469, F479", runs=_F4_BANK * 2, signature=_F2_F4),
    0x435: _pages("L43x, L44x", 128, 2 * _K, _L4_G),
    0x438: _pages("F303x6, F334", 32, 2 * _K, _F0_F3),
    0x439: _pages("F301, F302x6", 32, 2 * _K, _F0_F3),
    0x440: _pages("F05x, F030x8", 64, 1 * _K, _F0_F3),
    0x441: Chip(name="F412", runs=_F4_BANK, signature=_F2_F4),
    0x442: _pages("F09x, F030xC", 128, 2 * _K, _F0_F3),
    0x444: _pages("F03x", 32, 1 * _K, _F0_F3),
    0x445: _pages("F04x, F070x6", 32, 1 * _K, _F0_F3),
    0x446: _pages("F302xE, F303xE", 256, 2 * _K, _F0_F3),
    0x447: _pages("L07x, L08x", 1536, 128, _L0),
    0x448: _pages("F07x", 64, 2 * _K, _F0_F3),
    0x449: Chip(name="F74x, F75x", runs=(*_F7_HEAD, (3, 256 * _K)), signature=_F7),
    0x451: Chip(name="F76x, F77x", runs=(*_F7_HEAD, (7, 256 * _K)), signature=_F7),
    0x452: Chip(name="F72x, F73x", runs=(*_F4_HEAD, (3, 128 * _K)), signature=_F72),
    0x457: _pages("L01x, L02x", 128, 128, _L0),
    0x458: Chip(name="F410", runs=_F4_HEAD, signature=_F2_F4),
    0x460: _pages("G07x, G08x", 64, 2 * _K, _L4_G),
    0x462: _pages("L45x, L46x", 256, 2 * _K, _L4_G),
    0x463: Chip(name="F413, F423", runs=(*_F4_HEAD, (11, 128 * _K)), signature=_F2_F4),
    0x464: _pages("L41x, L42x", 64, 2 * _K, _L4_G),
    0x466: _pages("G03x, G04x", 32, 2 * _K, _L4_G),
    0x468: _pages("G431, G441", 64, 2 * _K, _L4_G),
}
