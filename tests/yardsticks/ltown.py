"""Leaks in L-Town: a year of pressures from a simulated network with a real district's demand; detection and place.

Data: `ltown_*_sim.parquet` (m, every 5 min), `ltown_*_sim_leaks.parquet` (m3/h), and the network's pipes for
distances. The kind's own rule runs over them through the engine; pressures only, noise of a sensor's class added.

A leak counts as found when an alarm rises within 3 days after its flow first exceeds 2 m3/h and before its repair; one
alarm credits one leak; every other alarm is false, except within 24 h after a leak's end. 14 days commissioning.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from devices import kinds
from devices.fleet import Entry
from devices.readings import Float64
from processors.backtest.run import Backtest, Rows, Span, alerts_of
from tests.yardsticks.table import Row, main

RULE: Final = "leak_area"
_KPA_PER_M: Final = 9.80665
_NOISE_M: Final = 0.05
_SEED: Final = 2018
_DAY_US: Final = 86_400_000_000
_COMMISSION_D: Final = 14.0
_WITHIN_D: Final = 3.0
_NEUTRAL_D: Final = 1.0
_LARGE_M3H: Final = 2.0
_DEGREE_M: Final = 111_195.0


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak: its pipe, when it began, passed 2 m3/h and ended; days since the data's start."""

    pipe: str
    start: float
    large: float
    end: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: day, sensor named, sensors ranked, radius in m."""

    day: float
    sensor: str
    place: tuple[str, ...]
    radius_m: float


class Network:
    """Pipes and coordinates of an EPANET file, as a city's GIS has them."""

    def __init__(self, path: Path) -> None:
        table: dict[str, list[list[str]]] = {}
        section = ""
        for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
            line = raw.split(";")[0].strip()
            if line.startswith("["):
                section = line
            elif line:
                table.setdefault(section, []).append(line.split())
        self.pipes = {f[0]: (f[1], f[2], float(f[3])) for f in table["[PIPES]"]}
        self.place = {f[0]: (float(f[1]), float(f[2])) for f in table["[COORDINATES]"]}
        self._next: dict[str, list[tuple[str, float]]] = {}
        links = [*self.pipes.values(), *((f[1], f[2], 0.0) for s in ("[PUMPS]", "[VALVES]") for f in table[s])]
        for one, other, length in links:
            self._next.setdefault(one, []).append((other, length))
            self._next.setdefault(other, []).append((one, length))

    def along(self, pipe: str) -> dict[str, float]:
        """Metres along the pipes from the middle of `pipe` to every node."""
        one, other, length = self.pipes[pipe]
        far = {one: length / 2, other: length / 2}
        queue = [(length / 2, one), (length / 2, other)]
        while queue:
            gone, node = heapq.heappop(queue)
            if gone > far[node]:
                continue
            for neighbour, more in self._next[node]:
                if gone + more < far.get(neighbour, np.inf):
                    far[neighbour] = gone + more
                    heapq.heappush(queue, (gone + more, neighbour))
        return far

    def straight(self, pipe: str, node: str) -> float:
        """Metres as the crow flies from the middle of `pipe` to `node`."""
        one, other, _ = self.pipes[pipe]
        middle = np.add(self.place[one], self.place[other]) / 2
        return float(np.hypot(*(middle - self.place[node])))


def run(data: Path | None, quick: bool = False) -> list[Row]:
    """Both figures for every year in `data`; `quick` stops after 100 days."""
    years = [] if data is None else sorted(data.glob("ltown_*_sim.parquet"))
    if not years:
        return [Row("L-Town", what, "-", aim, None, "-", "-", "no data") for what, aim in _AIMS]
    return [row for path in years for row in _year(path, 100 if quick else 366)]


_AIMS: Final = (
    ("leaks found within 3 days", ">= 10 of 14, <= 6 false, median <= 24 h"),
    ("distance along pipes from the sensor named", "median <= 300 m"),
)


