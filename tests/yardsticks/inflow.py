"""Sewage inflow: slugs, rain, drift, fouling, stuck sensors and calibrations laid over a year of BSM2's influent.

The influent has rain, seasons and holidays of its own, which nobody labelled: no rule may speak of them. An alert of
a fitting rule within a fault's time finds it, once; every other alert is false. The first weeks are commissioning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from devices.kinds.sewage_inflow import COD, FLOW, KIND, NH3N, TEMPERATURE
from devices.readings import Bool, Float64
from processors.backtest.run import Rows, alerts_of, findings
from tests.yardsticks.table import Row, main

FILE: Final = "bsm2_influent_days_0_364.parquet"
SLOTS: Final = 96  # a day's quarters of an hour
SLOT_US: Final = 900_000_000
MONDAY_US: Final = 1_767_542_400_000_000  # 5 January 2026, midnight in Beijing
LEARN_DAYS: Final = 21
NOISE: Final = 0.025  # of the measuring range
RANGES: Final = {"cod_mgl": 1200.0, "nh3n_mgl": 50.0, "flow_ls": 1000.0}
SLUG: Final = ("cod_high", "nh3n_high")
WET: Final = 1.5  # a six-hour flow this many times its month's habit is rain


class Event(NamedTuple):
    """One injected event: slots from `first` to before `last`; `rules`: any of them finds it, empty: harmless."""

    name: str
    first: int
    last: int
    rules: tuple[str, ...]


@dataclass(slots=True)
class Plant:
    """A year of one plant: `cod`, `nh3n`, `flow` (n,) at quarters of an hour, NaN where nothing was measured."""

    cod: Float64
    nh3n: Float64
    flow: Float64
    temperature: Float64

    def of(self, name: str) -> Float64:
        """The series called `name` as in the kind."""
        return {"cod_mgl": self.cod, "nh3n_mgl": self.nh3n, "flow_ls": self.flow}[name]


def read(folder: Path) -> Plant:
    """The public influent, in the units of the kind."""
    table = pd.read_parquet(folder / FILE).astype(float)
    flow = table["flow_m3_d"].to_numpy() / 86.4
    return Plant(table["cod_mg_l"].to_numpy(), table["nh4_n_mg_l"].to_numpy(), flow, table["temp_c"].to_numpy())


Inject = Callable[[np.random.Generator, Plant, int], Event]


def slug(name: str) -> Inject:
    """A discharge for 1 to 6 hours: `name` times 1.8 to 4, or some hundred mg/L more."""

    def inject(chance: np.random.Generator, plant: Plant, at: int) -> Event:
        last = at + int(chance.integers(4, 25))
        series = plant.of(name)[at:last]
        if chance.random() < 0.7:
            series *= chance.uniform(1.8, 4.0)
        else:
            series += chance.uniform(0.7, 2.0) * float(np.nanmedian(plant.of(name)))
        return Event(f"slug {name}", at, last, ("cod_high",) if name == "cod_mgl" else ("nh3n_high",))

    return inject


def rain(chance: np.random.Generator, plant: Plant, at: int) -> Event:
    """Flow times 1.5 to 3 within an hour, falling off over hours; the load stays about constant."""
    hours = float(chance.uniform(2, 24))
    last = at + int(hours * 4)
    rise = np.minimum(np.arange(last - at + 48) / 4.0, 1.0)
    tail = np.exp(-np.maximum(np.arange(last - at + 48) - (last - at), 0) / 16.0)
    times = 1.0 + (chance.uniform(1.5, 3.0) - 1.0) * rise * tail
    times = times[: len(plant.flow) - at]
    part = slice(at, at + len(times))
    plant.flow[part] *= times
    plant.cod[part] /= times
    plant.nh3n[part] /= times
    return Event("rain", at, at + len(times), ())


def drift(names: Sequence[str], least: float, most: float, rules: tuple[str, ...], label: str) -> Inject:
    """Gain that runs away over 7 to 21 days by `least` to `most` and stays a while, until somebody repairs it."""

    def inject(chance: np.random.Generator, plant: Plant, at: int) -> Event:
        days = float(chance.uniform(7, 21))
        ramp, stay = int(days * SLOTS), int(chance.uniform(2, 5) * SLOTS)
        amount = float(chance.uniform(least, most))
        if least > 0 and label == "common drift" and chance.random() < 0.5:
            amount = -amount * 0.8
        gain = 1.0 + amount * np.minimum(np.arange(ramp + stay) / ramp, 1.0)
        for name in names:
            series = plant.of(name)[at : at + len(gain)]
            series *= gain[: len(series)]
        return Event(label, at, at + len(gain), rules)

    return inject


def stuck(name: str, rule: str) -> Inject:
    """One value for 4 to 24 hours."""

    def inject(chance: np.random.Generator, plant: Plant, at: int) -> Event:
        last = at + int(chance.integers(16, 97))
        plant.of(name)[at:last] = plant.of(name)[at]
        return Event(f"stuck {name}", at, last, (rule,))

    return inject


def calibration(chance: np.random.Generator, plant: Plant, at: int) -> Event:
    """Readings stop for half an hour to two hours, a standard is measured, and the gain is another from then on."""
    name = ("cod_mgl", "nh3n_mgl")[int(chance.integers(2))]
    series, away = plant.of(name), int(chance.integers(2, 9))
    series[at : at + away] = np.nan
    series[at + away] = chance.uniform(0.2, 2.5) * float(np.nanmedian(series))
    series[at + away + 1 :] *= chance.uniform(0.92, 1.08)
    return Event("calibration", at, at + away + SLOTS, ())


# name, how many a year, days it needs with the quiet after it
PROGRAMME: Final[tuple[tuple[Inject, int, int], ...]] = (
    (slug("cod_mgl"), 16, 2),
    (slug("nh3n_mgl"), 10, 2),
    (rain, 14, 3),
    (stuck("cod_mgl", "cod_stuck"), 4, 2),
    (stuck("nh3n_mgl", "nh3n_stuck"), 3, 2),
    (stuck("flow_ls", "flow_stuck"), 3, 2),
    (calibration, 5, 3),
    (drift(("cod_mgl", "nh3n_mgl"), 0.25, 0.5, ("analysers_drift",), "common drift"), 2, 36),
    (drift(("cod_mgl",), 0.2, 0.5, ("cod_drift",), "drift cod_mgl"), 1, 36),
    (drift(("nh3n_mgl",), 0.25, 0.5, ("nh3n_drift",), "drift nh3n_mgl"), 1, 36),
    (drift(("cod_mgl",), -0.45, -0.25, ("cod_drift",), "fouling cod_mgl"), 1, 36),
    (drift(("nh3n_mgl",), -0.45, -0.25, ("nh3n_drift",), "fouling nh3n_mgl"), 1, 36),
)


def laid(plant: Plant, seed: int) -> tuple[Plant, list[Event]]:
    """A plant of its own: BSM2's year begun at another week, events one after the other, noise over all."""
    chance = np.random.default_rng(seed)
    turn = int(chance.integers(0, 52)) * 7 * SLOTS
    made = Plant(
        *(np.roll(s[: 364 * SLOTS], -turn) for s in (plant.cod, plant.nh3n, plant.flow, plant.temperature))
    )
    todo = [(inject, days) for inject, count, days in PROGRAMME for _ in range(count)]
    chance.shuffle(todo)
    events, day = [], LEARN_DAYS
    for inject, days in todo:
        if day + days > 363:
            continue
        events.append(inject(chance, made, day * SLOTS + int(chance.integers(0, SLOTS))))
        day += days
    for name, span in RANGES.items():
        series = made.of(name)
        still = np.diff(series, prepend=np.nan) == 0
        noise = np.where(still, 0.0, chance.normal(0, NOISE * span, len(series)))
        # A stuck value keeps the noise of its first reading.
        at = np.maximum.accumulate(np.where(still, 0, np.arange(len(series))))
        series[:] = np.maximum(series + noise[at], 0.0)
    return made, events


