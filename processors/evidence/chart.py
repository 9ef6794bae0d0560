"""A finding's chart as SVG, drawn by ourselves: the same finding gives the same bytes.

From: the chart in the evidence. To: the console, reports, documentation. Without scripts, fonts or links, so that a
strict content security policy takes it and a phone shows it. The course is a line, what was expected is dashed, the
limit is dotted, and the moment of the decision is marked by a shape; nothing rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from math import floor, isfinite, log10
from typing import Final, NamedTuple

from devices.spec import Kind, Text
from devices.units import UNITS
from processors.evidence.sentence import lasted, local
from processors.findings import Chart, Evidence, Finding, micros

WIDTH: Final = 640
_LEFT, _RIGHT, _TOP, _STRIP, _GAP, _BOTTOM = 64, 16, 40, 150, 22, 30
_SMALL: Final = 70  # height of the strip of a quantity beside
_INK, _FAINT, _LINE, _AGAINST = "#222", "#999", "#1f5f8b", "#b3261e"
_EXPECTED: Final = Text("预期", "expected")
_LIMIT: Final = Text("限值", "limit")
_NO_QUANTITY: Final = Text("等待时长", "time waited")
_DECIDED: Final = Text("判定", "decided")


class _Scale(NamedTuple):
    low: float
    high: float
    at: float
    size: float

    def place(self, value: float) -> float:
        return round(self.at + self.size * (value - self.low) / (self.high - self.low), 1)


def svg(finding: Finding, kind: Kind | None, *, zh: bool) -> str:
    """The chart of `finding` as one SVG element; empty where the finding carries none."""
    return draw(finding.device, finding.rule, micros(finding.onset), finding.evidence, kind, zh=zh)


def draw(device: str, rule: str, onset_us: int, evidence: Evidence, kind: Kind | None, *, zh: bool) -> str:
    """The chart in `evidence` about `rule` of `device`, as `svg`; every text in it is escaped."""
    chart = evidence.chart
    if chart is None or not chart.seconds:
        return ""
    return _Drawing(device, rule, onset_us, evidence, chart, kind, zh=zh).svg()


class _Drawing:
    def __init__(
        self,
        device: str,
        rule: str,
        onset_us: int,
        evidence: Evidence,
        chart: Chart,
        kind: Kind | None,
        *,
        zh: bool,
    ) -> None:
        self._device, self._rule, self._evidence = device, rule, evidence
        self._chart, self._kind, self._zh = chart, kind, zh
        self._at_us = micros(evidence.window[1])
        self._begun_s = (onset_us - self._at_us) / 1e6
        self._parts: list[str] = []
        begin, end = min(chart.seconds[0], self._onset_s()), 0.0
        # One point alone still needs a width.
        self._x = _Scale(min(begin, end - 1.0), end, _LEFT, WIDTH - _LEFT - _RIGHT)

    def _onset_s(self) -> float:
        return max(self._begun_s, self._chart.seconds[0])

    def svg(self) -> str:
        y = float(_TOP)
        self._title()
        for number in range(len(self._chart.lines)):
            size = _SMALL if number else _STRIP
            self._strip(number, y, size)
            y += size + _GAP
        height = round(y - _GAP + _BOTTOM)
        self._times(height)
        label = escape(self._evidence.why.get("zh" if self._zh else "en", self._rule))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" font-family="sans-serif" font-size="11"><title>{label}</title>'
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>{"".join(self._parts)}</svg>'
        )

    def _title(self) -> None:
        title = self._rule
        use = next((use for use in self._kind.detectors if use.rule == title), None) if self._kind else None
        if use is not None:
            title = use.title.zh if self._zh else use.title.en
        self._text(_LEFT, 16, f"{self._device}  {title}", size=13)

    def _strip(self, number: int, top: float, size: float) -> None:
        line, chart, evidence = self._chart.lines[number], self._chart, self._evidence
        against = _against(chart, evidence) if number == 0 else {}
        shown = [*line.values, *(value for values in against.values() for value in values)]
        scale = _scale(shown, top, size)
        self._axis(scale, self._name(line.quantity, line.unit), top, size)
        for word, values in against.items():
            dash = "6 4" if word is _EXPECTED else "2 3"
            colour = _FAINT if word is _EXPECTED else _AGAINST
            self._course(chart.seconds, values, scale, colour, dash=dash)
            last = next((value for value in reversed(values) if value is not None), None)
            if last is not None:
                self._text(WIDTH - _RIGHT, scale.place(last) - 3, self._pick(word), colour=colour, anchor="end")
        self._course(chart.seconds, line.values, scale, _LINE)
        self._moment(top, size)
        if number == 0:
            self._decided(scale, evidence)

    def _axis(self, scale: _Scale, name: str, top: float, size: float) -> None:
        self._parts.append(
            f'<rect x="{_LEFT}" y="{top:g}" width="{WIDTH - _LEFT - _RIGHT}" height="{size:g}" fill="none" '
            'stroke="#ccc"/>'
        )
        for tick in _ticks(scale.low, scale.high, 4 if size > _SMALL else 2):
            y = scale.place(tick)
            self._parts.append(f'<path d="M{_LEFT} {y:g}H{WIDTH - _RIGHT}" stroke="#eee"/>')
            self._text(_LEFT - 5, y + 4, f"{tick:.6g}", colour=_INK, anchor="end")
        self._text(_LEFT, top - 5, name, colour=_INK)

    def _course(
        self,
        seconds: Sequence[float],
        values: Sequence[float | None],
        scale: _Scale,
        colour: str,
        *,
        dash: str = "",
    ) -> None:
        points = list(zip(seconds, values, strict=False))
        drawn = f' stroke-dasharray="{dash}"' if dash else ""
        for there, run in groupby(points, key=lambda point: point[1] is not None):
            if not there:
                continue  # what was missing is a gap, never a line across it
            places = [(self._x.place(x), scale.place(y)) for x, y in run if y is not None]
            if len(places) == 1 and not dash:
                self._parts.append(f'<circle cx="{places[0][0]:g}" cy="{places[0][1]:g}" r="2" fill="{colour}"/>')
                continue
            path = "L".join(f"{x:g} {y:g}" for x, y in places)
            self._parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"{drawn}/>')

    def _moment(self, top: float, size: float) -> None:
        """Shade what lies between the onset and the decision."""
        begin, end = self._x.place(self._onset_s()), self._x.place(0)
        self._parts.append(
            f'<rect x="{begin:g}" y="{top:g}" width="{max(1.0, end - begin):g}" height="{size:g}" fill="{_AGAINST}" '
            'fill-opacity="0.07"/>'
        )

    def _decided(self, scale: _Scale, evidence: Evidence) -> None:
        if evidence.observed is None or not scale.low <= evidence.observed <= scale.high:
            return
        x, y = self._x.place(0), scale.place(evidence.observed)
        self._parts.append(f'<path d="M{x:g} {y:g}l-9 -5v10z" fill="{_AGAINST}"/>')

    def _times(self, height: int) -> None:
        zh, span = self._zh, -self._x.low
        ago = f"{lasted(span, zh=zh)}前" if zh else f"{lasted(span, zh=zh)} before"
        self._text(_LEFT, height - 10, ago, colour=_INK)
        moment = local(self._at_us)
        self._text(WIDTH - _RIGHT, height - 10, f"{self._pick(_DECIDED)} {moment}", colour=_INK, anchor="end")

    def _name(self, quantity: str, unit: str) -> str:
        label = quantity or self._pick(_NO_QUANTITY)
        if self._kind is not None:
            declared = [q for q in self._kind.quantities if q.name == quantity]
            label = self._pick(declared[0].label) if declared else label
        symbol = UNITS[unit].symbol if unit in UNITS else unit
        return f"{label} ({symbol})" if symbol else label

    def _pick(self, text: Text) -> str:
        return text.zh if self._zh else text.en

    def _text(
        self, x: float, y: float, text: str, *, colour: str = _INK, anchor: str = "start", size: int = 11
    ) -> None:
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
        )


def _against(chart: Chart, evidence: Evidence) -> Mapping[Text, Sequence[float | None]]:
    """What the course is held against: the rule's own lines, else its one number as a level."""
    found: dict[Text, Sequence[float | None]] = {}
    for word, own, number in (
        (_EXPECTED, chart.expected, evidence.expected),
        (_LIMIT, chart.limit, evidence.limit),
    ):
        if own:
            found[word] = own
        elif number is not None:
            found[word] = [number] * len(chart.seconds)
    return found


def _scale(values: Sequence[float | None], top: float, size: float) -> _Scale:
    """Upwards on the screen; never without height, never beyond what a float can hold."""
    numbers = [value for value in values if value is not None and isfinite(value)] or [0.0]
    low, high = min(numbers), max(numbers)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return _Scale(low - room, high + room, top + size, -size)


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers within [low, high], about `wanted`."""
    raw = (high - low) / wanted
    power = 10.0 ** floor(log10(raw))
    pace = next(step * power for step in (1, 2, 5, 10) if step * power >= raw)
    first = floor(low / pace) + 1
    ticks = [(first + i) * pace for i in range(wanted + 2)]
    return [tick for tick in ticks if tick <= high]
