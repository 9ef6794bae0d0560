"""MCUboot images: checked with imgtool's library and always with the public key, and signed.

From: a bare `*.signed.bin`, or the payload of one of our bundles (then both signatures are checked). To: an `Image`,
and for the SMP driver the digest by which a board names what it holds. One file, little-endian (mcuboot.com, design):

    32 bytes  header: magic 0x96f3b83d, load address, header size, size of protected TLVs, image size, flags, version
    ...       up to the header size: padding; then the image
    ...       protected TLVs, under the digest (security counter)
    ...       TLVs: digest of all before, hash of the key, signature

imgtool calls an image without a signature good when it is given no key, so nothing here works without one. It also
reads lengths as they stand in the file: `looked_into` has checked every one of them before imgtool sees the bytes.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from imgtool import image as imgtool  # type: ignore[import-untyped]

from devices.errors import ImageError
from devices.firmware.image import PAYLOAD_MAX, Image, Manifest
from devices.firmware.mcuboot_keys import PublicKey
from devices.spec import Text

MAGIC: Final = imgtool.IMAGE_MAGIC.to_bytes(4, "little")
_HEADER: Final = struct.Struct("<IIHHIIBBHII")
_AREA: Final = struct.Struct("<HH")
_DIGESTS: Final = {imgtool.TLV_VALUES[name]: name for name in ("SHA256", "SHA384", "SHA512")}
_SIGNATURES: Final = {imgtool.TLV_VALUES[name]: name for name in ("RSA2048", "ECDSASIG", "RSA3072", "ED25519")}
_ENCRYPTED: Final = imgtool.IMAGE_F["ENCRYPTED_AES128"] | imgtool.IMAGE_F["ENCRYPTED_AES256"]
_BAD: Final = {
    "INVALID_HASH": "a digest that fits its bytes, it differs: the image was altered or cut",
    "INVALID_SIGNATURE": "a signature of this key, none fits: it was altered, unsigned, or signed with another key",
    "KEY_MISMATCH": "a digest as this key's kind of signature uses it, it has another",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an MCUboot image says of itself.

    `size`: bytes of the image itself, without header and TLVs. `load_address`: 0 where it runs in place.
    `security_counter`: from the protected TLVs, -1 where there is none. `digest`: what a board calls this image by.
    `signature`: kind such as ECDSASIG, empty when it has none. `key_hash`: hex, of the key it was signed with.
    """

    version: str
    header_size: int
    size: int
    load_address: int
    flags: int
    security_counter: int
    digest: bytes
    digest_kind: str
    signature: str
    key_hash: str


def is_mcuboot(content: bytes) -> bool:
    """Whether the file begins as an MCUboot image does."""
    return content.startswith(MAGIC)


def looked_into(content: bytes, name: str) -> Header:
    """What the image says of itself, nothing checked but its form; ImageError, one line, for every other file."""
    if not is_mcuboot(content) or len(content) < _HEADER.size:
        _refuse(name, "an MCUboot image, which begins with 3db8f396", f"{content[:4].hex() or 'nothing'}")
    if len(content) > PAYLOAD_MAX:
        _refuse(name, f"at most {PAYLOAD_MAX} bytes", f"{len(content)}")
    _, load, header_size, protected_size, size, flags, major, minor, patch, build, _ = _HEADER.unpack_from(content)
    if header_size < _HEADER.size or size == 0:
        _refuse(name, f"a header of at least {_HEADER.size} bytes and an image", f"{header_size} and {size} bytes")
    protected, end = _area(content, header_size + size, imgtool.TLV_PROT_INFO_MAGIC, name)
    if end - (header_size + size) != protected_size:
        _refuse(name, f"{protected_size} bytes of protected TLVs", f"{end - header_size - size}")
    open_, end = _area(content, end, imgtool.TLV_INFO_MAGIC, name)
    if end != len(content):
        # What stands behind would be written too, but no signature is over it.
        _refuse(name, f"{end} bytes, as its TLVs say; sign it without --pad", f"{len(content)}")
    return Header(
        version=f"{major}.{minor}.{patch}" + (f"+{build}" if build else ""),
        header_size=header_size,
        size=size,
        load_address=load,
        flags=flags,
        security_counter=_counter(protected, name),
        signature=next((_SIGNATURES[kind] for kind, _ in open_ if kind in _SIGNATURES), ""),
        key_hash=next((value.hex() for kind, value in open_ if kind == imgtool.TLV_VALUES["KEYHASH"]), ""),
        **_digest(open_, name),
    )


