"""A serial line to a simulated board, with faults and a clock of its own: no test waits for real time.

Whatever a driver may meet: bytes that come one at a time, are lost, garbled or late, and a plug pulled at a chosen
byte. Time passes only when the driver waits, so a time-out of ten seconds costs nothing.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from devices.errors import LinkError
from devices.firmware.link import Line
from devices.simulator.boards import SimulatedBoard


@dataclass(slots=True)
class Faults:
    """What goes wrong.

    `lose`, `garble`: share of bytes, both ways. `drip`: at most so many bytes a read, 0: all. `delay_s`: each answer
    comes so much later. `unplug_at`: bytes written by the host before the plug is pulled, once each, in order;
    `power_too`: the board loses its power with it. `away_s`: how long it stays out.
    """

    lose: float = 0.0
    garble: float = 0.0
    drip: int = 0
    delay_s: float = 0.0
    unplug_at: list[int] = field(default_factory=list)
    power_too: bool = True
    away_s: float = 0.0
    seed: int = 0


class SerialLine:
    """A `devices.firmware.link.Link` whose other end is `board`."""

    def __init__(self, board: SimulatedBoard, faults: Faults | None = None, line: Line | None = None) -> None:
        self.url = "fake://board"
        self.line = line or Line()
        self.board = board
        self.faults = faults or Faults()
        self.written = 0
        self._clock = 0.0
        self._chance = random.Random(self.faults.seed)
        self._coming: deque[tuple[float, int]] = deque()  # (when it is here, byte)
        self._back_at = 0.0
        self._open = True

    def read(self, size: int, timeout_s: float) -> bytes:
        self._look()
        deadline = self._clock + timeout_s
        wanted = min(size, self.faults.drip) if self.faults.drip else size
        found = bytearray()
        while len(found) < wanted:
            while self._coming and self._coming[0][0] <= self._clock and len(found) < wanted:
                found.append(self._coming.popleft()[1])
            if len(found) >= wanted or self._clock >= deadline:
                break
            due = self._coming[0][0] if self._coming else deadline
            self._pass(max(min(due, deadline, self._clock + 0.05) - self._clock, 1e-4))
        return bytes(found)

    def write(self, data: bytes) -> None:
        self._look()
        cut = next((at for at in self.faults.unplug_at if self.written < at <= self.written + len(data)), None)
        whole = data if cut is None else data[: cut - self.written]
        self.written += len(whole)
        self._pass(len(whole) * self.line.byte_s)
        self._arrive(self.board.receive(self._spoilt(whole)))
        if cut is not None:
            self.faults.unplug_at.remove(cut)
            self._unplug()

    def discard(self) -> None:
        self._look()
        while self._coming and self._coming[0][0] <= self._clock:
            self._coming.popleft()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        self._look()
        self.board.control(dtr=dtr, rts=rts)

    def set_line(self, line: Line) -> None:
        self.line = line

    def pause(self, seconds: float) -> None:
        self._pass(seconds)

    def now(self) -> float:
        return self._clock

    def reopen(self) -> None:
        if self._clock < self._back_at:
            raise LinkError(f"{self.url}: the line is gone: unplugged; look at plug and cable")
        self._coming.clear()
        self._open = True

    def close(self) -> None:
        self._open = False

    def _look(self) -> None:
        if not self._open:
            raise LinkError(f"{self.url}: the line is gone: unplugged; look at plug and cable")

    def _unplug(self) -> None:
        self._open = False
        self._coming.clear()
        self._back_at = self._clock + self.faults.away_s
        if self.faults.power_too:
            self.board.power_cut()
        self._look()

    def _pass(self, seconds: float) -> None:
        self._clock += seconds
        self._arrive(self.board.elapse(seconds))

    def _arrive(self, data: bytes) -> None:
        when = self._clock + self.faults.delay_s
        self._coming.extend((when, byte) for byte in self._spoilt(data))

    def _spoilt(self, data: bytes) -> bytes:
        if not (self.faults.lose or self.faults.garble):
            return data
        kept = bytearray()
        for byte in data:
            if self._chance.random() < self.faults.lose:
                continue
            kept.append(
                byte ^ (1 << self._chance.randrange(8)) if self._chance.random() < self.faults.garble else byte
            )
        return bytes(kept)
