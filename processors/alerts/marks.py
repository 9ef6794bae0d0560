"""What is drawn over the curves: one mark where an alert rose, one where it ended.

From: findings that the book has taken. To: a store that keeps marks beside the readings. Marks follow from the
findings alone, so reading the journal again after a crash draws the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from devices.spec import Kind, Text
from ingest.timeseries.ports import Mark
from processors.alerts.alert import Change
from processors.alerts.states import AlertState
from processors.engines import gateways
from processors.findings import Finding, Phase, micros

_GATEWAY: Final = Text("网关失联", "gateway silent")
_CLEARED: Final = Text("已恢复 ", "Cleared: ")


def marks(findings: Iterable[Finding], changes: Iterable[Change], kinds: Mapping[str, Kind]) -> list[Mark]:
    """The marks of `findings`; `changes`: what the book made of them.

    Updates have none, and neither has the end of what was never told.
    """
    untold = {change.alert for change in changes if (change.before, change.after) == _NEVER_TOLD}
    return [_mark(one, kinds) for one in findings if one.phase is not Phase.UPDATE and one.id not in untold]


_NEVER_TOLD: Final = (AlertState.NORMAL, AlertState.CLOSED)


def _mark(finding: Finding, kinds: Mapping[str, Kind]) -> Mark:
    title = _title(finding, kinds)
    prefix = _CLEARED if finding.phase is Phase.CLEAR else Text("", "")
    return Mark(
        kind=finding.kind,
        device=finding.device,
        rule=finding.rule,
        severity=finding.severity,
        phase=finding.phase.value,
        title_zh=prefix.zh + title.zh,
        title_en=prefix.en + title.en,
        time_us=micros(finding.at),
    )


def _title(finding: Finding, kinds: Mapping[str, Kind]) -> Text:
    """What the rule is called; its own name where nobody declared one."""
    if finding.rule == gateways.RULE:
        return _GATEWAY
    kind = kinds.get(finding.kind)
    titles = (use.title for use in kind.detectors if use.rule == finding.rule) if kind else iter(())
    return next(titles, Text(finding.rule, finding.rule))
