"""Covers and kitchens out of the simulator: every fault that their kinds declare, and a year without any.

An alert of one of a fault's rules within its time finds it. Every alert where no fault is, or during a harmless
disturbance, is false; another rule's alert during a fault is neither. The devices and faults come from seeds, and
`--seed` of the functions here may be any: nothing was tuned on one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from devices.kinds import kitchen_exhaust, manhole_cover
from devices.simulator.faults import Labelled
from devices.spec import Kind, Use
from processors.backtest.run import Span, alerts_of, findings
from processors.backtest.simulated import DAY_US, START_US, ids, labels, rows
from tests.yardsticks.table import Row, main

SEEDS: Final = (11, 12, 13)
AFTERMATH_US: Final = 2 * 3_600_000_000  # what springs back when a fault ends is a change too
_MONTH_DAYS: Final = 365.25 / 12
_YEAR_DAYS: Final = 365.0
_CHANCES: Final = 40  # draws that make the chance level


class Plan(NamedTuple):
    """How a kind is measured: `each` devices per fault, over `days`, of which the first `healthy_days` have none."""

    kind: Kind
    baseline: Kind
    said: str
    each: int
    days: float
    healthy_days: float
    clean: int
    clean_days: float


@dataclass(slots=True)
class Score:
    """Counts over all seeds; `delays_s` by fault; `seen` by fault: found, injected."""

    found: int
    faults: int
    false: int
    delays_s: dict[str, list[float]]
    seen: dict[str, tuple[int, int]]
    wrong: dict[str, int]

    @property
    def f(self) -> float:
        """F-score over events."""
        return 2 * self.found / max(self.found + self.false + self.faults, 1)


def judge(label: Sequence[Labelled], alerts: Sequence[Span]) -> Score:
    """Compare `alerts` with `label`; one fault a device."""
    score = Score(0, 0, 0, {}, {}, {})
    by_device = {one.device: one for one in label}
    first: dict[str, int] = {}
    for alert in alerts:
        one = by_device.get(alert.device)
        during = one is not None and one.start_us <= alert.raised_us < one.end_us + AFTERMATH_US
        if one is None or not during or not one.rules:
            score.false += 1
            name = f"{alert.rule} during {one.fault}" if one is not None and during else alert.rule
            score.wrong[name] = score.wrong.get(name, 0) + 1
        elif alert.rule in one.rules and alert.raised_us < one.end_us + AFTERMATH_US:
            first[alert.device] = min(first.get(alert.device, alert.raised_us), alert.raised_us)
    for one in label:
        if one.rules:
            found, of = score.seen.get(one.fault, (0, 0))
            hit = one.device in first
            score.seen[one.fault] = (found + hit, of + 1)
            score.faults += 1
            score.found += hit
            if hit:
                score.delays_s.setdefault(one.fault, []).append((first[one.device] - one.start_us) / 1e6)
    return score


def added(one: Score, other: Score) -> Score:
    """Both together."""
    seen = dict(one.seen)
    for name, (found, of) in other.seen.items():
        seen[name] = (seen.get(name, (0, 0))[0] + found, seen.get(name, (0, 0))[1] + of)
    names = {*one.delays_s, *other.delays_s}
    delays = {name: one.delays_s.get(name, []) + other.delays_s.get(name, []) for name in names}
    wrong = {name: one.wrong.get(name, 0) + other.wrong.get(name, 0) for name in {*one.wrong, *other.wrong}}
    return Score(one.found + other.found, one.faults + other.faults, one.false + other.false, delays, seen, wrong)


def chance_f(label: Sequence[Labelled], count: int, days: float, seed: int) -> float:
    """F-score of `count` alarms at random moments of random devices, whatever their rule."""
    chance = random.Random(seed)
    names = [one.device for one in label]
    span = int(days * DAY_US)
    total = 0.0
    for _ in range(_CHANCES):
        hit, false = set(), 0
        for _ in range(count):
            one = label[chance.randrange(len(names))]
            at = START_US + chance.randrange(span)
            if one.rules and one.start_us <= at < one.end_us:
                hit.add(one.device)
            else:
                false += 1
        faults = sum(bool(one.rules) for one in label)
        total += 2 * len(hit) / max(len(hit) + false + faults, 1)
    return total / _CHANCES


def measured(plan: Plan, kind: Kind, seed: int) -> tuple[Score, list[Labelled], int]:
    """Score of the rules of `kind` on one seed's devices, the labels, and how many alerts there were."""
    faults = plan.kind.simulate.faults
    names = ids(plan.kind, plan.each * len(faults))
    label = labels(plan.kind, faults, names, days=plan.days, healthy_days=plan.healthy_days, seed=seed)
    alerts = alerts_of(findings(kind, rows(plan.kind, names, label, days=plan.days, seed=seed)))
    return judge(label, alerts), label, len(alerts)


