"""What a circuit's return temperature usually is at this hour, supply temperature and load.

From: detectors that compare the return with the circuit's own past. To: the same, as an expected return. Each hour of
the day has means of its own; what supply and load explain within an hour is one regression for all hours, with old
readings forgotten. Source: recursive least squares with forgetting, Ljung and Soderstrom 1983, Theory and Practice of
Recursive Identification; bounded influence after Huber 1964. State: 0.5 KB per device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int64

HOURS: Final = 24
_PAIRS: Final = 500.0  # readings that the regression remembers: a month of hours with heat
_RIDGE: Final = 0.05  # keeps a supply that never moved, or a load that repeats it, from explaining anything
_MANY: Final = 60000
_LEAST_HOURS: Final = 3  # visits of an hour before it says something
COLUMNS: Final[Mapping[str, tuple[str, float]]] = {
    "means": ("float32", 0.0),
    "visits": ("uint16", 0),
    "moments": ("float32", 0.0),
    "pairs": ("uint16", 0),
}
"""State of a detector that keeps a course; widths by `width`."""


class Course(Protocol):
    """A detector with the columns above.

    `means`: (n, 24, 3) of supply, return and load. `visits`: (n, 24). `moments`: (n, 5) mean products of deviations:
    supply with itself, load with itself, both, return with supply, return with load. `pairs`: (n,) readings in them.
    """

    means: NDArray[np.float32]
    visits: NDArray[np.uint16]
    moments: NDArray[np.float32]
    pairs: NDArray[np.uint16]


def width(name: str) -> tuple[int, ...]:
    """Shape of one device's element of the state column `name`."""
    return {"means": (HOURS, 3), "visits": (HOURS,), "moments": (5,)}.get(name, ())


def expect(of: Course, device: Int64, hour: Int64, supply: Float64, load: Float64) -> tuple[Float64, Bool]:
    """(m,) return to be expected, and whether this hour is known; `load` NaN: its mean."""
    mean = of.means[device, hour].astype(np.float64)
    ds, dl = supply - mean[:, 0], load - mean[:, 2]
    by_supply, by_load = _slopes(of, device)
    dl = np.where(np.isfinite(dl), dl, 0.0)
    return mean[:, 1] + by_supply * ds + by_load * dl, of.visits[device, hour] >= _LEAST_HOURS


def learn(of: Course, device: Int64, hour: Int64, values: Float64, share: Float64, memory: float) -> None:
    """Take `values` (m, 3), supply, return (bounded by the caller) and load, NaN load: none; `share` (m,) of trust.

    `memory`: visits of an hour that its means remember.
    """
    mean, visits = of.means[device, hour].astype(np.float64), of.visits[device, hour]
    load = np.where(np.isfinite(values[:, 2]), values[:, 2], np.where(visits > 0, mean[:, 2], 0.0))
    away = np.column_stack([values[:, 0], values[:, 1], load]) - mean
    known = visits >= 1
    weight = np.maximum(1.0 / (visits + 1.0), share / memory)
    of.means[device, hour] = mean + weight[:, np.newaxis] * away
    of.visits[device, hour] = np.minimum(visits + 1, _MANY)
    pairs = of.pairs[device]
    weight = np.where(known, np.maximum(1.0 / (pairs + 1.0), share / _PAIRS), 0.0)[:, np.newaxis]
    ds, dr, dl = away[:, 0], away[:, 1], away[:, 2]
    products = np.column_stack([ds * ds, dl * dl, ds * dl, dr * ds, dr * dl])
    old = of.moments[device].astype(np.float64)
    of.moments[device] = old + weight * (products - old)
    of.pairs[device] = np.minimum(pairs + known, _MANY)


def _slopes(of: Course, device: Int64) -> tuple[Float64, Float64]:
    """(m,) how much the return follows supply, and load."""
    ss, ll, sl, rs, rl = of.moments[device].astype(np.float64).T
    ss, ll = ss * (1.0 + _RIDGE) + 1.0, ll * (1.0 + _RIDGE) + 1e-3
    whole = np.maximum(ss * ll - sl * sl, 1e-9)
    both, by_load = (rs * ll - rl * sl) / whole, (rl * ss - rs * sl) / whole
    # At a constant flow a warmer return means less power: that is the fault itself and explains nothing.
    by_supply = np.where(by_load > 0, both, rs / ss)
    return np.minimum(np.maximum(by_supply, 0.0), 1.0), np.maximum(by_load, 0.0)
