"""MCUboot images: what is checked, always with the key, and that hostile bytes end in one line."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import ImageError
from devices.firmware.image import Image, Manifest
from devices.firmware.mcuboot import Header, checked, image, inside, is_mcuboot, looked_into
from devices.firmware.mcuboot_keys import private_key, public_key, read_public_key, signed
from tests.support.mcuboot import BODY, Kind, maker_key, mcuboot_image, public_pem

KINDS: tuple[Kind, ...] = ("p256", "ed25519")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_image_says_version_size_counter_digest_and_key(kind: Kind) -> None:
    content = mcuboot_image(kind, version="1.2.3+4", counter=9)
    header = checked(content, maker_key(kind).public, "gw.bin")
    assert (header.version, header.security_counter, header.size, header.header_size) == (
        "1.2.3+4",
        9,
        len(BODY),
        0x200,
    )
    assert header.signature == {"p256": "ECDSASIG", "ed25519": "ED25519"}[kind]
    assert header.key_hash.startswith(maker_key(kind).public.id)
    under = 0x200 + len(BODY) + 12
    assert header.digest == hashlib.sha256(content[:under]).digest()
    assert is_mcuboot(content)


def test_an_image_without_a_security_counter_says_that_there_is_none() -> None:
    assert looked_into(mcuboot_image(counter=None), "gw.bin").security_counter == -1


def test_nothing_is_checked_without_the_key() -> None:
    with pytest.raises(ImageError, match="expected the public key that its board's MCUboot trusts, got none"):
        checked(mcuboot_image(), None, "gw.bin")


def test_another_makers_signature_is_refused() -> None:
    with pytest.raises(ImageError, match="a signature of this key, none fits"):
        checked(mcuboot_image(which=1), maker_key().public, "gw.bin")


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(ImageError, match="it is not used"):
        checked(mcuboot_image("ed25519"), maker_key("p256").public, "gw.bin")


def test_an_unsigned_image_is_refused_though_its_digest_is_right() -> None:
    whole = mcuboot_image(counter=None)
    under = 0x200 + len(BODY)
    unsigned = whole[:under] + struct.pack("<HHHH", 0x6907, 40, 0x10, 32) + hashlib.sha256(whole[:under]).digest()
    assert looked_into(unsigned, "gw.bin").signature == ""
    with pytest.raises(ImageError, match="expected a signature of key p256-0"):
        checked(unsigned, maker_key().public, "gw.bin")


def test_bytes_behind_the_signature_are_refused() -> None:
    with pytest.raises(ImageError, match="sign it without --pad"):
        checked(mcuboot_image() + b"\xff", maker_key().public, "gw.bin")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_anywhere_under_the_signature_is_refused(kind: Kind) -> None:
    whole = mcuboot_image(kind, body=b"\x01" * 64)
    for at in range(0, len(whole), 7):
        altered = bytearray(whole)
        altered[at] ^= 1 << at % 8
        if unsigned_part(whole, at):
            continue
        with pytest.raises(ImageError, match="it is not used"):
            checked(bytes(altered), maker_key(kind).public, "gw.bin")


def unsigned_part(whole: bytes, at: int) -> bool:
    """The hash of the key and its TLV's head only say which key it was: no signature is over them."""
    start = whole.rindex(struct.pack("<HH", 0x01, 32))
    return start <= at < start + 4 + 32


@given(st.binary(max_size=600))
def test_any_bytes_give_an_image_error(content: bytes) -> None:
    _only_an_image_error(content)


@given(st.data())
def test_any_image_with_other_bytes_in_it_gives_an_image_error_or_the_same_image(data: st.DataObject) -> None:
    whole = mcuboot_image(data.draw(st.sampled_from(KINDS)), body=b"\x01" * 40)
    altered = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        # Header, lengths and TLVs are where a parser can be led astray.
        at = data.draw(st.one_of(st.integers(0, 31), st.integers(len(whole) - 170, len(whole) - 1)))
        altered[at] = data.draw(st.integers(0, 255))
    _only_an_image_error(bytes(altered[: data.draw(st.integers(0, len(whole)))]))
    _only_an_image_error(bytes(altered))


