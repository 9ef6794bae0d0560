"""Keys that sign images, and which of them a laptop trusts.

From: a folder of PEM files: `NAME.key` (PKCS 8, encrypted with a passphrase, readable by its owner only) and the
trusted keys in `trusted.json`. To: bundles. A key is known by the first 16 hex digits of its public key's SHA-256.

Rotation: the old key signs a statement that names the new one and the day from which the old no longer counts. A
laptop that trusts the old key takes the new one from the statement, without anybody carrying keys by hand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from devices.errors import ImageError
from devices.firmware.image import checked_name

PASSPHRASE_MIN: Final = 8
_TRUSTED: Final = "trusted.json"
_DOMAIN: Final = b"undercity key rotation 1\0"
_FILE_MAX: Final = 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key, 32 bytes raw. `retires`: ISO date from which it no longer counts, empty: never."""

    name: str
    raw: bytes
    retires: str = ""

    @property
    def id(self) -> str:
        """How a manifest names it."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def label(self) -> str:
        """How a person sees it."""
        return f"{self.name} ({self.id})"

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` is this key's over `data`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key in memory; it is never shown."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(name, key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """64 bytes, Ed25519."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.label})"


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """A statement of the old key: from `retires` on, `new` signs instead. `new` is hex, `name` the new key's."""

    old: str
    name: str
    new: str
    retires: str
    signature: str = ""

    def signed_part(self) -> bytes:
        """What the signature is over."""
        return _DOMAIN + msgspec.json.encode([self.old, self.name, self.new, self.retires])


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    public: str
    retires: str = ""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that a laptop trusts."""

    keys: tuple[PublicKey, ...] = ()

    def for_signature(self, key: str, today: str, name: str) -> PublicKey:
        """The trusted key with this id; ImageError when it is unknown or no longer counts. `name`: of the image."""
        found = next((one for one in self.keys if one.id == key), None)
        if found is None:
            known = ", ".join(one.label for one in self.keys) or "none; see 'undercity gateway image trust'"
            raise ImageError(f"{name}: signed with key {key!r:.20}, trusted are {known}; it is not used")
        if found.retires and found.retires <= today:
            raise ImageError(
                f"{name}: signed with key {found.label}, which was retired on {found.retires}; have it signed with "
                "its successor; it is not used"
            )
        return found

    def with_key(self, key: PublicKey) -> Keyring:
        """The ring with `key` as well; a key that is there already keeps its place."""
        return Keyring((*(one for one in self.keys if one.id != key.id), key))

    def without(self, key: str) -> Keyring:
        """The ring without the key of this id or name; ImageError when there is none."""
        left = tuple(one for one in self.keys if key not in {one.id, one.name})
        if left == self.keys:
            raise ImageError(f"key {key!r:.40}: it is not trusted; nothing was changed")
        return Keyring(left)

    def rotated(self, statement: Rotation) -> Keyring:
        """The ring after a rotation that its old key really stated; ImageError otherwise."""
        old = next((one for one in self.keys if one.id == statement.old), None)
        if old is None:
            raise ImageError(
                f"rotation: it is stated by key {statement.old!r:.20}, not trusted; nothing was changed"
            )
        try:
            raw, signature = bytes.fromhex(statement.new), bytes.fromhex(statement.signature)
            date.fromisoformat(statement.retires)
        except ValueError as error:
            raise ImageError(f"rotation: {error}; nothing was changed") from None
        if len(raw) != 32 or not old.verifies(signature, statement.signed_part()):
            raise ImageError(
                f"rotation: expected the signature of {old.label}, it does not fit; nothing was changed"
            )
        # An earlier end that is known already stands: a statement never gives a key more time.
        ends = min(filter(None, (old.retires, statement.retires)))
        new = PublicKey(checked_name("key", statement.name), raw)
        return self.with_key(replace(old, retires=ends)).with_key(new)


def rotation(old: SigningKey, new: PublicKey, retires: str) -> bytes:
    """The statement that `old` gives way to `new` on the day `retires`, as a file."""
    statement = Rotation(old=old.public.id, name=new.name, new=new.raw.hex(), retires=retires)
    statement.signature = old.sign(statement.signed_part()).hex()
    return msgspec.json.format(msgspec.json.encode(statement))


def read_rotation(content: bytes, name: str) -> Rotation:
    """A statement out of a file; ImageError when it is none."""
    return _decoded(content, Rotation, name)


def generate(folder: Path, name: str, passphrase: str) -> SigningKey:
    """A new key in `folder`; ImageError when the name is taken or the passphrase too short."""
    checked_name("key", name)
    if len(passphrase) < PASSPHRASE_MIN:
        raise ImageError(
            f"key {name}: expected a passphrase of at least {PASSPHRASE_MIN} characters; nothing was made"
        )
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))
    path = folder / f"{name}.key"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ImageError(f"key {name}: {path} is there already; nothing was made") from None
    except OSError as error:
        raise ImageError(f"key {name}: {path}: {error.strerror}; nothing was made") from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    return SigningKey(name, key)


def unlock(folder: Path, name: str, passphrase: str) -> SigningKey:
    """The key `name` of `folder`; ImageError when it is not there, is of another kind or the passphrase is wrong."""
    path = folder / f"{checked_name('key', name)}.key"
    try:
        key = load_pem_private_key(_read(path), passphrase.encode())
    except (ValueError, TypeError):
        raise ImageError(f"key {name}: {path} cannot be opened with this passphrase; nothing was signed") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ImageError(f"key {name}: expected an Ed25519 key, {path} holds another kind; nothing was signed")
    return SigningKey(name, key)


def load_keyring(folder: Path) -> Keyring:
    """The keys trusted in `folder`, none where nobody was trusted yet; ImageError for a damaged file."""
    path = folder / _TRUSTED
    if not path.exists():
        return Keyring()
    stored: Sequence[_Stored] = _decoded(_read(path), list[_Stored], str(path))
    try:
        return Keyring(tuple(PublicKey(one.name, bytes.fromhex(one.public), one.retires) for one in stored))
    except ValueError as error:
        raise ImageError(f"{path}: {error}; no key is trusted") from None


def save_keyring(folder: Path, ring: Keyring) -> None:
    """Write down which keys are trusted, all or nothing."""
    stored = [_Stored(one.name, one.raw.hex(), one.retires) for one in ring.keys]
    path = folder / _TRUSTED
    fresh = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(stored)))
        fresh.replace(path)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; nothing was changed") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_MAX)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; nothing was done") from None


def _decoded(content: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ImageError(f"{name}: {error}; nothing was changed") from None
