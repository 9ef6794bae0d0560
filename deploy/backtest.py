"""A backtest from beginning to end: readings, today's rules, changed rules, what is known to have happened.

From: the command line, and whoever previews a change. To: `deploy.backtest_output` and `deploy.backtest_report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from deploy.backtest_sources import Progress, RowsSource, Source
from devices.readings import Float64
from devices.spec import Kind
from processors.backtest.compare import (
    Comparison,
    Set,
    affected,
    changed,
    chosen,
    compare,
    demand_usable,
    device_months,
    usable,
)
from processors.backtest.labels import Judged, Label, Measures, by_verdicts, measure
from processors.backtest.run import Span

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Something to show how far a part is, by the part's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to find out. `detectors`: only these; `changes`: to be compared with today's; `scores`: of each row."""

    detectors: Sequence[str] = ()
    changes: Sequence[Set] = ()
    labels: Sequence[Label] | None = None
    verdicts: dict[str, bool] | None = None
    scores: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One set of rules over the readings. `measures`, `judged`: None without labels or verdicts."""

    kind: Kind
    spans: list[Span]
    months: float
    measures: Measures | None
    judged: Judged | None

    @property
    def per_month(self) -> float:
        """Alerts per device and month."""
        return len(self.spans) / self.months if self.months else 0.0


@dataclass(slots=True)
class Report:
    """What a backtest found. `after` and `comparison`: None where nothing was to be changed.

    `lost`: what crews said of the alerts that the change would have cost; None without verdicts.
    """

    source: Source
    wanted: Wanted
    today: Run
    after: Run | None = None
    comparison: Comparison | None = None
    scores: Float64 | None = None
    lost: Judged | None = None

    @property
    def newest(self) -> Run:
        """The run that the alerts and scores are of: the changed rules' where there are any."""
        return self.after or self.today


def backtest(source: Source, wanted: Wanted, bar: Bar) -> Report:
    """Judge `source` by today's rules, and by changed ones; BacktestError for what does not exist."""
    kind = chosen(source.kind, wanted.detectors)
    other = changed(kind, wanted.changes) if wanted.changes else None
    if other is None:
        demand_usable(kind)
    elif not usable(kind):
        kind, other = other, None  # a detector that does nothing without them has no today to compare with
    spans, scores = _spans(source, kind, "today's rules", wanted, bar, scored=other is None)
    report = Report(source, wanted, _run(source, kind, spans, wanted), scores=scores)
    if other is not None:
        # What is asked for holds everywhere, whatever people set for some devices.
        free = source.without({(use.rule, c.param) for c in wanted.changes for use in affected(kind, c)})
        spans, report.scores = _spans(free, other, "changed rules", wanted, bar, scored=True)
        found = report.comparison = compare(report.today.spans, spans)
        report.after = _run(source, other, spans, _inherited(wanted, found))
        report.lost = None if wanted.verdicts is None else by_verdicts(found.lost, wanted.verdicts)
    return report


def _spans(
    source: Source, kind: Kind, title: str, wanted: Wanted, bar: Bar, *, scored: bool
) -> tuple[list[Span], Float64 | None]:
    with bar(title) as progress:
        if wanted.scores and scored and isinstance(source, RowsSource):
            return source.scored(kind, progress)
        return source.spans(kind, progress), None


def _inherited(wanted: Wanted, found: Comparison) -> Wanted:
    """A verdict on an alert holds for what the change makes of it, which may begin at another time."""
    if wanted.verdicts is None:
        return wanted
    pairs = [(before.finding.id, after.finding.id) for before, after in found.kept]
    more = {new: wanted.verdicts[old] for old, new in pairs if old in wanted.verdicts}
    return replace(wanted, verdicts={**wanted.verdicts, **more})


def _run(source: Source, kind: Kind, spans: list[Span], wanted: Wanted) -> Run:
    return Run(
        kind,
        spans,
        device_months(len(source.devices), source.start_us, source.end_us),
        None if wanted.labels is None else measure(spans, wanted.labels),
        None if wanted.verdicts is None else by_verdicts(spans, wanted.verdicts),
    )


def rules_table(report: Report) -> list[tuple[str, int, int, int, int]]:
    """(rule, today, changed, gained, lost) for every rule, in the kind's order."""
    before, after = _by(report.today.spans, "rule"), _by(report.newest.spans, "rule")
    gained, lost = _difference(report, "rule")
    return [
        (use.rule, before[use.rule], after[use.rule], gained[use.rule], lost[use.rule])
        for use in report.today.kind.detectors
    ]


def devices_table(report: Report) -> list[tuple[str, int, int, int, int]]:
    """(device, today, changed, gained, lost) for every device with an alert, most changed first, then most alerts."""
    before, after = _by(report.today.spans, "device"), _by(report.newest.spans, "device")
    gained, lost = _difference(report, "device")
    rows = [(one, before[one], after[one], gained[one], lost[one]) for one in {**before, **after}]
    return sorted(rows, key=lambda row: (-row[3] - row[4], -max(row[1], row[2]), row[0]))


def _by(spans: Sequence[Span], name: str) -> Counter[str]:
    return Counter(getattr(span, name) for span in spans)


def _difference(report: Report, name: str) -> tuple[Counter[str], Counter[str]]:
    if report.comparison is None:
        return Counter(), Counter()
    return _by(report.comparison.gained, name), _by(report.comparison.lost, name)
