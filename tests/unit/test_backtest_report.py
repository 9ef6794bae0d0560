"""The page of a backtest: what it shows of many alerts, of labels, and of names that are no text."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from deploy.backtest import Report, Wanted, backtest, devices_table
from deploy.backtest_output import written
from deploy.backtest_report import render
from deploy.backtest_sources import RowsSource, Stamp
from deploy.backtest_timeline import timeline
from devices.kinds import load as kinds
from processors.backtest.compare import parsed
from processors.backtest.labels import Label
from processors.backtest.run import rows_of
from processors.errors import BacktestError

S = 1_000_000
START_US = 1_767_225_600 * S  # 2026-01-01 08:00 in Beijing
PRESSURE = kinds()["water_pressure"]
ZONE = ZoneInfo("Asia/Shanghai")


def judged(*changes: str, devices: int = 2, spells: int = 3, labels: list[Label] | None = None) -> Report:
    """Devices that fall below the limit `spells` times each, for an hour every three, half of them not so deep."""
    times = START_US + np.arange(36 * spells, dtype=np.int64) * 300 * S
    level = np.where(np.arange(len(times)) % 36 < 12, 110.0, 300.0)
    noise = np.random.default_rng(1).normal(0, 2, len(times))
    rows = rows_of(PRESSURE, {f"<D{i}>": (times, level + noise + 20 * (i % 2)) for i in range(devices)})
    source = RowsSource("a <file>", PRESSURE, rows, Stamp(ZONE, naive=False))
    wanted = Wanted(detectors=["pressure_low"], changes=[parsed(one) for one in changes], labels=labels)
    return backtest(source, wanted, lambda _: nullcontext(lambda *_: None))


def test_every_alert_of_a_device_is_a_bar_in_its_row():
    drawn = timeline(judged())
    assert drawn.count('class="same"') == 6
    assert "&lt;D0&gt;" in drawn
    assert "<D0>" not in drawn


def test_what_a_change_gains_and_loses_is_drawn_apart():
    drawn = timeline(judged("pressure_low.low=125"))
    assert (drawn.count('class="same"'), drawn.count('class="lost"')) == (3, 3)
    drawn = timeline(judged("pressure_low.low=200"))
    assert drawn.count('class="same"') == 6


def test_labels_lie_behind_the_rows_they_concern():
    one = Label(START_US, START_US + 3600 * S, "<D1>", "leak & more")
    later = Label(START_US + 400 * 3600 * S, START_US + 401 * 3600 * S, "", "after the data")
    drawn = timeline(judged(labels=[one, one._replace(device=""), one._replace(device="elsewhere"), later]))
    heights = [int(height) for height in re.findall(r'height="(\d+)" class="label"', drawn)]
    assert heights == [18, 36]
    assert "leak &amp; more" in drawn


def test_bars_stay_within_the_drawing():
    drawn = timeline(judged())
    for x, width in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn):
        assert float(x) >= 150
        assert float(x) + float(width) <= 990


def test_without_alerts_there_is_no_timeline_and_the_page_says_so():
    report = judged("pressure_low.low=1", spells=1)
    report.today = report.newest
    assert timeline(replace(report, comparison=None)) == ""
    assert "没有报警" in render(replace(report, comparison=None))


def test_more_alerts_than_a_page_bears_are_counted():
    report = judged(devices=4, spells=60)
    page = render(report)
    assert len(report.today.spans) == 240
    assert page.count("<details>") == 200
    assert "其余 40 条" in page


def test_the_page_shows_the_change_and_the_measures():
    label = Label(START_US, START_US + 3600 * S, "", "")
    page = render(judged("pressure_low.low=125", labels=[label]))
    for text in ("pressure_low.low", ">140<", ">125<", "a &lt;file&gt;", "1.00 (1/1)"):
        assert text in page
    assert "<file>" not in page


def test_devices_with_the_largest_change_come_first():
    table = devices_table(judged("pressure_low.low=125"))
    assert table == [("<D1>", 3, 0, 0, 3), ("<D0>", 3, 3, 0, 0)]


def test_times_are_written_as_the_source_has_them():
    at = int(datetime(2026, 1, 1, 4, 0, 0, 500_000, tzinfo=UTC).timestamp() * 1e6)
    assert Stamp(ZONE, naive=True)(at) == "2026-01-01 12:00:00.500"
    assert Stamp(ZONE, naive=False)(at - 500_000) == "2026-01-01T12:00:00+08:00"
    assert Stamp(ZONE, naive=False)(None) == ""


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail() -> None:
        with written(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
    with pytest.raises(BacktestError, match="nothing was written"), written(tmp_path / "no" / "out.csv"):
        pass


def test_a_verdict_holds_for_the_same_alert_with_another_onset():
    times = START_US + np.arange(60, dtype=np.int64) * 300 * S
    falling = np.concatenate([300 - 5.0 * np.arange(40), np.full(20, 300.0)])
    rows = rows_of(PRESSURE, {"A": (times, falling)})
    source = RowsSource("x", PRESSURE, rows, Stamp(ZONE, naive=False))

    def run(*changes: str, **verdicts: bool) -> Report:
        wanted = Wanted(detectors=["pressure_low"], changes=[parsed(one) for one in changes], verdicts=verdicts)
        return backtest(source, wanted, lambda _: nullcontext(lambda *_: None))

    (alert,) = run().today.spans
    later = run("pressure_low.low=120", **{alert.finding.id: True})
    assert later.after
    assert later.after.spans[0].finding.id != alert.finding.id
    assert later.after.judged == (1, 0)
    assert run("pressure_low.low=50", **{alert.finding.id: True}).lost == (1, 0)
