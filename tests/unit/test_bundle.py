"""A bundle is used only when its signature, its digest and its key are right; everything else is one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import ImageError
from devices.firmware.bundle import looked_into, opened, sealed
from devices.firmware.image import Image
from devices.firmware.keys import (
    Keyring,
    PublicKey,
    SigningKey,
    generate,
    load_keyring,
    read_rotation,
    rotation,
    save_keyring,
    unlock,
)
from devices.spec import Text

TODAY = "2026-11-29"
KEY = SigningKey("maker", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
RING = Keyring((KEY.public,))
FACTS = {
    "board": "GW-1",
    "revisions": ("r2", "r3"),
    "version": "1.2.3",
    "security_counter": 4,
    "chip": "stm32:0x413",
    "base": 0x0800_0000,
    "notes": Text("修复", "mended"),
}
IMAGE = Image.of(b"firmware", **FACTS)


def bundle(payload: bytes = b"firmware") -> bytes:
    return sealed(Image.of(payload, **FACTS), KEY)


@given(st.binary(min_size=1, max_size=3000))
def test_what_was_sealed_is_opened_as_it_was(payload: bytes) -> None:
    image = opened(bundle(payload), RING, name="a.ucb", today=TODAY)
    assert Image(replace(image.manifest, key=""), image.payload) == Image.of(payload, **FACTS)
    assert image.manifest.key == KEY.public.id


@given(st.data())
def test_no_bundle_with_a_changed_byte_is_opened(data: st.DataObject) -> None:
    content = bytearray(bundle())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ImageError):
        opened(bytes(content), RING, name="a.ucb", today=TODAY)


@given(st.integers(0, len(bundle()) - 1))
def test_no_bundle_that_was_cut_is_opened(length: int) -> None:
    with pytest.raises(ImageError):
        opened(bundle()[:length], RING, name="a.ucb", today=TODAY)


@given(st.sampled_from([b"", b"UCBUNDL1"]), st.binary(max_size=400))
def test_any_bytes_are_refused_in_one_line(beginning: bytes, content: bytes) -> None:
    with pytest.raises(ImageError) as refused:
        looked_into(beginning + content, "a.ucb")
    assert "\n" not in str(refused.value)


def test_a_key_nobody_trusts_is_named_with_those_that_are() -> None:
    other = PublicKey("other", bytes(32))
    with pytest.raises(ImageError, match=rf"signed with key '{KEY.public.id}', trusted are other"):
        opened(bundle(), Keyring((other,)), name="a.ucb", today=TODAY)


def test_a_payload_longer_than_signed_is_refused() -> None:
    with pytest.raises(ImageError, match="expected 8 bytes"):
        opened(bundle() + b"more", RING, name="a.ucb", today=TODAY)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"board": "GW 1"}, "board"),
        ({"board": "../x"}, "board"),
        ({"revisions": ()}, "revisions"),
        ({"version": "1.2"}, "version"),
        ({"security_counter": -1}, "security counter"),
        ({"base": 2**32}, "base address"),
        ({"boot": "text:"}, "boot check"),
        ({"boot": "shell:rm"}, "boot check"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ImageError, match=says):
        replace(IMAGE.manifest, **values)


def test_an_image_is_never_held_that_is_not_what_its_manifest_says() -> None:
    with pytest.raises(ImageError, match="expected 8 bytes"):
        Image(IMAGE.manifest, b"other")


def test_a_key_is_encrypted_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    key = generate(tmp_path, "maker", "eight or more")
    path = tmp_path / "maker.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    assert unlock(tmp_path, "maker", "eight or more").public == key.public


def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated(tmp_path: Path) -> None:
    generate(tmp_path, "maker", "eight or more")
    with pytest.raises(ImageError, match="cannot be opened with this passphrase") as refused:
        unlock(tmp_path, "maker", "hunter2hunter2")
    assert "hunter2" not in str(refused.value)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    generate(tmp_path, "maker", "eight or more")
    with pytest.raises(ImageError, match="there already"):
        generate(tmp_path, "maker", "eight or more")


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="at least 8"):
        generate(tmp_path, "maker", "1234567")
    assert list(tmp_path.iterdir()) == []


def test_a_keyring_is_read_as_it_was_saved(tmp_path: Path) -> None:
    ring = Keyring((replace(KEY.public, retires="2027-01-01"), PublicKey("b", bytes(32))))
    save_keyring(tmp_path, ring)
    assert load_keyring(tmp_path) == ring


NEW = SigningKey("maker-2", Ed25519PrivateKey.from_private_bytes(bytes(reversed(range(32)))))


def test_after_a_rotation_both_keys_count_until_the_day_and_the_new_one_alone_behind_it() -> None:
    ring = RING.rotated(read_rotation(rotation(KEY, NEW.public, "2026-12-31"), "r.json"))
    by_new = sealed(Image.of(b"x", **FACTS), NEW)
    assert opened(bundle(), ring, name="a", today="2026-12-30")
    assert opened(by_new, ring, name="a", today="2026-12-30")
    assert opened(by_new, ring, name="a", today="2026-12-31")
    with pytest.raises(ImageError, match="retired on 2026-12-31"):
        opened(bundle(), ring, name="a", today="2026-12-31")


def test_a_rotation_that_the_old_key_did_not_sign_changes_nothing() -> None:
    statement = read_rotation(rotation(KEY, NEW.public, "2026-12-31"), "r.json")
    statement.retires = "2030-12-31"
    with pytest.raises(ImageError, match="does not fit"):
        RING.rotated(statement)


def test_a_rotation_never_gives_a_key_more_time() -> None:
    first = RING.rotated(read_rotation(rotation(KEY, NEW.public, "2026-12-01"), "r"))
    later = first.rotated(read_rotation(rotation(KEY, NEW.public, "2028-01-01"), "r"))
    assert next(key for key in later.keys if key.id == KEY.public.id).retires == "2026-12-01"
