"""The one procedure of every flash: identify, preflight, write, verify, boot.

From: an image that was checked, a bootloader's driver, and what is known of the board. To: a `Flashed`, which exists
only when the device was shown to hold the image and to run it; whatever else happens ends in an error of
`devices.errors` that says how far it got. A record of each step goes to a `Recorder` as it begins, so that what was
interrupted can be found and finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from devices.errors import BootError, ExchangeError, LinkError, RefusedError, VerifyError
from devices.firmware.driver import Board, Driver, Proof, Step, Told
from devices.firmware.image import Image, Manifest
from devices.firmware.link import Link

ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of the board besides what its bootloader says, and from where; empty: not known.

    `security_counter`: the highest that this board ever held, -1 where nobody knows.
    """

    board: str = ""
    revision: str = ""
    security_counter: int = -1
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashed:
    """A flash that succeeded. `proof`: how it is known that the board holds the image. `attempts`: writes begun."""

    board: Board
    proof: Proof
    attempts: int


class Recorder(Protocol):
    """Keeps a record of how far a flash is."""

    def reached(self, step: Step, detail: str) -> None:
        """`step` begins now; `detail` is one line for a person."""
        ...

    def identified(self, board: Board, known: Known) -> None:
        """Which board it is, and what else is known of it; nothing was decided yet."""
        ...


# What records know of a board once it has said who it is.
Recall = Callable[[Board], Known]

# Looks whether the application runs after the bootloader let go; BootError when it does not. The proof is
# APPLICATION when the application named the digest of what it is. It gets the driver's line, still open, so that not
# even the first byte an application prints is missed; None where a program of another's holds the port.
BootCheck = Callable[[Image, Link | None], Proof | None]


def flash(
    image: Image,
    driver: Driver,
    known: Known,
    *,
    told: Told,
    record: Recorder,
    boot_check: BootCheck,
    recall: Recall = lambda _board: Known(),
    attempts: int = ATTEMPTS,
) -> Flashed:
    """Bring `image` onto the board behind `driver`, and prove it. `known`: what a person or the application said.

    Raises:
        RefusedError: image and board do not belong together; nothing was written.
        ExchangeError, LinkError: the line or the bootloader failed `attempts` times; the board may hold half an image.
        VerifyError: what the board holds differs, or nothing can show that it does not.
        BootError: the board does not run the image.
    """
    try:
        record.reached(Step.IDENTIFY, "")
        told(Step.IDENTIFY, 0, 1)
        board = driver.identify()
        told(Step.IDENTIFY, 1, 1)
        known = merged(known, recall(board))
        record.identified(board, known)
        record.reached(Step.PREFLIGHT, f"{board.chip} {board.serial}".strip())
        preflight(image.manifest, board, known)
        record.reached(
            Step.WRITE, f"{image.manifest.version} {image.digest[:16]}, key {image.manifest.key or 'none'}"
        )
        proof, begun = _write(image, driver, board, told, record, attempts)
        record.reached(Step.BOOT, "")
        told(Step.BOOT, 0, 1)
        started = driver.boot(image)
        seen = boot_check(image, driver.link)
    finally:
        driver.close()
    told(Step.BOOT, 1, 1)
    proof = proof or started or seen
    if proof is None:
        raise VerifyError(
            f"{image.manifest.board} {image.manifest.version}: written and started, but neither bootloader nor "
            "application can show that it is complete; it is not called flashed"
        )
    return Flashed(board=board, proof=proof, attempts=begun)


def merged(said: Known, recalled: Known) -> Known:
    """What was said of a board, filled up with what records say; RefusedError where they contradict each other."""
    for what in ("board", "revision"):
        one, other = getattr(said, what), getattr(recalled, what)
        if one and other and one != other:
            _refuse(f"{what} {one} ({said.source})", f"the {recalled.source} says it is {other}")
    return Known(
        board=said.board or recalled.board,
        revision=said.revision or recalled.revision,
        security_counter=max(said.security_counter, recalled.security_counter),
        source=said.source or recalled.source,
    )


def preflight(manifest: Manifest, board: Board, known: Known) -> None:
    """Refuse what does not belong together, before anything is erased; RefusedError with one line."""
    who = f"{board.board or known.board or board.chip} {board.serial}".strip()
    if manifest.chip and board.chip and board.chip != manifest.chip:
        _refuse(who, f"image is for chip {manifest.chip}, this board has {board.chip}")
    if board.board and known.board and board.board != known.board:
        _refuse(who, f"expected board {known.board} ({known.source}), it says it is {board.board}")
    name = board.board or known.board
    if not name:
        _refuse(
            who, "its bootloader does not say which board it is, and nobody else did; say --board and --revision"
        )
    if name != manifest.board:
        _refuse(who, f"image is for board {manifest.board}, this is {name}")
    revision = board.revision or known.revision
    if not revision:
        _refuse(
            who, f"image is for revision {', '.join(manifest.revisions)}, this one's is unknown; say --revision"
        )
    if revision not in manifest.revisions:
        _refuse(who, f"image is for revision {', '.join(manifest.revisions)}, this board is {revision}")
    newest = max(board.security_counter, known.security_counter)
    if manifest.security_counter < newest:
        _refuse(who, f"image has security counter {manifest.security_counter}, the board already had {newest}")
    if board.capacity and manifest.size > board.capacity:
        _refuse(who, f"image has {manifest.size} bytes, the board takes {board.capacity}")


def _write(
    image: Image, driver: Driver, board: Board, told: Told, record: Recorder, attempts: int
) -> tuple[Proof | None, int]:
    """Write and verify, anew after a failed exchange; (proof, writes begun)."""
    for attempt in range(1, attempts + 1):
        try:
            if attempt > 1:
                # A retry on a line that is out of step makes things worse: open it again and ask who is there.
                driver.reconnect()
                _same(board, driver.identify())
            driver.write(image, told)
            record.reached(Step.VERIFY, "")
            return driver.verify(image, told), attempt
        except (ExchangeError, LinkError, VerifyError) as error:
            if attempt == attempts:
                raise type(error)(
                    f"{error}; {attempts} attempts failed, the board may hold half an image: flash it again"
                ) from error
            record.reached(Step.WRITE, f"attempt {attempt + 1} after: {error}")
    raise BootError("expected at least one attempt, got none; nothing was written")


def _same(first: Board, now: Board) -> None:
    if (first.chip, first.serial) != (now.chip, now.serial):
        raise RefusedError(
            f"{now.chip} {now.serial}: expected {first.chip} {first.serial} to come back, another board answers; "
            "nothing was written to it"
        )


def _refuse(who: str, why: str) -> None:
    raise RefusedError(f"{who}: {why}; nothing was written")