def clean(plan: Plan, kind: Kind, seed: int) -> tuple[int, dict[str, int]]:
    """Alerts of devices without any fault, and by rule."""
    names = ids(plan.kind, plan.clean)
    alerts = alerts_of(findings(kind, rows(plan.kind, names, [], days=plan.clean_days, seed=seed)))
    by_rule: dict[str, int] = {}
    for alert in alerts:
        by_rule[alert.rule] = by_rule.get(alert.rule, 0) + 1
    return len(alerts), by_rule


def only(kind: Kind, *uses: Use) -> Kind:
    """`kind` with `uses` for rules."""
    return replace(kind, detectors=uses)


def plans(quick: bool) -> list[Plan]:
    """One per kind; `quick` sees that it works."""
    cover, kitchen = manhole_cover.KIND, kitchen_exhaust.KIND
    tilted = next(use for use in cover.detectors if use.rule == "tilted")
    high = next(use for use in kitchen.detectors if use.rule == "fume_high")
    one_axis = replace(tilted, detector="limit", beside=(), because=None, params={"high": 10.0, "hysteresis": 2.0})
    at_once = replace(high, because=None, params={"high": 2.0, "hysteresis": 0.2})
    return [
        Plan(
            cover,
            only(cover, one_axis),
            "one tilt over 10 degrees",
            1 if quick else 5,
            48.0,
            5.0,
            6 if quick else 60,
            30.0 if quick else _YEAR_DAYS,
        ),
        Plan(
            kitchen,
            only(kitchen, at_once),
            "fume over 2.0 at once",
            1 if quick else 3,
            8.0 if quick else 70.0,
            4.0 if quick else 16.0,
            4 if quick else 36,
            4.0 if quick else _YEAR_DAYS,
        ),
    ]


def measure(plan: Plan, seeds: Sequence[int]) -> list[Row]:
    """All figures of one kind."""
    name = plan.kind.name.replace("_", " ")
    total, plain, guess = Score(0, 0, 0, {}, {}, {}), Score(0, 0, 0, {}, {}, {}), 0.0
    for seed in seeds:
        score, label, count = measured(plan, plan.kind, seed)
        total = added(total, score)
        plain = added(plain, measured(plan, plan.baseline, seed)[0])
        guess += chance_f(label, count, plan.days, seed) / len(seeds)
    found = [
        Row(
            name,
            f"event F-score, {total.faults} faults",
            f"{total.f:.3f}",
            ">= 0.95",
            total.f >= 0.95,
            f"{guess:.2f}",
            f"{plain.f:.2f}",
            f"baseline: {plan.said}; {total.false} false {total.wrong or ''}; missed "
            f"{ {k: f'{a} of {b}' for k, (a, b) in total.seen.items() if a < b} or 'none' }",
        )
    ]
    for fault, delays in sorted(total.delays_s.items()):
        worst, usual = max(delays), median(delays)
        timely = fault in {"opened", "tilted"}
        found.append(
            Row(
                name,
                f"delay of {fault}, median (worst)",
                f"{_span(usual)} ({_span(worst)})",
                "<= 30 s" if timely else "",
                worst <= 30.0 if timely else None,
                "-",
                _span(median(plain.delays_s[fault])) if fault in plain.delays_s else "never",
            )
        )
    months = plan.clean * plan.clean_days / _MONTH_DAYS
    count, by_rule = clean(plan, plan.kind, seeds[0] + 100)
    trivial, _ = clean(plan, plan.baseline, seeds[0] + 100)
    note = f"{plan.clean} devices, {plan.clean_days:g} days; {by_rule or 'no alert'}"
    found.append(
        Row(
            name,
            "alarms per device-month, clean",
            f"{count / months:.4f}",
            "< 0.05",
            count / months < 0.05,
            "-",
            f"{trivial / months:.3f}",
            note,
        )
    )
    return found


def _span(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """The table's rows."""
    return [row for plan in plans(quick) for row in measure(plan, SEEDS[:1] if quick else SEEDS)]


if __name__ == "__main__":
    main(run)