def _only_an_image_error(content: bytes) -> None:
    for kind in KINDS:
        header, refused = _told(content, kind)
        assert refused.isprintable(), "one line"
        if header is not None:
            under = header.header_size + header.size + 12
            assert content[:under] == mcuboot_image(kind, body=b"\x01" * 40)[:under]


def _told(content: bytes, kind: Kind) -> tuple[Header | None, str]:
    try:
        return checked(content, maker_key(kind).public, "gw.bin"), ""
    except ImageError as error:
        return None, str(error)


def test_lengths_beyond_the_file_are_refused_at_once() -> None:
    whole = bytearray(mcuboot_image())
    whole[12:16] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="TLVs at byte 4294967807"):
        checked(bytes(whole), maker_key().public, "gw.bin")


def test_a_bare_image_needs_a_board_from_the_engineer_and_its_manifest_says_so() -> None:
    with pytest.raises(ImageError, match="--board and --revision"):
        image(mcuboot_image(), maker_key().public, name="gw.bin", board="", revisions=())
    made = image(mcuboot_image(), maker_key().public, name="gw.bin", board="GW-100", revisions=["r2"])
    assert (made.manifest.version, made.manifest.security_counter) == ("1.2.3", 7)
    assert made.manifest.notes.en.startswith("board and revision as the engineer said")
    assert made.manifest.key == f"mcuboot:{maker_key().public.id}"


def _bundled(content: bytes, version: str = "1.2.3", counter: int = 7) -> Image:
    return Image(
        Manifest(
            board="GW-100",
            revisions=("r2",),
            version=version,
            security_counter=counter,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
        ),
        content,
    )


def test_a_bundles_payload_has_its_own_signature_checked_too() -> None:
    assert inside(_bundled(mcuboot_image()), maker_key().public).version == "1.2.3"
    with pytest.raises(ImageError, match="none fits"):
        inside(_bundled(mcuboot_image(which=1)), maker_key().public)


def test_a_bundle_that_tells_another_version_or_counter_than_its_payload_is_refused() -> None:
    with pytest.raises(ImageError, match=r"expected version 1\.2\.4 as its manifest says, got 1\.2\.3"):
        inside(_bundled(mcuboot_image(), version="1.2.4"), maker_key().public)
    with pytest.raises(ImageError, match="expected security counter 8 as its manifest says, got 7"):
        inside(_bundled(mcuboot_image(), counter=8), maker_key().public)


def test_room_that_the_linker_left_for_the_header_is_used() -> None:
    body = bytes(0x200) + BODY
    assert looked_into(signed(body, maker_key(), version="1.0.0"), "gw.bin").size == len(BODY)


@pytest.mark.parametrize("version", ["", "1.x", "1.2.3.4", "999.0.0"])
def test_a_version_that_no_header_can_hold_is_not_signed(version: str) -> None:
    with pytest.raises(ImageError, match="nothing was written"):
        signed(BODY, maker_key(), version=version)


def test_signing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    signed(BODY, maker_key(), version="1.0.0")
    assert capsys.readouterr().out == ""


def test_a_private_key_in_place_of_the_public_one_is_refused() -> None:
    pem = maker_key().imgtool.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ImageError, match="got a private one, which belongs on no laptop"):
        public_key(pem, "gw.pem")


def test_keys_that_are_none_or_of_other_kinds_are_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP384R1())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ImageError, match="got another"):
        public_key(public, "gw.pem")
    with pytest.raises(ImageError, match="got another kind"):
        private_key(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "gw.pem")
    with pytest.raises(ImageError, match="got 5 other bytes"):
        public_key(b"hello", "gw.pem")
    with pytest.raises(ImageError, match="No such file"):
        read_public_key(tmp_path / "none.pem")


def test_a_public_key_is_read_from_a_file_and_known_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "gw.pem"
    file.write_bytes(public_pem(maker_key()))
    assert read_public_key(file).id == maker_key().public.id
    assert "imgtool" not in repr(maker_key())
