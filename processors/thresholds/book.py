"""The book of thresholds: every change with its author, from when it holds, and that it was taken back.

From: the command line and the console. To: the pipeline and replay. A change never reaches back: it begins a little
later than it is written down, so that every process knows it before it holds, and live and replay agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from typing import Any, Final

from sqlalchemy import Engine, RowMapping, func, insert, select, update

from devices.fleet import Entry
from devices.spec import Kind, Text
from processors.errors import RuleError, ThresholdError
from processors.thresholds.change import FOREVER, Change, Scope, use_of
from processors.thresholds.history import History
from processors.thresholds.tables import THRESHOLD
from processors.thresholds.targets import demand_runnable, demand_somebody

LEAD_S: Final = 10.0
"""How much later than it is written down a change begins: several times what a process takes to notice it."""

_TEXTS: Final = {
    "author": Text("姓名", "author"),
    "reason": Text("理由", "reason"),
    "target": Text("对象", "target"),
}
_LENGTHS: Final = {"author": (1, 64), "reason": (0, 200), "target": (1, 128)}


class ThresholdBook:
    """All changes, in the operations database; safe for several processes and threads.

    `entries`: the registered devices; without them (for who only reads) nothing can be said of whom a change is about.
    """

    def __init__(
        self,
        engine: Engine,
        kinds: Mapping[str, Kind],
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        entries: Callable[[], Sequence[Entry]] = lambda: (),
    ) -> None:
        self._engine = engine
        self._kinds = kinds
        self._now = now
        self._entries = entries

    def drafted(self, change: Change) -> Change:
        """`change` as it would be written down, nothing is; ThresholdError where it makes no sense.

        An `effective_us` that lies before the earliest moment possible becomes that moment.
        """
        use = use_of(self._kinds, change.kind, change.rule, change.param)
        now = self._now()
        change = replace(
            change,
            recorded_us=now,
            effective_us=max(change.effective_us, now + _lead_us()),
            author=_text("author", change.author),
            reason=_text("reason", change.reason),
            target=_text("target", change.kind if change.scope is Scope.KIND else change.target),
        )
        name = f"{change.rule}.{change.param}"
        if not isfinite(change.value):
            raise ThresholdError(f"{name}: expected a number, got {change.value}", f"{name}：应为一个数")
        if change.until_us <= change.effective_us:
            raise ThresholdError(f"{name}: expected an end after its beginning", f"{name}：失效时间应晚于生效时间")
        entries = self._entries()
        demand_somebody(change, entries)
        try:
            demand_runnable(change, History(self.changes()), self._kinds[change.kind], use, entries)
        except RuleError as error:
            why = str(error).removesuffix("; the rule is not used")
            raise ThresholdError(why, f"{name}：规则不能以此数运行（{why}）") from error
        return change

    def add(self, change: Change) -> Change:
        """Write `change` down and return it as it stands in the book; ThresholdError where it makes no sense."""
        drafted = self.drafted(change)
        row = {name: value for name, value in asdict(drafted).items() if name != "number"}
        with self._engine.begin() as connection:
            done = connection.execute(insert(THRESHOLD).values(row).returning(THRESHOLD.c.number))
            number = done.scalar_one()
            self._demand_time(drafted.recorded_us)
        return replace(drafted, number=number)

    def withdraw(self, number: int, author: str) -> Change:
        """Take change `number` back from now on; ThresholdError for an unknown one. Repeating it changes nothing."""
        author = _text("author", author)
        with self._engine.begin() as connection:
            mine = THRESHOLD.c.number == number
            row = connection.execute(select(THRESHOLD).where(mine).with_for_update()).mappings().one_or_none()
            if row is None:
                raise ThresholdError(
                    f"change {number}: expected one in the book, there is none with this number",
                    f"修改 {number}：没有这个编号",
                )
            known = _change(row)
            if known.withdrawn_us != FOREVER:
                return known
            now = self._now()
            at_us = now + _lead_us()
            untouched = mine & (THRESHOLD.c.withdrawn_us == FOREVER)
            connection.execute(update(THRESHOLD).where(untouched).values(withdrawn_us=at_us, withdrawn_by=author))
            self._demand_time(now)
            return replace(known, withdrawn_us=at_us, withdrawn_by=author)

    def _demand_time(self, since_us: int) -> None:
        """ThresholdError, within the transaction, where waiting for the database ate up the lead: nothing is changed.

        Otherwise a processor might learn of a change after the moment from which it holds.
        """
        waited_s = (self._now() - since_us) / 1e6
        if waited_s > LEAD_S / 2:
            raise ThresholdError(
                f"database: expected to write within {LEAD_S / 2:g} s, it took {waited_s:.1f} s; try again",
                f"数据库：写入应在 {LEAD_S / 2:g} 秒内，实际 {waited_s:.1f} 秒；请重试",
            )

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
    least, most = _LENGTHS[name]
    if not least <= len(line) <= most or not line.isprintable():
        label = _TEXTS[name]
        raise ThresholdError(
            f"{label.en}: expected {least} to {most} printable characters, got {line!r:.40}",
            f"{label.zh}：应为 {least} 至 {most} 个可显示的字符，收到 {line!r:.40}",
        )
    return line


def _change(row: RowMapping) -> Change:
    values: dict[str, Any] = dict(row)
    return Change(**values | {"scope": Scope(row["scope"])})
