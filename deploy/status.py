"""Heartbeats: what each role says about itself, once a second, in a file.

From: the loops of the roles. To: the supervisor, which serves them as `/healthz`, `/readyz` and `/metrics`, and
the doctor. A file is replaced in one step, so a reader sees the old state or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

log = structlog.get_logger(__name__)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY_S = 1.0


class Status(msgspec.Struct, kw_only=True):
    """What a role says about itself.

    `at_s`: when it said so, Unix time. `not_ready`: one line per reason it cannot do its work now. `fields`: its
    own numbers by name; `deploy.metrics` knows what they mean.
    """

    role: str
    pid: int
    started_s: float
    at_s: float
    rss_bytes: int = 0
    not_ready: list[str] = []
    fields: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """A status with its age when it was read; `alive` is false when it is too old or its process is gone."""

    status: Status
    age_s: float
    alive: bool


@dataclass(slots=True)
class StatusWriter:
    """Writes `dir/ROLE.json`; one instance per role, used by one thread.

    A status that cannot be written is logged once and does not stop the role: its work matters more.
    """

    role: str
    dir: Path
    now: Callable[[], float] = time.time
    _status: Status = field(init=False)
    _written_s: float = field(init=False, default=0.0)
    _failed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        started = self.now()
        self._status = Status(role=self.role, pid=os.getpid(), started_s=started, at_s=started, fields={})

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self.dir / f"{self.role}.json"

    def update(self, *, not_ready: Sequence[str] | None = None, **fields: float) -> None:
        """Take what is given and write it, at most once a second; what is not given stays as it was.

        Call it from the role's loop: a heartbeat from another thread would go on while the loop hangs.
        """
        if not_ready is not None and list(not_ready) != self._status.not_ready:
            self._status.not_ready, self._written_s = list(not_ready), 0.0
        self._status.fields.update({name: float(value) for name, value in fields.items()})
        if self.now() - self._written_s >= _EVERY_S:
            self.write()

    def write(self) -> None:
        """Write now."""
        self._status.at_s = self._written_s = self.now()
        self._status.rss_bytes = _rss_bytes()
        try:
            self.dir.mkdir(parents=True, exist_ok=True)
            # No fsync: after a power cut there is no role left to speak of.
            part = self.path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(msgspec.json.encode(self._status))
            part.replace(self.path)
        except OSError as error:
            if not self._failed:
                log.warning("status_not_written", file=str(self.path), reason=str(error))
            self._failed = True
            return
        self._failed = False

    def close(self) -> None:
        """Say that the role ends as it should, by taking the file away."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _rss_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def read_all(dir: Path, now_s: float, *, stale_s: float = 15.0) -> dict[str, Seen]:  # noqa: A002  it is a folder
    """The status of every role in `dir`, by role; a file that cannot be read counts as no role."""
    found = {}
    for path in sorted(dir.glob("*.json")):
        try:
            status = msgspec.json.decode(path.read_bytes(), type=Status)
        except (OSError, msgspec.MsgspecError):
            continue
        age = max(0.0, now_s - status.at_s)
        found[status.role] = Seen(status, age, age <= stale_s and _runs(status.pid))
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # It is there, and another user's.
    return True


def clear(dir: Path) -> None:  # noqa: A002  it is a folder
    """Forget the statuses of an earlier run."""
    for path in dir.glob("*.json"):
        with contextlib.suppress(OSError):
            path.unlink()
