"""Evidence: sentences a person understands and charts that are the same bytes for the same finding."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.kinds import load as load_kinds
from devices.spec import Quantity, Text
from processors.detectors import Window, load
from processors.engines.traces import Traces
from processors.errors import RuleError
from processors.evidence.chart import draw
from processors.evidence.record import from_trace, from_window
from processors.evidence.sentence import FIELDS, Facts, fields, lasted, sentence
from processors.findings import Chart, Evidence, Line
from tests.support.series import batch_of, fleet_of, kind_of

S = 1_000_000
T0 = 1_767_571_200 * S  # 2026-01-05T00:00:00Z, 08:00 by the clock on the wall
PRESSURE = Quantity(
    name="pressure_kpa",
    unit="kPa",
    label=Text("管网压力", "Pressure"),
    physical=(0, 1),
    plausible=(0, 1),
    decimals=1,
)
LOW = Facts(
    quantity=PRESSURE, observed=120.04, expected=math.nan, limit=140.0, onset_us=T0, at_us=T0 + 8100 * S,
    extra={"share": 0.123456}, place=("WP-1", "WP-2"),
)  # fmt: skip


def test_a_sentence_says_what_how_much_against_what_since_when_and_where():
    because = Text(
        "{what}{observed}低于{limit}，{since}起{lasted}，占{share:.1%}，{where}附近",
        "{what} {observed} below {limit} since {since} for {lasted}, {share:.1%}, near {where}; usually {expected}",
    )
    assert sentence(because, LOW) == {
        "zh": "管网压力120.0 kPa低于140.0 kPa，01-05 08:00起2小时15分钟，占12.3%，WP-1、WP-2附近",
        "en": "Pressure 120.0 kPa below 140.0 kPa since 01-05 08:00 for 2 h 15 min, 12.3%, near WP-1, WP-2; usually —",
    }


@pytest.mark.parametrize(
    ("observed", "zh", "en"),
    [(120.0, "低于限值", "below the limit of"), (160.0, "高于限值", "above the limit of")],
)
def test_a_sentence_says_on_which_side_of_its_limit_a_value_lies(observed: float, zh: str, en: str) -> None:
    said = sentence(Text("{beyond}", "{beyond}"), replace(LOW, observed=observed))
    assert said == {"zh": zh, "en": en.capitalize()}


def test_a_quantity_beside_is_named_by_its_place():
    flow = replace(PRESSURE, name="flow", label=Text("流量", "Flow"))
    because = Text("{which}最远", "most of it in {which}")
    named = [replace(LOW, beside=(flow,), extra={"part": part}) for part in (1.0, 2.0, 9.0)]
    assert [sentence(because, facts)["zh"] for facts in named] == ["管网压力最远", "流量最远", "管网压力最远"]


def test_what_is_over_says_so_first():
    said = sentence(Text("{what}过低", "{what} too low"), replace(LOW, over=True))
    assert said == {
        "zh": "已恢复，历时2小时15分钟；此前管网压力过低",
        "en": "Over after 2 h 15 min; before: Pressure too low",
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
        (30 * 86400, "30 d"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds, said):
    assert lasted(seconds, zh=False) == said


def test_every_sentence_of_every_rule_can_be_filled_in_both_languages():
    for kind in load_kinds().values():
        for use in kind.detectors:
            because = use.because or load()[use.detector].BECAUSE
            assert because.zh
            assert because.en
            assert re.search("[一-鿿]", because.zh), use.rule
            extra = dict.fromkeys((fields(because.zh) | fields(because.en)) - set(FIELDS), 1.5)
            said = sentence(because, replace(LOW, quantity=use.quantity, extra=extra))
            assert "{" not in said["zh"] + said["en"], use.rule


def test_a_sentence_that_cannot_be_read_is_refused():
    with pytest.raises(RuleError, match="the rule is not used"):
        fields("{what")


def evidence(chart: Chart | None, **more: object) -> Evidence:
    values = {
        "quantity": "pressure_kpa", "unit": "kPa", "observed": 120.0, "expected": 330.0, "limit": 140.0, "hold_s": 0.0,
        "quality": "good", "window": ("2026-01-05T00:00:00.000Z", "2026-01-05T02:15:00.000Z"), "params": {},
    }  # fmt: skip
    return Evidence(**values | {"chart": chart} | more)


def drawing(chart: Chart, **more: object) -> ET.Element:
    kinds = load_kinds()
    text = draw("WP-1", "pressure_low", T0, evidence(chart, **more), kinds["water_pressure"], zh=True)
    assert text == draw("WP-1", "pressure_low", T0, evidence(chart, **more), kinds["water_pressure"], zh=True)
    return ET.fromstring(text)  # noqa: S314  our own drawing


SOME = Chart(
    seconds=[-600.0, -300.0, 0.0], lines=[Line(quantity="pressure_kpa", unit="kPa", values=[330.0, None, 120.0])]
)


def test_a_gap_stays_a_gap_and_limit_and_expected_are_told_apart_without_colour():
    svg = drawing(SOME)
    marks = [element.tag.rpartition("}")[2] for element in svg.iter()]
    assert marks.count("circle") == 2, "two single points, no line across the gap"
    dashes = {element.get("stroke-dasharray") for element in svg.iter()} - {None}
    assert dashes == {"6 4", "2 3"}
    words = " ".join(element.text or "" for element in svg.iter())
    assert "供水压力过低" in words
    assert "管网压力 (kPa)" in words
    assert "限值" in words
    assert "01-05 10:15" in words


def test_no_chart_no_drawing():
    assert draw("WP-1", "x", T0, evidence(None), None, zh=True) == ""


def test_what_a_device_is_called_cannot_break_out_of_the_drawing():
    text = draw("<script>", "x&y", T0, evidence(SOME, why={"en": "</title><script>"}), None, zh=False)
    assert "<script" not in text
    ET.fromstring(text)  # noqa: S314  our own drawing


@given(
    values=st.lists(st.none() | st.floats(-1e15, 1e15), min_size=1, max_size=20),
    observed=st.none() | st.floats(-1e15, 1e15),
)
def test_whatever_was_measured_can_be_drawn(values, observed):
    chart = Chart(
        seconds=[float(i - len(values)) for i in range(len(values))],
        lines=[
            Line(quantity="pressure_kpa", unit="kPa", values=values),
            Line(quantity="x", unit="", values=values),
        ],
    )
    for element in drawing(chart, observed=observed).iter():
        for name in ("x", "y", "cx", "cy"):
            assert math.isfinite(float(element.get(name, "0")))


def test_a_window_ends_with_what_was_known_when_it_was_decided():
    window = Window(np.arange(10) * S, np.arange(10.0), most=4)
    chart = from_window(window, PRESSURE, 6 * S)
    assert chart is not None
    assert chart.seconds == [-3.0, -2.0, -1.0, 0.0]
    assert chart.lines[0].values == [3, 4, 5, 6]
    assert from_window(window, PRESSURE, -1) is None


def test_the_trace_keeps_the_last_readings_and_every_tenth_before_them():
    fleet = fleet_of(kind_of("k", "a", "b"), ["one", "two"])
    traces = Traces(np.array([0, 1]))
    traces.grow(2)
    for i in range(300):
        traces.take(batch_of(fleet, [("one", i * 60 * S, {"a": float(i)})]))
    seconds, values = traces.of(0)
    assert values[:, 0].tolist() == [*range(100, 280, 10), *range(280, 300)]
    assert np.isnan(values[:, 1]).all()
    chart = from_trace(seconds, values, fleet.kind.quantities, 299 * 60 * S)
    assert chart is not None
    assert chart.seconds[-1] == 0
    assert traces.of(1)[0].tolist() == []
    assert from_trace(*traces.of(1), fleet.kind.quantities, 0) is None
