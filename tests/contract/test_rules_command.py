"""The rules commands, as a person types them, on SQLite and on PostgreSQL: what is changed, previewed and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deploy.cli import rules
from deploy.cli.main import reason
from devices.catalog import SqlRegistry
from devices.errors import UndercityError
from devices.registry import Device
from ingest.journal import TICK, Delivery, Journal
from tests.support import postgres
from tests.support.databases import emptied, operations, sqlite_file

runner = CliRunner()
SET = ("rules", "set", "water_pressure", "pressure_low.low")
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # refused before anything is written
S = 1_000_000
DEVICES = [
    Device(id="WP-1", kind="water_pressure", district="990100", street="jiefang", settings={"group": "hill"}),
    Device(id="WP-2", kind="water_pressure", district="990200"),
    Device(id="HM-1", kind="heat_meter", district="990300"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_file(tmp_path)
    return emptied(request.getfixturevalue("server"))


@pytest.fixture
def app(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The commands beside a database of ours with three devices."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDERCITY_DATA__DIR", str(tmp_path))
    monkeypatch.setenv("UNDERCITY_DATABASE__URL", url)
    with operations(url) as engine:
        SqlRegistry(engine).put(DEVICES)
    app = typer.Typer()
    rules.register(app)
    return app


def run(app: typer.Typer, *words: str) -> str:
    result = runner.invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def past(app: typer.Typer) -> list[dict[str, object]]:
    """The history, as programs read it."""
    return [json.loads(line) for line in run(app, "rules", "history", "--json").splitlines()]


def test_a_threshold_is_set_listed_and_taken_back(app: typer.Typer) -> None:
    said = run(app, *SET, "21", "--by", "王工", "--reason", "夜间")
    assert "#1 water_pressure pressure_low.low = 21, by 王工: 夜间; holds from" in said
    assert "taken back by 李工" in run(app, "rules", "withdraw", "1", "--by", "李工")
    assert "taken back by 李工" in run(app, "rules", "withdraw", "1", "--by", "another")
    assert "taken back by 李工" in run(app, "rules", "history")
    (row,) = past(app)
    assert (row["value"], row["author"], row["until_us"], row["withdrawn_by"]) == (21.0, "王工", None, "李工")


@pytest.mark.parametrize(
    ("option", "target"),
    [("device", "WP-1"), ("district", "990100"), ("street", "jiefang"), ("group", "hill")],
)
def test_a_threshold_is_set_for_some(app: typer.Typer, option: str, target: str) -> None:
    assert f"= 21 for {option} {target}, by w" in run(app, *SET, "21", "--by", "w", f"--{option}", target)
    assert [(row["scope"], row["target"]) for row in past(app)] == [(option, target)]


def test_from_and_until_are_kept_and_a_beginning_in_the_past_is_now(app: typer.Typer) -> None:
    run(app, *SET, "21", "--by", "w", "--from", "2099-01-01T00:00:00Z", "--until", "2099-02-01T00:00:00Z")
    run(app, *SET, "22", "--by", "w", "--from", "2020-01-01T00:00:00Z")
    first, second = past(app)
    assert (first["effective_us"], first["until_us"]) == (4_070_908_800 * S, 4_073_587_200 * S)
    assert second["effective_us"] == int(str(second["recorded_us"])) + 10 * S


def test_the_list_shows_what_is_declared_and_what_holds(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    run(app, *SET, "21", "--by", "w")
    listed = run(app, "rules", "list", "--kind", "water_pressure")
    assert "water_pressure pressure_low" in listed
    assert "low=140" in listed
    assert "= 21" not in listed  # it begins in ten seconds
    from time import time_ns  # noqa: PLC0415

    monkeypatch.setattr(rules.time, "time_ns", lambda: time_ns() + 11 * 10**9)
    assert "#1 water_pressure pressure_low.low = 21, by w" in run(app, "rules", "list")
    rows = [json.loads(line) for line in run(app, "rules", "list", "--json").splitlines()]
    (row,) = [one for one in rows if one["rule"] == "pressure_low" and one["kind"] == "water_pressure"]
    assert (row["declared"]["low"], [one["value"] for one in row["changes"]]) == (140.0, [21.0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rules", "set", "nosuch", "a.b", "1", "--by", "w"), "kind 'nosuch'"),
        (("rules", "set", "water_pressure", "nosuch.low", "1", "--by", "w"), "rule 'nosuch'"),
        (("rules", "set", "water_pressure", "pressure_low.nosuch", "1", "--by", "w"), "expected one of"),
        (("rules", "set", "water_pressure", "pressure_low", "1", "--by", "w"), "pressure_low. of water_pressure"),
        ((*SET, "nan", "--by", "w"), "expected a number, got nan"),
        (("rules", "set", "water_pressure", "pressure_low.hold_s", "--by", "w", "--", "-1"), "hold_s >=0, got -1"),
        ((*SET, "21", "--by", " "), "author: expected 1 to 64 printable characters"),
        ((*SET, "21", "--by", "a\u202eb"), "author: expected 1 to 64 printable characters"),
        ((*SET, "21", "--by", "w", "--device", "a", "--site", "b"), "--device and --site"),
        ((*SET, "21", "--by", "w", "--device", "nosuch"), "device 'nosuch': expected a registered water_pressure"),
        ((*SET, "21", "--by", "w", "--device", "HM-1"), "expected a water_pressure, got a heat_meter"),
        ((*SET, "21", "--by", "w", "--district", "990300"), "district '990300': expected one with devices"),
        ((*SET, "21", "--by", "w", "--site", "nosuch"), "site 'nosuch': expected one with devices"),
        ((*SET, "21", "--by", "w", "--group", "nosuch"), "group 'nosuch': expected one with devices"),
        ((*SET, "21", "--by", "w", "--from", "soon"), "--from"),
        ((*SET, "21", "--by", "w", "--until", "2026-01-01"), "an end after its beginning"),
        (("rules", "list", "--kind", "nosuch"), "--kind: expected one of"),
        (("rules", "withdraw", "7", "--by", "w"), "there is none with this number"),
    ],
)
@SQLITE
def test_nonsense_is_refused_in_one_line_and_changes_nothing(
    app: typer.Typer, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UndercityError) as refused:
        runner.invoke(app, list(words), catch_exceptions=False)
    line = reason(refused.value)
    assert line is not None
    assert said in line
    assert len(line.splitlines()) == 1
    assert past(app) == []


@pytest.mark.parametrize(
    "words",
    [
        (*SET, "21"),
        (*SET, "much", "--by", "w"),
        (*SET, "21", "--by", "w", "--preview", "-1"),
        ("rules", "withdraw", "9" * 20, "--by", "w"),
        ("rules", "withdraw", "0", "--by", "w"),
        ("rules", "withdraw", "1"),
    ],
)
@SQLITE
def test_a_lacking_name_or_a_word_where_a_number_belongs_is_a_wrong_word(
    app: typer.Typer, words: tuple[str, ...]
) -> None:
    assert runner.invoke(app, list(words)).exit_code == 2


def journalled(folder: Path) -> None:
    """Two hours of readings up to now: WP-1 lies at 160 kPa in the second, WP-2 never."""
    from time import time_ns  # noqa: PLC0415

    from deploy.settings_loader import load  # noqa: PLC0415

    end_s = time_ns() // 10**9
    deliveries = []
    for at_s in range(end_s - 7200, end_s, 60):
        for device in ("WP-1", "WP-2"):
            kpa = 160 if device == "WP-1" and at_s > end_s - 3600 else 300
            body = {"v": 1, "id": device, "t": at_s * 1000, "m": {"pressure_kpa": kpa + at_s % 7}}
            topic = f"city/990100/water_pressure/{device}/up"
            deliveries.append(Delivery(topic, json.dumps(body).encode(), at_s * S))
        deliveries += [Delivery(TICK, b"", (at_s + i) * S) for i in range(0, 60, 5)]
    journal = Journal(load(None, {"UNDERCITY_DATA__DIR": str(folder)}).journal_path)
    journal.append(sorted(deliveries, key=lambda one: one.received_us))
    journal.close()


def test_a_preview_lists_what_would_be_gained_and_changes_nothing(app: typer.Typer, tmp_path: Path) -> None:
    journalled(tmp_path)
    said = run(app, *SET, "180", "--by", "w", "--preview", "1").splitlines()
    assert "water_pressure pressure_low.low = 180, by w" in said
    assert any("0 alerts as it is, 1 with it" in line for line in said)
    (gained,) = [line for line in said if line.startswith("+ ")]
    assert "WP-1" in gained
    assert said[-1] == "nothing was changed"
    assert past(app) == []
    for words in (("--device", "WP-2"), ("--district", "990200")):
        said = run(app, *SET, "180", "--by", "w", *words, "--preview", "1").splitlines()
        assert any("0 alerts as it is, 0 with it" in line for line in said)


def test_a_preview_counts_by_what_will_hold_when_the_change_begins(app: typer.Typer, tmp_path: Path) -> None:
    journalled(tmp_path)
    run(app, *SET, "180", "--by", "w", "--from", "2099-01-01T00:00:00Z", "--until", "2099-03-01T00:00:00Z")
    back = (*SET, "100", "--by", "w", "--device", "WP-1", "--preview", "1")
    assert "0 alerts as it is, 0 with it" in run(app, *back)
    assert "1 alerts as it is, 0 with it" in run(app, *back, "--from", "2099-02-01T00:00:00Z")
    assert "0 alerts as it is, 0 with it" in run(app, *back, "--from", "2099-03-01T00:00:00Z")


def test_a_preview_without_a_journal_is_refused_in_one_line(app: typer.Typer) -> None:
    with pytest.raises(UndercityError) as refused:
        runner.invoke(app, [*SET, "180", "--by", "w", "--preview", "1"], catch_exceptions=False)
    assert len(str(reason(refused.value)).splitlines()) == 1
    assert past(app) == []
