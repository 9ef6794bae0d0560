"""A kind for a file that no kind describes.

From: the names of a file's columns. To: the backtest, as any kind. One column is judged by its own habits, several as
one device whose quantities belong together. Nothing is known of ranges, rates or pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from devices.spec import Kind, Profile, Quantity, Severity, Text, Use
from processors import detectors
from processors.errors import BacktestError

NAME: Final = "generic"
QUANTITIES_MAX: Final = 60  # the order stage has 64 marks per device
_LARGEST: Final = 1e99  # beyond it no detector looks
_ALONE: Final = "adaptive"
_TOGETHER: Final = "joint"
# Somebody looks at this one series, and what is missed costs more than a second look: a tenth of the margin that is for
# devices watched day and night. The Numenta benchmark is measured with these numbers.
_SEARCH: Final = {_ALONE: {"margin": 0.05, "learn": 150.0}}
_TITLES: Final = {
    _ALONE: Text("偏离自身规律", "Unlike its habit"),
    _TOGETHER: Text("多量关系异常", "Quantities do not go together"),
}


def kind_of(columns: Sequence[str], detector: str = "") -> Kind:
    """A kind whose quantities are `columns`, with one rule that has its detector's name and defaults, or _SEARCH.

    `detector`: another one than the usual. BacktestError without columns or with more than QUANTITIES_MAX.
    """
    if not 0 < len(columns) <= QUANTITIES_MAX:
        raise BacktestError(
            f"{NAME}: expected 1 to {QUANTITIES_MAX} columns of numbers, got {len(columns)}; choose some with "
            "--columns; nothing was run"
        )
    detector = detector or (_ALONE if len(columns) == 1 else _TOGETHER)
    if detector not in detectors.load():
        known = ", ".join(sorted(detectors.load()))
        raise BacktestError(f"--detector: expected one of {known}, got {detector!r:.60}; nothing was run")
    quantities = tuple(_quantity(name) for name in columns)
    return Kind(
        name=NAME,
        label=Text("通用", "Any quantity"),
        prefix="X",
        quantities=quantities,
        cadence_s=60.0,  # of a device with a single row; the others have their own
        lateness_s=1e9,
        detectors=(_rule(detector, quantities),),
        panels=(),
        simulate=Profile(shapes={}),
    )


def _rule(detector: str, quantities: tuple[Quantity, ...]) -> Use:
    return Use(
        rule=detector,
        detector=detector,
        quantity=quantities[0],
        beside=quantities[1:],
        params=_SEARCH.get(detector, {}),
        severity=Severity.MEDIUM,
        title=_TITLES.get(detector, Text(detector, detector)),
    )


def _quantity(name: str) -> Quantity:
    return Quantity(
        name=name,
        unit="",
        label=Text(name, name),
        physical=(-_LARGEST, _LARGEST),
        plausible=(-_LARGEST, _LARGEST),
        decimals=3,
    )
