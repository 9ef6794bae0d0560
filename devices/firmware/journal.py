"""The journal of flashes: who flashed which image onto which board, when, with what result, shown by what.

From: `undercity gateway flash` and `provision`, step by step as they happen. To: the operations database, and one JSON
line for each change beside it, which a laptop carries home: reading the same lines twice changes nothing. What stands
open although its process is gone was interrupted.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Engine, RowMapping, insert, select, update

from devices.errors import FirmwareError
from devices.firmware.driver import Board, Step
from devices.firmware.flash import Flashed, Known
from devices.firmware.tables import FLASH

_TEXT_MAX: Final = {column.name: getattr(column.type, "length", 0) or 0 for column in FLASH.columns}


class Result(StrEnum):
    """How a flash ended."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"  # before anything was written
    FAILED = "failed"  # the board may hold half an image
    INTERRUPTED = "interrupted"  # nobody knows: the process or the machine went away


class Provisioned(StrEnum):
    """How a gateway was seen to report after it was provisioned; a record begins with it, details stand behind ': '."""

    READING = "first reading"
    NOT_WAITED = "configured; nobody waited for a reading (--no-wait)"
    NO_READING = "no valid reading"
    NOT_CONNECTED = "configured, not connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash:
    """One flash. Times: UTC microseconds.

    `file`: the bundle's absolute path; `settings`: speeds and options as JSON; both to finish what was interrupted.
    `usb`: VID:PID, serial number and location of the adapter. `provisioned`: a `Provisioned` with its details; empty
    when the gateway was not provisioned.
    """

    id: str
    begun_us: int
    ended_us: int = 0
    result: Result = Result.RUNNING
    step: str = Step.IDENTIFY.value
    detail: str = ""
    who: str = ""
    process: str = ""
    port: str = ""
    usb: str = ""
    bootloader: str = ""
    chip: str = ""
    serial: str = ""
    board: str = ""
    revision: str = ""
    file: str = ""
    settings: str = ""
    version: str = ""
    security_counter: int = 0
    digest: str = ""
    proof: str = ""
    attempts: int = 0
    gateway: str = ""
    provisioned: str = ""

    @property
    def seconds(self) -> float:
        """How long it took, 0 while it runs."""
        return max(self.ended_us - self.begun_us, 0) / 1e6


_LINES: Final = msgspec.json.Decoder(Flash)
Now = Callable[[], int]


