"""Runs esptool, Espressif's own program, and reads what it prints.

From: the esp32 driver. To: a child process with an argument list, in an empty folder so that no `esptool.cfg` of
somebody else's applies. esptool is under the GPL: it is a separate program here, and never imported.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devices.errors import ExchangeError, FirmwareError, LinkError

_OLDEST: Final = 5  # the first with `write-flash`; before it was `write_flash`
_KEPT_LINES: Final = 200
# Erasing 16 MB is the longest it may say nothing; its own time limits are shorter for everything else.
_SILENT_S: Final = 240.0
_GONE: Final = re.compile(
    r"Could not open|device disconnected|No more data|Input/output error|readiness to read|Connection refused"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code, and its last lines."""

    code: int
    said: str

    @property
    def reason(self) -> str:
        """What it gave as the reason, on one line."""
        found = re.search(r"(?:fatal error occurred|[Ee]rror): ?(.+)", self.said)
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return (found[1] if found else lines[-1] if lines else "no reason given")[:200]


def program(named: str = "") -> str:
    """Where esptool is: `named`, beside our own interpreter, or on PATH; FirmwareError that says how to get it."""
    beside = Path(sys.executable).parent / "esptool"
    for candidate in (named,) if named else (str(beside), "esptool", "esptool.py"):
        if found := shutil.which(candidate):
            return found
    looked = named or "esptool on PATH"
    raise FirmwareError(
        f"esp32: expected the program {looked}, found none; install it with `pipx install esptool` or "
        "`uv tool install esptool`, or name it with --option esptool=PATH; nothing was sent"
    )


def check_version(path: str) -> None:
    """FirmwareError unless it is one whose commands we know."""
    said = run(path, ["version"]).said
    found = re.search(r"esptool(?:\.py)? v(\d+)\.", said)
    if found is None or int(found[1]) < _OLDEST:
        raise FirmwareError(
            f"esp32: expected esptool {_OLDEST} or newer, {path} says {said.strip()[:60]!r}; nothing was sent"
        )


def run(path: str, arguments: Sequence[str], heard: Callable[[str], None] = lambda _line: None) -> Ended:
    """Run it to its end; `heard` is given each line as it comes. ExchangeError when it falls silent."""
    # A narrow terminal would shorten its progress lines, and another encoding break its bars.
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    with (
        tempfile.TemporaryDirectory(prefix="undercity-esptool-") as folder,
        subprocess.Popen(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        ) as child,
    ):
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(child, lines), name="esptool output", daemon=True)
        reader.start()
        try:
            said = _listen(lines, heard)
            return Ended(child.wait(_SILENT_S), said)
        except BaseException:
            child.kill()
            raise
        finally:
            reader.join(10)


def failed(url: str, what: str, ended: Ended) -> FirmwareError:
    """The error for a run that did not end well."""
    text = f"{url}: esptool {what}: {ended.reason}"
    if _GONE.search(ended.said):
        return LinkError(f"{text}; look at plug and cable, and whether another program has the port")
    if "Failed to connect" in ended.said or "Wrong boot mode" in ended.said:
        return ExchangeError(f"{text}; hold BOOT, press and let go RESET, let go BOOT, and try again")
    return ExchangeError(text)


def _read(child: subprocess.Popen[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    assert child.stdout is not None  # noqa: S101 - it was opened with a pipe
    for line in child.stdout:
        lines.put(line.decode("utf-8", "replace"))
    lines.put(None)


def _listen(lines: queue.SimpleQueue[str | None], heard: Callable[[str], None]) -> str:
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    while True:
        try:
            line = lines.get(timeout=_SILENT_S)
        except queue.Empty:
            raise ExchangeError(f"esp32: esptool said nothing for {_SILENT_S:.0f} s; it was stopped") from None
        if line is None:
            return "".join(kept)
        kept.append(line)
        heard(line)
