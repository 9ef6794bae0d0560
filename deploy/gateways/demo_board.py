"""The board of the gateway demo: an emulated STM32F405 that runs C, or the same board in Python where QEMU is missing.

To: `demo.py`, which flashes and provisions whichever it is given in the same way.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.gateways.modem import PahoModem
from devices.firmware import reference
from devices.firmware.application.messages import Capability
from devices.firmware.image import Image
from devices.simulator.boards import SimulatedBoard
from devices.simulator.boards.application import GatewayApplication
from devices.simulator.boards.emulated import EmulatedBoard, missing
from devices.simulator.boards.gateway import Identity
from devices.simulator.boards.serving import serve_tcp
from devices.simulator.boards.stm32 import Rom, Stm32Board

_FLASH_AT: Final = 0x0800_0000
_VECTORS: Final = struct.pack(
    "<II", 0x2002_0000, reference.BASE + 0x101
)  # stack and entry: a chip starts nothing else
_SIMULATED: Final = 24_000  # bytes of an image that nothing executes: seeded noise, so that every byte is checked


@dataclass(frozen=True, slots=True)
class DemoBoard:
    """A board with power. `what`: for a person. `image`: made for it, not yet signed."""

    url: str
    what: str
    image: Image


@contextmanager
def board(folder: Path, *, python: bool) -> Iterator[DemoBoard]:
    """The emulated board; the one in Python if `python` is asked for or QEMU is missing."""
    why = "asked for" if python else missing()
    if why:
        with _in_python(why) as made:
            yield made
        return
    with EmulatedBoard(folder / "board") as emulated:
        yield DemoBoard(emulated.url, "an STM32F405 under QEMU", reference.image(reference.application()))


@contextmanager
def _in_python(why: str) -> Iterator[DemoBoard]:
    payload = _VECTORS + random.Random(1).randbytes(_SIMULATED)  # noqa: S311  the same bytes each time are the point
    modem = PahoModem()

    def start(flash: bytes) -> SimulatedBoard:
        held = flash[reference.BASE - _FLASH_AT :][: len(payload)]
        if held != payload:
            return _Silent()  # half an image does not run
        identity = Identity(
            board=reference.BOARD,
            revision=reference.REVISION,
            chip=reference.CHIP,
            serial=Rom().unique_id.hex(),
            version=reference.VERSION,
            security_counter=reference.SECURITY_COUNTER,
            image_digest=hashlib.sha256(held).digest(),
            capabilities=Capability(0),
        )
        return GatewayApplication(identity, network=modem)

    try:
        with serve_tcp(Stm32Board(application=start)) as served:
            yield DemoBoard(served.url, f"a board simulated in Python ({why})", reference.image(payload))
    finally:
        modem.close()


class _Silent:
    """A chip whose application is damaged."""

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002
        """Nothing listens."""
        return b""

    def elapse(self, seconds: float) -> bytes:  # noqa: ARG002
        """Nothing happens."""
        return b""

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Nothing is wired."""

    def power_cut(self) -> None:
        """Nothing was going on."""
