"""What tests of flashing share: an image, a record that is kept, and one flash through the one procedure."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devices.errors import BootError, FirmwareError
from devices.firmware.driver import Board, Driver, Proof, Step
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image
from devices.firmware.link import Link

if TYPE_CHECKING:
    from tests.fakes.serial_line import SerialLine

BOARD = "GW-10"
REVISION = "B"
KNOWN = Known(board=BOARD, revision=REVISION, source="test")


def image(size: int, **manifest: object) -> Image:
    """An image of `size` seeded bytes for board GW-10 revision B."""
    payload = random.Random(size).randbytes(size)
    stated: dict[str, object] = {
        "board": BOARD,
        "revisions": (REVISION,),
        "version": "1.2.3",
        "security_counter": 1,
    }
    return Image.of(payload, **(stated | manifest))


@dataclass
class Kept:
    """A record of the steps, and of the progress that was told."""

    steps: list[tuple[Step, str]] = field(default_factory=list)
    told: list[tuple[Step, int, int]] = field(default_factory=list)
    board: Board | None = None
    known: Known | None = None

    def reached(self, step: Step, detail: str) -> None:
        self.steps.append((step, detail))

    def identified(self, board: Board, known: Known) -> None:
        self.board, self.known = board, known

    def progress(self, step: Step, done: int, whole: int) -> None:
        self.told.append((step, done, whole))


def flashed(
    driver: Driver,
    what: Image,
    running: Callable[[], bytes | None],
    *,
    names_digest: bool = True,
    attempts: int = 3,
) -> Flashed:
    """One flash; `running` is what the board runs, asked at the boot check. FirmwareError as `flash` has it."""
    kept = Kept()

    def boot_check(_image: Image, _link: Link | None) -> Proof | None:
        found = running()
        if found is None:
            raise BootError("the application does not answer; the board may not run")
        if not names_digest:
            return None
        if hashlib.sha256(found[: what.manifest.size]).hexdigest() != what.digest:
            raise BootError("the application names another digest")
        return Proof.APPLICATION

    return flash(
        what,
        driver,
        KNOWN,
        told=kept.progress,
        record=kept,
        boot_check=boot_check,
        attempts=attempts,
    )


def outcome(
    driver: Driver, what: Image, running: Callable[[], bytes | None], *, names_digest: bool = True
) -> Flashed | FirmwareError:
    """As `flashed`, the error handed back: a property looks at both. Its text is one line, always."""
    try:
        return flashed(driver, what, running, names_digest=names_digest)
    except FirmwareError as error:
        if not str(error) or "\n" in str(error):
            raise AssertionError(f"expected one line, got {error!r}") from error
        return error


def pieces(line: SerialLine) -> list[int]:
    """Bytes written before each piece the host hands to `line`, filled as it does."""
    starts: list[int] = []
    plain = line.write

    def write(data: bytes) -> None:
        starts.append(line.written)
        plain(data)

    line.write = write  # type: ignore[method-assign]
    return starts
