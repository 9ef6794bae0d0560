"""Heat meters: faults laid over real substations, which have night setback, mild days, gaps and summers of their own.

The public series have temperatures of both sides and the heat's power; flow and energy are made from them by physics,
with a meter's noise. A device is one side of one substation with the faults of one seed, and some devices report only
what their side measures. An alert of a fitting rule within a fault's time finds it, once; every other alert is false,
also those of other rules during a fault unless the fault shows there too. The first weeks are commissioning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from devices.kinds.heat_meter import KIND
from devices.readings import Float64, Int64
from devices.spec import Kind, Text, Use
from processors.backtest.run import Rows, Span, alerts_of, findings, sorted_rows
from tests.yardsticks.table import Row, main

HOUR_US: Final = 3_600_000_000
DAY_H: Final = 24
LEARN_DAYS: Final = 21  # of the first season
SEEDS: Final = (21, 22, 23)
NAMES: Final = ("supply_c", "return_c", "flow_m3h", "power_kw", "energy_mwh")
SHOWN: Final = {  # what a device reports
    "all": NAMES,
    "no register": NAMES[:4],
    "power": ("supply_c", "return_c", "power_kw"),
    "temperatures": ("supply_c", "return_c"),
}
_FLOW_NOISE: Final = 0.02  # of class 2
_GRACE_H: Final = 12
_AFTER_H: Final = 10 * DAY_H  # a rule with a memory of days needs as long to come back
_MONTH_H: Final = 365.25 / 12 * 24


class Event(NamedTuple):
    """One fault: hours from `first` to before `last`. `rules`: any finds it. `also`: may speak too."""

    name: str
    first: int
    last: int
    rules: tuple[str, ...]
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class Meter:
    """One side of one substation: `time_us` (n,), `of` each quantity (n,)."""

    time_us: Int64
    of: dict[str, Float64]

    def __len__(self) -> int:
        return len(self.time_us)


def read(folder: Path, name: str, side: str, chance: np.random.Generator) -> Meter:
    """A substation's primary or secondary side; its hours are taken for UTC."""
    table = pd.read_parquet(folder / f"heat_substation_{name}.parquet")
    time = pd.to_datetime(table.iloc[:, 0]).to_numpy().astype("datetime64[us]").astype(np.int64)
    columns = (f"t_sup_{side}", f"t_ret_{side}", "qizm")
    supply, back, power = (table[column].to_numpy(dtype=np.float64).copy() for column in columns)
    gap = supply - back
    # Power falls on flow as a control valve would have set it; a difference near zero leaves nothing to divide by.
    flow = np.where(power > 0, power / (1.16 * np.maximum(gap, 2.0)), 0.0)
    flow *= 1.0 + _FLOW_NOISE * chance.normal(size=len(flow))
    power = np.where(power > 0, np.maximum(gap, 0.0) * flow * _k(back), 0.0)
    power *= 1.0 + 0.01 * chance.normal(size=len(power))
    made = {"supply_c": supply, "return_c": back, "flow_m3h": flow, "power_kw": power}
    return Meter(time, made)


def _k(celsius: Float64) -> Float64:
    """Water's kWh per m3 and K: density times specific heat, a table of saturated water."""
    at = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0]
    value: Float64 = np.interp(celsius, at, [1.1712, 1.1601, 1.1518, 1.1430, 1.1329, 1.1224, 1.1119])
    return value


Reporting = tuple[str, Meter, Sequence[str]]  # a device's id, what happens there, what it reports
Inject = Callable[[np.random.Generator, Meter, int], Event]
RAISED: Final = ("return_raised", "low_dt")


