"""One board flashed: keys, driver, journal and boot check put around the procedure.

From: the command line, also as one of many processes (`many.py`). To: a result that is written down before it is told.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from deploy.gateways.boot import asked, boot_check
from devices.errors import FirmwareError, ImageError, PortError, RefusedError
from devices.firmware.driver import BootLoader, Step, Told
from devices.firmware.drivers import load as load_drivers
from devices.firmware.drivers import named
from devices.firmware.flash import ATTEMPTS, Flashed, Known, flash, merged
from devices.firmware.image import Image
from devices.firmware.journal import Flash, FlashBook, FlashLog, Result
from devices.firmware.ports import Port, chosen, explained, listed

# How far a flash is at the beginning and at the end of each step, 0 to 1.
SHARES: Final = {
    Step.IDENTIFY: (0.0, 0.02),
    Step.PREFLIGHT: (0.02, 0.02),
    Step.ERASE: (0.02, 0.1),
    Step.WRITE: (0.1, 0.55),
    Step.VERIFY: (0.55, 0.95),
    Step.BOOT: (0.95, 1.0),
}
_TELL_S: Final = 0.1
_BEFORE_WRITING: Final = {Step.IDENTIFY.value, Step.PREFLIGHT.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One board to flash. `file`: where the image came from. `known`: what the engineer said.

    `ask`: an application that speaks the gateway protocol runs; it says which board this is and goes to its bootloader.
    `id`: of its entry in the journal, empty for a new one.
    """

    port: Port
    image: Image
    file: Path
    bootloader: BootLoader
    who: str
    known: Known = field(default_factory=Known)
    baud: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    application_baud: int = 115200
    attempts: int = ATTEMPTS
    gateway: str = ""
    ask: bool = False
    id: str = ""


def run(job: Job, book: FlashBook, told: Told) -> tuple[Flash, Flashed]:
    """Flash one board; its entry in the journal and how it is known to be right.

    Raises:
        FirmwareError: as `devices.firmware.flash.flash`; the journal has its text, and how far it got.
    """
    log = book.begin(_entry(job))
    with _ended_by_signal():
        try:
            flashed = _flashed(job, book, log, told)
        except BaseException as error:
            log.ended(_result(log, error), _told(error))
            raise
    log.done(flashed)
    return log.flash, flashed


class _Settings(msgspec.Struct):
    """What a job needs besides image and port: as the journal keeps it."""

    baud: int = 0
    application_baud: int = 115200
    options: dict[str, str] = {}
    known: Known = Known()


def again(flash: Flash, image: Image, who: str) -> Job:
    """The job that finishes `flash`; FirmwareError when its entry does not say how."""
    try:
        settings = msgspec.json.decode(flash.settings, type=_Settings)
    except msgspec.MsgspecError:
        raise FirmwareError(
            f"flash {flash.id}: its entry does not say how it was done; flash {flash.file} anew; nothing was sent"
        ) from None
    return Job(
        port=chosen(flash.port, listed()),
        image=image,
        file=Path(flash.file),
        bootloader=named(flash.bootloader),
        who=who,
        known=settings.known,
        baud=settings.baud,
        options=settings.options,
        application_baud=settings.application_baud,
        gateway=flash.gateway,
    )


def told_by(bar: Callable[[int, int], None]) -> Told:
    """Progress of all steps together for one bar, writing and verifying being most of it."""

    def told(step: Step, done: int, total: int) -> None:
        begins, ends = SHARES[step]
        bar(round(1000 * (begins + (ends - begins) * done / max(total, 1))), 1000)

    return told


def seldom(tell: Told) -> Told:
    """`tell`, but between the first and the last of a step not more often than a person looks."""
    told_at = 0.0

    def told(step: Step, done: int, total: int) -> None:
        nonlocal told_at
        if done in {0, total} or time.monotonic() - told_at > _TELL_S:
            told_at = time.monotonic()
            tell(step, done, total)

    return told


def bootloader_for(name: str, image: Image) -> BootLoader:
    """The bootloader `name`, or the one that flashes the image's chip; FirmwareError when nothing tells."""
    if name:
        return named(name)
    family = image.manifest.chip.partition(":")[0]
    fitting = [one for one in load_drivers().values() if family and family in one.families]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(load_drivers())
    raise FirmwareError(
        f"bootloader: chip {image.manifest.chip or 'unknown'!r} does not tell which; say --bootloader, one of {known}; "
        "nothing was sent"
    )


def checked_options(bootloader: BootLoader, pairs: list[str]) -> dict[str, str]:
    """`name=value` options that this bootloader knows; RefusedError otherwise."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in bootloader.options:
            known = ", ".join(bootloader.options) or "none"
            raise RefusedError(
                f"--option {pair!r:.60}: expected NAME=VALUE with a name of {bootloader.name}: {known}; "
                "nothing was sent"
            )
        found[name] = value
    return found


def _flashed(job: Job, book: FlashBook, log: FlashLog, told: Told) -> Flashed:
    baud = job.baud or job.bootloader.traits.bauds[0]
    known = job.known
    try:
        if job.ask:
            known = merged(known, asked(job.port.device, job.application_baud))
        driver = job.bootloader.connect(job.port.device, baud=baud, options=job.options)
    except PortError as error:
        raise explained(job.port, error) from None
    return flash(
        job.image,
        driver,
        known,
        told=told,
        record=log,
        boot_check=boot_check(job.port.device, job.application_baud),
        recall=book.recall,
        attempts=job.attempts,
    )


def _entry(job: Job) -> Flash:
    manifest = job.image.manifest
    return Flash(
        id=job.id,
        begun_us=0,
        who=job.who,
        port=job.port.device,
        usb=job.port.adapter,
        bootloader=job.bootloader.name,
        chip=manifest.chip,
        board=manifest.board,
        file=str(job.file.resolve()),
        settings=msgspec.json.encode(
            _Settings(job.baud, job.application_baud, dict(job.options), job.known)
        ).decode(),
        version=manifest.version,
        security_counter=manifest.security_counter,
        digest=manifest.sha256,
        gateway=job.gateway,
    )


def _result(log: FlashLog, error: BaseException) -> Result:
    if isinstance(error, (PortError, RefusedError, ImageError)) or log.flash.step in _BEFORE_WRITING:
        return Result.REFUSED
    return Result.FAILED if isinstance(error, Exception) else Result.INTERRUPTED


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, FirmwareError) else f"{type(error).__name__} {error}".strip()


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends a flash like Ctrl-C does: with an entry in the journal."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
