"""The doctor: what stands in the way of a running city, and what to do about it.

From: the settings, and the broker, stores, disk and clock they name. To: `undercity doctor`. It only looks: the
one file it writes, to time the disk, it removes again. A check that breaks counts as failed and does not stop the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from deploy.secrecy import mask_text
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


def examine(settings: Settings, checks: Iterable[tuple[str, Check]] | None = None) -> list[Line]:
    """Every line of every check, in order."""
    lines = []
    for name, check in checks or all_checks():
        try:
            lines += list(check(settings))
        except Exception as error:  # noqa: BLE001  whatever breaks, the other checks still help
            say = mask_text(f"{type(error).__name__}: {error}".splitlines()[0])
            lines.append(fail(name, f"the check itself broke: {say}", "report this"))
    return [Line(line.check, line.verdict, mask_text(line.say), mask_text(line.do)) for line in lines]


def all_checks() -> list[tuple[str, Check]]:
    """The checks there are, by name."""
    from deploy import doctor_machine, doctor_services  # noqa: PLC0415  they build on this module

    return [*doctor_machine.CHECKS, *doctor_services.CHECKS]