class FlashBook:
    """All flashes, in the operations database and, where `lines` is given, as JSON lines; for several processes."""

    def __init__(self, engine: Engine, now: Now, *, lines: Path | None = None) -> None:
        self._engine = engine
        self._now = now
        self._lines = lines

    def begin(self, flash: Flash) -> FlashLog:
        """Write down that a flash begins, before anything happens to the board; an empty id becomes a new one."""
        mine = replace(flash, id=flash.id or new_id(), begun_us=self._now(), process=_process())
        self._put(mine)
        return FlashLog(mine, self._put, self._now)

    def get(self, flash: str) -> Flash | None:
        """The flash with this id."""
        return self._last(FLASH.c.id == flash)

    def newest(self, limit: int, *, gateway: str = "") -> list[Flash]:
        """The last flashes, newest first; of one gateway when given."""
        wanted = select(FLASH).order_by(FLASH.c.begun_us.desc(), FLASH.c.id).limit(limit)
        return self._rows(wanted.where(FLASH.c.gateway == gateway) if gateway else wanted)

    def by_gateway(self) -> dict[str, Flash]:
        """The last successful flash of every gateway that is known by its id."""
        good = (FLASH.c.result == Result.DONE.value) & (FLASH.c.gateway != "")
        return {one.gateway: one for one in self._rows(select(FLASH).where(good).order_by(FLASH.c.ended_us))}

    def at_adapter(self, usb: str) -> Flash | None:
        """What was last flashed through this very adapter; it may stand at another board by now."""
        return self._last(FLASH.c.usb == usb) if usb else None

    def recall(self, board: Board) -> Known:
        """What the journal knows of a board that says who it is; nothing of one without a serial number."""
        if not board.serial:
            return Known()
        mine = (FLASH.c.chip == board.chip) & (FLASH.c.serial == board.serial)
        mine &= FLASH.c.result.not_in([Result.REFUSED.value])
        seen = self._rows(select(FLASH).where(mine).order_by(FLASH.c.begun_us))
        if not seen:
            return Known()
        last = seen[-1]
        # Also what was interrupted or failed may have reached the board.
        counter = max(one.security_counter for one in seen)
        return Known(
            board=last.board, revision=last.revision, security_counter=counter, source="journal of flashes"
        )

    def interrupted(self) -> list[Flash]:
        """Flashes whose process is gone without an end, marked as interrupted now; oldest first.

        Those that already were, and that no later flash of the same port mended, are among them.
        """
        open_ones = select(FLASH).where(FLASH.c.result == Result.RUNNING.value)
        for one in self._rows(open_ones):
            if not _alive(one.process):
                self._put(replace(one, result=Result.INTERRUPTED, ended_us=self._now()))
        cut = select(FLASH).where(FLASH.c.result == Result.INTERRUPTED.value).order_by(FLASH.c.begun_us)
        return [one for one in self._rows(cut) if not self._mended(one)]

    def provisioned(self, flash: str, gateway: str, how: str) -> None:
        """Write down which gateway the board became, and how it was seen to report."""
        found = self._last(FLASH.c.id == flash)
        if found is not None:
            self._put(replace(found, gateway=gateway, provisioned=how))

    def take(self, lines: Iterable[bytes], name: str) -> int:
        """Take JSON lines of another journal; how many were new or went further. FirmwareError for a bad line."""
        taken = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                flash = _LINES.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise FirmwareError(f"{name} line {number}: {error}; the lines before it were taken") from None
            known = self._last(FLASH.c.id == flash.id)
            if known is None or (known.result is Result.RUNNING and known != flash):
                self._put(flash)
                taken += 1
        return taken

    def _mended(self, flash: Flash) -> bool:
        """Whether a later flash ended well on the same board, or through the same port where the board is not known."""
        later = (FLASH.c.begun_us > flash.begun_us) & (FLASH.c.result == Result.DONE.value)
        same = FLASH.c.port == flash.port
        if flash.serial:
            same = (FLASH.c.chip == flash.chip) & (FLASH.c.serial == flash.serial)
        return self._last(later & same) is not None

    def _last(self, wanted: ColumnElement[bool]) -> Flash | None:
        rows = self._rows(select(FLASH).where(wanted).order_by(FLASH.c.begun_us.desc()).limit(1))
        return rows[0] if rows else None

    def _rows(self, query: object) -> list[Flash]:
        with self._engine.connect() as connection:
            return [_flash(row) for row in connection.execute(query).mappings()]  # type: ignore[call-overload]

    def _put(self, flash: Flash) -> None:
        row = {name: _short(name, value) for name, value in asdict(flash).items()}
        with self._engine.begin() as connection:
            done = connection.execute(update(FLASH).where(FLASH.c.id == flash.id).values(row))
            if not done.rowcount:
                connection.execute(insert(FLASH).values(row))
        if self._lines is not None:
            self._append(row)

    def _append(self, row: dict[str, object]) -> None:
        assert self._lines is not None  # noqa: S101  asked by the caller
        handle = os.open(self._lines, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(handle, msgspec.json.encode(row) + b"\n")  # one write: lines of two processes never mingle
            os.fsync(handle)
        finally:
            os.close(handle)


def new_id() -> str:
    """An id that no other flash has."""
    return uuid.uuid4().hex


class FlashLog:
    """The record of one flash while it happens; a `devices.firmware.flash.Recorder`."""

    def __init__(self, flash: Flash, put: Callable[[Flash], None], now: Now) -> None:
        self.flash = flash
        self._put = put
        self._now = now

    def reached(self, step: Step, detail: str) -> None:
        """Write down that `step` begins."""
        self._set(replace(self.flash, step=step.value, detail=detail))

    def identified(self, board: Board, known: Known) -> None:
        """Write down which board it is, before anything is decided about it."""
        name, revision = board.board or known.board, board.revision or known.revision
        self._set(replace(self.flash, chip=board.chip, serial=board.serial, board=name, revision=revision))

    def done(self, flashed: Flashed) -> None:
        """It succeeded."""
        self._set(
            replace(
                self.flash,
                result=Result.DONE,
                ended_us=self._now(),
                proof=flashed.proof.value,
                attempts=flashed.attempts,
                detail="",
            )
        )

    def ended(self, result: Result, why: str) -> None:
        """It did not succeed."""
        self._set(replace(self.flash, result=result, ended_us=self._now(), detail=why))

    def _set(self, flash: Flash) -> None:
        self.flash = flash
        self._put(flash)


def _flash(row: RowMapping) -> Flash:
    values = {field.name: row[field.name] for field in fields(Flash)}
    return Flash(**values | {"result": Result(row["result"])})


def _short(name: str, value: object) -> object:
    if isinstance(value, str) and _TEXT_MAX[name]:
        return value[: _TEXT_MAX[name]]
    return value


def _process() -> str:
    """This process, so that another one can tell whether it still lives: host:pid:start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _alive(process: str) -> bool:
    """Whether it still runs; one of another host is taken to, since nobody can tell."""
    host, pid, started = [*process.rsplit(":", 2), "", ""][:3]
    if host != socket.gethostname() or not pid.isdigit():
        return True
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks, so that a number used again is not taken for it; empty: gone."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return ""
