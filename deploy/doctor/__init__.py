"""The doctor: what stands in the way of a running city, and what to do about it.

From: the settings, and the broker, stores, disk and clock they name. To: `undercity doctor`. It only looks; what
it writes to find out, it removes again. A check that breaks counts as failed and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from deploy.doctor import broker, loggers, machine, services
from deploy.doctor.lines import Check, Line, Verdict, fail
from deploy.secrecy import mask_text
from deploy.settings import Settings

__all__ = ["CHECKS", "Line", "Verdict", "examine"]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("data", machine.check_data),
    ("broker", broker.check_broker),
    ("loggers", loggers.check_loggers),
    ("store", services.check_store),
    ("database", services.check_database),
    ("registry", services.check_registry),
    ("notify", services.check_notify),
    ("disk", machine.check_space),
    ("fsync", machine.check_fsync),
    ("clock", machine.check_clock),
    ("time zone", machine.check_zone),
    ("limits", machine.check_limits),
)


def examine(settings: Settings, checks: Sequence[tuple[str, Check]] = CHECKS) -> list[Line]:
    """Every line of every check, in order, without secrets."""
    lines = []
    for name, check in checks:
        try:
            lines += list(check(settings))
        except Exception as error:  # noqa: BLE001  whatever breaks, the other checks still help
            say = f"the check itself broke: {type(error).__name__}: {error}".splitlines()[0]
            lines.append(fail(name, say, "report this"))
    return [Line(line.check, line.verdict, mask_text(line.say), mask_text(line.do)) for line in lines]
