"""`undercity gateway image ...`: keys, signed images, and what one says of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from devices.firmware.image import Manifest

KeysOption = Annotated[
    Path,
    typer.Option(
        "--keys", envvar="UNDERCITY_KEYS", help="Folder of signing keys and of the keys that are trusted."
    ),
]
KEYS = Path("undercity-keys")
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="File with the passphrase, - for standard input; otherwise it is asked for."
    ),
]


def add(group: typer.Typer) -> None:
    """Add the group of commands."""
    image = typer.Typer(help="Images and the keys that sign them.", no_args_is_help=True)
    for command in (keygen, sign, inspect, verify, trust, distrust, rotate):
        image.command()(command)
    image.command("keys")(list_keys)
    group.add_typer(image, name="image")


def keygen(
    name: Annotated[str, typer.Argument(help="Name of the key, such as maker-2026.")],
    keys: KeysOption = KEYS,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a signing key, protected by a passphrase, and trust it on this machine."""
    from devices.firmware.keys import generate, load_keyring, save_keyring  # noqa: PLC0415  quick help needs no layers

    made = generate(keys, name, asked_passphrase(passphrase_file, f"new passphrase of {name}", twice=True))
    save_keyring(keys, load_keyring(keys).with_key(made.public))
    print(f"{keys / (name + '.key')}: key {made.public.id}; keep it off the laptops that only flash")
    print(f"public key, for 'undercity gateway image trust {name}': {made.public.raw.hex()}")


