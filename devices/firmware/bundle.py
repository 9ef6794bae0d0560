"""A signed bundle: a manifest, a signature over it, and the payload whose digest the manifest names.

From: `undercity gateway image sign`. To: an `Image`, once everything was checked. One file, big-endian:

    8 bytes   UCBUNDL1
    4 bytes   length of the manifest, at most 65,536
    ...       the manifest, JSON
    64 bytes  Ed25519 over "undercity firmware bundle 1", a zero byte and the manifest's bytes
    ...       the payload, to the end of the file

The manifest's very bytes are signed, so nothing has to be written in a canonical way to be checked. RFC 8032.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import msgspec

from devices.errors import ImageError
from devices.firmware.image import PAYLOAD_MAX, Image, Manifest
from devices.firmware.keys import Keyring, SigningKey
from devices.spec import Text

MAGIC: Final = b"UCBUNDL1"
MANIFEST_MAX: Final = 65_536
_DOMAIN: Final = b"undercity firmware bundle 1\0"
_SIGNATURE: Final = 64
_LENGTH: Final = 4


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """A manifest as it stands in the file."""

    v: int
    board: str
    revisions: list[str]
    version: str
    security_counter: int
    sha256: str
    size: int
    chip: str
    base: int
    boot: str
    notes: tuple[str, str]
    created: str
    key: str


_DECODER: Final = msgspec.json.Decoder(_Wire)


def sealed(image: Image, key: SigningKey) -> bytes:
    """`image` as a bundle signed with `key`, whose id the manifest names."""
    manifest = replace(image.manifest, key=key.public.id)
    written = msgspec.json.encode({"v": 1, **asdict(manifest)})
    parts = (MAGIC, len(written).to_bytes(_LENGTH, "big"), written, key.sign(_DOMAIN + written), image.payload)
    return b"".join(parts)


def opened(content: bytes, keys: Keyring, *, name: str, today: str) -> Image:
    """The image in a bundle whose key is trusted on `today` (ISO date); ImageError, one line, for everything else."""
    manifest, written, signature, payload = _parts(content, name)
    key = keys.for_signature(manifest.key, today, name)
    if not key.verifies(signature, _DOMAIN + written):
        raise ImageError(
            f"{name}: expected a signature of key {key.label}, got one that does not fit: the manifest was altered; "
            "it is not used"
        )
    return Image(manifest, payload)


def looked_into(content: bytes, name: str) -> Manifest:
    """What a bundle says of itself, nothing checked but its form: for a person, never for a board."""
    return _parts(content, name)[0]


def is_bundle(content: bytes) -> bool:
    """Whether the file says it is one of ours."""
    return content.startswith(MAGIC)


def read_file(path: Path) -> bytes:
    """A file's bytes, of a size an image may have; ImageError otherwise."""
    try:
        with path.open("rb") as file:
            content = file.read(PAYLOAD_MAX + MANIFEST_MAX + 1)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}; nothing was sent") from None
    if len(content) > PAYLOAD_MAX + MANIFEST_MAX:
        raise ImageError(f"{path}: expected at most {PAYLOAD_MAX} bytes of image, got more; nothing was sent")
    return content


def _parts(content: bytes, name: str) -> tuple[Manifest, bytes, bytes, bytes]:
    """(manifest, its bytes, signature, payload)."""
    if not is_bundle(content):
        raise ImageError(
            f"{name}: expected a bundle made by 'undercity gateway image sign', got {content[:8]!r}; it is not used"
        )
    start = len(MAGIC) + _LENGTH
    length = int.from_bytes(content[len(MAGIC) : start], "big")
    if len(content) < start or not 0 < length <= MANIFEST_MAX or len(content) <= start + length + _SIGNATURE:
        raise ImageError(
            f"{name}: expected a manifest of {length} bytes, a signature and a payload, the file has "
            f"{len(content)} bytes: it was cut; it is not used"
        )
    written = content[start : start + length]
    try:
        wire = _DECODER.decode(written)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ImageError(f"{name}: manifest: {error}; it is not used") from None
    if wire.v != 1:
        raise ImageError(f"{name}: expected a manifest of version 1, got {wire.v}; it is not used")
    values = {field: getattr(wire, field) for field in wire.__struct_fields__ if field != "v"}
    try:
        manifest = Manifest(**values | {"revisions": tuple(wire.revisions), "notes": Text(*wire.notes)})
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    behind = start + length + _SIGNATURE
    return manifest, written, content[start + length : behind], content[behind:]
