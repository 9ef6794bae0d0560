"""`undercity gateway ports|drivers|identify`: what is plugged in, what can flash it, what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from devices.firmware.journal import Flash
    from devices.firmware.ports import Port

PortArgument = Annotated[
    str,
    typer.Argument(
        help="Serial port: device, VID:PID, serial number or USB location of its adapter, or a URL "
        "(socket://host:port, rfc2217://host:port)."
    ),
]
BootloaderOption = Annotated[
    str, typer.Option("--bootloader", help="Bootloader on the board; without it the one of the image's chip.")
]
BaudOption = Annotated[
    int, typer.Option("--baud", help="Speed of the line; without it the bootloader's usual one.")
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="NAME=VALUE of the bootloader; see 'undercity gateway drivers'."),
]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command()(ports)
    group.command()(drivers)
    group.command()(identify)


def ports(
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the serial ports, and what was last flashed through each."""
    import sys  # noqa: PLC0415

    from deploy.gateways.laptop import flash_book  # noqa: PLC0415  quick help needs no layers
    from devices.firmware.ports import listed, why_none  # noqa: PLC0415

    book = flash_book(config)
    found = [(port, book.at_adapter(port.adapter)) for port in listed()]
    if json:
        print(_json(found))
        return
    for port, last in found:
        seen = f"last flashed: {last.board} {last.serial} {last.version}" if last else ""
        facts = (port.device, port.usb, port.chip or port.description, port.serial, port.location, seen)
        print("  ".join(one for one in facts if one))
    if not found:
        print("no serial port is there", file=sys.stderr)
        for reason in why_none():
            print(f"- {reason}", file=sys.stderr)
        raise typer.Exit(1)


def drivers() -> None:
    """List the bootloaders that can be flashed: speed, resume, what they can prove, their options."""
    from devices.firmware.drivers import load  # noqa: PLC0415

    for one in load().values():
        traits = one.traits
        speeds = ", ".join(str(baud) for baud in traits.bauds)
        proves = ", ".join(proof.value for proof in traits.proves) or "only the running image can"
        print(f"{one.name}: {one.title.en}")
        print(f"  speed: {speeds} baud, parity {traits.parity}; a cut write {_resumes(resumes=traits.resumes)}")
        print(f"  shows what the board holds by: {proves}")
        if traits.enter.en:
            print(f"  to enter it: {traits.enter.en}")
        for name, meaning in one.options.items():
            print(f"  --option {name}=…: {meaning.en}")


def identify(
    port: PortArgument,
    bootloader: BootloaderOption = "",
    baud: BaudOption = 0,
    option: OptionOption = None,
    json: JsonOption = False,
) -> None:
    """Ask one board's bootloader what it is; nothing is written."""
    from dataclasses import asdict  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from deploy.gateways.single import checked_options  # noqa: PLC0415
    from devices.errors import PortError  # noqa: PLC0415
    from devices.firmware.drivers import named  # noqa: PLC0415
    from devices.firmware.ports import chosen, explained, listed  # noqa: PLC0415

    loader = named(bootloader)
    found = chosen(port, listed())
    options = checked_options(loader, option or [])
    try:
        driver = loader.connect(found.device, baud=baud or loader.traits.bauds[0], options=options)
    except PortError as error:
        raise explained(found, error) from None
    try:
        board = driver.identify()
    finally:
        driver.close()
    if json:
        print(msgspec.json.encode(asdict(board)).decode())
        return
    for what, value in asdict(board).items():
        unknown = value in {"", -1} or (what == "capacity" and value == 0)
        print(f"{what.replace('_', ' ') + ':':18}{'it does not say' if unknown else value}")


def ask_port() -> str:
    """Which port a person at a terminal means; PortError where there is none to ask, or nobody."""
    import sys  # noqa: PLC0415

    from devices.errors import PortError  # noqa: PLC0415
    from devices.firmware.ports import listed  # noqa: PLC0415

    there = listed()
    if not there or not sys.stdin.isatty():
        names = ", ".join(one.device for one in there) or "none; 'undercity gateway ports' says why that can be"
        raise PortError(f"port: expected one to be named; ports are: {names}; nothing was sent")
    for number, one in enumerate(there, 1):
        facts = (one.device, one.usb, one.chip or one.description, one.serial, one.location)
        print(f"{number}  {'  '.join(filter(None, facts))}", file=sys.stderr)
    asked: int = typer.prompt("which port", type=int, err=True)
    if not 1 <= asked <= len(there):
        raise PortError(f"port: expected 1 to {len(there)}, got {asked}; nothing was sent")
    return there[asked - 1].device


def _resumes(*, resumes: bool) -> str:
    return "goes on where it stopped" if resumes else "begins anew"


def _json(found: list[tuple[Port, Flash | None]]) -> str:
    from dataclasses import asdict  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    rows = [{**asdict(port), "chip": port.chip, "last": asdict(last) if last else None} for port, last in found]
    return msgspec.json.encode(rows).decode()
