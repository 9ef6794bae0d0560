"""Drive one detector by hand: sequences per device in, statements with readable numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from processors.detectors import Detector, Hits, Step, build

S = 1_000_000
CADENCE_S = 60.0
# One rule per detector, with bounds that the small numbers of the property tests cross often.
RULES = {
    "limit": {"high": 5, "low": -5, "hold_s": 60, "hysteresis": 2, "clear_s": 60, "update_s": 120},
    "cusum": {"slack": 1, "limit": 6, "learn": 2, "forget_s": 600, "clear_s": 30, "accept_s": 600},
    "step": {"change": 3, "window_s": 120, "hold_s": 60, "clear_s": 60, "accept_s": 600},
    "flatline": {"hold_s": 120, "tolerance": 1},
    "rest_stuck": {"hold_s": 120, "tolerance": 1},
    "rate": {"per_s": 0.1, "clear_s": 60},
    "silence": {"periods": 2, "min_s": 90},
    "burst": {"change": 4, "least": 2, "learn_s": 600, "window_s": 300, "clear_s": 60, "accept_s": 600},
    # The streams last an hour or so: "nights" of seconds.
    "night_minimum": {"change": 1, "from_h": 8, "to_h": 8.1},
    "compliance": {"low": 0, "share": 0.9999},
    "transient": {"least": 2, "window_s": 900, "clear_s": 60},
    "pose": {
        "high": 5,
        "hold_s": 60,
        "hysteresis": 2,
        "clear_s": 60,
        "update_s": 120,
        "learn": 3,
        "accept_s": 900,
    },
    "rocking": {"swing": 2, "swings": 3, "window_s": 120, "clear_s": 60},
    "settle": {"day_s": 60, "days": 8, "least_days": 4, "least": 1, "per_day": 0.2, "away": 4, "fit": 0.6},
    "rising": {"rise": 3, "per_h": 20, "hold_s": 60, "clear_s": 60},
    "vanished": {"high": 5, "periods": 2, "min_s": 90, "learn": 3},
    "linked": {"running": 2, "low": 6, "hold_s": 60, "clear_s": 60},
    "clipped": {"least": 5, "tolerance": 0.6, "hold_s": 60},
    "off_hours": {"running": 5, "from_1": 8.1, "to_1": 8.2, "tolerance_h": 0, "hold_s": 60, "clear_s": 60},
    "session_drift": {"running": 0.5, "day_s": 60, "learn": 2, "limit": 0.6, "least_s": 30, "floor": 1},
    "adaptive": {"learn": 4, "rest": 3, "clear_s": 60},
    "joint": {"learn": 4, "smooth": 1, "limit": 0.05, "unrest": 0.1, "follow": 5, "clear_s": 60, "accept_s": 600},
    "slug": {"high": 5, "hold_s": 60, "clear_s": 60, "update_s": 120, "learn_s": 600},
    "cycle_stuck": {"hold_s": 120, "tolerance": 1, "least_s": 60, "learn": 2},
    "analyser_drift": {"learn_days": 1, "least_slots": 1},
    "dilution": {"low": 3, "learn_days": 1, "dry_days": 1},
    "raised_return": {
        "limit": 1,
        "learn_h": 3,
        "least_supply": -50,
        "hold_s": 60,
        "clear_s": 60,
        "smooth_h": 0.05,
    },
    "low_dt": {"limit": 0.1, "learn_h": 3, "least_supply": -50, "hold_s": 60, "clear_s": 60, "smooth_h": 0.05},
    "reversed_sensors": {"more": 1, "hold_s": 60, "clear_s": 60},
    "no_flow_demand": {"low": 2, "hot": 0, "hold_s": 60, "alone_s": 120, "clear_s": 60},
    "cold_supply": {"low": 2, "hold_s": 60, "clear_s": 60},
    "warm_return": {"high": 5, "hysteresis": 2, "hold_s": 60, "clear_s": 60},
    "failed": {},
    "heat_balance": {"limit": 0.1, "least_k": 0.1, "ready_h": 0, "hold_s": 60, "clear_s": 60},
    "register": {"kwh": 1, "least": 0.01, "window_h": 0.02, "fall": 2},
    "frozen": {"hold_s": 60, "tolerance": 1},
    "missing": {"learn": 2},
    "time_jump": {"jump_s": 1, "learn": 2, "hold_s": 60},
}
SIMPLE = ("limit", "cusum", "step", "flatline", "rate")  # of one quantity, without a long memory
# How many quantities a detector reads beside its own; the property tests make them up from value and time.
BESIDE: dict[str, int] = {
    "joint": 2,
    "pose": 3,
    "rocking": 3,
    "vanished": 3,
    "settle": 4,
    "slug": 1,
    "analyser_drift": 4,
    "dilution": 1,
    "linked": 1,
    "session_drift": 2,
    "raised_return": 3,
    "low_dt": 3,
    "reversed_sensors": 3,
    "no_flow_demand": 3,
    "cold_supply": 2,
    "warm_return": 1,
    "failed": 4,
    "heat_balance": 3,
    "register": 4,
    "frozen": 4,
    "missing": 4,
}


class Told(NamedTuple):
    """One statement, in seconds and units."""

    phase: str
    onset_s: float
    at_s: float
    observed: float | None
    expected: float | None
    limit: float | None


class Value(NamedTuple):
    """One value of one device; `back` where its clock was set back just before."""

    device: int
    time_s: float
    value: float
    back: bool = False


def detector(name: str, devices: int = 1, **params: float) -> Detector:
    """A detector over `devices` devices that report once a minute, registered at 0 s."""
    made = build(name, params)
    if hasattr(made, "reads"):
        made.reads(BESIDE.get(name, 0))
    made.grow(np.full(devices, CADENCE_S), np.zeros(devices, dtype=np.int64))
    return made


def tell(hits: Iterable[Hits], devices: Sequence[int]) -> list[tuple[int, Told]]:
    """Hits as (device, statement); `devices` of the step's rows."""
    return [
        (
            devices[int(h.row[i])],
            Told(
                h.phase.value,
                h.onset_us[i] / S,
                h.at_us[i] / S,
                *(None if np.isnan(x[i]) else float(x[i]) for x in (h.observed, h.expected, h.limit)),
            ),
        )
        for h in hits
        for i in range(len(h.row))
    ]


