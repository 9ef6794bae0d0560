"""Our clock: UTC microseconds, or a demo city's faster one.

Everything that asks for the time is given one of these, so that a demo can live through an hour in a minute while
all parts agree on what time it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from devices.errors import UndercityError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSettings:
    """Real time, unless a demo wants another.

    `speed`: city seconds per real second; other than 1 for the demo only. `city_us`: what the city's clock showed when
    the real one showed `real_us`, both UTC microseconds.
    """

    speed: float = 1.0
    city_us: int = 0
    real_us: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 100_000:
            raise UndercityError(f"clock.speed: expected more than 0 and at most 100000, got {self.speed}")


@dataclass(frozen=True, slots=True)
class Clock:
    """Call it for the time now, UTC microseconds."""

    settings: ClockSettings

    def __call__(self) -> int:
        """The time now."""
        real = time.time_ns() // 1000
        settings = self.settings
        if settings.speed == 1.0 and settings.city_us == settings.real_us:
            return real
        return settings.city_us + int((real - settings.real_us) * settings.speed)

    def real_s(self, city_us: int) -> float:
        """Unix time at which this clock shows `city_us`."""
        settings = self.settings
        return (settings.real_us + (city_us - settings.city_us) / settings.speed) / 1e6