def rows(plants: Sequence[Plant]) -> Rows:
    """All plants side by side, as the backtest takes them, rounded as the kind shows them."""
    count, many = len(plants[0].cod), len(plants)
    values = np.full((count, many, len(KIND.quantities)), np.nan)
    for i, plant in enumerate(plants):
        for quantity, series in (
            (COD, plant.cod), (NH3N, plant.nh3n), (FLOW, plant.flow), (TEMPERATURE, plant.temperature)
        ):  # fmt: skip
            values[:, i, KIND.column(quantity.name)] = np.round(series, quantity.decimals)
    time_us = np.repeat(MONDAY_US + np.arange(count, dtype=np.int64) * SLOT_US, many)
    row = np.tile(np.arange(many, dtype=np.int32), count)
    return Rows([f"P-{i}" for i in range(many)], row, time_us, values.reshape(count * many, -1))


@dataclass(slots=True)
class Score:
    """What alerts were worth."""

    found: int = 0
    missed: int = 0
    false: int = 0
    rains: int = 0
    rain_alarms: int = 0

    def f(self) -> float:
        """Event F-score."""
        return 2 * self.found / max(2 * self.found + self.missed + self.false, 1)


GRACE: Final = 2 * 4  # an alert may rise two hours after a short fault's end
AFTER: Final = 2 * SLOTS  # the repair of a drift is a step; neutral for its own rules


def score(
    events: Sequence[Event], alerts: Sequence[tuple[int, str]], wet: Bool, into: Score, log: list[str]
) -> None:
    """Count `alerts` (slot raised, rule) of one plant."""
    hit: set[int] = set()
    for at, rule in alerts:
        fits = [
            i for i, e in enumerate(events)
            if rule in e.rules and e.first <= at < e.last + (GRACE if e.last - e.first <= 2 * SLOTS else AFTER)
        ]  # fmt: skip
        if fits:
            hit.update(i for i in fits if at < events[i].last + GRACE)
            continue
        inside = next((e.name for e in events if e.first <= at < e.last + GRACE), "nothing")
        raining = bool(wet[min(at, len(wet) - 1)]) or inside == "rain"
        into.rain_alarms += raining
        into.false += at >= LEARN_DAYS * SLOTS
        log.append(f"false {rule} day {at / SLOTS:.2f} in {inside}{' wet' if raining else ''}")
    for i, event in enumerate(events):
        if event.rules:
            into.found += i in hit
            into.missed += i not in hit
            if i not in hit:
                log.append(f"missed {event.name} day {event.first / SLOTS:.2f} {event.last - event.first} slots")


