"""What a rule saw, as the numbers of a chart.

From: the detector's own window where it has one, else the engine's traces. To: the finding's evidence, and from there
`processors.evidence.chart`.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.readings import Float64, Int64
from devices.spec import Quantity
from processors.detectors import Window
from processors.findings import Chart, Line

_DIGITS: Final = 5


def from_trace(seconds: Int64, values: Float64, quantities: tuple[Quantity, ...], at_us: int) -> Chart | None:
    """A chart of the last readings: `seconds` (p,) UTC, `values` (p, k) for k `quantities`; None without any value."""
    there = np.isfinite(values[:, 0]) if len(values) else np.empty(0, dtype=np.bool_)
    if not there.any():
        return None
    lines = [
        Line(quantity=quantity.name, unit=quantity.unit, values=_plain(values[:, k]))
        for k, quantity in enumerate(quantities)
    ]
    return Chart(seconds=[round(float(s) - at_us / 1e6, 1) for s in seconds], lines=lines)


def from_window(window: Window, quantity: Quantity | None, at_us: int) -> Chart | None:
    """A chart of what the detector kept itself up to `at_us`; without a quantity it is durations."""
    end = int(np.searchsorted(window.time_us, at_us, side="right"))
    newest = slice(max(0, end - window.most), end)
    if not end:
        return None
    name, unit = (quantity.name, quantity.unit) if quantity else ("", "s")
    return Chart(
        seconds=[round((float(t) - at_us) / 1e6, 1) for t in window.time_us[newest]],
        lines=[Line(quantity=name, unit=unit, values=_plain(window.value[newest]))],
        expected=[] if window.expected is None else _plain(window.expected[newest]),
        limit=[] if window.limit is None else _plain(window.limit[newest]),
    )


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if isfinite(value) else None for value in values.tolist()]
