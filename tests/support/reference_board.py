"""The reference gateway on QEMU, flashed and asked, for tests."""

from __future__ import annotations

import re

import pytest

from devices.errors import BootError
from devices.firmware import reference
from devices.firmware.application.client import Client
from devices.firmware.driver import Proof
from devices.firmware.drivers import named
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image
from devices.firmware.link import Link, SerialLink
from devices.simulator.boards.emulated import EmulatedBoard, missing
from tests.support.flashing import Kept

needs_qemu = pytest.mark.skipif(bool(missing()), reason=missing() or "there")
KNOWN = Known(board=reference.BOARD, revision=reference.REVISION, source="test")


def reference_image(payload: bytes | None = None) -> Image:
    """The application as an image for its board."""
    return reference.image(reference.application() if payload is None else payload)


def says_its_digest(image: Image, link: Link | None) -> Proof:
    """A boot check: the application is asked on the line that is still open."""
    assert link is not None
    if Client(link).hello().image_digest.hex() != image.digest:
        raise BootError("the application names another digest")
    return Proof.APPLICATION


def flashed(board: EmulatedBoard, image: Image | None = None) -> Flashed:
    """One whole flash of the emulated board."""
    kept = Kept()
    driver = named("stm32").connect(board.url, baud=reference.BAUD, options={})
    return flash(
        image or reference_image(), driver, KNOWN, told=kept.progress, record=kept, boot_check=says_its_digest
    )


def client_of(board: EmulatedBoard) -> tuple[SerialLink, Client]:
    """A line to the running application."""
    link = SerialLink(board.url)
    return link, Client(link)


def printed(link: Link, pattern: str, within_s: float = 15.0) -> str:
    """What the board printed until `pattern` was in it; AssertionError when it never was."""
    deadline = link.now() + within_s
    seen = ""
    while not re.search(pattern, seen):
        assert link.now() < deadline, f"expected {pattern!r}, got {seen!r}"
        seen += link.read(1, 0.1).decode("latin-1")
    return seen
