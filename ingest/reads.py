"""Names on the wire to a kind's columns.

From: samples that carry their protocol's own names and units. To: `ingest.decode`, as a plan: for each value its
column, and how its number becomes the quantity's unit. A plan is made once per shape of a frame and then looked up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from typing import Any, Final, NamedTuple

from devices.spec import Kind, Quantity
from devices.units import UNITS

_PLANS_MAX: Final = 20_000
_NEVER: Final = 1 << 30


class Place(NamedTuple):
    """Where one value goes: value = wire * scale + shift; `column` -1 passes it over."""

    column: int
    scale: float = 1.0
    shift: float = 0.0


NOWHERE: Final = Place(-1)


class Plan(NamedTuple):
    """What becomes of the values of one frame shape. `problem`: why some of it cannot be used, empty if it can."""

    places: tuple[Place, ...]
    used: int
    problem: str


class Reader:
    """Plans for one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._columns = {quantity.name: column for column, quantity in enumerate(kind.quantities)}
        self._patterns = [
            [re.compile(translate(pattern)) for pattern in quantity.reads] for quantity in kind.quantities
        ]
        self._plans: dict[tuple[object, ...], Plan] = {}

    def plan(
        self, values: Mapping[str, float], units: Mapping[str, str], settings: Mapping[str, Any] | None
    ) -> Plan:
        """What becomes of `values`; `settings` may hold the device's own `fields`."""
        fields = settings.get("fields") if settings else None
        key = (*values, None, *units.values(), None, *units, id(fields) if fields else 0)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= _PLANS_MAX:
                self._plans.clear()  # whoever varies names must not fill our memory
            found = self._plans[key] = self._make(tuple(values), units, fields or {})
        return found

    def _make(self, names: tuple[str, ...], units: Mapping[str, str], fields: Mapping[str, str]) -> Plan:
        places = [NOWHERE] * len(names)
        best: dict[int, tuple[int, int]] = {}  # column -> (rank, place)
        problem = ""
        for at, name in enumerate(names):
            column, rank, unit = self._find(name, units.get(name), fields)
            if column < 0 or rank >= best.get(column, (_NEVER, 0))[0]:
                continue
            place = _converted(self._kind.quantities[column], column, unit)
            if isinstance(place, str):
                problem = f"{name}: {place}"
                continue
            if column in best:
                places[best[column][1]] = NOWHERE
            best[column] = (rank, at)
            places[at] = place
        if not best and not problem:
            known = ", ".join(sorted({name for q in self._kind.quantities for name in (q.name, *q.reads)}))
            problem = f"expected a value of {self._kind.name} ({known:.200}), got {', '.join(names)!a:.120}"
        return Plan(tuple(places), len(best), problem)

    def _find(self, name: str, unit: str | None, fields: Mapping[str, str]) -> tuple[int, int, str | None]:
        """Column, rank among the names of its quantity (0 is best), and unit; column -1 when it is none of ours."""
        wanted = fields.get(name)
        if wanted is not None:
            quantity, _, stated = wanted.partition(":")
            column = self._columns.get(quantity, -1)
            own = self._kind.quantities[column].unit if column >= 0 else ""
            return column, 0, stated or unit or own
        column = self._columns.get(name, -1)
        if column >= 0:
            return column, 1, unit if unit is not None else self._kind.quantities[column].unit
        for column, patterns in enumerate(self._patterns):
            for rank, pattern in enumerate(patterns):
                if pattern.match(name):
                    return column, rank + 2, unit
        return -1, 0, None


def _converted(quantity: Quantity, column: int, unit: str | None) -> Place | str:
    """How a number in `unit` becomes `quantity`; the reason when it cannot."""
    if unit is None:
        return f"expected its unit, got none; say {quantity.name}:UNIT in the device's setting fields"
    source, target = UNITS.get(unit), UNITS[quantity.unit]
    if source is None or source.dimension != target.dimension:
        return f"expected a unit that becomes {quantity.unit or 'a ratio'}, got {unit or 'none'!a:.40}"
    if unit == quantity.unit:
        return Place(column)
    return Place(column, source.scale / target.scale, (source.shift - target.shift) / target.scale)
