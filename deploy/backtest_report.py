"""A backtest as one HTML page for a person: no scripts, nothing from elsewhere, both languages behind a switch.

From: `deploy.backtest`. To: a file that opens in any browser, and prints. Everything out of files is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from deploy.backtest import Report, Run, devices_table, rules_table
from deploy.backtest_output import rate, share, written
from deploy.backtest_sources import Stamp
from deploy.backtest_timeline import ROWS_MAX, Bar, bars, timeline
from devices.spec import Kind, Text
from processors.backtest.compare import affected
from processors.backtest.run import Span
from processors.detectors import load
from processors.evidence.chart import svg
from processors.evidence.sentence import lasted

_TEMPLATE: Final = "backtest_report.html"
_DETAILS_MAX: Final = 200
_STATES: Final = {"gained": 0, "lost": 1, "same": 2}
_RANKS: Final = {"high": 0, "medium": 1, "low": 2}


class Detail(NamedTuple):
    """One alert as the page shows it."""

    title: Text
    state: str
    severity: str
    device: str
    rule: str
    raised: str
    ended: str
    onset: str
    place: str
    why: Text
    chart_zh: Markup
    chart_en: Markup


class Figures(NamedTuple):
    """A run's figures as text."""

    title: Text
    alerts: int
    per_month: str
    precision: str
    recall: str
    f_score: str
    delay: Text
    verdicts: str


def write_report(path: Path, report: Report) -> None:
    """Write the page to `path`; BacktestError where that cannot be."""
    page = render(report)
    with written(path) as file:
        file.write(page)


def render(report: Report) -> str:
    """The page as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = report.source
    shown = _shown(report)
    return environment.get_template(_TEMPLATE).render(
        report=report,
        source=source,
        kind=source.kind,
        compared=report.comparison is not None,
        start=source.stamp(source.start_us),
        end=source.stamp(source.end_us),
        changes=[_change(report, i) for i in range(len(report.wanted.changes))],
        runs=[_figures(run, title) for run, title in _runs(report)],
        labelled=report.wanted.labels is not None,
        judged=report.wanted.verdicts is not None,
        rules=[(*row, _title(source.kind, row[0])) for row in rules_table(report)],
        uses=[(use, {**load()[use.detector].PARAMS, **use.params}) for use in report.newest.kind.detectors],
        devices=devices_table(report),
        timeline=Markup(timeline(report)),  # noqa: S704  our own drawing; it escapes what it is given
        rows_max=ROWS_MAX,
        details=[_detail(bar, report.newest.kind, source.stamp) for bar in shown],
        hidden=len(bars(report)) - len(shown),
    )


def _shown(report: Report) -> list[Bar]:
    """Which alerts are shown with their evidence: what changed first, then the most severe, in order of time."""
    order = sorted(bars(report), key=lambda b: (_STATES[b.state], _RANKS.get(b.span.finding.severity, 3)))
    return sorted(order[:_DETAILS_MAX], key=lambda b: (_STATES[b.state], b.span.raised_us, b.span.device))


def _runs(report: Report) -> list[tuple[Run, Text]]:
    runs = [(report.today, Text("现行规则", "Today's rules"))]
    return runs if report.after is None else [*runs, (report.after, Text("修改后", "Changed rules"))]


def _figures(run: Run, title: Text) -> Figures:
    found, judged = run.measures, run.judged
    delay = found.delay_s if found is not None else None
    return Figures(
        title,
        len(run.spans),
        rate(run.per_month),
        share(found.precision) if found else "",
        f"{share(found.recall)} ({found.found}/{found.labels})" if found else "",
        share(found.f_score) if found else "",
        Text("-", "-") if delay is None else Text(lasted(delay, zh=True), lasted(delay, zh=False)),
        f"{share(judged.precision)} ({judged.true}/{judged.true + judged.false})" if judged else "",
    )


def _change(report: Report, place: int) -> tuple[str, str, str]:
    """(rule.parameter, before, after) of a change asked for."""
    change = report.wanted.changes[place]
    uses = affected(report.today.kind, change)
    before = ", ".join(
        sorted({f"{use.params[change.param]:g}" if change.param in use.params else "-" for use in uses})
    )
    return f"{change.rule}.{change.param}", before, f"{change.value:g}"


def _title(kind: Kind, rule: str) -> Text:
    return next((use.title for use in kind.detectors if use.rule == rule), Text(rule, rule))


def _detail(bar: Bar, kind: Kind, stamp: Stamp) -> Detail:
    span: Span = bar.span
    seen = span.finding.evidence
    charts = [Markup(svg(span.finding, kind, zh=zh)) for zh in (True, False)]  # noqa: S704  our own drawing, escaped
    return Detail(
        _title(kind, span.rule),
        bar.state,
        span.finding.severity,
        span.device,
        span.rule,
        stamp(span.raised_us),
        stamp(span.end_us),
        stamp(span.start_us),
        ", ".join(span.place[:12]),
        Text(seen.why.get("zh", ""), seen.why.get("en", "")),
        *charts,
    )
