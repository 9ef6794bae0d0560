"""The doctor's look at the machine: disk, clock, time zone, limits.

From: the operating system. To: `deploy.doctor`.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deploy.doctor.lines import Line, Verdict, fail, ok, warn
from deploy.settings import Settings
from ingest.errors import JournalError
from ingest.journal import Journal, JournalStats

_DAYS_WANTED = 14.0
_FSYNC_SLOW_MS = 20.0
_FILES_WANTED = 4096
_DAY_US = 86_400e6


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path` that exists; the data folder need not be there yet."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def check_data(settings: Settings) -> Iterator[Line]:
    """Where this city's data lies, and whether anything has run there yet."""
    folder = settings.data.dir.absolute()
    if folder.exists():
        yield ok("data", str(folder))
        return
    yield Line(
        "data",
        Verdict.OK,
        f"{folder}: not there, so nothing has run here yet",
        "to see a city: undercity demo, which needs nothing else; for your own: mend what follows, import a census, "
        "then undercity run",
    )


def check_space(settings: Settings) -> Iterator[Line]:
    """Free space, in days at the rate of the last days."""
    folder = existing_parent(settings.data.dir)
    free = shutil.disk_usage(folder).free
    if free < 1e9:
        yield fail("disk", f"{free / 1e6:.0f} MB free below {folder}", "free some space, or move data.dir")
        return
    rate = bytes_per_day(settings)
    if rate is None:
        yield ok("disk", f"{free / 1e9:.1f} GB free below {folder}; no rate known yet")
        return
    days = free / rate
    say = f"{free / 1e9:.1f} GB free below {folder}: {days:.0f} days at {rate / 1e6:.0f} MB a day"
    if days >= _DAYS_WANTED:
        yield ok("disk", say)
    else:
        yield warn("disk", say, "free some space, or shorten journal.retention_days")


def bytes_per_day(settings: Settings) -> float | None:
    """What the data folder has grown by per day so far; None before there is an hour to judge by."""
    stats = journal_stats(settings)
    if stats is None or stats.from_us is None or stats.to_us is None:
        return None
    days = (stats.to_us - stats.from_us) / _DAY_US
    if days < 1 / 24:
        return None
    used = sum(path.stat().st_size for path in settings.data.dir.rglob("*") if path.is_file())
    return used / days


def journal_stats(settings: Settings) -> JournalStats | None:
    """The journal's statistics, None while there is no journal that can be read."""
    try:
        journal = Journal(settings.journal_path, settings.journal, read_only=True)
    except JournalError:
        return None
    try:
        return journal.stats()
    finally:
        journal.close()


def check_fsync(settings: Settings) -> Iterator[Line]:
    """How long the disk takes to make a commit durable: every acknowledgement waits for it."""
    folder = existing_parent(settings.data.dir)
    if not os.access(folder, os.W_OK):
        yield fail("fsync", f"{folder} cannot be written", f"give this user the right to write to {folder}")
        return
    middle, worst = _time_fsync(folder)
    say = f"a commit takes {middle:.1f} ms, at worst {worst:.1f} ms, below {folder}"
    if middle <= _FSYNC_SLOW_MS:
        yield ok("fsync", say)
    else:
        yield warn("fsync", say, "put data.dir on a local SSD; acknowledgements wait for every commit")


def _time_fsync(folder: Path) -> tuple[float, float]:
    """Median and worst of twenty 64 KiB commits, ms."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        for _ in range(20):
            file.write(os.urandom(65_536))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken), max(taken)


def check_clock(_settings: Settings) -> Iterator[Line]:
    """Whether the clock is disciplined: late, future and silent are judged by it."""
    synchronised = _clock_synchronised()
    if synchronised:
        yield ok("clock", "synchronised with a time server")
    elif synchronised is None:
        yield warn("clock", "whether it is synchronised cannot be found out here", "check that the host runs NTP")
    else:
        yield warn("clock", "not synchronised with a time server", "install chrony or systemd-timesyncd")


def _clock_synchronised() -> bool | None:
    """The kernel's own word by way of timedatectl; None where there is none (most containers)."""
    tool = shutil.which("timedatectl")
    if tool is None:
        return None
    try:
        answer = subprocess.run(
            [tool, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(answer.stdout.strip())


def check_zone(settings: Settings) -> Iterator[Line]:
    """Whether the time zone that people read exists on this machine."""
    name = settings.console.time_zone
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield fail("time zone", f"{name} is not known here", "install tzdata, or set console.time_zone")
        return
    yield ok("time zone", f"people read {name}, everything is stored in UTC")


def check_limits(_settings: Settings) -> Iterator[Line]:
    """Open files, and whether the interpreter fits."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    say = "open files: " + ("no limit" if soft == resource.RLIM_INFINITY else str(soft))
    if soft == resource.RLIM_INFINITY or soft >= _FILES_WANTED:
        yield ok("limits", say)
    else:
        yield warn("limits", say, f"raise it: ulimit -n {_FILES_WANTED}, or LimitNOFILE= in the unit")
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield ok("python", version)
