"""When each device's alerts stood, as one SVG: a row per device, a bar per alert.

From: a backtest's report. To: its page. What a change gained is filled, what it lost is an empty frame, what stays is
grey; a bar's height tells the severity. Labels lie behind as bands. Nothing rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from deploy.backtest import Report, devices_table
from deploy.backtest_sources import Stamp
from processors.backtest.labels import Label
from processors.backtest.run import Span

ROWS_MAX: Final = 60
_BARS_MAX: Final = 4000
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 1000, 150, 12, 8, 18, 26
_LEAST: Final = 2.0  # an alert of a minute in a year can still be seen
_HEIGHTS: Final = {"high": 14, "medium": 10, "low": 6}
_HOUR, _DAY = 3_600_000_000, 86_400_000_000
_PACES: Final = (
    _HOUR // 60,
    _HOUR // 4,
    _HOUR,
    6 * _HOUR,
    _DAY,
    2 * _DAY,
    7 * _DAY,
    14 * _DAY,
    30 * _DAY,
    91 * _DAY,
    365 * _DAY,
)
_TICKS: Final = 8
_ZONE_US: Final = 8 * _HOUR  # days begin in Beijing


class Bar(NamedTuple):
    """One alert to draw. `state`: same, gained or lost."""

    span: Span
    state: str


def bars(report: Report) -> list[Bar]:
    """Every alert once: as it is after the change, and those it lost."""
    if report.comparison is None:
        return [Bar(span, "same") for span in report.today.spans]
    kept = [Bar(after, "same") for _, after in report.comparison.kept]
    gained = [Bar(span, "gained") for span in report.comparison.gained]
    return kept + gained + [Bar(span, "lost") for span in report.comparison.lost]


def timeline(report: Report) -> str:
    """The SVG element; empty without alerts."""
    devices = [row[0] for row in devices_table(report)[:ROWS_MAX]]
    if not devices:
        return ""
    return "".join(_Drawing(report, devices).parts())


class _Drawing:
    def __init__(self, report: Report, devices: Sequence[str]) -> None:
        source = report.source
        self._start, self._stamp = source.start_us, source.stamp
        self._length = max(source.end_us - source.start_us, 1)
        self._row = {device: i for i, device in enumerate(devices)}
        self._bars = [bar for bar in bars(report) if bar.span.device in self._row][:_BARS_MAX]
        self._labels = report.wanted.labels or ()
        self._end = source.end_us
        self._height = _TOP + _ROW * len(devices) + _BOTTOM

    def parts(self) -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {self._height}" role="img" '
            'class="timeline" font-size="11">'
        )
        for label in self._labels:
            yield from self._label(label)
        yield from self._axis()
        for device, row in self._row.items():
            y = _TOP + _ROW * row
            yield f'<text x="{_LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(_cut(device))}</text>'
            yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y + _ROW}" y2="{y + _ROW}" class="hair"/>'
        for bar in self._bars:
            yield self._bar(bar)
        yield "</svg>"

    def _x(self, time_us: int) -> float:
        share = (min(max(time_us, self._start), self._end) - self._start) / self._length
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def _axis(self) -> Iterator[str]:
        pace = next((one for one in _PACES if self._length / one <= _TICKS), _PACES[-1])
        first = -(-(self._start + _ZONE_US) // pace) * pace - _ZONE_US
        bottom = self._height - _BOTTOM
        for at in range(first, self._end + 1, pace):
            x = self._x(at)
            text = _tick(self._stamp, at, days=pace >= _DAY)
            yield f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" class="hair"/>'
            yield f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{text}</text>'

    def _label(self, label: Label) -> Iterator[str]:
        rows = [self._row[label.device]] if label.device in self._row else list(self._row.values())
        elsewhere = label.device and label.device not in self._row
        if elsewhere or label.end_us < self._start or label.start_us > self._end:
            return
        x, end = self._x(label.start_us), self._x(label.end_us)
        y, height = _TOP + _ROW * min(rows), _ROW * (max(rows) - min(rows) + 1)
        title = escape(f"{label.name} {self._stamp(label.start_us)} – {self._stamp(label.end_us)}")
        width = max(end - x, _LEAST)
        yield f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" class="label"><title>{title}</title></rect>'

    def _bar(self, bar: Bar) -> str:
        span = bar.span
        x = self._x(span.raised_us)
        end = self._end if span.end_us is None else span.end_us
        height = _HEIGHTS.get(span.finding.severity, 10)
        y = _TOP + _ROW * self._row[span.device] + (_ROW - height) / 2
        width = max(self._x(end) - x, _LEAST)
        title = escape(f"{span.device} {span.rule} {self._stamp(span.raised_us)} – {self._stamp(span.end_us)}")
        shape = f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" class="{bar.state}">'
        return f"{shape}<title>{title}</title></rect>"


def _tick(stamp: Stamp, at: int, *, days: bool) -> str:
    text = stamp(at)
    return text[:10] if days else text[5:16].replace("T", " ")


def _cut(text: str) -> str:
    return text if len(text) <= 22 else f"{text[:21]}…"
