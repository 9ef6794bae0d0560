"""Findings with readable numbers: a pressure point that falls below its limit."""

from __future__ import annotations

from processors.findings import Evidence, Finding, Phase, finding_id, iso

S = 1_000_000
T0 = 1_767_600_000 * S  # 2026-01-05T08:00:00Z, 16:00 in Shanghai
MINUTE = 60 * S


def finding(
    device: str = "WP-0412",
    phase: str = "raise",
    *,
    offset: int = 10,
    onset_s: float = 0,
    after_s: float | None = None,
    observed: float = 120.5,
    severity: str = "high",
    kind: str = "well",
    rule: str = "high",
) -> Finding:
    """One statement about `device`, `onset_s` after T0, decided `after_s` later (raise 60, update 120, clear 600)."""
    onset = T0 + int(onset_s * S)
    later = {"raise": 60.0, "update": 120.0, "clear": 600.0}[phase] if after_s is None else after_s
    at = onset + int(later * S)
    return Finding(
        id=finding_id(device, rule, onset),
        phase=Phase(phase),
        device=device,
        kind=kind,
        rule=rule,
        version=1,
        severity=severity,
        onset=iso(onset),
        at=iso(at),
        offset=offset,
        evidence=Evidence(
            quantity="level_m",
            unit="m",
            observed=observed,
            expected=None,
            limit=10.0,
            hold_s=60.0,
            quality="good",
            window=(iso(onset), iso(at)),
            params={"high": 10.0},
        ),
    )
