"""An alert as the book knows it, and its change by findings: pure, no database.

From: rows of the `alert` table and findings. To: `processors.alerts.book`, and whoever shows alerts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import RowMapping

from processors.alerts.states import HOLDING, AlertState, Step, allowed, move, rank
from processors.findings import Evidence, Finding, Phase, micros

_EVIDENCE: Final = msgspec.json.Decoder(Evidence)
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One condition over its life. Times UTC microseconds; `cleared_us` None while it holds.

    `sequence`: place of its last change among all changes. `onset_us`: event time the condition began.
    `raised_us`: event time it was decided. `recorded_us`: our clock when the book took it. `raised_offset`: the
    journal offset of that. `evidence`: of the raise or the latest update, never of the clear: why it was an alert.
    """

    id: str
    sequence: int
    state: AlertState
    device: str
    kind: str
    rule: str
    version: int
    severity: str
    onset_us: int
    raised_us: int
    updated_us: int
    cleared_us: int | None
    recorded_us: int
    raised_offset: int
    updates: int
    evidence: Evidence
    acknowledged_by: str = ""
    acknowledged_us: int | None = None
    note: str = ""

    @property
    def active(self) -> bool:
        """Whether the condition still holds."""
        return self.state in HOLDING


class Change(NamedTuple):
    """One step of an alert; `by` is a person, empty for the engine. Times UTC microseconds."""

    sequence: int
    alert: str
    step: Step
    before: AlertState
    after: AlertState
    at_us: int
    recorded_us: int
    by: str = ""
    note: str = ""


def applied(alert: Alert | None, finding: Finding, sequence: int, now_us: int) -> tuple[Alert, Change] | None:
    """What `finding` makes of `alert` (None: not known yet); None where it says nothing new.

    A raise or clear that was heard before changes nothing, nor does anything after the clear.
    """
    before = alert.state if alert else AlertState.NORMAL
    step = Step(finding.phase.value)
    if not allowed(before, step):
        return None
    after = move(finding.id, before, step)
    at_us = micros(finding.at)
    known = alert or _first(finding, now_us)
    changed = replace(
        known,
        sequence=sequence,
        state=after,
        updated_us=at_us,
        cleared_us=at_us if finding.phase is Phase.CLEAR else None,
        updates=known.updates + (finding.phase is Phase.UPDATE),
        evidence=known.evidence if finding.phase is Phase.CLEAR else finding.evidence,
        severity=finding.severity,
    )
    return changed, Change(sequence, finding.id, step, before, after, at_us, now_us)


def _first(finding: Finding, now_us: int) -> Alert:
    at_us = micros(finding.at)
    return Alert(
        id=finding.id,
        sequence=0,
        state=AlertState.NORMAL,
        device=finding.device,
        kind=finding.kind,
        rule=finding.rule,
        version=finding.version,
        severity=finding.severity,
        onset_us=micros(finding.onset),
        raised_us=at_us,
        updated_us=at_us,
        cleared_us=None,
        recorded_us=now_us,
        raised_offset=finding.offset,
        updates=0,
        evidence=finding.evidence,
    )


def acknowledged(alert: Alert, person: str, at_us: int, note: str, sequence: int) -> tuple[Alert, Change]:
    """`alert` seen by `person`; AlertError from a state that has nothing to see."""
    after = move(alert.id, alert.state, Step.ACKNOWLEDGE)
    changed = replace(
        alert, sequence=sequence, state=after, acknowledged_by=person, acknowledged_us=at_us, note=note
    )
    return changed, Change(sequence, alert.id, Step.ACKNOWLEDGE, alert.state, after, at_us, at_us, person, note)


def to_row(alert: Alert) -> dict[str, Any]:
    """The alert as a row of its table."""
    row = {name: getattr(alert, name) for name in Alert.__slots__}
    return row | {"rank": rank(alert.severity), "evidence": _ENCODER.encode(alert.evidence)}


def from_row(row: RowMapping) -> Alert:
    """The alert in a row of its table."""
    values = {name: row[name] for name in Alert.__slots__}
    return Alert(**values | {"state": AlertState(row["state"]), "evidence": _EVIDENCE.decode(row["evidence"])})


def as_json(alert: Alert) -> dict[str, Any]:
    """The alert as plain data, for a command's or a page's JSON."""
    return asdict(alert) | {"evidence": msgspec.to_builtins(alert.evidence)}
