"""Keys of MCUboot images, as imgtool takes them, and signing with one: P-256 or Ed25519 (RSA is checked, not made).

From: PEM files of the firmware's maker. To: `mcuboot`. A private key stays in memory and is never shown.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from imgtool import image as imgtool  # type: ignore[import-untyped]
from imgtool import keys as imgtool_keys
from imgtool.version import decode_version  # type: ignore[import-untyped]

from devices.errors import ImageError

_FILE_MAX: Final = 64 * 1024
_RSA_BITS: Final = (2048, 3072)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that a board's MCUboot trusts. `id`: first 16 hex digits of the SHA-256 over its DER form."""

    name: str
    id: str
    imgtool: Any = field(repr=False)

    @property
    def label(self) -> str:
        """How a person sees it."""
        return f"{self.name} ({self.id})"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs; `public` is what boards are given."""

    public: PublicKey
    imgtool: Any = field(repr=False)


def public_key(pem: bytes, name: str) -> PublicKey:
    """A public key from PEM; ImageError for a private one and for kinds MCUboot has none of."""
    if b"PRIVATE KEY" in pem:
        raise ImageError(
            f"{name}: expected a public key, got a private one, which belongs on no laptop; write its public half "
            "with 'imgtool getpub -e pem -k FILE'; it is not used"
        )
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ImageError(f"{name}: expected a public key in PEM form, got {len(pem)} other bytes") from None
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return _public(name, imgtool_keys.ECDSA256P1Public(key))
    if isinstance(key, Ed25519PublicKey):
        return _public(name, imgtool_keys.Ed25519Public(key))
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return _public(name, imgtool_keys.RSAPublic(key))
    raise ImageError(
        f"{name}: expected a key of P-256, Ed25519, RSA-2048 or RSA-3072, got another; it is not used"
    )


def private_key(pem: bytes, name: str, passphrase: str = "") -> PrivateKey:
    """A private key from PEM; ImageError when the passphrase does not fit or it is of another kind."""
    try:
        key = load_pem_private_key(pem, passphrase.encode() or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ImageError(
            f"{name}: expected a private key in PEM form and its passphrase, it does not open; nothing was signed"
        ) from None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        found = imgtool_keys.ECDSA256P1(key)
        return PrivateKey(_public(name, imgtool_keys.ECDSA256P1Public(key.public_key())), found)
    if isinstance(key, Ed25519PrivateKey):
        return PrivateKey(_public(name, imgtool_keys.Ed25519Public(key.public_key())), imgtool_keys.Ed25519(key))
    raise ImageError(f"{name}: expected a key of P-256 or Ed25519, got another kind; nothing was signed")


def read_public_key(path: Path) -> PublicKey:
    """A public key from a PEM file; ImageError when it cannot be read or is none."""
    return public_key(read_key_file(path), path.name)


def encrypted(pem: bytes) -> bool:
    """Whether a private key in PEM form has a passphrase."""
    return b"ENCRYPTED" in pem


def signed(
    body: bytes,
    key: PrivateKey,
    *,
    version: str,
    security_counter: int | None = None,
    header_size: int = 0x200,
    load_address: int = 0,
) -> bytes:
    """`body` as an MCUboot image with header, digest and signature; ImageError when it cannot be one.

    Room for the header is used where the linker left it (zeros), otherwise it is put in front. `load_address`: for an
    MCUboot that copies images to RAM, else 0.
    """
    try:
        decoded = decode_version(version)
        maker = imgtool.Image(
            version=decoded,
            header_size=header_size,
            pad_header=any(body[:header_size]) or len(body) <= header_size,
            load_addr=load_address,
            security_counter=security_counter,
        )
        with tempfile.TemporaryDirectory(prefix="undercity-") as folder, contextlib.redirect_stdout(io.StringIO()):
            file = Path(folder, "image.bin")  # imgtool reads files only, and prints
            file.write_bytes(body)
            maker.load(str(file))
            maker.create(key.imgtool, "hash", None)
    except (click.ClickException, ValueError, TypeError, struct.error) as error:
        raise ImageError(f"image {version}: it cannot be signed: {error}; nothing was written") from None
    return bytes(maker.payload)


def _public(name: str, key: Any) -> PublicKey:
    return PublicKey(name, hashlib.sha256(key.get_public_bytes()).hexdigest()[:16], key)


def read_key_file(path: Path) -> bytes:
    """A key file's bytes; ImageError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_MAX)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}; nothing was sent") from None
