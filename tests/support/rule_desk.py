"""A real book of thresholds over the console fixture's city; previews judge a day of readings by the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from processors.backtest.compare import compare, device_months
from processors.backtest.preview import Preview
from processors.backtest.run import Backtest, Span, alerts_of, rows_of
from processors.thresholds.book import ThresholdBook
from processors.thresholds.change import Change
from processors.thresholds.history import History
from tests.support.console_fixture import KINDS, FakeCity
from tests.support.databases import operations, sqlite_file

MINUTE = 60_000_000


class RuleDesk(ThresholdBook):
    """`previewed`: days that were asked for. The first four devices had 135 to 165 kPa for an hour at noon."""

    def __init__(self, engine: Engine, city: FakeCity) -> None:
        super().__init__(engine, city.kinds(), now=city.now, entries=city.entries)
        self.city = city
        self.asked: list[float] = []

    def preview(self, change: Change, days: float) -> Preview:
        """Judge one day without and with `change`."""
        draft = self.drafted(change)
        self.asked.append(days)
        history = History(self.changes()).at(draft.effective_us)
        before, after = self._spans(draft, history), self._spans(draft, history.with_draft(draft))
        found = compare(before, after)
        end = self.city.now()
        months = device_months(4, end - 1440 * MINUTE, end)
        return Preview(draft, end - 1440 * MINUTE, end, len(before), len(after), found.gained, found.lost, months)

    def _spans(self, change: Change, history: History) -> list[Span]:
        kind = KINDS[change.kind]
        kind = replace(kind, detectors=tuple(use for use in kind.detectors if use.rule == change.rule))
        entries = [one for one in self.city.entries() if one.kind == kind.name]
        known = [entries[-1], *entries[:3]]  # a hostile one stands last
        time_us = self.city.now() + np.arange(-1440, 0, dtype=np.int64) * MINUTE
        noon = (np.arange(1440) // 60) == 12
        series = {one.id: (time_us, np.where(noon, 135.0 + 10 * i, 300.0)) for i, one in enumerate(known)}
        return alerts_of(Backtest(kind, rows_of(kind, series), entries=known, history=history).findings())


@contextmanager
def rule_desk(folder: Path, city: FakeCity) -> Iterator[RuleDesk]:
    """A desk with an empty book in `folder`."""
    with operations(sqlite_file(folder)) as engine:
        yield RuleDesk(engine, city)
