"""SM4 of HJ 212-2025: which packets are encrypted, and how.

From and to: the bytes between the `&&` of a packet. ECB over the full 16-byte blocks, without padding; what is left
behind the last full block stays plain, so that the length never changes. The checksum is that of the plain packet.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from devices.errors import RegistryError

_BLOCK: Final = 16
_HEX: Final = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)
_SINGLE: Final = frozenset({"1014", "3020"})


def applies(cn: str) -> bool:
    """Whether packets of command `cn` are encrypted when a key is agreed: 2000 to 2999, 1014 and 3020."""
    return cn in _SINGLE or (len(cn) == 4 and cn[0] == "2" and cn.isdecimal())


def key_of(text: object) -> bytes:
    """The key behind the setting `sm4_key`: 16 ASCII characters, or 32 hexadecimal digits; RegistryError otherwise."""
    if isinstance(text, str) and text.isascii():
        if _HEX.fullmatch(text):
            return bytes.fromhex(text)
        if len(text) == _BLOCK:
            return text.encode()
    raise RegistryError(
        "hj212: sm4_key: expected 16 ASCII characters or 32 hexadecimal digits, got something else; not taken"
    )


@lru_cache(maxsize=4096)
def _sm4(key: bytes) -> Cipher[Any]:
    # ECB is the standard's choice, and two equal blocks show; it is here to be understood, not to be recommended.
    return Cipher(algorithms.SM4(key), modes.ECB())  # noqa: S305


def encrypt(plain: bytes, key: bytes) -> bytes:
    """`plain` with its full blocks encrypted; as long as before."""
    full = len(plain) // _BLOCK * _BLOCK
    return _sm4(key).encryptor().update(plain[:full]) + plain[full:]


def decrypt(secret: bytes, key: bytes) -> bytes:
    """`secret` with its full blocks decrypted; as long as before."""
    full = len(secret) // _BLOCK * _BLOCK
    return _sm4(key).decryptor().update(secret[:full]) + secret[full:]


def credentials(text: str, key: bytes) -> str:
    """`user:password` as the standard's authentication sends it: SM4-ECB with PKCS 7 padding, base64.

    >>> credentials("testuser:AezF0nZRs4kypuGO", b"msbE74gsiSHSEh5e")
    'LG/m7lsFU/taig+vbQsDJXy4NGAaE2j2lplPwhZM7iM='
    """
    padder = PKCS7(8 * _BLOCK).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    return base64.b64encode(_sm4(key).encryptor().update(padded)).decode("ascii")
