"""A reading that stands still while others of the device move: stuck, not at rest.

From: one quantity, beside it up to four others. To: hits with the value it stands at. A circuit at rest has everything
standing still and may rest for months; a healthy sensor does not repeat its last digit while others change. Source:
the flat-line test of QARTOD with a second witness; our judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from devices.readings import Bool, Float64, Int64
from devices.spec import Text
from processors.beside import Beside, Look
from processors.condition import demand
from processors.detectors import Detector


class Frozen(Beside):
    """Raise when the value stayed within `tolerance` for `hold_s` while one beside moved; clear after `clear_s`.

    Units: `tolerance`, `least` in the quantity's unit: a smaller value is rest (a flow of 0). `moved`: how far a
    quantity beside must have gone since, as a share of its size. State: the condition, the latest values, the
    values when it began to stand, how far the others went.
    """

    READS = 4
    PARAMS: ClassVar[Mapping[str, float]] = {
        "hold_s": 12 * 3600.0,
        "tolerance": 0.0,
        "least": 0.0,
        "moved": 0.01,
        "clear_s": 0.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"moved"})
    BECAUSE: ClassVar[Text] = Text(
        "{what}停在{observed}不变，而其他读数在变化，自{since}起已{lasted}",
        "{what} stands at {observed} while other readings move, since {since} for {lasted}",
    )
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Beside.COLUMNS,
        "stood": ("float64", np.nan),
        "moving": ("bool", 0),
    }
    STATE = tuple(COLUMNS)
    stood: Float64  # (n, 5)
    moving: Bool

    def __init__(self, params: Mapping[str, float]) -> None:
        """RuleError for a parameter that makes no sense."""
        demand("frozen", params, hold_s=">0", tolerance=">=0", least=">=0", moved=">0")
        super().__init__(params)

    def width(self, name: str) -> tuple[int, ...]:
        """All values from when it began to stand."""
        return (1 + self.READS,) if name == "stood" else super().width(name)

    def look(self, device: Int64, time_us: Int64, values: Float64) -> Look:  # noqa: ARG002
        """Whether the value still stands, and whether one of the others went away meanwhile."""
        value, stood = values[:, 0], self.stood[device]
        same = np.abs(value - stood[:, 0]) <= self.params.of("tolerance", device)
        far = np.abs(values[:, 1:] - stood[:, 1:])
        moved = far > self.params["moved"] * np.abs(stood[:, 1:])
        moving = (self.moving[device] | moved.any(axis=1)) & same
        known = np.isfinite(value)
        # What was not known when it began to stand is compared from when it came.
        since = np.where(np.isfinite(stood), stood, values)
        self.stood[device] = np.where(known[:, np.newaxis], np.where(same[:, np.newaxis], since, values), stood)
        self.moving[device] = np.where(known, moving, self.moving[device])
        rest = np.abs(value) <= self.params.of("least", device)
        return Look(moving & ~rest, known & ~same, value)

    def forget(self, device: Int64) -> None:
        """The clock of `device` (m,) was set back: time the value anew."""
        super().forget(device)
        self.moving[device] = False


DETECTOR: Final[type[Detector]] = Frozen
