"""What healthy devices of one kind measure at any instant, all devices at once.

From: a kind's shapes. To: `devices.simulator.city`. A pure function of seed, device row and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from devices.errors import SpecError
from devices.readings import Float64, Int64
from devices.simulator.chance import gauss, keys, uniform
from devices.spec import Kind, Shape

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
LOCAL_OFFSET_HOURS: Final = 8  # profiles follow the people of the city: Beijing time
_SPREAD_MAX: Final = 2.0  # standard deviations between devices: no odd devices, only faults
_NOISE_MAX: Final = 3.5
_BURST_SLOT_US: Final = 600_000_000
_BURST_MAX: Final = 2.5
_MONDAY: Final = 3 + 8 / 24 - 0.5  # day 0 of 1970 was a Thursday; local time; a day's factor holds at its noon
_AFTERNOON: Final = 15.0  # between the sessions of noon and evening
_WEATHER_US: Final = 3 * 24 * HOUR_US  # a front passes about every three days
_YEAR_US: Final = int(365.25 * 24 * HOUR_US)
_JULY_US: Final = 196 * 24 * HOUR_US  # the warmest time of a year that began on 1 January 1970


class KindModel:
    """All devices of one kind, healthy. `rows` number the devices from 0 in the order of the caller's list."""

    def __init__(self, kind: Kind, *, seed: int, start_us: int) -> None:
        self.kind = kind
        self._seed, self._start_us = seed, start_us
        order = _by_dependence(kind)
        self._order = [(column, shape) for column, shape in order if not shape.axis]
        self._axes = [(column, shape) for column, shape in order if shape.axis]

    def values(self, rows: Int64, time_us: Int64) -> Float64:
        """(n, q) what devices `rows` (n,) measure at `time_us` (n,); NaN for a quantity without a shape."""
        out = np.full((len(rows), len(self.kind.quantities)), np.nan)
        levels: dict[str, Float64] = {}
        for column, shape in self._order:
            name = self.kind.quantities[column].name
            levels[name] = self._level(shape, column, rows)
            lead = None
            if shape.water:
                flow, warm, cold = shape.water
                levels[name] = levels[name] + shape.gain * levels[flow] * (levels[warm] - levels[cold])
                there = [out[:, self.kind.column(one)] for one in shape.water]
                lead = there[0] * (there[1] - there[2]) - levels[name] / shape.gain
            elif shape.adds_up:
                lead = levels[shape.adds_up] * ((time_us - self._start_us) / HOUR_US)
            if shape.follow:
                lead = out[:, self.kind.column(shape.follow)] - levels[shape.follow]
            out[:, column] = self._quantity(shape, column, rows, time_us, levels[name], lead)
        self.pose(rows, time_us, out, np.zeros(len(rows)))
        return out

    def pose(self, rows: Int64, time_us: Int64, values: Float64, turned: Float64) -> None:
        """Put into `values` (n, q) the inclinations of a housing's axes that its tilt there makes.

        `turned`: (n,) degrees by which the direction of the tilt is away from the device's own.
        """
        for column, shape in self._axes:
            lean = values[:, self.kind.column(shape.follow)]
            if shape.axis == "z":
                values[:, column] = 90.0 - lean
                continue
            direction = 2.0 * np.pi * uniform(keys(self._seed, 8, rows)) + np.radians(turned)
            part = np.cos(direction) if shape.axis == "x" else np.sin(direction)
            noise = np.clip(gauss(keys(self._seed, 2000 + column, rows, time_us)), -_NOISE_MAX, _NOISE_MAX)
            angle = np.degrees(np.arcsin(np.clip(np.sin(np.radians(lean)) * part, -1.0, 1.0)))
            values[:, column] = np.clip(angle + shape.noise * noise, -90.0, 90.0)

    def rounded(self, values: Float64) -> Float64:
        """`values` at the resolution each quantity is shown with."""
        out = values.copy()
        for column, quantity in enumerate(self.kind.quantities):
            out[:, column] = np.round(out[:, column], quantity.decimals)
        return out

    def active(self, time_us: int) -> bool:
        """True while every quantity that has sessions is in one: a fault outside them would show nothing."""
        hour = _local_hours(np.array([time_us], dtype=np.int64))
        return all(bool(_within(shape.on_hours, hour)[0]) for _, shape in self._order if shape.on_hours)

    def _level(self, shape: Shape, column: int, rows: Int64) -> Float64:
        if not shape.device_spread:
            return np.full(len(rows), shape.level)
        spread = np.clip(gauss(keys(self._seed, 1000 + column, rows)), -_SPREAD_MAX, _SPREAD_MAX)
        level: Float64 = shape.level * (1.0 + shape.device_spread * spread)
        return level

    def _quantity(
        self, shape: Shape, column: int, rows: Int64, time_us: Int64, level: Float64, lead: Float64 | None
    ) -> Float64:
        if shape.hold_s:
            time_us = self._cycle_start(shape.hold_s, rows, time_us)
        hours = _local_hours(time_us)
        value = level * _factor(shape.hours, hours)
        if shape.days:
            value = value * _factor(shape.days, time_us / DAY_US + _MONDAY)
        if shape.drift_per_day:
            value = value + shape.drift_per_day / 2 * np.cos(
                (hours - 15.0) / 24.0 * 2.0 * np.pi
            )  # warmest at 15 h
        if shape.season:
            value = value + shape.season * np.cos((time_us - _JULY_US) * (2.0 * np.pi / _YEAR_US))
        if shape.weather:
            value = value + shape.weather * self._weather(time_us)
        if lead is not None:
            value = value + shape.gain * lead
        if shape.burst_sigma:
            value = value + level * self._burst(shape.burst_sigma, column, rows, time_us)
        if shape.grows_per_hour:
            value = value + shape.grows_per_hour * (time_us - self._start_us) / HOUR_US
        if shape.noise:
            noise = gauss(keys(self._seed, 2000 + column, rows, time_us))
            value = value + shape.noise * np.clip(noise, -_NOISE_MAX, _NOISE_MAX)
        if shape.on_hours:
            open_h = self._open_h(shape.open_h, rows, hours, time_us) if shape.open_h else 0.0
            value = np.where(_within(shape.on_hours, hours, open_h), value, shape.off_level)
        if shape.spike:
            key = keys(self._seed, 6, rows, time_us)  # without the quantity: one shock moves them all
            size = 0.3 + 0.7 * uniform(key ^ np.uint64(1))
            value = value + np.where(uniform(key) < shape.spike_share, shape.spike * size, 0.0)
        return value if shape.clamp is None else np.clip(value, *shape.clamp)

    def _weather(self, time_us: Int64) -> Float64:
        """Standard normal about, smooth from one front to the next."""
        front = time_us // _WEATHER_US
        part = (time_us - front * _WEATHER_US) / _WEATHER_US
        nobody = np.zeros(len(time_us), dtype=np.int64)
        first, then = (np.clip(gauss(keys(self._seed, 9, nobody, front + i)), -2.0, 2.0) for i in (0, 1))
        smooth = part * part * (3.0 - 2.0 * part)
        return first + (then - first) * smooth

    def _open_h(self, most: float, rows: Int64, hours: Float64, time_us: Int64) -> Float64:
        """(n,) how much earlier a session begins and later it ends: at noon of one day, in its evening."""
        half = (time_us + LOCAL_OFFSET_HOURS * HOUR_US) // (24 * HOUR_US) * 2 + (hours % 24.0 >= _AFTERNOON)
        return most * uniform(keys(self._seed, 10, rows, half))

    def _cycle_start(self, hold_s: float, rows: Int64, time_us: Int64) -> Int64:
        """When the instrument last measured: each device's cycle has its own phase, common to its quantities."""
        hold_us = int(hold_s * 1e6)
        phase = (uniform(keys(self._seed, 3, rows)) * hold_us).astype(np.int64)
        return (time_us - phase) // hold_us * hold_us + phase

    def _burst(self, sigma: float, column: int, rows: Int64, time_us: Int64) -> Float64:
        """Cooking: in every second slot of ten minutes a hump of 2 to 8 minutes with a lognormal height.

        The key leaves the quantity out of when and how long, so that fume and vapours rise together.
        """
        slot = time_us // _BURST_SLOT_US
        key = keys(self._seed, 4, rows, slot)
        length = (120.0 + 360.0 * uniform(key)) * 1e6
        begin = uniform(key ^ np.uint64(1)) * (_BURST_SLOT_US - length)
        phase = np.clip((time_us - slot * _BURST_SLOT_US - begin) / length, 0.0, 1.0)
        spread = np.clip(gauss(keys(self._seed, 5000 + column, rows, slot)), -_BURST_MAX, _BURST_MAX)
        happens = uniform(key ^ np.uint64(2)) < 0.5
        hump: Float64 = np.where(happens, np.exp(sigma * spread) * 4.0 * phase * (1.0 - phase), 0.0)
        return hump


