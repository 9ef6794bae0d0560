"""`undercity gateway mcuboot ...`: images for boards with MCUboot, signed with the key that those trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.gateway_image import PassphraseOption, asked_passphrase

if TYPE_CHECKING:
    from devices.firmware.mcuboot import Header


def add(group: typer.Typer) -> None:
    """Add the group of commands."""
    mcuboot = typer.Typer(
        help="MCUboot images: signed with the key that a board's MCUboot trusts.", no_args_is_help=True
    )
    for command in (sign, inspect):
        mcuboot.command()(command)
    group.add_typer(mcuboot, name="mcuboot")


def sign(
    body: Annotated[Path, typer.Argument(help="The application as the linker made it, raw bytes.")],
    key: Annotated[Path, typer.Option("--key", help="Private key, PEM, of P-256 or Ed25519.")],
    version: Annotated[str, typer.Option("--version", help="MAJOR.MINOR.PATCH, with +BUILD if you like.")],
    out: Annotated[Path, typer.Option("--out", help="MCUboot image to write.")],
    counter: Annotated[int, typer.Option("--counter", help="Security counter; -1 for none.")] = -1,
    header_size: Annotated[
        int, typer.Option("--header-size", help="Bytes in front of the application, as its linker has it.")
    ] = 0x200,
    load_address: Annotated[
        str, typer.Option("--load-address", help="Where an MCUboot that copies images to RAM puts it.")
    ] = "0",
    passphrase_file: PassphraseOption = None,
) -> None:
    """Sign an application for MCUboot; wrap it with 'undercity gateway image sign' afterwards."""
    from devices.errors import ImageError  # noqa: PLC0415  quick help needs no layers
    from devices.firmware.bundle import read_file  # noqa: PLC0415
    from devices.firmware.mcuboot import checked  # noqa: PLC0415
    from devices.firmware.mcuboot_keys import encrypted, private_key, read_key_file, signed  # noqa: PLC0415

    try:
        address = int(load_address, 0)
    except ValueError:
        raise ImageError(
            f"--load-address: expected an address such as 0x20240000, got {load_address!r:.40}; nothing was signed"
        ) from None
    pem = read_key_file(key)
    passphrase = asked_passphrase(passphrase_file, f"passphrase of {key.name}") if encrypted(pem) else ""
    signer = private_key(pem, key.name, passphrase)
    made = signed(
        read_file(body),
        signer,
        version=version,
        security_counter=None if counter < 0 else counter,
        header_size=header_size,
        load_address=address,
    )
    header = checked(made, signer.public, out.name)
    out.write_bytes(made)
    print(f"{out}: version {header.version}, {len(made)} bytes, signed with {signer.public.label}")


def inspect(
    image: Annotated[Path, typer.Argument(help="An MCUboot image.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Public key, PEM, that the board's MCUboot trusts.")
    ] = None,
) -> None:
    """Show what an MCUboot image says of itself, and whether its signature fits; exit code 1 when it does not."""
    from devices.errors import ImageError  # noqa: PLC0415
    from devices.firmware.bundle import read_file  # noqa: PLC0415
    from devices.firmware.mcuboot import checked, looked_into  # noqa: PLC0415
    from devices.firmware.mcuboot_keys import read_public_key  # noqa: PLC0415

    content = read_file(image)
    for what, value in _lines(looked_into(content, image.name)):
        print(f"{what + ':':18}{value}")
    if key is None:
        print(f"{'to be trusted:':18}unknown: only --key can tell")
        return
    public = read_public_key(key)
    try:
        checked(content, public, image.name)
    except ImageError as error:
        print(f"{'to be trusted:':18}NO: {error}")
        raise typer.Exit(1) from None
    print(f"{'to be trusted:':18}yes: digest and signature of {public.label} are right")


def _lines(header: Header) -> list[tuple[str, str]]:
    return [
        ("version", header.version),
        ("security counter", "none" if header.security_counter < 0 else str(header.security_counter)),
        ("size", f"{header.size} bytes behind {header.header_size} of header"),
        ("runs", f"in RAM at 0x{header.load_address:08x}" if header.load_address else "in its slot"),
        ("digest", f"{header.digest_kind} {header.digest.hex()}"),
        ("signature", header.signature or "none"),
        ("key", header.key_hash[:16] or "not named"),
    ]