def raised(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """The return 4 to 10 K warmer for 3 to 10 days; on a secondary side, a share of its difference. Flow makes up."""
    last = at + int(chance.uniform(3, 10) * DAY_H)
    _warmer(meter, at, last, np.full(last - at, chance.uniform(4, 10)))
    return Event("raised return", at, last, RAISED, ("return_warm", "sensors_reversed"))


def fouling(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """The difference shrinks by 25 to 50 percent over 2 to 4 weeks and stays so for another."""
    ramp, stay = int(chance.uniform(14, 28) * DAY_H), 7 * DAY_H
    share = np.minimum(np.arange(ramp + stay) / ramp, 1.0) * chance.uniform(0.25, 0.5)
    part = slice(at, at + ramp + stay)
    usual = np.maximum(meter.of["supply_c"][part] - meter.of["return_c"][part], 0.0)
    _warmer(meter, at, at + ramp + stay, share * usual)
    return Event("low dT", at, at + ramp + stay, RAISED, ("return_warm",))


def _warmer(meter: Meter, at: int, last: int, more: Float64) -> None:
    """Raise the return, not above supply; with heat, the flow rises as the difference shrinks."""
    part = slice(at, last)
    supply, back, flow = (meter.of[name][part] for name in ("supply_c", "return_c", "flow_m3h"))
    before = np.maximum(supply - back, 1.0)
    back += np.where(flow > 0, np.minimum(more, np.maximum(supply - back - 1.0, 0.0)), 0.0)
    flow *= np.minimum(before / np.maximum(supply - back, 1.0), 5.0)


def no_flow(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """No flow and no power for 12 to 72 hours; in half of them the supply cools down as it does at night."""
    last = at + int(chance.integers(12, 73))
    part = slice(at, last)
    meter.of["flow_m3h"][part] = 0.0
    meter.of["power_kw"][part] = 0.0
    meter.of["stood"][part] = 1.0
    if chance.random() < 0.5:
        kept = np.exp(-np.arange(last - at) / 24.0)
        meter.of["supply_c"][part] = 30.0 + (meter.of["supply_c"][part] - 30.0) * kept
        meter.of["return_c"][part] = np.minimum(meter.of["return_c"][part], 30.0 + 12.0 * kept)
    return Event("no flow", at, last, ("no_flow",))


def swapped(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """Supply and return exchanged for 1 to 7 days; the power is reported as it was, without a sign."""
    last = at + int(chance.uniform(1, 7) * DAY_H)
    part = slice(at, last)
    supply = meter.of["supply_c"][part].copy()
    meter.of["supply_c"][part] = meter.of["return_c"][part]
    meter.of["return_c"][part] = supply
    return Event("reversed", at, last, ("sensors_reversed",), (*RAISED, "return_warm", "supply_low"))


def factor(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """The flow reads 15 to 30 percent more or less than it is, for 3 to 14 days."""
    last = at + int(chance.uniform(3, 14) * DAY_H)
    meter.of["flow_m3h"][at:last] *= 1.0 + chance.choice([-1, 1]) * chance.uniform(0.15, 0.3)
    return Event("balance", at, last, ("balance",))


def stuck(name: str, rules: tuple[str, ...], also: tuple[str, ...] = ()) -> Inject:
    """One value for 1 to 5 days, a day at least with heat."""

    def inject(chance: np.random.Generator, meter: Meter, at: int) -> Event:
        while name != "energy_mwh" and meter.of["power_kw"][at] <= 0:
            at += 1
        last = at + int(chance.uniform(1.25, 5) * DAY_H)
        if name == "energy_mwh":
            meter.of["stood"][at:last] = 1.0
        else:
            meter.of[name][at:last] = meter.of[name][at]
        return Event(f"stuck {name.partition('_')[0]}", at, last, rules, also)

    return inject


def backwards(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """The register counts down for a day or two."""
    last = at + int(chance.uniform(1, 2) * DAY_H)
    meter.of["stood"][at:last] = 2.0
    return Event("register backwards", at, last, ("register_wrong",))


def sentinel(name: str, rule: str) -> Inject:
    """-39.9 for 6 to 48 hours: no measurement."""

    def inject(chance: np.random.Generator, meter: Meter, at: int) -> Event:
        last = at + int(chance.integers(6, 49))
        meter.of[name][at:last] = -39.9
        return Event(f"sentinel {name.partition('_')[0]}", at, last, (rule,))

    return inject


def blinks(chance: np.random.Generator, meter: Meter, at: int) -> Event:
    """Harmless: single -39.9 here and there for a day."""
    for hour in chance.choice(DAY_H, size=5, replace=False):
        meter.of[("supply_c", "return_c")[int(chance.integers(2))]][at + int(hour)] = -39.9
    return Event("blinks", at, at + DAY_H, ())


# name, how many a season, what must be reported for it
PROGRAMME: Final[tuple[tuple[Inject, int, frozenset[str]], ...]] = (
    (raised, 3, frozenset()),
    (fouling, 1, frozenset()),
    (no_flow, 2, frozenset({"power_kw"})),
    (swapped, 1, frozenset()),
    (factor, 1, frozenset({"flow_m3h", "power_kw"})),
    (stuck("flow_m3h", ("flow_stuck",), ("balance",)), 1, frozenset({"flow_m3h"})),
    (stuck("power_kw", ("power_stuck",), ("balance", "register_wrong", *RAISED)), 1, frozenset({"power_kw"})),
    (stuck("supply_c", ("supply_stuck",), ("balance", *RAISED, "sensors_reversed")), 1, frozenset()),
    (stuck("return_c", ("return_stuck",), ("balance", *RAISED, "sensors_reversed")), 1, frozenset()),
    (stuck("energy_mwh", ("register_wrong",)), 1, frozenset({"energy_mwh"})),
    (backwards, 1, frozenset({"energy_mwh"})),
    (sentinel("supply_c", "supply_missing"), 1, frozenset()),
    (sentinel("return_c", "return_missing"), 1, frozenset()),
    (blinks, 1, frozenset()),
)
_REST_H: Final = 6 * DAY_H
_HEATED: Final = 0.4


def laid(meter: Meter, shown: Sequence[str], seed: int, *, faults: bool = True) -> tuple[Meter, list[Event]]:
    """A meter with faults one after the other, in each season, in an order of chance; rounded as the kind shows."""
    chance = np.random.default_rng(seed)
    made = Meter(meter.time_us, {name: series.copy() for name, series in meter.of.items()})
    made.of["stood"] = np.zeros(len(made))
    events = _events(chance, meter, made, set(shown)) if faults else []
    heat = np.where(np.isfinite(meter.of["power_kw"]), meter.of["power_kw"], 0.0) / 1000.0
    for code, times in ((1.0, 0.0), (2.0, -1.0)):
        heat = np.where(made.of["stood"] == code, times * heat, heat)
    made.of["energy_mwh"] = 1800.0 + np.cumsum(heat)
    for quantity in KIND.quantities:
        if quantity.name in made.of:
            digits = max(quantity.decimals, 1)
            made.of[quantity.name] = np.round(made.of[quantity.name], digits)
    return made, events


def _events(chance: np.random.Generator, meter: Meter, made: Meter, shown: set[str]) -> list[Event]:
    """Lay faults over `made`, season by season; no season's last five weeks begin one."""
    events: list[Event] = []
    todo: list[Inject] = []
    pauses = np.flatnonzero(np.diff(made.time_us) > 30 * DAY_H * HOUR_US) + 1
    starts = [0, *pauses.tolist(), len(made)]
    for season, (first, end) in enumerate(pairwise(starts)):
        at, last = first + (7 if season else LEARN_DAYS) * DAY_H, end - 36 * DAY_H
        while True:
            if not todo:
                todo = [one for one, many, needs in PROGRAMME if needs <= shown for _ in range(many)]
                chance.shuffle(todo)
            at += int(chance.integers(0, DAY_H))
            # A fault of heat is one only while there is heat: on to days with half of their hours heated.
            while at < last and (meter.of["power_kw"][at : at + 2 * DAY_H] > 0).mean() < _HEATED:
                at += DAY_H
            if at >= last:
                break
            events.append(todo.pop()(chance, made, at))
            at = events[-1].last + _REST_H
    return events


def rows(meters: Sequence[Reporting]) -> Rows:
    """Devices by id side by side, each with what it reports."""
    parts, times, row = [], [], []
    for i, (_, meter, shown) in enumerate(meters):
        values = np.full((len(meter), len(KIND.quantities)), np.nan)
        for name in shown:
            values[:, KIND.column(name)] = meter.of[name]
        parts.append(values)
        times.append(meter.time_us)
        row.append(np.full(len(meter), i, dtype=np.int32))
    return sorted_rows(
        [name for name, *_ in meters], np.concatenate(row), np.concatenate(times), np.concatenate(parts)
    )


@dataclass(slots=True)
class Score:
    """What alerts were worth; `delays_h` by fault, `seen` by fault: found, injected."""

    found: int = 0
    missed: int = 0
    false: int = 0
    delays_h: dict[str, list[float]] = field(default_factory=dict)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def f(self) -> float:
        """Event F-score."""
        return 2 * self.found / max(2 * self.found + self.missed + self.false, 1)


def score(meter: Meter, events: Sequence[Event], alerts: Sequence[Span], into: Score, device: str) -> None:
    """Count the alerts of one device."""
    learned = int(meter.time_us[0]) + LEARN_DAYS * DAY_H * HOUR_US
    begin = [int(meter.time_us[e.first]) for e in events]
    end = [int(meter.time_us[min(e.last, len(meter) - 1)]) for e in events]
    first: dict[int, int] = {}
    for alert in alerts:
        at, said = alert.raised_us, False
        for i, event in enumerate(events):
            if begin[i] <= at < end[i] + _GRACE_H * HOUR_US and alert.rule in event.rules:
                first[i] = min(first.get(i, at), at)
                said = True
            said |= begin[i] <= at < end[i] + _AFTER_H * HOUR_US and alert.rule in (*event.rules, *event.also)
        if not said and at >= learned and alert.rule != "silent":
            into.false += 1
            inside = next((e.name for i, e in enumerate(events) if begin[i] <= at < end[i]), "nothing")
            name = f"{alert.rule} in {inside}"
            into.wrong[name] = into.wrong.get(name, 0) + 1
            into.lines.append(f"false {device} {name} {np.datetime64(at, 'us')}")
    for i, event in enumerate(events):
        if not event.rules:
            continue
        found, of = into.seen.get(event.name, (0, 0))
        into.seen[event.name] = (found + (i in first), of + 1)
        into.found += i in first
        into.missed += i not in first
        if i in first:
            into.delays_h.setdefault(event.name, []).append((first[i] - begin[i]) / HOUR_US)
        else:
            into.lines.append(
                f"missed {device} {event.name} {np.datetime64(begin[i], 'us')} {event.last - event.first} h"
            )


BASELINE: Final = replace(
    KIND,
    detectors=tuple(
        Use(rule=rule, detector=detector, quantity=KIND.quantity(name), params=params, title=Text("", ""))
        for rule, detector, name, params in (
            ("return_raised", "limit", "return_c", {"high": 50.0, "hold_s": 6 * 3600.0}),
            ("no_flow", "limit", "flow_m3h", {"low": 0.1, "hold_s": 10 * 3600.0}),
            ("flow_stuck", "flatline", "flow_m3h", {"hold_s": 12 * 3600.0}),
        )
    ),
)


def devices(folder: Path, seeds: Sequence[int], names: Sequence[str]) -> list[Reporting]:
    """Every substation, side and seed; what a device reports goes round."""
    made: list[Reporting] = []
    for seed in seeds:
        for n, name in enumerate(names):
            for s, side in enumerate(("prim", "sec")):
                kind = list(SHOWN)[(seed + 2 * n + s) % len(SHOWN)]
                meter = read(folder, name, side, np.random.default_rng(seed))
                made.append((f"{name}-{side}-{kind.replace(' ', '_')}-{seed}", meter, SHOWN[kind]))
    return made


def measure(
    folder: Path, seeds: Sequence[int], names: Sequence[str], kind: Kind = KIND, *, faults: bool = True
) -> tuple[Score, float, list[tuple[Meter, list[Event], list[Span]]]]:
    """All devices at once through our engine: the score, the device-months, and what was said."""
    made = []
    for i, (device, meter, shown) in enumerate(devices(folder, seeds, names)):
        one, events = laid(meter, shown, 1000 * seeds[0] + i, faults=faults)
        made.append((device, one, shown, events))
    spans = alerts_of(findings(kind, rows([(device, one, shown) for device, one, shown, _ in made])))
    whole, hours, kept = Score(), 0, []
    for device, one, _, events in made:
        mine = [span for span in spans if span.device == device]
        score(one, events, mine, whole, device)
        hours += len(one) - LEARN_DAYS * DAY_H
        kept.append((one, events, mine))
    return whole, hours / _MONTH_H, kept


def by_chance(kept: Sequence[tuple[Meter, list[Event], list[Span]]], seed: int = 5) -> float:
    """F-score of as many alarms of the same rules at random hours."""
    chance, scores = np.random.default_rng(seed), []
    for _ in range(20):
        whole = Score()
        for meter, events, spans in kept:
            hours = chance.integers(LEARN_DAYS * DAY_H, len(meter), size=len(spans))
            moved = [s._replace(raised_us=int(meter.time_us[h])) for s, h in zip(spans, hours, strict=True)]
            score(meter, events, moved, whole, "")
        scores.append(whole.f())
    return float(np.mean(scores))


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """Faults on both substations, and the clean series."""
    if data is None or not list(data.glob("heat_substation_*.parquet")):
        return [Row("heating", "event F-score", "-", ">= 0.8", None, "-", "-", "needs heat_substation_*.parquet")]
    names = sorted(path.stem.removeprefix("heat_substation_") for path in data.glob("heat_substation_*.parquet"))
    seeds = SEEDS[:1] if quick else SEEDS
    whole, _, kept = measure(data, seeds, names)
    plain, _, _ = measure(data, seeds[:1], names, BASELINE)
    found = ", ".join(f"{name} {got}/{of}" for name, (got, of) in sorted(whole.seen.items()))
    delays = ", ".join(f"{name} {median(hours):.0f} h" for name, hours in sorted(whole.delays_h.items()))
    wrong = ", ".join(f"{name} {many}" for name, many in sorted(whole.wrong.items()))
    made = [Row(
        "heating", f"event F-score, {'+'.join(names)}, {len(seeds)} seeds", f"{whole.f():.2f}", ">= 0.8",
        whole.f() >= 0.8, f"{by_chance(kept):.2f}", f"{plain.f():.2f}",
        f"found {found}; median delay {delays}; false {whole.false}: {wrong}; baseline: return over 50 C, flow "
        "under 0.1 m3/h for 10 h, flow flat for 12 h",
    )]  # fmt: skip
    clean, months, _ = measure(data, seeds[:1], names, faults=False)
    plain, _, _ = measure(data, seeds[:1], names, BASELINE, faults=False)
    wrong = ", ".join(f"{name} {many}" for name, many in sorted(clean.wrong.items()))
    rate, usual = clean.false / months, plain.false / months
    note = f"{months:.0f} device-months of heating; {wrong}; real events nobody labelled are in"
    what = "alarms per device-month, clean"
    made.append(Row("heating", what, f"{rate:.2f}", "<= 0.3", rate <= 0.3, "-", f"{usual:.2f}", note))
    return made


if __name__ == "__main__":
    main(run)
