"""A reading that stands still while others of the device move: stuck, not at rest.

From: one quantity, beside it up to four others. To: hits with the value it stands at. A circuit at rest has everything
standing still and may rest for months; a healthy sensor does not repeat its last digit while others change. A number
of four digits that comes again hour after hour is no chance: where turbulence moves a flow by half a percent, six of
18.03 in a row happen once in hundreds of years, six of 0.5 every day. So the digits of the value itself say how long it
may stand, with nothing learned. Source: the flat-line test of QARTOD with a second witness; our judgement.
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

_SAME: Final = 1e-4  # of a last digit: what decimal numbers lose on the way


class Frozen(Beside):
    """Raise when the value stayed within `tolerance` for `hold_s` while one beside moved; clear after `clear_s`.

    Units: `tolerance`, `least` in the quantity's unit: what is not larger is rest (a flow of 0); below 0, nothing
    is. `moved`: how far a quantity beside must have gone since, as a share of its size. `soon_s`: the hold, where
    shorter, of a value that shows `digits` significant digits or more. State: the condition, the latest values, the
    values when it began to stand, how far the others went.
    """

    READS = 4
    PARAMS: ClassVar[Mapping[str, float]] = {
        "hold_s": 12 * 3600.0,
        "soon_s": 12 * 3600.0,
        "digits": 4.0,
        "tolerance": 0.0,
        "least": 0.0,
        "moved": 0.01,
        "clear_s": 0.0,
    }
    FIXED: ClassVar[frozenset[str]] = frozenset({"moved", "digits"})
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
        demand("frozen", params, hold_s=">0", soon_s=">0", digits=">0", tolerance=">=0", moved=">0")
        super().__init__(params)
        self._fine = 10.0 ** (params["digits"] - 1.0)

    def width(self, name: str) -> tuple[int, ...]:
        """All values from when it began to stand."""
        return (1 + self.READS,) if name == "stood" else super().width(name)

    def hold_us(self, device: Int64) -> Int64:
        """(m,) us: shorter for a value with many digits, which does not come again by chance."""
        hold, soon = self.params.us("hold_s", device), self.params.us("soon_s", device)
        fine = np.abs(self.stood[device, 0]) >= self._fine * _step(self.stood[device, 0])
        return np.where(fine, np.minimum(soon, hold), hold)

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


def _step(value: Float64) -> Float64:
    """(m,) the coarsest of 1, 0.1, 0.01 and 0.001 that `value` is a whole number of: what its last digit stands for."""
    step = np.full(len(value), 0.001)
    for place, size in ((100.0, 0.01), (10.0, 0.1), (1.0, 1.0)):
        scaled = np.abs(value) * place
        step = np.where(np.abs(scaled - np.floor(scaled + 0.5)) < _SAME, size, step)
    return step


DETECTOR: Final[type[Detector]] = Frozen
