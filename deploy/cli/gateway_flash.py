"""`undercity gateway flash`: one board, or all of a hub; and what was cut is offered to be finished."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.gateway_image import KEYS, KeysOption
from deploy.cli.gateway_ports import BaudOption, BootloaderOption, OptionOption, ask_port
from deploy.cli.options import ConfigOption

if TYPE_CHECKING:
    from deploy.gateways.single import Job
    from devices.firmware.driver import Step
    from devices.firmware.image import Image
    from devices.firmware.journal import Flash, FlashBook


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command()(flash)
    group.command()(interrupted)


def flash(  # noqa: PLR0917  options of a command
    bundle: Annotated[
        Path,
        typer.Argument(
            help="Signed bundle, made by 'undercity gateway image sign'; or a bare MCUboot image, with --board, "
            "--revision and --option key=FILE."
        ),
    ],
    port: Annotated[
        str, typer.Argument(help="Serial port, as 'undercity gateway ports' shows it, or a URL.")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Every port that --match names, one process each.")
    ] = False,
    match: Annotated[str, typer.Option("--match", help="With --all: VID:PID of the boards' adapters.")] = "",
    ports: Annotated[str, typer.Option("--ports", help="With --all: ports or URLs, separated by commas.")] = "",
    groups: Annotated[
        str, typer.Option("--groups", help="With --all: sizes of the first groups, such as 1,4.")
    ] = "",
    halt_after: Annotated[
        int, typer.Option("--halt-after", help="With --all: failures that halt further groups.")
    ] = 1,
    report: Annotated[
        Path | None, typer.Option("--report", help="With --all: report to write, .json or .csv.")
    ] = None,
    bootloader: BootloaderOption = "",
    baud: BaudOption = 0,
    option: OptionOption = None,
    application_baud: Annotated[
        int, typer.Option("--application-baud", help="Speed of the application.")
    ] = 115200,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Its application runs: ask it which board this is, and send it to its bootloader."
        ),
    ] = False,
    board: Annotated[str, typer.Option("--board", help="Which board this is, where it does not say itself.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="Its hardware revision, likewise.")] = "",
    gateway: Annotated[
        str, typer.Option("--gateway", help="Gateway it is in the city, where it is one already.")
    ] = "",
    who: Annotated[str, typer.Option("--who", help="Who flashes; without it the login's name.")] = "",
    attempts: Annotated[int, typer.Option("--attempts", help="Times to begin anew after a failed exchange.")] = 3,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="Progress and result as JSON lines.")] = False,
    keys: KeysOption = KEYS,
    config: ConfigOption = None,
) -> None:
    """Flash a signed image onto a board, and prove that it is there and runs."""
    from deploy.gateways.laptop import flash_book, person  # noqa: PLC0415  quick help needs no layers
    from deploy.gateways.many import Rollout, checked_report, rows_of  # noqa: PLC0415
    from deploy.gateways.single import Job, bootloader_for, checked_options  # noqa: PLC0415
    from deploy.gateways.table import drawing  # noqa: PLC0415
    from devices.errors import RefusedError  # noqa: PLC0415
    from devices.firmware.bundle import read_file  # noqa: PLC0415
    from devices.firmware.drivers import named  # noqa: PLC0415
    from devices.firmware.flash import Known  # noqa: PLC0415
    from devices.firmware.mcuboot import is_mcuboot  # noqa: PLC0415
    from devices.firmware.ports import Port, chosen, listed  # noqa: PLC0415

    if attempts < 1:
        raise RefusedError(f"--attempts: expected at least 1, got {attempts}; nothing was sent")
    if everything and port:
        raise RefusedError(f"--all: expected no port beside it, got {port}; nothing was sent")
    content = read_file(bundle)
    bare = is_mcuboot(content)  # it names no bootloader, and its key is an option of the one that writes it
    loader = (
        named(bootloader or "smp") if bare else bootloader_for(bootloader, image := _opened(content, bundle, keys))
    )
    options = checked_options(loader, option or [])
    if bare:
        image = _bare(content, bundle, options, board, revision)
    book = flash_book(config)
    _offer(book)
    job = Job(
        port=Port(device="") if everything else chosen(port or ask_port(), listed()),
        image=image,
        file=bundle,
        bootloader=loader,
        who=person(who),
        known=Known(board=board, revision=revision, source="the engineer" if board or revision else ""),
        baud=baud,
        options=options,
        application_baud=application_baud,
        attempts=attempts,
        gateway=gateway,
        ask=ask,
    )
    if everything:
        rollout = Rollout(rows_of(match, ports, groups), job, book, halt_after=halt_after)
        into = checked_report(report)
        with drawing(f"{image.manifest.board} {image.manifest.version}") as draw:
            raise typer.Exit(0 if rollout.run(draw, into) else 1)
    (_as_lines if json_lines else _for_a_person)(job, book)


def interrupted(
    finish: Annotated[bool, typer.Option("--finish", help="Flash each of them again, as it was begun.")] = False,
    who: Annotated[str, typer.Option("--who", help="Who finishes them; without it the login's name.")] = "",
    keys: KeysOption = KEYS,
    config: ConfigOption = None,
) -> None:
    """List flashes that were cut and never finished, or finish them; exit code 1 while any is left."""
    from deploy.gateways.laptop import flash_book, person  # noqa: PLC0415

    book = flash_book(config)
    for one in book.interrupted():
        print(_finish(one))
        if finish:
            _finished(one, book, keys, person(who))
    if book.interrupted():
        raise typer.Exit(1)
    print("no flash is unfinished")


def _finished(one: Flash, book: FlashBook, keys: Path, who: str) -> None:
    """Flash it again; what it says when it cannot is one line, and the next one's turn."""
    from deploy.gateways.single import again  # noqa: PLC0415
    from devices.errors import FirmwareError  # noqa: PLC0415
    from devices.firmware.bundle import read_file  # noqa: PLC0415

    file = Path(one.file)
    try:
        _for_a_person(again(one, _opened(read_file(file), file, keys), who), book)
    except FirmwareError as error:
        print(f"undercity: {error}", file=sys.stderr)


