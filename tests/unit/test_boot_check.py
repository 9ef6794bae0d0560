"""The boot check of a flash: who says hello on the line after the bootloader let go."""

from __future__ import annotations

import hashlib

import pytest

from deploy.gateways.boot import boot_check
from devices.errors import BootError
from devices.firmware.driver import Proof
from devices.firmware.image import Image, Manifest
from devices.simulator.boards.application import GatewayApplication
from devices.simulator.boards.gateway import Identity
from devices.simulator.boards.serving import serve_tcp

PAYLOAD = b"an image"
DIGEST = hashlib.sha256(PAYLOAD)


def image(version: str = "1.0.0", boot: str = "hello") -> Image:
    manifest = Manifest(
        board="gw-sim",
        revisions=("r2",),
        version=version,
        security_counter=0,
        sha256=DIGEST.hexdigest(),
        size=len(PAYLOAD),
        boot=boot,
    )
    return Image(manifest, PAYLOAD)


def checked(identity: Identity, wanted: Image) -> Proof | None:
    with serve_tcp(GatewayApplication(identity)) as served:
        return boot_check(served.url, 115200, within_s=2)(wanted, None)


def test_an_application_that_names_its_digest_proves_the_image() -> None:
    assert checked(Identity(image_digest=DIGEST.digest()), image()) is Proof.APPLICATION


def test_an_application_without_a_digest_runs_and_proves_no_more() -> None:
    assert checked(Identity(), image()) is None


def test_another_version_is_not_what_was_written() -> None:
    with pytest.raises(BootError, match=r"expected gw-sim 2\.0\.0 to run, gw-sim 1\.0\.0 says hello"):
        checked(Identity(), image("2.0.0"))


def test_other_bytes_of_the_same_version_are_not_what_was_written() -> None:
    with pytest.raises(BootError, match="it runs other bytes than those written"):
        checked(Identity(image_digest=bytes(32)), image())


def test_a_board_that_says_nothing_does_not_run() -> None:
    class Dead(GatewayApplication):
        def receive(self, data: bytes) -> bytes:
            return data[:0]

    with (
        serve_tcp(Dead()) as served,
        pytest.raises(BootError, match="expected the application to say hello within 1 s"),
    ):
        boot_check(served.url, 115200, within_s=1)(image(), None)


def test_an_application_that_is_known_by_a_word_is_waited_for() -> None:
    class Talks(GatewayApplication):
        def receive(self, data: bytes) -> bytes:
            return data[:0]

        def elapse(self, seconds: float) -> bytes:
            return super().elapse(seconds) + b"ready\r\n"

    with serve_tcp(Talks()) as served:
        assert boot_check(served.url, 115200, within_s=2)(image(boot="text:ready"), None) is None