def wet_times(flow: Float64) -> tuple[Bool, int]:
    """(n,) where BSM2's own and injected rain runs, by flow against the month around it; and how many events."""
    of_day = flow.reshape(-1, SLOTS)
    usual = pd.DataFrame(of_day).rolling(29, center=True, min_periods=8).median().to_numpy().reshape(-1)
    wet = pd.Series(flow / usual).rolling(4, center=True, min_periods=1).median().to_numpy() > WET
    starts = np.flatnonzero(np.diff(wet.astype(int), prepend=0) == 1)
    events = 1 + int((np.diff(starts) > 24).sum()) if len(starts) else 0
    near: Bool = pd.Series(wet).rolling(33, center=True, min_periods=1).max().to_numpy() > 0
    return near, events


def measure(
    plant: Plant, seeds: Sequence[int], log: list[str]
) -> tuple[Score, list[tuple[list[Event], list[tuple[int, str]]]]]:
    """All seeds at once through our engine."""
    made = [laid(plant, seed) for seed in seeds]
    spans = alerts_of(findings(KIND, rows([one for one, _ in made])))
    whole, kept = Score(), []
    for i, (one, events) in enumerate(made):
        alerts = [((s.raised_us - MONDAY_US) // SLOT_US, s.rule) for s in spans if s.device == f"P-{i}"]
        wet, count = wet_times(one.flow)
        whole.rains += count
        lines: list[str] = []
        score(events, alerts, wet, whole, lines)
        log += [f"seed {seeds[i]}: {line}" for line in lines]
        kept.append((events, alerts))
    return whole, kept


def by_chance(measured: Sequence[tuple[list[Event], list[tuple[int, str]]]], count: int) -> float:
    """The F-score of as many alarms of the same rules at random times, mean of twenty draws."""
    chance, got = np.random.default_rng(0), []
    for _ in range(20):
        score_of = Score()
        for events, alerts in measured:
            times = chance.integers(LEARN_DAYS * SLOTS, count, len(alerts))
            random = [(int(at), rule) for at, (_, rule) in zip(times, alerts, strict=True)]
            score(events, random, np.zeros(count, dtype=np.bool_), score_of, [])
        got.append(score_of.f())
    return float(np.mean(got))


def fixed_limits(plant: Plant, seeds: Sequence[int]) -> float:
    """The F-score of a trivial rule: each concentration above its 99.5th percentile of the first weeks, for an hour."""
    whole = Score()
    for seed in seeds:
        made, events = laid(plant, seed)
        wet, _ = wet_times(made.flow)
        alerts = []
        for name, rule in (("cod_mgl", "cod_high"), ("nh3n_mgl", "nh3n_high")):
            series = np.nan_to_num(made.of(name))
            above = series > np.percentile(series[: LEARN_DAYS * SLOTS], 99.5)
            held = above & np.roll(above, 1) & np.roll(above, 2) & np.roll(above, 3)
            rose = np.flatnonzero(np.diff(held.astype(int), prepend=0) == 1)
            alerts += [(int(at), rule) for at in rose if at >= LEARN_DAYS * SLOTS]
        score(events, alerts, wet, whole, [])
    return whole.f()


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """The table's rows for sewage inflow; without the public series nothing is measured."""
    if data is None or not (data / FILE).exists():
        return [Row("sewage inflow", "event F-score", "-", ">= 0.9", None, "-", "-", f"needs {FILE}")]
    plant, seeds = read(data), (20,) if quick else (20, 21, 22, 23)
    log: list[str] = []
    whole, measured = measure(plant, seeds, log)
    count = 364 * SLOTS
    share = whole.rain_alarms / max(whole.rains, 1)
    missed = [line.split(": missed ")[1].split(" day")[0] for line in log if ": missed " in line]
    named = ", ".join(f"{name} {missed.count(name)}" for name in sorted(set(missed))) or "none"
    return [
        Row(
            "sewage inflow",
            "event F-score",
            f"{whole.f():.3f}",
            ">= 0.9",
            whole.f() >= 0.9,
            f"{by_chance(measured, count):.2f}",
            f"fixed limits {fixed_limits(plant, seeds):.2f}",
            f"{len(seeds)} years, {whole.found} of {whole.found + whole.missed} events found, {whole.false} false "
            f"alarms; missed: {named}",
        ),
        Row(
            "sewage inflow",
            "alarms in rain",
            f"{100 * share:.2f} % of {whole.rains}",
            "<= 1 %",
            share <= 0.01,
            "-",
            "-",
            "BSM2's own rain and that laid over it",
        ),
    ]


if __name__ == "__main__":
    main(run)
