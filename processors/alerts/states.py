"""An alert's life, as one table (after ISA-18.2).

                 raise            clear
    normal ───────────▶ active ─────────────▶ cleared      nobody has said "seen" yet
                          │ acknowledge          │ acknowledge
                          ▼          clear       ▼
                     acknowledged ─────────▶  closed       over, and seen

A move that is not in the table is an error. Nothing leads out of `closed`, nor from `cleared` back to `active`: a
condition that returns has another onset, hence another id.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from devices.spec import Severity
from processors.errors import AlertError


class AlertState(StrEnum):
    """Where an alert stands; `NORMAL` is before its first finding and is never stored."""

    NORMAL = "normal"
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"
    CLOSED = "closed"


class Step(StrEnum):
    """What may happen to an alert; the first three are a finding's phases."""

    RAISE = "raise"
    UPDATE = "update"
    CLEAR = "clear"
    ACKNOWLEDGE = "acknowledge"


HOLDING: Final = (AlertState.ACTIVE, AlertState.ACKNOWLEDGED)  # the condition still holds
UNSEEN: Final = (AlertState.ACTIVE, AlertState.CLEARED)  # nobody has acknowledged it

MOVES: Final[Mapping[str, Mapping[str, AlertState]]] = {
    AlertState.NORMAL: {
        Step.RAISE: AlertState.ACTIVE,
        # The book began after the condition did, or was restored from a backup: it holds all the same.
        Step.UPDATE: AlertState.ACTIVE,
        # Nobody here was told that it began, so nobody is told that it ended; but it may not rise afterwards.
        Step.CLEAR: AlertState.CLOSED,
    },
    AlertState.ACTIVE: {
        Step.UPDATE: AlertState.ACTIVE,
        Step.CLEAR: AlertState.CLEARED,
        Step.ACKNOWLEDGE: AlertState.ACKNOWLEDGED,
    },
    AlertState.ACKNOWLEDGED: {
        Step.UPDATE: AlertState.ACKNOWLEDGED,
        Step.CLEAR: AlertState.CLOSED,
    },
    AlertState.CLEARED: {Step.ACKNOWLEDGE: AlertState.CLOSED},
    AlertState.CLOSED: {},
}

RANK: Final[Mapping[str, int]] = {Severity.HIGH: 1, Severity.MEDIUM: 2, Severity.LOW: 3}


def move(alert: str, state: AlertState, step: str) -> AlertState:
    """The state that `step` leads to; AlertError when the table has no such move."""
    after = MOVES[state].get(step)
    if after is None:
        takes = " or ".join(f"'{one}'" for one in MOVES[state]) or "nothing more"
        raise AlertError(f"alert {alert} is {state}; it cannot take '{step}', only {takes}; it stays as it was")
    return after


def allowed(state: AlertState, step: Step) -> bool:
    """Whether the table has this move."""
    return step in MOVES[state]


def rank(severity: str) -> int:
    """1 for high, 2 for medium, 3 for low; an unknown word counts as medium, so that it is not overlooked."""
    return RANK.get(severity, RANK[Severity.MEDIUM])
