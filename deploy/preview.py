"""What a change of a threshold would have done to the last days, before anybody is woken by it.

From: the command line and the console. To: a person. The journal is judged twice, by what will
hold when the change begins, without it and with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from zoneinfo import ZoneInfo

from deploy.backtest import Bar
from deploy.backtest_sources import journal_source
from deploy.settings import Settings
from devices.kinds import load as load_kinds
from processors.backtest.compare import compare, device_months
from processors.backtest.preview import Preview
from processors.thresholds.change import Change

_DAY_US = 86_400_000_000


def previewed(
    settings: Settings,
    change: Change,
    days: float,
    bar: Bar = lambda _: nullcontext(lambda *_: None),
    now: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> Preview:
    """Judge the journal's last `days` with and without `change`; BacktestError where there is nothing to judge."""
    kind = load_kinds()[change.kind]
    kind = replace(kind, detectors=tuple(use for use in kind.detectors if use.rule == change.rule))
    zone = ZoneInfo(settings.notify.zone)
    source = journal_source(settings, kind, (now() - int(days * _DAY_US), None), zone)
    # Both by what will hold the moment it begins: what differs is the change, not what else happens until then.
    today = source.history.at(change.effective_us)
    source = replace(source, history=today)
    with bar("as it is") as progress:
        before = source.spans(kind, progress)
    changed = replace(source, history=today.with_draft(change))
    with bar("with the change") as progress:
        after = changed.spans(kind, progress)
    found = compare(before, after)
    return Preview(
        change,
        source.start_us,
        source.end_us,
        len(before),
        len(after),
        found.gained,
        found.lost,
        device_months(len(source.devices), source.start_us, source.end_us),
    )
