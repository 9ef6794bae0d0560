"""Many boards at once: one process each, a table of how far they are, a roll-out in groups.

From: `undercity gateway flash --all`. To: one report. A board that fails stops none that runs; when too many have
failed, the groups behind are not begun.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import msgspec

from deploy.gateways.laptop import PlacedBook
from deploy.gateways.single import SHARES, Job
from deploy.gateways.worker import work
from devices.errors import PortError, RefusedError
from devices.firmware.driver import Step
from devices.firmware.journal import Result, new_id
from devices.firmware.ports import Port, chosen, listed

_DRAW_S: Final = 0.2
NOT_BEGUN: Final = "not begun"
REPORTED: Final = ("group", "result", "why", "board", "serial", "version", "proof", "seconds", "id")

# Each process is forked off one that has everything loaded and no thread: the eighth board starts as soon as the first.
if sys.platform == "win32":
    _PROCESSES = multiprocessing.get_context("spawn")
else:
    _PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["deploy.gateways.worker"])


@dataclass(slots=True, kw_only=True)
class Row:
    """One board as the table and the report show it."""

    port: Port
    group: int = 0
    step: str = ""
    done: int = 0
    total: int = 0
    result: str = NOT_BEGUN
    why: str = ""
    board: str = ""
    serial: str = ""
    version: str = ""
    proof: str = ""
    seconds: float = 0.0
    id: str = ""
    begun: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it is known how it ended."""
        return self.result not in {Result.RUNNING, NOT_BEGUN}

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.ended and self.result != Result.DONE


@dataclass(slots=True)
class Rollout:
    """Boards in groups. `halt_after`: failures after which no further group begins; 0: never.

    `job`: what is done with each board but for its port and id. `book`: the journal that `worker.work` writes as well.
    """

    rows: list[Row]
    job: Job
    book: PlacedBook
    halt_after: int = 0

    def run(self, draw: Callable[[list[Row]], None], into: Path | None = None) -> bool:
        """Flash group by group and write the report; whether all went well.

        `draw` is called a few times a second, and once at the end.
        """
        for group in sorted({row.group for row in self.rows}):
            if self.halt_after and sum(row.failed for row in self.rows) >= self.halt_after:
                break
            self._group([row for row in self.rows if row.group == group], draw)
        draw(self.rows)
        if into is not None:
            into.write_text(report(self.rows, into.suffix), encoding="utf-8")
        return all(row.result == Result.DONE for row in self.rows)

    def _group(self, rows: list[Row], draw: Callable[[list[Row]], None]) -> None:
        running = {pipe: (row, process) for row in rows for pipe, process in [self._begin(row)]}
        while running:
            for pipe in wait(list(running), _DRAW_S):
                assert isinstance(pipe, Connection)  # noqa: S101  nothing else was waited for
                row, process = running[pipe]
                try:
                    row.step, row.done, row.total = pipe.recv()
                except EOFError:
                    process.join()
                    pipe.close()
                    del running[pipe]
                    self._end(row, process.exitcode)
            draw(self.rows)

    def _begin(self, row: Row) -> tuple[Connection, BaseProcess]:
        row.result, row.id, row.begun = Result.RUNNING.value, new_id(), time.monotonic()
        ours, theirs = _PROCESSES.Pipe(duplex=False)
        job = replace(self.job, port=row.port, id=row.id)
        process = _PROCESSES.Process(
            target=work, args=(job, self.book.place, theirs), name=f"flash {row.port.device}"
        )
        process.start()
        theirs.close()
        return ours, process

    def _end(self, row: Row, code: int | None) -> None:
        """What became of it stands in the journal, which its process has written."""
        row.seconds = round(time.monotonic() - row.begun, 1)
        flash = self.book.get(row.id)
        if flash is None:
            row.result, row.why = Result.FAILED.value, f"its process ended with code {code} before it began"
            return
        if flash.result is Result.RUNNING:
            flash = next((one for one in self.book.interrupted() if one.id == row.id), flash)
        row.result, row.why, row.step = flash.result.value, flash.detail, flash.step
        row.board, row.serial, row.version, row.proof = flash.board, flash.serial, flash.version, flash.proof


def grouped(rows: Sequence[Row], sizes: Sequence[int]) -> None:
    """Number the rows' groups: the first `sizes[0]` are 1, and so on; the rest are the last group."""
    left = list(rows)
    for number, size in enumerate((*sizes, len(left)), 1):
        for row in left[:size]:
            row.group = number
        left = left[size:]


def rows_of(match: str, ports: str, groups: str) -> list[Row]:
    """The boards that `match` (VID:PID) or `ports` (separated by commas) name, in groups; PortError otherwise."""
    rows = [Row(port=port) for port in _targets(match, ports)]
    if len({row.port.device for row in rows}) != len(rows):
        raise PortError("--ports: expected each port once; nothing was sent")
    grouped(rows, _sizes(groups))
    return rows


def checked_report(file: Path | None) -> Path | None:
    """`file`, if a report can be written there; RefusedError otherwise, before any board is touched."""
    if file is None:
        return None
    if file.suffix not in {".json", ".csv"}:
        raise RefusedError(f"--report {file}: expected a name that ends in .json or .csv; nothing was sent")
    if not file.absolute().parent.is_dir():
        raise RefusedError(f"--report {file}: there is no such folder; nothing was sent")
    return file


def report(rows: Sequence[Row], form: str) -> str:
    """The rows as `.json` or `.csv`."""
    records = [
        {"port": row.port.device, "adapter": row.port.adapter, **{name: getattr(row, name) for name in REPORTED}}
        for row in rows
    ]
    if form == ".json":
        return msgspec.json.format(msgspec.json.encode(records)).decode()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else ["port"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def share(row: Row) -> float:
    """How far a board is, 0 to 1."""
    if row.result == Result.DONE:
        return 1.0
    begins, ends = SHARES[Step(row.step)] if row.step in set(Step) else (0.0, 0.0)
    return begins + (ends - begins) * (row.done / row.total if row.total else 0.0)


def _targets(match: str, ports: str) -> list[Port]:
    there = listed()
    if ports:
        return [chosen(one.strip(), there) for one in ports.split(",") if one.strip()]
    if not match:
        raise PortError(
            "--all: expected --match VID:PID or --ports A,B: not every port of this machine is a board; "
            "nothing was sent"
        )
    found = [port for port in there if port.usb.casefold() == match.casefold()]
    if not found:
        seen = ", ".join(f"{port.device} {port.usb}".strip() for port in there) or "none"
        raise PortError(f"--match {match}: no adapter has this VID:PID; ports are: {seen}; nothing was sent")
    return found


def _sizes(groups: str) -> list[int]:
    try:
        sizes = [int(one) for one in groups.split(",") if one.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise RefusedError(f"--groups: expected sizes such as 1,4, got {groups!r:.40}; nothing was sent")
    return sizes