def _offer(book: FlashBook) -> None:
    """What was cut is found at the next start."""
    for one in book.interrupted():
        print(f"unfinished: {_finish(one)}", file=sys.stderr)


def _finish(one: Flash) -> str:
    board = f"{one.board} {one.serial}".strip()
    return (
        f"{board} at {one.port} was cut while it was at '{one.step}'; the board may hold half an image; finish it "
        "with 'undercity gateway interrupted --finish'"
    )


def _opened(content: bytes, bundle: Path, keys: Path) -> Image:
    from datetime import UTC, datetime  # noqa: PLC0415

    from devices.firmware.bundle import opened  # noqa: PLC0415
    from devices.firmware.keys import load_keyring  # noqa: PLC0415

    today = datetime.now(UTC).date().isoformat()
    return opened(content, load_keyring(keys), name=bundle.name, today=today)


def _bare(content: bytes, file: Path, options: Mapping[str, str], board: str, revision: str) -> Image:
    """An MCUboot image without a bundle: the engineer says what it is for, and the record says that."""
    from devices.firmware.mcuboot import image  # noqa: PLC0415
    from devices.firmware.mcuboot_keys import read_public_key  # noqa: PLC0415

    key = read_public_key(Path(options["key"])) if options.get("key") else None
    return image(content, key, name=file.name, board=board, revisions=[revision] if revision else [])


def _for_a_person(job: Job, book: FlashBook) -> None:
    from deploy.cli.progress import progress_bar  # noqa: PLC0415
    from deploy.gateways.single import run, told_by  # noqa: PLC0415

    manifest = job.image.manifest
    notes = " / ".join(note for note in manifest.notes if note)
    said = f"{manifest.board} {manifest.version}, {manifest.size} bytes, by {job.bootloader.name} at {job.port.device}"
    print(f"{said}{f': {notes}' if notes else ''}", file=sys.stderr)
    if job.bootloader.traits.enter.en:
        print(f"to enter its bootloader: {job.bootloader.traits.enter.en}", file=sys.stderr)
    with progress_bar(job.port.device) as bar:
        entry, flashed = run(job, book, told_by(bar))
    again = f", at attempt {flashed.attempts}" if flashed.attempts > 1 else ""
    print(
        f"{entry.board} {entry.revision} {entry.serial}".strip()
        + f": {manifest.version} is on it and runs, shown by {flashed.proof}, in {entry.seconds:.1f} s{again}"
    )


def _as_lines(job: Job, book: FlashBook) -> None:
    from dataclasses import replace  # noqa: PLC0415

    from deploy.gateways.single import run, seldom  # noqa: PLC0415
    from devices.errors import FirmwareError  # noqa: PLC0415
    from devices.firmware.journal import Result, new_id  # noqa: PLC0415

    def tell(step: Step, done: int, total: int) -> None:
        _line({"step": step.value, "done": done, "total": total})

    job = replace(job, id=new_id())
    try:
        entry, flashed = run(job, book, seldom(tell))
    except FirmwareError as error:
        ended = book.get(job.id)
        _line({"result": ended.result.value if ended else Result.FAILED.value, "why": str(error)})
        raise
    _line(
        {
            "result": "done",
            "id": entry.id,
            "board": entry.board,
            "serial": entry.serial,
            "version": entry.version,
            "proof": flashed.proof.value,
        }
    )


def _line(values: dict[str, object]) -> None:
    import msgspec  # noqa: PLC0415

    print(msgspec.json.encode(values).decode(), flush=True)
