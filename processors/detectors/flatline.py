"""A value that no longer moves.

From: one quantity's values in event-time order. To: hits whose onset is the first of the equal values. A healthy
instrument repeats itself only within its measuring cycle, so `hold_s` must be several of those. Source: the
flat-line test of QARTOD, as an alarm rather than a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import ClassVar, Final

from devices.spec import Text
from processors.condition import demand
from processors.detectors import Detector
from processors.standing import Standing


class Flatline(Standing):
    """Raise when the value stayed within `tolerance` of one value for `hold_s`; clear at the first change.

    Units: `tolerance` in the quantity's unit. State: the value, since when, and whether it was raised.
    """

    PARAMS: ClassVar[Mapping[str, float]] = {"hold_s": nan, "tolerance": 0.0}
    BECAUSE: ClassVar[Text] = Text(
        "{what}自{since}起停在{observed}不变，已{lasted}",
        "{what} has stood at {observed} since {since}, for {lasted}",
    )

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that is missing or makes no sense."""
        demand("flatline", params, hold_s=">0", tolerance=">=0")
        super().__init__(params)


DETECTOR: Final[type[Detector]] = Flatline
