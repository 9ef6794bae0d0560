"""The reference gateway: a bootloader and an application for an emulated STM32F405, in C, with their binaries.

From: `source/`, built by `source/build`. To: `devices.simulator.boards.emulated`, `undercity gateway demo`, tests. What
a hardware maker may start from; `README.md` says what it is and what it is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from devices.firmware.image import Image

BOARD: Final = "undercity-ref"
REVISION: Final = "r1"
CHIP: Final = "stm32:0x413"
VERSION: Final = "1.0.0"
SECURITY_COUNTER: Final = 1
BASE: Final = 0x0801_0000
BAUD: Final = 115200

SOURCE: Final = Path(__file__).parent / "source"
_BUILT: Final = Path(__file__).parent / "built"


def bootloader() -> bytes:
    """What stands in the board's own flash: the AN3155 bootloader."""
    return (_BUILT / "bootloader.bin").read_bytes()


def application() -> bytes:
    """The payload of an image for this board, to be written at `BASE`."""
    return (_BUILT / "application.bin").read_bytes()


def image(payload: bytes) -> Image:
    """`payload` as an image for this board."""
    return Image.of(
        payload,
        board=BOARD,
        revisions=(REVISION,),
        version=VERSION,
        security_counter=SECURITY_COUNTER,
        chip=CHIP,
        base=BASE,
    )


def record() -> Mapping[str, str]:
    """What the binaries were built of: `compiler`, and the digest of all sources as `sources`."""
    found: Mapping[str, str] = json.loads((_BUILT / "record.json").read_text())
    return found


def source_digest() -> str:
    """SHA-256 over name and content of every source file, by name."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