def checked(content: bytes, key: PublicKey | None, name: str) -> Header:
    """The image's header after digest and signature were checked with `key`; ImageError for everything else."""
    if key is None:
        raise ImageError(
            f"{name}: expected the public key that its board's MCUboot trusts, got none: without it an unsigned image "
            "would pass; it is not used"
        )
    header = looked_into(content, name)
    if header.flags & _ENCRYPTED:
        _refuse(name, "an image that is not encrypted: its digest is over the plain bytes", "an encrypted one")
    if not header.signature:
        _refuse(name, f"a signature of key {key.label}", "an image without any")
    with tempfile.TemporaryDirectory(prefix="undercity-") as folder:
        file = Path(folder, "image.bin")  # imgtool reads files only
        file.write_bytes(content)
        try:
            result, *_ = imgtool.Image.verify(str(file), key.imgtool)
        except (click.ClickException, ValueError, TypeError, IndexError, struct.error) as error:
            _refuse(name, "an image that imgtool can check", f"{type(error).__name__}: {error}")
    if result is not imgtool.VerifyResult.OK:
        _refuse(name, f"{_BAD.get(result.name, 'a good image')} (key {key.label})", result.name)
    if hashlib.new(header.digest_kind.lower(), content[: _covered(header, content)]).digest() != header.digest:
        _refuse(name, _BAD["INVALID_HASH"], "another digest")
    return header


def image(
    content: bytes,
    key: PublicKey | None,
    *,
    name: str,
    board: str,
    revisions: Sequence[str],
    chip: str = "",
    boot: str = "loader",
) -> Image:
    """A bare MCUboot image as an `Image`: what it is for says the engineer, and the manifest says that it is so."""
    if not board or not revisions:
        _refuse(name, "--board and --revision: an MCUboot image names no board", "none")
    header = checked(content, key, name)
    manifest = Manifest(
        board=board,
        revisions=tuple(revisions),
        version=header.version,
        security_counter=max(header.security_counter, 0),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        chip=chip,
        boot=boot,
        notes=Text(
            "板型与硬件版本由工程师指定，镜像本身未签名这两项",
            "board and revision as the engineer said; the image's signature does not cover them",
        ),
        key=f"mcuboot:{key.id}" if key else "",
    )
    return Image(manifest, content)


def inside(outer: Image, key: PublicKey | None) -> Header:
    """The MCUboot image inside a bundle, its own signature checked too; ImageError when both disagree."""
    name = f"image for {outer.manifest.board} {outer.manifest.version}"
    header = checked(outer.payload, key, name)
    agrees(outer.manifest, header, name)
    return header


def agrees(manifest: Manifest, header: Header, name: str) -> None:
    """ImageError unless manifest and image tell the same version and security counter."""
    if _parts(header.version) != _parts(manifest.version):
        _refuse(name, f"version {manifest.version} as its manifest says", header.version)
    if header.security_counter not in {-1, manifest.security_counter}:
        _refuse(
            name,
            f"security counter {manifest.security_counter} as its manifest says",
            f"{header.security_counter}",
        )


def _parts(version: str) -> tuple[int, ...]:
    numbers, _, build = version.partition("+")
    return (*map(int, numbers.split(".")), int(build or 0))


def _covered(header: Header, content: bytes) -> int:
    """Bytes under the digest: header, image, protected TLVs."""
    return header.header_size + header.size + int.from_bytes(content[10:12], "little")


def _area(content: bytes, start: int, magic: int, name: str) -> tuple[list[tuple[int, bytes]], int]:
    """(kind and value of each TLV, where the area ends); the protected area may be missing: nothing, `start`."""
    if start + _AREA.size > len(content):
        _refuse(name, f"TLVs at byte {start}", f"a file of {len(content)} bytes: it was cut")
    found, total = _AREA.unpack_from(content, start)
    if magic == imgtool.TLV_PROT_INFO_MAGIC and found == imgtool.TLV_INFO_MAGIC:
        return [], start
    if found != magic or total < _AREA.size:
        _refuse(name, f"TLVs ({magic:#06x}) at byte {start}", f"{found:#06x} of {total} bytes")
    end, at = start + total, start + _AREA.size
    tlvs: list[tuple[int, bytes]] = []
    while at < end:
        kind, length = _AREA.unpack_from(content, at) if at + _AREA.size <= min(end, len(content)) else (0, total)
        at += _AREA.size + length
        if at > min(end, len(content)):
            _refuse(name, f"TLVs up to byte {end}", f"one to byte {at}, the file has {len(content)}")
        tlvs.append((kind, content[at - length : at]))
    return tlvs, end


def _counter(protected: list[tuple[int, bytes]], name: str) -> int:
    found = [value for kind, value in protected if kind == imgtool.TLV_VALUES["SEC_CNT"]]
    if len(found) > 1 or any(len(value) != 4 for value in found):
        _refuse(name, "one security counter of 4 bytes", f"{len(found)}")
    return int.from_bytes(found[0], "little") if found else -1


def _digest(tlvs: list[tuple[int, bytes]], name: str) -> dict[str, Any]:
    found = [(kind, value) for kind, value in tlvs if kind in _DIGESTS]
    if len(found) != 1:
        _refuse(name, "one digest among its TLVs", f"{len(found)}")
    return {"digest": found[0][1], "digest_kind": _DIGESTS[found[0][0]]}


def _refuse(name: str, expected: str, got: str) -> NoReturn:
    line = " ".join(f"{name}: expected {expected}, got {got}".split())
    raise ImageError(f"{line}; it is not used")
