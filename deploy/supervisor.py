"""The supervisor: starts the roles, starts again the one that died, and stops them in order.

From: `undercity run`. To: one child process per role. It holds no state worth saving: kill it and the roles end
with it, start it and they go on where their cursors stand.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from deploy.roles import LIFELINE
from deploy.settings import RunSettings

log = structlog.get_logger(__name__)

_POLL_S = 0.1
# First what takes in, then what works it off, then what tells people; who watches sees the end last.
STOP_ORDER = ("ingest", "processor", "sender", "console")


@dataclass(slots=True)
class Child:
    """One role's process over its restarts. `due_s`: when it is to start, monotonic; None while it runs."""

    role: str
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    failures: int = 0
    due_s: float | None = 0.0

    @property
    def running(self) -> bool:
        """Whether the process is there now."""
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Supervisor:
    """Keeps one process per role running until told to stop.

    `command`: the command line that runs a role. `roles`: in the order they start.
    """

    roles: Sequence[str]
    command: Callable[[str], Sequence[str]]
    settings: RunSettings = field(default_factory=RunSettings)
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    children: dict[str, Child] = field(init=False)
    _lifeline: tuple[int, int] = field(init=False, default=(-1, -1))

    def __post_init__(self) -> None:
        self.children = {role: Child(role) for role in self.roles}

    def run(self, stop: threading.Event) -> None:
        """Look after the roles until `stop`, then stop them; returns when none is left."""
        self._lifeline = os.pipe()
        try:
            while not stop.is_set():
                self.step()
                stop.wait(_POLL_S)
        finally:
            self.stop_all()
            for end in self._lifeline:
                os.close(end)

    def step(self) -> None:
        """Note who died, start who is due."""
        now = self.monotonic()
        for child in self.children.values():
            if child.due_s is None and not child.running:
                self._note_end(child, now)
            if child.due_s is not None and now >= child.due_s:
                self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        try:
            child.process = subprocess.Popen(
                list(self.command(child.role)),
                env={**os.environ, LIFELINE: str(self._lifeline[0])},
                pass_fds=(self._lifeline[0],),
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C in the terminal reaches us alone, so that roles stop in order.
            )
        except OSError as error:
            child.failures += 1
            child.due_s = now + self._pause_s(child)
            log.error("role_not_started", name=child.role, reason=str(error))  # noqa: TRY400  the reason says it all
            return
        child.started_s, child.due_s = now, None
        log.info("role_process_started", name=child.role, process=child.process.pid)

    def _note_end(self, child: Child, now: float) -> None:
        ran_s = now - child.started_s
        child.failures = 1 if ran_s >= self.settings.steady_s else child.failures + 1
        pause_s = self._pause_s(child)
        child.due_s = now + pause_s
        log.error(
            "role_died",
            name=child.role,
            process=child.process.pid if child.process else None,
            reason=reason(child.process.returncode if child.process else None),
            ran_s=round(ran_s, 1),
            again_in_s=round(pause_s, 2),
        )

    def _pause_s(self, child: Child) -> float:
        """Doubles with every failure in a row up to the cap; half is chance, lest roles march in step."""
        longest = min(self.settings.restart_max_s, self.settings.restart_s * 2.0 ** min(child.failures - 1, 30))
        return longest * (0.5 + 0.5 * self.chance())

    def stop_all(self) -> None:
        """Stop group after group; whoever outlives its grace is killed."""
        for group in self._groups():
            running = [child for child in group if child.running]
            for child in running:
                self._signal(child, signal.SIGTERM)
            deadline = self.monotonic() + self.settings.grace_s
            for child in running:
                self._await_end(child, deadline)

    def _groups(self) -> Iterator[list[Child]]:
        rest = dict(self.children)
        for prefix in STOP_ORDER:
            group = [rest.pop(role) for role in list(rest) if role.partition("-")[0] == prefix]
            if group:
                yield group
        if rest:
            yield list(rest.values())

    def _await_end(self, child: Child, deadline: float) -> None:
        process = child.process
        if process is None:
            return
        try:
            process.wait(max(0.0, deadline - self.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("role_killed", name=child.role, process=process.pid, grace_s=self.settings.grace_s)
            self._signal(child, signal.SIGKILL)
            process.wait()
        log.info("role_process_ended", name=child.role, process=process.pid, reason=reason(process.returncode))

    def kill_all(self) -> None:
        """End every role at once; for a person who asks twice."""
        for child in self.children.values():
            if child.running:
                self._signal(child, signal.SIGKILL)

    @staticmethod
    def _signal(child: Child, number: signal.Signals) -> None:
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)


def reason(code: int | None) -> str:
    """A process's end in words.

    >>> reason(0), reason(1), reason(-9)
    ('exit code 0', 'exit code 1', 'signal SIGKILL')
    """
    if code is None:
        return "still running"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
