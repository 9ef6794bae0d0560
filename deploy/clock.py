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
    """`speed`: city seconds per real second; other than 1 for the demo only. `epoch_us`: where both clocks met."""

    speed: float = 1.0
    epoch_us: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 100_000:
            raise UndercityError(f"clock.speed: expected more than 0 and at most 100000, got {self.speed}")


@dataclass(frozen=True, slots=True)
class Clock:
    """Call it for the time now, UTC microseconds."""

    settings: ClockSettings

    def __call__(self) -> int:
        real = time.time_ns() // 1000
        if self.settings.speed == 1.0:
            return real
        return self.settings.epoch_us + int((real - self.settings.epoch_us) * self.settings.speed)

    def real(self, city_us: int) -> int:
        """The real time at which this clock shows `city_us`."""
        if self.settings.speed == 1.0:
            return city_us
        return self.settings.epoch_us + int((city_us - self.settings.epoch_us) / self.settings.speed)
