"""How times, ages, numbers and priorities look on a page.

Times are UTC microseconds inside and wall time of the city's zone on every screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from dashboards.console.text import Words
from devices.spec import Kind, Text, Use
from processors.findings import Evidence

DASH = "—"
_SPANS = ((86_400, "js_ago_d"), (3_600, "js_ago_h"), (60, "js_ago_m"), (1, "js_ago_s"))


@dataclass(frozen=True, slots=True)
class Shown:
    """One language and one time zone."""

    words: Words
    zone: ZoneInfo

    def time(self, time_us: int | None) -> str:
        """`time_us` as wall time to the second; a dash for none or a time outside the calendar."""
        if not time_us:
            return DASH
        try:
            return f"{datetime.fromtimestamp(time_us / 1e6, self.zone):%Y-%m-%d %H:%M:%S}"
        except (OverflowError, ValueError, OSError):
            return DASH

    def short(self, time_us: int | None) -> str:
        """As `time`, without the year: for lists of what is recent."""
        return self.time(time_us)[5:] or DASH

    def iso(self, time_iso: str) -> str:
        """An ISO 8601 time of a finding as wall time; what cannot be read stays as it is."""
        try:
            return f"{datetime.fromisoformat(time_iso).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"
        except (OverflowError, ValueError):
            return time_iso

    def span(self, seconds: float) -> str:
        """A duration in its largest whole unit: 12 s, 5 min, 3 h, 2 d."""
        for size, key in _SPANS:
            if seconds >= 2 * size or size == 1:
                return self.words(key, n=int(max(0, seconds) // size))
        raise AssertionError(seconds)  # the last span takes everything

    def age(self, time_us: int, now_us: int) -> str:
        """How long ago `time_us` was; 0 means never."""
        return self.span((now_us - time_us) / 1e6) if time_us else self.words("js_never")


def number(value: float | None, decimals: int) -> str:
    """`value` with `decimals` places; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{decimals}f}"


def free_number(value: float | None) -> str:
    """`value` of unknown precision in at most six digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.6g}"


def measured(value: float | None, unit: str) -> str:
    """`value` with its unit; a dash alone where there is none."""
    text, unit = free_number(value), sign(unit)
    if text == DASH or not unit:
        return text
    return f"{text}{unit}" if unit.startswith("°") else f"{text} {unit}"


_SIGNS = {"degC": "°C", "deg": "°", "m3/h": "m³/h", "m3": "m³", "mg/m3": "mg/m³", "pct": "%", "1": ""}


def sign(unit: str) -> str:
    """A unit as people write it; the symbol itself where there is nothing better."""
    return _SIGNS.get(unit, unit)


def rule_title(kind: Kind | None, rule: str) -> Text:
    """The title of a rule for a person; the rule's own name where nobody declared one."""
    use = find_rule(kind, rule)
    if use is not None:
        return use.title
    return _ENGINE_RULES.get(rule, Text(rule, rule))


def find_rule(kind: Kind | None, rule: str) -> Use | None:
    """The kind's declaration of `rule`, None when it has none (any more)."""
    return next((use for use in kind.detectors if use.rule == rule), None) if kind else None


def reason(evidence: Evidence, shown: Shown) -> str:
    """Observed against limit or expectation, in one line: `12.4 m > 10 m`."""
    observed = measured(evidence.observed, evidence.unit)
    for against in (evidence.limit, evidence.expected):
        if against is not None and evidence.observed is not None:
            sign = "≥" if evidence.observed >= against else "<"
            return f"{observed} {sign} {measured(against, evidence.unit)}"
    return observed if observed != DASH else shown.words("not_applicable")


_ENGINE_RULES = {"gateway_silent": Text("网关失联", "gateway silent")}