def sign(  # noqa: PLR0917  options of a command
    payload: Annotated[Path, typer.Argument(help="The image: raw bytes, Intel HEX, or an MCUboot image.")],
    board: Annotated[str, typer.Option("--board", help="Board it is for, as its maker names it.")],
    revision: Annotated[
        list[str], typer.Option("--revision", help="Hardware revision it is for; may be repeated.")
    ],
    version: Annotated[str, typer.Option("--version", help="MAJOR.MINOR.PATCH, with +BUILD if you like.")],
    key: Annotated[str, typer.Option("--key", help="Name of the signing key.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle to write.")],
    counter: Annotated[int, typer.Option("--counter", help="Security counter: raise it to bar older images.")] = 0,
    chip: Annotated[str, typer.Option("--chip", help="Chip, such as stm32:0x413; empty for any.")] = "",
    base: Annotated[
        str, typer.Option("--base", help="Address it goes to, such as 0x08000000; Intel HEX brings its own.")
    ] = "0",
    boot: Annotated[
        str, typer.Option("--boot", help="How it is seen to run: hello, text:WORD or loader.")
    ] = "hello",
    note_zh: Annotated[str, typer.Option("--note-zh", help="Note for engineers, Chinese.")] = "",
    note_en: Annotated[str, typer.Option("--note-en", help="Note for engineers, English.")] = "",
    keys: KeysOption = KEYS,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Wrap an image in a signed bundle."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from devices.errors import ImageError  # noqa: PLC0415
    from devices.firmware.bundle import read_file, sealed  # noqa: PLC0415
    from devices.firmware.hexfile import is_hex, read_hex  # noqa: PLC0415
    from devices.firmware.image import Image  # noqa: PLC0415
    from devices.firmware.keys import unlock  # noqa: PLC0415
    from devices.firmware.mcuboot import agrees, is_mcuboot, looked_into  # noqa: PLC0415
    from devices.spec import Text  # noqa: PLC0415

    try:
        address = int(base, 0)
    except ValueError:
        raise ImageError(
            f"--base: expected an address such as 0x08000000, got {base!r:.40}; nothing was signed"
        ) from None
    content = read_file(payload)
    if is_hex(content):
        address, content = read_hex(content, payload.name)
    if not content:
        raise ImageError(f"{payload}: expected an image, got an empty file; nothing was signed")
    image = Image.of(
        content,
        board=board,
        revisions=tuple(revision),
        version=version,
        security_counter=counter,
        chip=chip,
        base=address,
        boot=boot,
        notes=Text(note_zh, note_en),
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    if is_mcuboot(content):
        agrees(image.manifest, looked_into(content, payload.name), payload.name)
    made = sealed(image, unlock(keys, key, asked_passphrase(passphrase_file, f"passphrase of {key}")))
    out.write_bytes(made)
    print(f"{out}: {board} {', '.join(revision)} version {version}, {len(content)} bytes, signed with {key}")


def inspect(bundle: Annotated[Path, typer.Argument(help="A bundle.")], keys: KeysOption = KEYS) -> None:
    """Show what a bundle says of itself, and whether that can be believed."""
    from devices.errors import ImageError  # noqa: PLC0415
    from devices.firmware.bundle import looked_into, opened, read_file  # noqa: PLC0415
    from devices.firmware.keys import load_keyring  # noqa: PLC0415

    content = read_file(bundle)
    manifest = looked_into(content, bundle.name)
    try:
        opened(content, load_keyring(keys), name=bundle.name, today=_today())
    except ImageError as error:
        trusted = f"NO: {error}"
    else:
        trusted = "yes: signature, digest and key are right"
    for what, value in _lines(manifest):
        print(f"{what + ':':18}{value}")
    print(f"{'to be trusted:':18}{trusted}")


def verify(bundle: Annotated[Path, typer.Argument(help="A bundle.")], keys: KeysOption = KEYS) -> None:
    """Check a bundle's signature, digest and key; exit code 1 when it must not be used."""
    from devices.firmware.bundle import opened, read_file  # noqa: PLC0415
    from devices.firmware.keys import load_keyring  # noqa: PLC0415

    manifest = opened(read_file(bundle), load_keyring(keys), name=bundle.name, today=_today()).manifest
    print(f"{bundle}: {manifest.board} {manifest.version}, signed with key {manifest.key}: it may be used")


def list_keys(keys: KeysOption = KEYS) -> None:
    """List the keys that this machine trusts."""
    from devices.firmware.keys import load_keyring  # noqa: PLC0415

    ring = load_keyring(keys)
    for key in ring.keys:
        print(f"{key.id}  {key.name}{f', until {key.retires}' if key.retires else ''}")
    if not ring.keys:
        print(f"{keys}: no key is trusted; add one with 'undercity gateway image trust'", file=sys.stderr)


def trust(
    name: Annotated[str, typer.Argument(help="Name of the key, or a file made by 'image rotate'.")],
    public: Annotated[str, typer.Argument(help="The public key, 64 hex digits; not needed for a rotation.")] = "",
    keys: KeysOption = KEYS,
) -> None:
    """Trust a maker's key, or take its successor from a statement that the old key signed."""
    from devices.errors import ImageError  # noqa: PLC0415
    from devices.firmware.image import checked_name  # noqa: PLC0415
    from devices.firmware.keys import PublicKey, load_keyring, read_rotation, save_keyring  # noqa: PLC0415

    ring = load_keyring(keys)
    if not public:
        file = Path(name)
        if not file.is_file():
            raise ImageError(
                f"{name}: expected a public key behind the name, or a rotation's file; nothing was changed"
            )
        ring = ring.rotated(read_rotation(file.read_bytes(), name))
    else:
        try:
            raw = bytes.fromhex(public)
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise ImageError(f"key {name}: expected 64 hex digits, got {public!r:.80}; nothing was changed")
        ring = ring.with_key(PublicKey(checked_name("key", name), raw))
    save_keyring(keys, ring)
    list_keys(keys)


def distrust(key: Annotated[str, typer.Argument(help="Name or id of the key.")], keys: KeysOption = KEYS) -> None:
    """Trust a key no more: lost, stolen, or no longer needed."""
    from devices.firmware.keys import load_keyring, save_keyring  # noqa: PLC0415

    save_keyring(keys, load_keyring(keys).without(key))
    list_keys(keys)


def rotate(
    old: Annotated[str, typer.Argument(help="Name of the key that gives way.")],
    new: Annotated[str, typer.Argument(help="Name of its successor; it is made if it is not there.")],
    retires: Annotated[str, typer.Option("--retires", help="Day from which the old key no longer counts.")],
    out: Annotated[Path, typer.Option("--out", help="Statement to write, for every laptop's 'image trust'.")],
    keys: KeysOption = KEYS,
    passphrase_file: PassphraseOption = None,
) -> None:
    """State with the old key that a new one takes its place; one passphrase for both with --passphrase-file."""
    from datetime import date  # noqa: PLC0415

    from devices.errors import ImageError  # noqa: PLC0415
    from devices.firmware.keys import (  # noqa: PLC0415
        generate,
        load_keyring,
        read_rotation,
        rotation,
        save_keyring,
        unlock,
    )

    try:
        date.fromisoformat(retires)
    except ValueError:
        raise ImageError(
            f"--retires: expected a day such as 2027-03-31, got {retires!r:.40}; nothing was made"
        ) from None
    first = asked_passphrase(passphrase_file, f"passphrase of {old}")
    signer = unlock(keys, old, first)
    second = first if passphrase_file else asked_passphrase(None, f"passphrase of {new}", twice=True)
    there = (keys / f"{new}.key").exists()
    successor = unlock(keys, new, second) if there else generate(keys, new, second)
    statement = rotation(signer, successor.public, retires)
    out.write_bytes(statement)
    save_keyring(keys, load_keyring(keys).rotated(read_rotation(statement, str(out))))
    print(
        f"{out}: {old} gives way to {new} on {retires}; run 'undercity gateway image trust {out}' on each laptop"
    )


def _lines(manifest: Manifest) -> list[tuple[str, str]]:
    return [
        ("board", manifest.board),
        ("revisions", ", ".join(manifest.revisions)),
        ("chip", manifest.chip or "any"),
        ("version", manifest.version),
        ("security counter", str(manifest.security_counter)),
        ("size", f"{manifest.size} bytes to 0x{manifest.base:08x}"),
        ("digest", manifest.sha256),
        ("boot check", manifest.boot),
        ("made", manifest.created),
        ("key", manifest.key),
        *((language, note) for language, note in zip(("note zh", "note en"), manifest.notes, strict=True) if note),
    ]


def _today() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC).date().isoformat()


def asked_passphrase(file: Path | None, prompt: str, *, twice: bool = False) -> str:
    """A passphrase out of a file, standard input or a person; never an argument, which a shell would remember."""
    from devices.errors import ImageError  # noqa: PLC0415

    if file is None:
        if not sys.stdin.isatty():
            raise ImageError(f"{prompt}: expected a terminal to ask at, or --passphrase-file; nothing was done")
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))
    text = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8")
    return text.splitlines()[0] if text else ""
