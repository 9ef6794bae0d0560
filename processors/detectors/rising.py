"""A level that climbs faster than it ever should: water that comes up a shaft.

From: one quantity's values in event-time order. To: hits with the level it came from as expected, the level now as
observed and, as limit, the level that just would have been a rise. The level it came from follows a fall at once and
a climb at `per_h` at most: tide, seepage and the day's swing are followed, a surge is not. Source: an envelope
follower, as in peak-programme meters (IEC 60268-10), turned upside down.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Text
from processors.condition import RAISED, UNSET, Condition, demand, hits, rows_of
from processors.detectors import Detector, Hits, Step
from processors.findings import Phase


class Rising(Condition):
    """Raise when the value stands more than `rise` above where it came from, for `hold_s`.

    Units: `rise` and `per_h` (per hour) in the quantity's unit. Clears when less than half of `rise` is left for
    `clear_s`: the value fell, or stood still while the level it came from caught up. State: the condition, the level
    it came from, since when, the last value's time.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"rise": nan, "per_h": nan, "hold_s": 0.0, "clear_s": 0.0}
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Condition.COLUMNS,
        "base": ("float64", 0.0),
        "left_us": ("int64", UNSET),
        "seen_us": ("int64", UNSET),
    }
    STATE = tuple(COLUMNS)
    BECAUSE: ClassVar[Text] = Text(
        "{what}在{lasted}内由{expected}升至{observed}（每小时{per_hour:.2f}）",
        "{what} rose from {expected} to {observed} within {lasted} ({per_hour:.2f} per hour)",
    )
    base: Float64
    left_us: Int64
    seen_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("rising", params, rise=">0", per_h=">0", hold_s=">=0", clear_s=">=0")
        super().__init__(params)

    def judge(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began or ended."""
        device, time_us, value = rows_of(step.device), step.time_us, step.value
        seen = self.seen_us[device]
        elapsed = np.maximum(time_us - seen, 0)
        climbed = self.base[device] + elapsed / 3.6e9 * self.params.of("per_h", device)
        new = seen == UNSET
        base = np.where(new, value, np.minimum(climbed, value))
        rise = self.params.of("rise", device)
        # It left where it came from at the last reading that was still near it.
        near = new | (value - base <= rise / 4)
        self.base[device], self.seen_us[device] = base, time_us
        self.left_us[device] = np.where(near, time_us, self.left_us[device])
        beyond = value - base > rise
        rows = self.active(device, beyond)
        if not len(rows):
            return []
        device, time_us, value, base = device[rows], time_us[rows], value[rows], base[rows]
        rise = self.params.of("rise", device)
        moves = self.follow(
            device,
            time_us,
            beyond=beyond[rows],
            inside=value - base <= rise / 2,
            onset_us=np.minimum(self.left_us[device], time_us),
        )
        found = []
        for phase, which in ((Phase.RAISE, moves.rose.nonzero()[0]), (Phase.CLEAR, moves.fell.nonzero()[0])):
            who = device[which]
            took = np.maximum(time_us[which] - self.since_us[who], 1_000_000) / 3.6e9
            told = hits(
                phase,
                rows[which],
                onset_us=self.since_us[who],
                at_us=time_us[which],
                observed=value[which],
                expected=base[which],
                limit=base[which] + self.params.of("rise", who),
            )
            for one in told:
                one.extra = {"per_hour": (value[which] - base[which]) / took}
            found += told
        return found

    def forget(self, device: Int64) -> None:
        """The clock was set back: where it came from is learned anew, except where it is needed to see the end."""
        super().forget(device)
        raised = self.phase[device] == RAISED
        self.seen_us[device[~raised]] = UNSET
        self.left_us[device] = UNSET


DETECTOR: Final[type[Detector]] = Rising