def _year(path: Path, days: int) -> list[Row]:
    import pandas as pd  # noqa: PLC0415

    wide = pd.read_parquet(path).iloc[: days * 288]
    names = [str(c) for c in wide.columns if str(c).startswith("n")]
    flow = pd.read_parquet(path.with_name(f"{path.stem}_leaks.parquet")).iloc[: days * 288]
    network = Network(path.with_suffix(".inp"))
    noise = np.random.default_rng(_SEED).normal(0.0, _NOISE_M, (len(wide), len(names)))
    pressure = (wide[names].to_numpy(dtype=np.float64) + noise) * _KPA_PER_M
    leaks = leaks_of({str(pipe): flow[pipe].to_numpy() for pipe in flow})
    alarms = alarms_of(pressure, names, network)
    return rows_for(path.stem, pressure, names, leaks, alarms, network)


def leaks_of(flow: dict[str, NDArray[Any]]) -> list[Leak]:
    """Every leak that passes 2 m3/h, in that order; flows every 5 min in m3/h."""
    found = []
    for pipe, series in flow.items():
        there, large = np.flatnonzero(series > 0.01), np.flatnonzero(series > _LARGE_M3H)
        if len(large):
            found.append(Leak(pipe, *(float(i) / 288 for i in (there[0], large[0], there[-1] + 1))))
    return sorted(found, key=lambda leak: leak.large)


def alarms_of(pressure: Float64, names: Sequence[str], network: Network) -> list[Alarm]:
    """What the kind's rule raises over `pressure` (t, s) in kPa, every 5 min, through the engine."""
    kind = kinds.load()["water_pressure"]
    count, sensors = pressure.shape
    start = 1_514_764_800_000_000  # 2018-01-01
    time_us = np.repeat(start + np.arange(count, dtype=np.int64) * 300_000_000, sensors)
    values = np.full((count * sensors, len(kind.quantities)), np.nan)
    values[:, kind.column("pressure_kpa")] = pressure.ravel()
    rows = Rows(list(names), np.tile(np.arange(sensors, dtype=np.int32), count), time_us, values)
    entries = [Entry(name, kind.name, district="L-Town", cadence_s=300.0, registered_us=start) for name in names]
    test = Backtest(kind, rows, entries=entries, rules=[RULE])
    detector: Any = test.engine.kinds[kind.name].rules[0].detector
    detector.locate(np.array([network.place[name] for name in test.fleet.kinds[kind.name].ids]) / _DEGREE_M)
    return [_alarm(span, start) for span in alerts_of(test.findings())]


def _alarm(span: Span, start_us: int) -> Alarm:
    evidence: Any = span.finding.evidence
    radius = evidence.radius_m if evidence.radius_m is not None else np.nan
    return Alarm((span.raised_us - start_us) / _DAY_US, span.device, tuple(evidence.place), radius)


def score(alarms: Sequence[Alarm], leaks: Sequence[Leak]) -> tuple[dict[int, Alarm], list[Alarm]]:
    """Which leak each alarm credits, by the leak's index, and the alarms that are false."""
    found: dict[int, Alarm] = {}
    false = []
    for alarm in sorted(alarms, key=lambda one: one.day):
        if alarm.day < _COMMISSION_D:
            continue
        open_ = (
            i
            for i, leak in enumerate(leaks)
            if i not in found and leak.large <= alarm.day <= min(leak.large + _WITHIN_D, leak.end)
        )
        hit = next(open_, None)
        if hit is not None:
            found[hit] = alarm
        elif not any(leak.end <= alarm.day <= leak.end + _NEUTRAL_D for leak in leaks):
            false.append(alarm)
    return found, false


def by_chance(count: int, leaks: Sequence[Leak], days: float) -> float:
    """Leaks that `count` alarms at random times would find."""
    width = [max(0.0, min(_WITHIN_D, leak.end - leak.large)) for leak in leaks]
    return sum(1.0 - (1.0 - w / (days - _COMMISSION_D)) ** count for w in width)


