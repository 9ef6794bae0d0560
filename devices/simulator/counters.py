"""What a fault does to a counter: it counts what flows during the fault, and what it missed it never gets back.

From: a fault at its device. To: `devices.simulator.faults`. A register of energy stands while the pump stands, whether
or not the fault says so, and goes on from where it stood.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from devices.readings import Float64
from devices.spec import Change, Fault, Kind

HOUR_US: Final = 3_600_000_000


def counters(kind: Kind) -> list[int]:
    """Columns of the quantities that only add up."""
    shapes = kind.simulate.shapes
    return [
        column
        for column, quantity in enumerate(kind.quantities)
        if quantity.name in shapes and (shapes[quantity.name].adds_up or shapes[quantity.name].grows_per_hour)
    ]


def paces(kind: Kind, fault: Fault, usual: Float64) -> Float64:
    """(2, q) by how much each counter runs faster during `fault`, in its unit per hour, and per hour squared.

    `usual`: (q,) as it runs without. Follows what the fault does to the quantity that the counter adds up, where that
    is steady: STEP, SCALE, SET, GROW.
    """
    more = np.zeros((2, len(kind.quantities)))
    for column in counters(kind):
        shape = kind.simulate.shapes[kind.quantities[column].name]
        for effect in fault.effects:
            if effect.quantity != shape.adds_up:
                continue
            match effect.change:
                case Change.STEP:
                    more[0, column] += shape.gain * effect.amount
                case Change.SCALE:
                    more[0, column] += (effect.amount - 1.0) * usual[column]
                case Change.SET:
                    more[0, column] += shape.gain * effect.amount - usual[column]
                case Change.GROW:
                    more[1, column] += effect.amount * usual[column] / 2.0
                case _:
                    pass
    return more
