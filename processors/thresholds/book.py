"""The book of thresholds: every change with its author, from when it holds, and that it was taken back.

From: the command line and the console. To: the pipeline and replay. A change never reaches back: it begins a little
later than it is written down, so that every process knows it before it holds, and live and replay agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any, Final

from sqlalchemy import Engine, RowMapping, func, insert, select, update

from devices.spec import Kind
from processors.errors import RuleError, ThresholdError
from processors.thresholds.change import FOREVER, Change, Scope, check, of_rule, use_of
from processors.thresholds.tables import THRESHOLD

LEAD_S: Final = 10.0
"""How much later than it is written down a change begins: several times what a process takes to notice it."""

_TEXTS: Final = {"author": 64, "reason": 200, "target": 128}


class ThresholdBook:
    """All changes, in the operations database; safe for several processes and threads."""

    def __init__(
        self, engine: Engine, kinds: Mapping[str, Kind], *, now: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._engine = engine
        self._kinds = kinds
        self._now = now

    def drafted(self, change: Change) -> Change:
        """`change` as it would be written down, nothing is; ThresholdError where it makes no sense.

        An `effective_us` that lies before the earliest moment possible becomes that moment.
        """
        use = use_of(self._kinds, change.kind, change.rule, change.param)
        now = self._now()
        change = replace(change, recorded_us=now, effective_us=max(change.effective_us, now + _lead_us()))
        change = replace(
            change,
            author=_text("author", change.author),
            reason=_text("reason", change.reason),
            target=_text("target", change.kind if change.scope is Scope.KIND else change.target),
        )
        if not isfinite(change.value):
            raise ThresholdError(
                f"{change.rule}.{change.param}: expected a number, got {change.value}; nothing was changed"
            )
        if change.until_us <= change.effective_us:
            raise ThresholdError(
                f"{change.rule}.{change.param}: expected an end after its beginning; nothing was changed"
            )
        beside = [
            other
            for other in of_rule(self.changes(), change.kind, change.rule)
            if (other.scope, other.target) == (change.scope, change.target) and other.holds(change.effective_us)
        ]
        try:
            check(use, [*beside, change])
        except RuleError as error:
            raise ThresholdError(str(error).replace("the rule is not used", "nothing was changed")) from error
        return change

    def add(self, change: Change) -> Change:
        """Write `change` down and return it as it stands in the book; ThresholdError where it makes no sense."""
        drafted = self.drafted(change)
        row = {name: value for name, value in asdict(drafted).items() if name != "number"}
        with self._engine.begin() as connection:
            done = connection.execute(insert(THRESHOLD).values(row).returning(THRESHOLD.c.number))
            return replace(drafted, number=done.scalar_one())

    def withdraw(self, number: int, author: str) -> Change:
        """Take change `number` back from now on; ThresholdError for an unknown one. Repeating it changes nothing."""
        author = _text("author", author)
        with self._engine.begin() as connection:
            mine = THRESHOLD.c.number == number
            row = connection.execute(select(THRESHOLD).where(mine)).mappings().one_or_none()
            if row is None:
                raise ThresholdError(f"change {number}: there is none with this number; nothing was taken back")
            known = _change(row)
            if known.withdrawn_us != FOREVER:
                return known
            at_us = self._now() + _lead_us()
            connection.execute(update(THRESHOLD).where(mine).values(withdrawn_us=at_us, withdrawn_by=author))
            return replace(known, withdrawn_us=at_us, withdrawn_by=author)

    def changes(self) -> list[Change]:
        """Every change that was ever written down, in the order of writing."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(THRESHOLD).order_by(THRESHOLD.c.number)).mappings().all()
        return [_change(row) for row in rows]

    def revision(self) -> tuple[int, int]:
        """A mark that changes with every entry; cheap, to be asked often."""
        taken = select(func.count()).where(THRESHOLD.c.withdrawn_us != FOREVER).select_from(THRESHOLD)
        with self._engine.connect() as connection:
            newest = connection.execute(select(func.max(THRESHOLD.c.number))).scalar_one() or 0
            return newest, connection.execute(taken).scalar_one()


def _lead_us() -> int:
    return int(LEAD_S * 1e6)


def _text(name: str, text: str) -> str:
    """`text` on one line; ThresholdError where it is too long, cannot be printed, or an author or target lacks."""
    line = " ".join(text.split())
    least, most = 0 if name == "reason" else 1, _TEXTS[name]
    if not least <= len(line) <= most or not line.isprintable():
        raise ThresholdError(
            f"{name}: expected {least} to {most} printable characters, got {line!r:.40}; nothing was changed"
        )
    return line


def _change(row: RowMapping) -> Change:
    values: dict[str, Any] = dict(row)
    return Change(**values | {"scope": Scope(row["scope"])})
