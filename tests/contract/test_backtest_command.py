"""`undercity backtest` as a person uses it: files, the journal, the store; what it writes and what it refuses."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from deploy.cli import alerts, backtest
from deploy.cli.main import reason
from deploy.offline import replayed
from deploy.settings import Settings
from deploy.storelink import StoreServer, store_socket
from deploy.wiring import open_database, open_store
from devices.catalog import SqlRegistry
from devices.fleet import Entry, build
from devices.kinds import load as kinds
from devices.readings import Batch, Quality
from devices.registry import Device
from ingest.journal import TICK, Delivery, Journal
from processors.alerts.book import AlertBook
from processors.thresholds.book import ThresholdBook
from processors.thresholds.change import Change, Scope
from tests.support.desk import Done
from tests.support.system import System

S = 1_000_000
START_US = 1_767_225_600 * S  # 2026-01-01 08:00 in Beijing
PRESSURE = kinds()["water_pressure"]


def undercity(*words: object) -> Done:
    """Run the command within this process; what a refusal says is the last of the errors."""
    app = typer.Typer()
    backtest.register(app)
    alerts.register(app)
    result = CliRunner().invoke(app, [str(word) for word in words], standalone_mode=False)
    errors = result.stderr.splitlines()
    if result.exception is None:
        return Done(result.return_value or 0, result.stdout.splitlines(), errors)
    said = reason(result.exception) if isinstance(result.exception, Exception) else None
    if said is None:
        raise AssertionError(f"{words}: a traceback instead of a refusal") from result.exception
    return Done(
        getattr(result.exception, "exit_code", 1), result.stdout.splitlines(), [*errors, *said.splitlines()]
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two loggers every five minutes for a day: one falls to 100 kPa for an hour at noon, one has an awkward name."""
    path = tmp_path / "day.csv"
    chance = np.random.default_rng(1)
    lines = ["time,=A<b>,B"]
    for i in range(288):
        low = 144 <= i < 156
        hour, minute = divmod(i * 5, 60)
        quiet = 300 + chance.normal(0, 3)
        lines.append(
            f"2026-01-01 {hour:02}:{minute:02}:00,{100 + i / 100 if low else 305 + chance.normal(0, 3):.2f},{quiet:.2f}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# files


def test_alerts_of_a_file_are_written_with_its_own_times(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "alerts.csv"
    done = undercity(
        "backtest", "--kind", "water_pressure", "--file", file, "--detector", "pressure_low", "--alerts", out
    )
    assert (done.code, done.lines[0]) == (
        0,
        "water_pressure, day.csv: 2 devices, 576 readings, 2026-01-01 00:00:00 to 2026-01-01 23:55:00",
    )
    (row,) = rows(out)
    assert (row["start"], row["end"], row["onset"]) == (
        "2026-01-01 12:05:00",
        "2026-01-01 13:10:00",
        "2026-01-01 12:00:00",
    )
    assert (row["device"], row["rule"], row["severity"], row["limit"]) == (
        "'=A<b>",
        "pressure_low",
        "medium",
        "140",
    )
    assert row["sentence_zh"]
    assert row["sentence_en"]


def test_a_change_is_compared_with_todays_rules(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "alerts.csv"
    change = ("--set", "pressure_low.low=90")
    done = undercity(
        "backtest",
        "--kind",
        "water_pressure",
        "--file",
        file,
        *change,
        "--detector",
        "pressure_low",
        "--alerts",
        out,
    )
    assert "gained 0, lost 1" in done.lines
    assert "pressure_low\t1\t0\t0\t1" in done.lines
    assert "=A<b>\t1\t0\t0\t1" in done.lines
    assert rows(out) == []


def test_labels_give_precision_recall_and_delay(file: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "start,end,device\n2026-01-01 12:00,2026-01-01 13:00,=A<b>\n2026-01-01 20:00,2026-01-01 21:00,B\n"
    )
    words = ("--detector", "pressure_low", "--truth", truth)
    done = undercity("backtest", "--kind", "water_pressure", "--file", file, *words)
    assert "  against labels: precision 1.00, recall 0.50 (1 of 2), F 0.67, median delay 5 min" in done.lines


def test_scores_are_one_per_row_in_the_files_order(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    backwards = tmp_path / "backwards.csv"
    header, *lines = file.read_text().splitlines()
    backwards.write_text("\n".join([header, *reversed(lines), "not a time,1,2"]) + "\n")
    words = ("--columns", "=A*", "--detector", "pressure_low", "--scores", out)
    undercity("backtest", "--kind", "water_pressure", "--file", backwards, *words)
    scores = rows(out)
    assert [row["timestamp"] for row in scores] == [
        line.split(",")[0] for line in [*reversed(lines), "not a time,1,2"]
    ]
    above = [row["timestamp"][11:16] for row in scores if float(row["score"]) >= 0.5]
    assert (above[-1], above[0], len(above)) == ("12:05", "13:05", 13)
    assert all(0 <= float(row["score"]) <= 1 for row in scores)


def test_a_file_of_no_kind_is_judged_by_any_detector(file: Path) -> None:
    words = ("--columns", "=A*", "--detector", "limit", "--set", "limit.low=140")
    done = undercity("backtest", "--kind", "generic", "--file", file, *words)
    assert "limit\t1" in done.lines


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"} or name.startswith("on")]


def test_the_report_is_one_page_without_scripts_and_with_everything_escaped(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    change = ("--set", "pressure_low.low=90")
    undercity("backtest", "--kind", "water_pressure", "--file", file, *change, "--report", out)
    page = out.read_text(encoding="utf-8")
    seen = Elements()
    seen.feed(page)
    assert "script" not in seen.tags
    assert seen.links == []
    assert "=A<b>" not in page
    assert "=A&lt;b&gt;" in page
    assert {"svg", "details", "table"} <= seen.tags
    for text in ("供水压力过低", "Pressure too low", "pressure_low.low", "140", "减少", "lost"):
        assert text in page


def test_metres_of_water_are_said_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "metres.csv"
    path.write_text("time,n1,F_1\n2026-01-01 00:00,30,70\n2026-01-01 00:05,31,70\n")
    done = undercity("backtest", "--kind", "water_pressure", "--file", path)
    assert any("taken as mH2O" in line for line in done.errors)
    assert any("F_1" in line for line in done.errors)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--kind nothing --file {file}", "--kind: expected one of"),
        ("--kind water_pressure --file {file} --detector nothing", "--detector: expected a rule or detector"),
        ("--kind water_pressure --file {file} --set nothing.low=1", "--set: expected a rule or detector"),
        (
            "--kind water_pressure --file {file} --set pressure_low.lower=1",
            "--set pressure_low.lower: expected one of",
        ),
        (
            "--kind water_pressure --file {file} --set pressure_low.low=deep",
            "--set: expected detector.param=value",
        ),
        ("--kind water_pressure --file {file} --set pressure_low.hold_s=-1", "rule pressure_low: "),
        ("--kind water_pressure --file {file} --from yesterday", "--from: expected a time"),
        ("--kind water_pressure --file {file} --unit furlong", "unit 'furlong'"),
        (
            "--kind water_pressure --file {file} --alerts /nowhere/a.csv",
            "/nowhere/a.csv: expected a file in a folder",
        ),
        (
            "--kind water_pressure --file {file} --scores {folder}/s.csv",
            "--scores: expected a file with one series",
        ),
        ("--kind water_pressure --file {folder}/none.csv", "none.csv: expected a CSV or Parquet file, got none"),
        ("--kind water_pressure --file {file} --truth {file}", "day.csv: expected columns start,end,device"),
        ("--kind generic", "--kind generic: expected --file"),
        (
            "--kind generic --file {file} --alerts {file}",
            "day.csv: expected a file of its own, got a file that is",
        ),
        (
            "--kind generic --file {file} --alerts {folder}/a.csv --report {folder}/../{folder.name}/a.csv",
            "a.csv: expected a file of its own, got one that is written already",
        ),
        (
            "--kind generic --file {file} --detector burst",
            "rule burst: detector burst: expected change >0, got nan",
        ),
        (
            "--kind generic --file {file} --from 2026-01-02 --to 2026-01-01",
            "--from: expected a time before --to, got '2026-01-02' and '2026-01-01'",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    file: Path, tmp_path: Path, words: str, said: str
) -> None:
    done = undercity("backtest", *(word.format(file=file, folder=tmp_path) for word in words.split()))
    assert done.code == 1
    assert said in done.errors[-1]
    assert [line for line in done.errors[:-1] if not line.startswith("note: ")] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day.csv"]


@pytest.mark.parametrize("kind", ["generic", "water_pressure"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "expected a header and rows, got an empty file"),
        (b"time,A\n", "expected rows of readings, got none"),
        (b"time\n2026-01-01\n", "expected columns of numbers, got none"),
        (b"time,A\n2026-01-01,x\n", "expected columns of numbers, got A"),
        (b"time,A\n2026-01-01,\n", "expected numbers beside the times, got none"),
        (b"A,B\n1,2\n", "expected a column of times, got A, B"),
        (b"time,A\n2026-01-01,1\n2026-01-02,1,2,3\n", "got 4 cells in line 3 after 2 in those before"),
        (b"\x89PNG\0", "expected CSV text or Parquet, got other binary data"),
        (b"PAR1 and no more", "expected a Parquet file that can be read"),
    ],
)
def test_a_file_without_readings_is_refused_in_one_line(tmp_path: Path, kind: str, text: bytes, said: str) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "alerts.csv"
    path.write_bytes(text)
    done = undercity("backtest", "--kind", kind, "--file", path, "--alerts", out)
    assert (done.code, len(done.errors)) == (1, 1)
    assert done.errors[0].startswith("in.csv: ")
    assert said in done.errors[0]
    assert not out.exists()


# the journal and the store

LOW = range(20, 40)  # rounds of five minutes with too little pressure


@pytest.fixture
def city(tmp_path: Path) -> System:
    """Two registered loggers, five hours in the journal and in the store; WP-1 has a spell of low pressure."""
    system = System(tmp_path, 1)
    system.register([Device(id=f"WP-{i}", kind="water_pressure", registered_us=START_US) for i in (1, 2)])
    chance = np.random.default_rng(2)
    levels = 300 + chance.normal(0, 3, (60, 2))
    levels[LOW, 0] -= 200
    _journalled(system.settings, levels)
    _stored(system.settings, levels)
    return system


def _journalled(settings: Settings, levels: np.ndarray) -> None:
    deliveries = []
    for second in range(0, 60 * 300, 5):
        at = START_US + second * S
        deliveries.append(Delivery(TICK, b"", at))
        if second % 300 == 0:
            for i in (1, 2):
                value = levels[second // 300, i - 1]
                body = {"v": 1, "id": f"WP-{i}", "t": at // 1000, "m": {"pressure_kpa": round(value, 2)}}
                deliveries.append(Delivery(f"city/d/water_pressure/WP-{i}/up", json.dumps(body).encode(), at))
    settings.journal_path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(settings.journal_path, settings.journal)
    for first in range(0, len(deliveries), 500):
        journal.append(deliveries[first : first + 500])
    journal.close()


def _stored(settings: Settings, levels: np.ndarray) -> None:
    database = open_database(settings)
    database.dispose()
    fleet = build({"water_pressure": PRESSURE}, [Entry(f"WP-{i}", "water_pressure") for i in (1, 2)]).kinds[
        "water_pressure"
    ]
    count = len(levels)
    values = np.full((2 * count, len(PRESSURE.quantities)), np.nan)
    values[:, 0] = levels.T.ravel()
    at = np.tile(START_US + np.arange(count, dtype=np.int64) * 300 * S, 2)
    none = np.zeros(2 * count, dtype=np.int64)
    quality = np.where(np.isnan(values), Quality.MISSING, Quality.GOOD).astype(np.uint8)
    device = np.repeat(np.arange(2, dtype=np.int32), count)
    batch = Batch(
        fleet, device, at, at, none, none, values, quality, np.zeros(values.shape, np.uint16), none.astype(bool)
    )
    store = open_store(settings, lambda _: None)
    store.write([batch], 0)
    store.close()


def judge(city: System, *words: object) -> Done:
    return undercity(
        "backtest", "--config", city.config, "--kind", "water_pressure", "--detector", "pressure_low", *words
    )


def test_the_journal_and_the_store_give_the_same_alert(city: System, tmp_path: Path) -> None:
    found = []
    for source in ((), ("--store",)):
        out = tmp_path / "alerts.csv"
        done = judge(city, *source, "--alerts", out)
        assert done.code == 0, done
        (row,) = rows(out)
        found.append((row["device"], row["rule"], row["start"], row["end"]))
    assert found == [("WP-1", "pressure_low", "2026-01-01T09:45:00+08:00", "2026-01-01T11:30:00+08:00")] * 2


def test_a_store_that_the_processor_has_open_is_asked_for_its_readings(city: System) -> None:
    store = open_store(city.settings, lambda _: None)
    server = StoreServer(store, kinds(), store_socket(city.settings.socket_path))
    try:
        assert "today's rules: 1 alerts" in "".join(judge(city, "--store").lines)
    finally:
        server.close()
        store.close()


def test_only_alerts_of_the_span_asked_for_count(city: System) -> None:
    done = judge(city, "--from", "2026-01-01T10:00:00")
    assert "today's rules: 0 alerts, 0 per device-month" in done.lines


def test_crews_verdicts_are_counted(city: System) -> None:
    stated = list(replayed(city.settings, None, None))
    database = open_database(city.settings)
    AlertBook(database).apply(stated, 0)
    (alert,) = {one.id for one in stated if one.rule == "pressure_low"}
    database.dispose()
    assert not any("verdicts" in line for line in judge(city).lines)
    for answer in ("true", "false"):
        assert undercity("alerts", "verdict", alert, answer, "--by", "Crew 3", "--config", city.config).code == 0
    assert "  against verdicts: precision 0.00, 0 true, 1 false, 0 without a verdict" in judge(city).lines
    later = judge(city, "--set", "pressure_low.hold_s=1200").lines
    assert later.count("  against verdicts: precision 0.00, 0 true, 1 false, 0 without a verdict") == 2
    assert (
        "  of those lost, crews had found 0 true and 1 false" in judge(city, "--set", "pressure_low.low=50").lines
    )
    shown = undercity("alerts", "show", alert, "--config", city.config).lines
    assert [line.split("  ")[-1][:12] for line in shown if line.startswith("verdict")] == [
        " true, Crew ",
        " false, Crew",
    ]


def test_what_people_changed_is_todays_rule_and_a_change_asked_for_stands_above_it(city: System) -> None:
    database = open_database(city.settings)
    book = ThresholdBook(database, kinds(), now=lambda: START_US, entries=SqlRegistry(database).entries)
    book.add(
        Change(
            kind="water_pressure",
            rule="pressure_low",
            param="low",
            value=50.0,
            scope=Scope.DEVICE,
            target="WP-1",
            effective_us=START_US,
            author="Li",
        )
    )
    database.dispose()
    for source in ((), ("--store",)):
        assert "today's rules: 0 alerts, 0 per device-month" in judge(city, *source).lines
        assert "gained 1, lost 0" in judge(city, *source, "--set", "pressure_low.low=140").lines


@pytest.mark.parametrize(
    ("words", "said"),
    [("nothing true --by Me", "there is none with this id"), ("nothing maybe --by Me", "true or false")],
)
def test_a_verdict_that_makes_no_sense_is_refused(city: System, words: str, said: str) -> None:
    done = undercity("alerts", "verdict", *words.split(), "--config", city.config)
    assert (done.code, len(done.errors)) == (1, 1) or done.code == 2
    assert said in done.errors[-1]


def test_a_journal_without_deliveries_is_refused(tmp_path: Path) -> None:
    system = System(tmp_path, 1)
    system.register([Device(id="WP-1", kind="water_pressure")])
    system.settings.journal_path.parent.mkdir(parents=True, exist_ok=True)
    Journal(system.settings.journal_path, system.settings.journal).close()
    done = judge(system)
    assert (done.code, len(done.errors)) == (1, 1)
    assert "expected deliveries, got none" in done.errors[0]
