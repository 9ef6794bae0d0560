"""The words of the doctor: one line per thing looked at.

From: the checks. To: `undercity doctor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from deploy.settings import Settings


class Verdict(StrEnum):
    """How a check went; only `FAIL` makes the exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at. `say`: what was found. `do`: what a person should do, empty when nothing."""

    check: str
    verdict: Verdict
    say: str
    do: str = ""


Check = Callable[[Settings], Iterable[Line]]


def ok(check: str, say: str) -> Line:
    """All is well."""
    return Line(check, Verdict.OK, say)


def warn(check: str, say: str, do: str) -> Line:
    """It works, and will not for ever."""
    return Line(check, Verdict.WARN, say, do)


def fail(check: str, say: str, do: str) -> Line:
    """It does not work."""
    return Line(check, Verdict.FAIL, say, do)
