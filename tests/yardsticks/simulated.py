"""Covers and kitchens out of the simulator: every fault that their kinds declare, and a year without any.

An alert of one of a fault's rules within its time finds it. Every alert where no fault is, or during a harmless
disturbance, is false; another rule's alert during a fault is neither. Devices, their noise and the faults' times come
from seeds, and any will do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from devices.kinds import kitchen_exhaust, manhole_cover
from devices.simulator.faults import Labelled
from devices.spec import Kind, Use
from processors.backtest.run import Rows, Span, alerts_of, findings, sorted_rows
from processors.backtest.simulated import DAY_US, START_US, ids, labels, rows
from tests.yardsticks.table import Row, main

SEEDS: Final = (11, 12, 13)
AFTERMATH_US: Final = 2 * 3_600_000_000  # what springs back when a fault ends is a change too
_MONTH_DAYS: Final = 365.25 / 12
_YEAR_DAYS: Final = 365.0
_F, _OPENED_S, _PER_MONTH = 0.95, 30.0, 0.05  # what is asked for
_CHANCES: Final = 40  # draws that make the chance level


class Calm(NamedTuple):
    """Devices without a fault: `devices` of them for `days`, reporting every `pace_s`, under `rules` (None: all)."""

    devices: int
    days: float
    pace_s: float
    rules: tuple[str, ...] | None = None


class Plan(NamedTuple):
    """How a kind is measured: `each` devices per fault and seed, over `days`, all healthy for `healthy_days`."""

    kind: Kind
    baseline: Kind
    said: str
    each: int
    days: float
    healthy_days: float
    calm: tuple[Calm, ...]


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


def simulated(plan: Plan, seeds: Sequence[int]) -> tuple[Rows, list[Labelled]]:
    """What the devices of all `seeds` report, as one city, and their faults."""
    parts, label = [], []
    names: list[str] = []
    for seed in seeds:
        mine = [f"S{seed}-{name}" for name in ids(plan.kind, plan.each * len(plan.kind.simulate.faults))]
        faults = labels(
            plan.kind, plan.kind.simulate.faults, mine, days=plan.days, healthy_days=plan.healthy_days, seed=seed
        )
        part = rows(plan.kind, mine, faults, days=plan.days, seed=seed)
        parts.append(replace(part, row=part.row + np.int32(len(names))))
        names += mine
        label += faults
    row, time_us, values = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "time_us", "values")
    )
    return sorted_rows(names, row, time_us, values), label


def clean(kind: Kind, calm: Calm, seed: int) -> tuple[int, dict[str, int]]:
    """Alerts of devices without any fault, and by rule."""
    slower = replace(kind, cadence_s=calm.pace_s)
    names = ids(slower, calm.devices)
    wanted = {use.rule for use in kind.detectors}
    if calm.rules is not None:
        wanted &= set(calm.rules)
    alerts = alerts_of(findings(slower, rows(slower, names, [], days=calm.days, seed=seed), rules=wanted))
    return len(alerts), dict(Counter(alert.rule for alert in alerts))


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
    slow = ("efficiency_low", "probe_diluted", "probe_fouled", "probe_saturated", "off_hours", "purifier_idle")
    year, week = (Calm(60, _YEAR_DAYS, cover.cadence_s),), (Calm(6, 20.0, cover.cadence_s),)
    month = Calm(80, 30.0, kitchen.cadence_s)
    kitchen_year = Calm(48, _YEAR_DAYS, 900.0, slow)
    brief = (Calm(4, 2.0, kitchen.cadence_s),)
    return [
        Plan(
            cover,
            only(cover, one_axis),
            "one tilt over 10 degrees",
            1 if quick else 5,
            48.0,
            5.0,
            week if quick else year,
        ),
        Plan(
            kitchen,
            only(kitchen, at_once),
            "fume over 2.0 at once",
            1 if quick else 2,
            40.0,
            14.0,
            brief if quick else (month, kitchen_year),
        ),
    ]


def measure(plan: Plan, seeds: Sequence[int]) -> list[Row]:
    """All figures of one kind."""
    name = plan.kind.name.replace("_", " ")
    told, label = simulated(plan, seeds)
    alerts = alerts_of(findings(plan.kind, told))
    score, plain = judge(label, alerts), judge(label, alerts_of(findings(plan.baseline, told)))
    missed = ", ".join(f"{fault} {of - hit} of {of}" for fault, (hit, of) in score.seen.items() if hit < of)
    wrong = ", ".join(f"{rule} {count}" for rule, count in score.wrong.items())
    note = f"baseline: {plan.said}; {score.false} false ({wrong or 'none'}); missed: {missed or 'none'}"
    guess = chance_f(label, len(alerts), plan.days, seeds[0])
    first = Row(
        name,
        f"event F-score, {score.faults} faults",
        f"{score.f:.3f}",
        ">= 0.95",
        score.f >= _F,
        f"{guess:.2f}",
        f"{plain.f:.2f}",
        note,
    )
    found = [first, *(_delay(name, fault, score, plain) for fault in sorted(score.delays_s))]
    return [*found, *(_calm(plan, name, calm, seeds[0] + 100) for calm in plan.calm)]


def _delay(name: str, fault: str, score: Score, plain: Score) -> Row:
    worst, usual = max(score.delays_s[fault]), median(score.delays_s[fault])
    timely = fault in {"opened", "tilted"}
    baseline = _span(median(plain.delays_s[fault])) if fault in plain.delays_s else "never"
    measured = f"{_span(usual)} ({_span(worst)})"
    aim, met = ("<= 30 s", worst <= _OPENED_S) if timely else ("", None)
    return Row(name, f"delay of {fault}, median (worst)", measured, aim, met, "-", baseline)


def _calm(plan: Plan, name: str, calm: Calm, seed: int) -> Row:
    months = calm.devices * calm.days / _MONTH_DAYS
    count, by_rule = clean(plan.kind, calm, seed)
    trivial, _ = clean(plan.baseline, calm._replace(rules=None), seed)
    which = "all rules" if calm.rules is None else f"only {', '.join(calm.rules)}"
    note = f"{calm.devices} devices, a report every {calm.pace_s:g} s, {which}; {by_rule or 'no alert'}"
    measured = f"{count / months:.4f}"
    return Row(
        name,
        f"alarms per device-month, no fault, {calm.days:g} days",
        measured,
        "< 0.05",
        count / months < _PER_MONTH,
        "-",
        f"{trivial / months:.3f}",
        note,
    )


def _span(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """The table's rows."""
    return [row for plan in plans(quick) for row in measure(plan, SEEDS[:1] if quick else SEEDS)]


if __name__ == "__main__":
    main(run)
