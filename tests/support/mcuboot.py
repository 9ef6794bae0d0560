"""Keys and images of MCUboot for tests; the keys are made anew at every start."""

from __future__ import annotations

from functools import cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from devices.firmware.mcuboot_keys import PrivateKey, private_key, signed

Kind = Literal["p256", "ed25519"]
BODY = bytes(range(1, 252)) * 20


def maker_key(kind: Kind = "p256", which: int = 0) -> PrivateKey:
    """One of as many keys as a test wants, told apart by `which`."""
    return _made(kind, which)


@cache
def _made(kind: Kind, which: int) -> PrivateKey:
    key = generate_private_key(SECP256R1()) if kind == "p256" else Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private_key(pem, f"{kind}-{which}")


def public_pem(key: PrivateKey) -> bytes:
    """What a laptop is given."""
    pem: bytes = key.imgtool.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


@cache
def mcuboot_image(
    kind: Kind = "p256", *, version: str = "1.2.3", counter: int | None = 7, body: bytes = BODY, which: int = 0
) -> bytes:
    """A signed image."""
    return signed(body, maker_key(kind, which), version=version, security_counter=counter)
