"""What a backtest leaves behind: alerts and scores as CSV, a summary for the terminal.

From: `deploy.backtest`. To: files and the person. What a spreadsheet would take for a formula gets an apostrophe.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from deploy.backtest import Report, Run, devices_table, rules_table
from deploy.backtest_sources import RowsSource, Stamp
from processors.backtest.run import Span
from processors.errors import BacktestError
from processors.evidence.sentence import lasted

if TYPE_CHECKING:
    from devices.readings import Float64

ALERT_COLUMNS: Final = (
    "start", "end", "device", "rule", "place", "onset", "severity", "observed", "expected", "limit", "unit",
    "sentence_zh", "sentence_en",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_ROWS_SHOWN: Final = 40


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """`path`, to be written as a whole: readers see the old file or all of the new one."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise BacktestError(
            f"{path}: expected a folder that can be written to, got: {error.strerror}; nothing was written"
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def check_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """BacktestError before hours of work for what cannot be written, or would overwrite what is read or written."""
    taken = {path.resolve(): "a file that is read" for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        _check_writable(path)
        if path.resolve() in taken:
            raise BacktestError(
                f"{path}: expected a file of its own, got {taken[path.resolve()]}; nothing was run"
            )
        taken[path.resolve()] = "one that is written already"


def _check_writable(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BacktestError(f"{path}: expected a file in a folder that can be written to; nothing was run")


def write_alerts(path: Path, spans: list[Span], stamp: Stamp) -> None:
    """One row per alert: `start` is when it rose, `end` is empty while it stands at the end of the data."""
    with written(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(ALERT_COLUMNS)
        for span in spans:
            seen = span.finding.evidence
            rows.writerow(
                (
                    stamp(span.raised_us),
                    stamp(span.end_us),
                    _safe(span.device),
                    span.rule,
                    _safe(" ".join(span.place)),
                    stamp(span.start_us),
                    span.finding.severity,
                    *(_number(value) for value in (seen.observed, seen.expected, seen.limit)),
                    seen.unit,
                    _safe(seen.why.get("zh", "")),
                    _safe(seen.why.get("en", "")),
                )
            )


def write_scores(path: Path, report: Report) -> None:
    """One row per row of the file, in its order, with its own time stamps."""
    source = report.source
    assert isinstance(source, RowsSource)  # noqa: S101  only those have scores
    assert source.loaded is not None  # noqa: S101
    assert report.scores is not None  # noqa: S101
    _score_rows(path, source.loaded.table.stamps.astype("str").tolist(), report.scores)


def _score_rows(path: Path, stamps: list[str], scores: Float64) -> None:
    with written(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("timestamp", "score"))
        rows.writerows((stamp, f"{score:.6g}") for stamp, score in zip(stamps, scores.tolist(), strict=True))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def figures(report: Report) -> list[str]:
    """What was found, in a few lines."""
    source = report.source
    count = f", {source.readings:,} readings" if source.readings else ""
    span = f"{source.stamp(source.start_us)} to {source.stamp(source.end_us)}"
    lines = [f"{source.kind.name}, {source.name}: {len(source.devices)} devices{count}, {span}"]
    lines += measures(report.today, "today's rules")
    if report.after is not None and report.comparison is not None:
        lines += measures(report.after, "changed rules")
        lines.append(f"gained {len(report.comparison.gained)}, lost {len(report.comparison.lost)}")
        if report.lost is not None:
            lines.append(f"  of those lost, crews had found {report.lost.true} true and {report.lost.false} false")
    return lines


def tables(report: Report) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Columns and rows of what a terminal shows: alerts by rule, and by device where there are any."""
    for what, rows in (("rule", rules_table(report)), ("device", devices_table(report))):
        names = (what, "today", "changed", "gained", "lost") if report.comparison else (what, "alerts")
        if rows:
            yield names, [tuple(str(cell) for cell in row[: len(names)]) for row in rows[:_ROWS_SHOWN]]


def measures(run: Run, title: str) -> list[str]:
    """A run's figures, a line each."""
    lines = [f"{title}: {len(run.spans)} alerts, {rate(run.per_month)} per device-month"]
    found = run.measures
    if found is not None:
        delay = "-" if found.delay_s is None else lasted(found.delay_s, zh=False)
        lines.append(
            f"  against labels: precision {share(found.precision)}, recall {share(found.recall)} "
            f"({found.found} of {found.labels}), F {share(found.f_score)}, median delay {delay}"
        )
    if run.judged is not None:
        judged = run.judged
        lines.append(
            f"  against verdicts: precision {share(judged.precision)}, {judged.true} true, {judged.false} false, "
            f"{len(run.spans) - judged.true - judged.false} without a verdict"
        )
    return lines


def rate(value: float) -> str:
    """Alerts per device-month with three digits.

    >>> rate(0.01234), rate(2190.4)
    ('0.0123', '2,190')
    """
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share with two decimals, a dash for none."""
    return "-" if value is None else f"{value:.2f}"
