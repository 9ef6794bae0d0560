"""The history of thresholds: what holds at a moment, for which device.

From: the book of thresholds. To: the engine. Live, restart, replay, preview and backtest ask the same history by the
same order of precedence; who looks at the past by the rules of one moment names that moment and rewrites nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from devices.fleet import KindFleet
from devices.readings import Bool, Float64
from processors.thresholds.change import FOREVER, Change, Scope, of_rule


@dataclass(frozen=True, slots=True)
class History:
    """Every change that was ever written down, in the order of writing.

    `moment_us`: what held then is taken to hold always, UTC microseconds; None: each change from when to when it holds.
    """

    changes: Sequence[Change] = ()
    moment_us: int | None = None

    def at(self, moment_us: int) -> History:
        """The same history, judging everything by what holds at `moment_us`."""
        return replace(self, moment_us=moment_us)

    def with_draft(self, change: Change) -> History:
        """The same history as if `change` had just been written down, the newest of all."""
        number = 1 + max((known.number for known in self.changes), default=0)
        return replace(self, changes=[*self.changes, replace(change, number=number)])

    def without(self, params: Collection[tuple[str, str]]) -> History:
        """The same history as if nobody had ever changed `params`: pairs of rule and parameter."""
        return replace(self, changes=[one for one in self.changes if (one.rule, one.param) not in params])

    def edges(self) -> list[int]:
        """The moments at which something begins or ends to hold, ascending; none where one moment is asked for all."""
        if self.moment_us is not None:
            return []
        held = [change for change in self.changes if change.effective_us < change.end_us]
        return sorted(({one.effective_us for one in held} | {one.end_us for one in held}) - {FOREVER})

    def holding(self, kind: str, rule: str, param: str, now_us: int) -> list[Change]:
        """What holds at `now_us`, in the order of application: the last one wins."""
        at_us = now_us if self.moment_us is None else self.moment_us
        mine = of_rule(self.changes, kind, rule)
        return sorted((one for one in mine if one.param == param and one.holds(at_us)), key=_precedence)

    def values(
        self, fleet: KindFleet, rule: str, declared: Mapping[str, float], now_us: int
    ) -> Iterator[tuple[str, Float64]]:
        """(parameter, (n,) its number for every device at `now_us`), of each `declared` one that was ever changed."""
        touched = {change.param for change in of_rule(self.changes, fleet.kind.name, rule)}
        for param in sorted(touched & declared.keys()):
            found = np.full(len(fleet), declared[param])
            for change in self.holding(fleet.kind.name, rule, param, now_us):
                found[covered(change, fleet)] = change.value
            yield param, found


def _precedence(change: Change) -> tuple[int, int, int]:
    """The narrower scope wins; within it what began last; of those that began together, what was written down last."""
    return (list(Scope).index(change.scope), change.effective_us, change.number)


def covered(change: Change, fleet: KindFleet) -> Bool:
    """(n,) the devices that `change` is about."""
    target = change.target
    match change.scope:
        case Scope.KIND:
            return np.ones(len(fleet), dtype=np.bool_)
        case Scope.DEVICE:
            mask = np.zeros(len(fleet), dtype=np.bool_)
            if (row := fleet.index.get(target)) is not None:
                mask[row] = True
            return mask
        case Scope.GROUP:
            return np.array(
                [str((own or {}).get("group", "")) == target for own in fleet.settings], dtype=np.bool_
            )
        case _:
            names: Sequence[Any] = getattr(fleet, change.scope.value)
            return np.array([name == target for name in names], dtype=np.bool_)
