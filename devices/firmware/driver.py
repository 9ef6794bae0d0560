"""What every bootloader's driver offers, and what it hands over.

From: one file per bootloader in `drivers`. To: `flash.flash`, the one procedure:

    identify -> preflight -> write -> verify -> boot -> (provision, by the caller)

A driver speaks one protocol and nothing else: it decides no policy, asks no person and keeps no record. Each module
in `drivers` declares one `BootLoader`, found by pkgutil; there is no list to edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from devices.firmware.image import Image
from devices.firmware.link import Link
from devices.spec import Text


class Proof(StrEnum):
    """How it is known that the device holds the image, the strongest first."""

    READ_BACK = "read back"  # every byte was read from the device and compared
    DEVICE_DIGEST = "device digest"  # the device computed a digest or CRC of what it stored
    SIGNATURE = "device signature check"  # the bootloader checked the image's signature before it ran it
    APPLICATION = "application digest"  # the running image named its own digest


class Step(StrEnum):
    """Where a flash is."""

    IDENTIFY = "identify"
    PREFLIGHT = "preflight"
    ERASE = "erase"
    WRITE = "write"
    VERIFY = "verify"
    BOOT = "boot"


# Called with the step, bytes done, bytes in all.
Told = Callable[[Step, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board says of itself; empty where its bootloader does not say.

    `chip`: as in a manifest, such as `stm32:0x413` or `avr:1e950f`. `serial`: unique to this very board. `board`,
    `revision`: the maker's name for it, from the board alone (never from what a person believes). `version`,
    `security_counter`: of the image it holds now; counter -1 where it does not say. `loader`: the bootloader's own
    version. `capacity`: bytes of flash for an image, 0 where it does not say.
    """

    chip: str
    serial: str = ""
    board: str = ""
    revision: str = ""
    version: str = ""
    security_counter: int = -1
    loader: str = ""
    capacity: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a driver can do. `bauds`: speeds it was made for, the usual one first. `parity`: N or E."""

    bauds: tuple[int, ...]
    parity: str = "N"
    resumes: bool = False  # a write that was cut goes on where it stopped; otherwise it begins anew
    proves: tuple[Proof, ...] = ()  # what `verify` can show; empty: only the running image can
    enter: Text = field(default=Text("", ""))  # how a person brings a board into this bootloader


class Driver(Protocol):
    """One open conversation with one board's bootloader. All but `close` raise FirmwareError."""

    @property
    def link(self) -> Link | None:
        """The line as it is, None where a program of another's opens the port for each step."""
        ...

    def identify(self) -> Board:
        """Enter the bootloader as far as the line can, and say what is there. Writes nothing."""
        ...

    def write(self, image: Image, told: Told) -> None:
        """Erase what the image needs and write it; returns when the device acknowledged all of it.

        Called again after an ExchangeError or LinkError and `reconnect`: goes on where the protocol can resume.
        """
        ...

    def verify(self, image: Image, told: Told) -> Proof | None:
        """Compare what the device holds; VerifyError when it differs, None where the protocol cannot look."""
        ...

    def boot(self, image: Image) -> Proof | None:
        """Start the image; BootError when the bootloader says it will not. A Proof if starting proved the image."""
        ...

    def reconnect(self) -> None:
        """Open the line again and bring the bootloader back into step; LinkError while it is not there."""
        ...

    def close(self) -> None:
        """Let go of the line; closing twice is fine."""
        ...


class Connect(Protocol):
    """Opens a driver on a port; PortError when the port cannot be opened, RefusedError for an unknown option."""

    def __call__(self, url: str, *, baud: int, options: Mapping[str, str]) -> Driver:
        """Open `url`; nothing is sent yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLoader:
    """One way to flash: what a module in `drivers` declares as `BOOTLOADER`.

    `families`: chips it flashes, the part of a manifest's `chip` before the colon; an image then need not be told its
    bootloader. `options`: name -> what it means.
    """

    name: str
    title: Text
    traits: Traits
    connect: Connect
    families: tuple[str, ...] = ()
    options: Mapping[str, Text] = field(default_factory=dict)