def single(pressure: Float64, names: Sequence[str]) -> list[Alarm]:
    """The trivial rule: a CUSUM on each sensor's night mean against its last 14 nights; alarms of 3 days are one."""
    nights = pressure[: len(pressure) // 288 * 288].reshape(-1, 288, len(names))[:, 24:60].mean(axis=1)
    found: list[Alarm] = []
    total = np.zeros(len(names))
    for day in range(int(_COMMISSION_D), len(nights)):
        before = nights[day - 14 : day]
        total = np.maximum(total + (before.mean(axis=0) - nights[day]) / before.std(axis=0) - 0.5, 0.0)
        worst = int(np.argmax(total))
        if total[worst] > 5.0:
            if not found or day - found[-1].day > _WITHIN_D:
                found.append(Alarm(day + 60 / 288, names[worst], (names[worst],), np.nan))
            total[:] = 0.0
    return found


def rows_for(
    year: str,
    pressure: Float64,
    names: Sequence[str],
    leaks: Sequence[Leak],
    alarms: Sequence[Alarm],
    network: Network,
) -> list[Row]:
    """The two rows of one year, with what chance and the trivial rule reach."""
    days = len(pressure) / 288
    found, false = score(alarms, leaks)
    trivial, trivial_false = score(single(pressure, names), leaks)
    delay = [(alarm.day - leaks[i].large) * 24 for i, alarm in found.items()]
    count = len(found) + len(false)
    detection = Row(
        f"{year} leaks",
        _AIMS[0][0],
        f"{len(found)} of {len(leaks)}, {len(false)} false, median {_median(delay):.0f} h",
        _AIMS[0][1],
        len(found) >= len(leaks) * 10 / 14 and len(false) <= 6 and _median(delay) <= 24,
        f"{by_chance(count, leaks, days):.1f} found by {count} random alarms",
        f"{len(trivial)} of {len(leaks)}, {len(trivial_false)} false (CUSUM of nights, single sensors)",
        _detection_note(found, false, leaks),
    )
    return [detection, _place_row(year, names, leaks, found, trivial, network)]


def _place_row(
    year: str,
    names: Sequence[str],
    leaks: Sequence[Leak],
    found: dict[int, Alarm],
    trivial: dict[int, Alarm],
    network: Network,
) -> Row:
    far = {i: network.along(leaks[i].pipe) for i in range(len(leaks))}
    first = {i: far[i][alarm.sensor] for i, alarm in found.items()}
    nearest = {i: min(far[i][name] for name in names) for i in found}
    area = [min(far[i][name] for name in alarm.place or (alarm.sensor,)) for i, alarm in found.items()]
    chance = _median([float(np.median([far[i][name] for name in names])) for i in found])
    inside = [network.straight(leaks[i].pipe, a.sensor) <= a.radius_m for i, a in found.items()]
    return Row(
        f"{year} place",
        _AIMS[1][0],
        f"median {_median(list(first.values())):.0f} m over {len(found)} found",
        _AIMS[1][1],
        bool(found) and _median(list(first.values())) <= 300,
        f"{chance:.0f} m, a sensor at random",
        f"{_median([far[i][a.sensor] for i, a in trivial.items()]):.0f} m over {len(trivial)} (CUSUM of nights)",
        "; ".join(
            f"{leaks[i].pipe}: {alarm.sensor} {first[i]:.0f} m (nearest sensor {nearest[i]:.0f} m)"
            for i, alarm in sorted(found.items())
        )
        + f". As named when raised. Nearest of the ranked sensors: median {_median(area):.0f} m; the best any sensor "
        f"could: {_median(list(nearest.values())):.0f} m; inside the radius told: {sum(inside)} of {len(inside)}.",
    )


def _detection_note(found: dict[int, Alarm], false: Sequence[Alarm], leaks: Sequence[Leak]) -> str:
    hours = "; ".join(f"{leaks[i].pipe} {(a.day - leaks[i].large) * 24:.0f} h" for i, a in sorted(found.items()))
    missed = ", ".join(leak.pipe for i, leak in enumerate(leaks) if i not in found)
    wrong = "; ".join(f"day {a.day:.1f} {a.sensor}{_excuse(a, leaks)}" for a in false)
    return f"found {hours}. Missed: {missed or 'none'}. False: {wrong or 'none'}."


def _excuse(alarm: Alarm, leaks: Sequence[Leak]) -> str:
    early = [leak.pipe for leak in leaks if leak.start <= alarm.day < leak.large]
    return f" ({', '.join(early)} below 2 m3/h)" if early else ""


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


if __name__ == "__main__":
    main(run)
