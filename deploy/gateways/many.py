"""Many boards at once: one process each, a table of how far they are, a roll-out in groups.

From: `undercity gateway flash --all`. To: one report. A board that fails stops none that runs; when too many have
failed, the groups behind are not begun.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec

from deploy.gateways.single import SHARES
from devices.errors import PortError, RefusedError
from devices.firmware.driver import Step
from devices.firmware.ports import Port, chosen, listed

_DRAW_S: Final = 0.2
NOT_BEGUN: Final = "not begun"


class Line(msgspec.Struct):
    """What a process of ours says on its standard output, one JSON object a line."""

    step: str = ""
    done: int = 0
    total: int = 0
    result: str = ""
    why: str = ""
    id: str = ""
    board: str = ""
    serial: str = ""
    version: str = ""
    proof: str = ""


_DECODER: Final = msgspec.json.Decoder(Line)


@dataclass(slots=True, kw_only=True)
class Row:
    """One board as the table and the report show it."""

    port: str
    adapter: str = ""
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

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.result not in {"done", "running", NOT_BEGUN}


@dataclass(slots=True)
class Rollout:
    """Boards in groups. `halt_after`: failures after which no further group begins; 0: never.

    `words`: those of one board's process behind `undercity gateway flash`, but for its port.
    """

    rows: list[Row]
    words: Sequence[str]
    halt_after: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

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
        return all(row.result == "done" for row in self.rows)

    def _group(self, rows: list[Row], draw: Callable[[list[Row]], None]) -> None:
        threads = [threading.Thread(target=self._board, args=(row,), name=f"flash {row.port}") for row in rows]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            draw(self.rows)
            time.sleep(_DRAW_S)

    def _board(self, row: Row) -> None:
        begun = time.monotonic()
        row.result = "running"
        complaint: list[bytes] = []
        with subprocess.Popen(
            [sys.executable, "-m", "deploy", "gateway", "flash", *self.words, row.port, "--json-lines"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            assert process.stderr is not None  # noqa: S101
            listening = threading.Thread(target=_drain, args=(process.stderr, complaint))
            listening.start()
            for line in process.stdout:
                self._heard(row, line, begun)
            code = process.wait()
            listening.join()
        if row.result == "running":
            row.seconds = round(time.monotonic() - begun, 1)
            said = b"".join(complaint).decode(errors="replace").strip().splitlines()
            row.result, row.why = "failed", said[-1] if said else f"its process ended with code {code}"

    def _heard(self, row: Row, line: bytes, begun: float) -> None:
        try:
            heard = _DECODER.decode(line)
        except msgspec.MsgspecError:
            return  # a library's stray print is no news of the board
        with self._lock:
            row.step, row.done, row.total = heard.step or row.step, heard.done, heard.total
            if heard.result:
                row.seconds = round(time.monotonic() - begun, 1)
                row.result, row.why, row.id = heard.result, heard.why, heard.id
                row.board, row.serial, row.version = heard.board, heard.serial, heard.version
                row.proof = heard.proof


def grouped(rows: Sequence[Row], sizes: Sequence[int]) -> None:
    """Number the rows' groups: the first `sizes[0]` are 1, and so on; the rest are the last group."""
    left = list(rows)
    for number, size in enumerate((*sizes, len(left)), 1):
        for row in left[:size]:
            row.group = number
        left = left[size:]


def rows_of(match: str, ports: str, groups: str) -> list[Row]:
    """The boards that `match` (VID:PID) or `ports` (separated by commas) name, in groups; PortError otherwise."""
    rows = [Row(port=port.device, adapter=port.adapter) for port in _targets(match, ports)]
    if len({row.port for row in rows}) != len(rows):
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
    records = [asdict(row) for row in rows]
    if form == ".json":
        return msgspec.json.format(msgspec.json.encode(records)).decode()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else ["port"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def share(row: Row) -> float:
    """How far a board is, 0 to 1."""
    if row.result == "done":
        return 1.0
    begins, ends = SHARES[Step(row.step)] if row.step in set(Step) else (0.0, 0.0)
    return begins + (ends - begins) * (row.done / row.total if row.total else 0.0)


def _drain(pipe: IO[bytes], into: list[bytes]) -> None:
    into.extend(pipe.readlines()[-20:])


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
