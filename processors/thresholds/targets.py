"""For whom a change is meant: that there is somebody, and that the rule can run with the numbers each of them gets.

From: the registry's devices and the history of thresholds. To: the book, before anything is written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from devices.fleet import Entry, build
from devices.spec import Kind, Use
from processors.errors import ThresholdError
from processors.thresholds.change import Change, Scope, check, declared
from processors.thresholds.history import History

_NAMED_MAX: Final = 8  # names that a refusal lists


def demand_somebody(change: Change, entries: Iterable[Entry]) -> None:
    """ThresholdError where `change` is about no device of its kind; the whole kind may still be empty."""
    if change.scope is Scope.KIND:
        return
    if change.scope is Scope.DEVICE:
        _demand_device(change, entries)
        return
    known = {_named(entry, change.scope) for entry in entries if entry.kind == change.kind} - {""}
    if change.target not in known:
        names = ", ".join(sorted(known)[:_NAMED_MAX]) + (", …" if len(known) > _NAMED_MAX else "")
        raise ThresholdError(
            f"{change.scope.value} {change.target!r:.60}: expected one with devices of {change.kind}"
            + (f" ({names})" if known else ""),
            f"{change.target!r:.60}：此范围内没有 {change.kind} 设备" + (f"（现有 {names}）" if known else ""),
        )


def _demand_device(change: Change, entries: Iterable[Entry]) -> None:
    found = next((entry for entry in entries if entry.id == change.target), None)
    if found is None:
        raise ThresholdError(
            f"device {change.target!r:.60}: expected a registered {change.kind}, got an unknown id",
            f"设备 {change.target!r:.60} 没有登记",
        )
    if found.kind != change.kind:
        raise ThresholdError(
            f"device {change.target!r:.60}: expected a {change.kind}, got a {found.kind}",
            f"设备 {change.target!r:.60} 属于 {found.kind}，不是 {change.kind}",
        )


def _named(entry: Entry, scope: Scope) -> str:
    if scope is Scope.GROUP:
        return str((entry.settings or {}).get("group", ""))
    return str(getattr(entry, scope.value))


def demand_runnable(change: Change, history: History, kind: Kind, use: Use, entries: Sequence[Entry]) -> None:
    """RuleError where some device would get numbers with which the rule cannot run, while `change` holds.

    A device may have one number from its district and another of its own: only together they make sense or not.
    """
    anyone = Entry("", kind.name)  # whoever is registered later gets the numbers of the whole kind
    mine = [anyone, *(entry for entry in entries if entry.kind == kind.name)]
    fleet = build({kind.name: kind}, mine).kinds[kind.name]
    drafted = history.with_draft(change)
    later = [moment for moment in history.edges() if change.effective_us < moment < change.end_us]
    for moment in [change.effective_us, *later]:
        found = dict(drafted.values(fleet, use.rule, declared(use), moment))
        for row in np.unique(np.column_stack(list(found.values())), axis=0):
            check(use, dict(zip(found, row.tolist(), strict=True)))