def take(made: Detector, values: Sequence[Value]) -> list[tuple[int, Told]]:
    """One step of `values`, each of another device."""
    if back := [v.device for v in values if v.back]:
        made.forget(np.array(back, dtype=np.int64))
    times = np.array([int(v.time_s * S) for v in values], dtype=np.int64)
    step = Step(
        np.array([v.device for v in values], dtype=np.int32),
        times,
        times,
        np.array([v.value for v in values], dtype=np.float64),
        np.zeros(len(values), dtype=np.uint8),
        _beside(made, values),
    )
    if getattr(made, "BAD", False):
        _spoil(step)
    return tell(made.step(step), [v.device for v in values])


def _spoil(step: Step) -> None:
    """Some values cannot be right: those of 7 and above, from 9 on with all beside them."""
    bad = np.zeros((len(step.value), 1 + step.beside.shape[1]), dtype=np.bool_)
    bad[:, 0] = (step.value >= 7) & (step.value < 10)
    bad[:, 1:] = (bad[:, 0] & (step.value >= 9))[:, np.newaxis]
    step.value[bad[:, 0]] = np.nan
    step.beside[bad[:, 1:]] = np.nan
    step.bad = bad


def _beside(made: Detector, values: Sequence[Value]) -> np.ndarray:
    width = BESIDE.get(type(made).__module__.rpartition(".")[2], 0)
    columns = [[v.value * (k + 2) + v.time_s // 60 % 3 for k in range(width)] for v in values]
    return np.array(columns, dtype=np.float64).reshape(len(values), width) if width else np.empty((0, 0))


def feed(made: Detector, values: Iterable[float], *, every_s: float = 60.0, from_s: float = 0.0) -> list[Told]:
    """Values of device 0 at an even pace, one a step."""
    found = []
    for i, value in enumerate(values):
        found += [told for _, told in take(made, [Value(0, from_s + i * every_s, value)])]
    return found


def phases(found: Iterable[Told]) -> list[tuple[str, float]]:
    """What was said when."""
    return [(told.phase, told.at_s) for told in found]