def _by_dependence(kind: Kind) -> list[tuple[int, Shape]]:
    """Columns and shapes, those followed before those that follow; SpecError for a circle."""
    done: list[tuple[int, Shape]] = []
    waiting = {quantity.name: kind.simulate.shapes[quantity.name] for quantity in kind.quantities if
               quantity.name in kind.simulate.shapes}  # fmt: skip
    while waiting:
        ready = [name for name, shape in waiting.items() if not _leads(shape) & waiting.keys()]
        if not ready:
            raise SpecError(f"kind {kind.name}: shapes follow each other in a circle: {sorted(waiting)}")
        for name in ready:
            shape = waiting.pop(name)
            if strange := _leads(shape) - kind.simulate.shapes.keys():
                raise SpecError(f"kind {kind.name}: {name} follows {min(strange)}, which has no shape")
            done.append((kind.column(name), shape))
    return done


def _leads(shape: Shape) -> set[str]:
    return {name for name in (shape.follow, shape.adds_up, *shape.water) if name}


def _local_hours(time_us: Int64) -> Float64:
    return (time_us % (24 * HOUR_US)) / HOUR_US + LOCAL_OFFSET_HOURS


def _factor(around: Sequence[float], place: Float64) -> Float64 | float:
    """Interpolated between the elements of `around`, which repeats; `place` (n,) counts in elements."""
    if not around:
        return 1.0
    table = np.asarray(around)
    whole = np.floor(place)
    part = place - whole
    first = whole.astype(np.int64) % len(table)
    factor: Float64 = table[first] * (1.0 - part) + table[(first + 1) % len(table)] * part
    return factor


def _within(
    sessions: Sequence[tuple[float, float]], hour: Float64, more: Float64 | float = 0.0
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    hour = hour % 24.0
    inside = np.zeros(len(hour), dtype=np.bool_)
    for begin, end in sessions:
        inside |= (hour >= begin - more) & (hour < end + more)
    return inside
