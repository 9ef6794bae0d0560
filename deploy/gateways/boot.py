"""What the application on a board says: before a flash, which board it is; after it, that it runs.

From: the image's manifest, which its maker signed, and an application that speaks the gateway protocol or prints a
word. To: the flashing procedure, as what is known of the board and as its boot check.
"""

from __future__ import annotations

import time
from typing import Final

from devices.errors import BootError, ExchangeError, LinkError, PortError
from devices.firmware.application.client import Client
from devices.firmware.application.messages import Capability
from devices.firmware.driver import Proof
from devices.firmware.flash import BootCheck, Known
from devices.firmware.image import Image
from devices.firmware.link import Line, Link, SerialLink

BOOT_S: Final = 15.0
"""How long an application may take to answer: our judgement, from an emulated board's start with room to spare."""
_REOPEN_S: Final = 0.3
_LET_GO_S: Final = 0.5  # an application that goes to its bootloader: a reset and a little


def asked(url: str, baud: int) -> Known:
    """What the running application says the board is; it is sent to its bootloader if it can go there by itself.

    Raises:
        PortError, LinkError, ExchangeError: nothing that speaks the gateway protocol answers there.
    """
    link = SerialLink(url, Line(baud))
    try:
        client = Client(link)
        hello = client.hello(attempts=3)
        if Capability.LOADER in hello.capabilities:
            client.reboot(loader=True)
            link.pause(_LET_GO_S)
    finally:
        link.close()
    return Known(
        board=hello.board,
        revision=hello.revision,
        security_counter=hello.security_counter,
        source="application that ran on it",
    )


def boot_check(url: str, baud: int, *, within_s: float = BOOT_S) -> BootCheck:
    """A check on the driver's open line, or on `url` where it has none, at the application's speed."""

    def check(image: Image, line: Link | None) -> Proof | None:
        how, _, word = image.manifest.boot.partition(":")
        if how == "loader":
            return None
        link = line or _open(url, baud, within_s)
        try:
            link.set_line(Line(baud))
            if how == "hello":
                return _greets(link, image, within_s)
            _prints(link, word, within_s)
        finally:
            link.close()
        return None  # a word shows that it runs, not which bytes run

    return check


def _greets(link: Link, image: Image, within_s: float) -> Proof | None:
    """Whether the application answers, as the version that was written; its own digest proves more."""
    manifest = image.manifest
    client = Client(link)
    deadline = link.now() + within_s
    while True:
        try:
            hello = client.hello(attempts=1)
            break
        except (ExchangeError, LinkError) as error:
            if link.now() >= deadline:
                raise BootError(
                    f"{link.url}: expected the application to say hello within {within_s:g} s: {error}; the image is "
                    "written, the board does not run it: look at its power and boot pins"
                ) from None
    if (hello.board, hello.version) != (manifest.board, manifest.version):
        raise BootError(
            f"{manifest.board} {hello.serial}: expected {manifest.board} {manifest.version} to run, "
            f"{hello.board} {hello.version} says hello; "
            "the bootloader went back to the image before, or started another"
        )
    if hello.image_digest and hello.image_digest.hex() != image.digest:
        raise BootError(
            f"{manifest.board} {hello.serial}: expected digest {image.digest[:16]}… to run, it names "
            f"{hello.image_digest.hex()[:16]}…; it runs other bytes than those written"
        )
    return Proof.APPLICATION if hello.image_digest else None


def _prints(link: Link, word: str, within_s: float) -> None:
    wanted, seen = word.encode(), b""
    deadline = link.now() + within_s
    while wanted not in seen:
        if link.now() >= deadline:
            raise BootError(
                f"{link.url}: expected the application to print {word!r} within {within_s:g} s, got "
                f"{seen[-60:]!r}; the image is written, the board does not run it: look at its power and boot pins"
            )
        seen = seen[-4096:] + link.read(256, 0.1)


def _open(url: str, baud: int, within_s: float) -> Link:
    """The line again; a USB adapter that is part of the board comes back only when the board does."""
    waited = 0.0
    while True:
        try:
            return SerialLink(url, Line(baud))
        except (PortError, LinkError) as error:
            if waited >= within_s:
                raise BootError(f"{url}: the line did not come back after the start: {error}") from None
        time.sleep(_REOPEN_S)
        waited += _REOPEN_S
