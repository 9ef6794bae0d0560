"""The rules commands, as a person types them: changes are written down, nonsense is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deploy.cli import rules
from devices.errors import UndercityError
from tests.support.databases import operations, sqlite_file

runner = CliRunner()
SET = ("rules", "set", "water_pressure", "pressure_low.low")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The commands beside a database of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDERCITY_DATA__DIR", str(tmp_path))
    with operations(sqlite_file(tmp_path)):
        pass
    app = typer.Typer()
    rules.register(app)
    return app


def run(app: typer.Typer, *words: str) -> str:
    result = runner.invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_threshold_is_set_listed_and_taken_back(app: typer.Typer) -> None:
    assert "#1 water_pressure pressure_low.low = 21, by 王工: 夜间" in run(
        app, *SET, "21", "--by", "王工", "--reason", "夜间"
    )
    assert "taken back by 李工" in run(app, "rules", "withdraw", "1", "--by", "李工")
    assert "taken back by 李工" in run(app, "rules", "history")
    (row,) = [json.loads(line) for line in run(app, "rules", "history", "--json").splitlines()]
    assert (row["value"], row["author"], row["until_us"], row["withdrawn_by"]) == (21.0, "王工", None, "李工")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rules", "set", "nosuch", "a.b", "1", "--by", "w"), "kind 'nosuch'"),
        (("rules", "set", "water_pressure", "nosuch.low", "1", "--by", "w"), "rule 'nosuch'"),
        (("rules", "set", "water_pressure", "pressure_low.nosuch", "1", "--by", "w"), "expected one of"),
        ((*SET, "nan", "--by", "w"), "expected a number, got nan"),
        ((*SET, "21", "--by", "w", "--device", "a", "--site", "b"), "--device and --site"),
        ((*SET, "21", "--by", "w", "--device", "nosuch"), "nosuch"),
        ((*SET, "21", "--by", "w", "--from", "soon"), "--from"),
        ((*SET, "21", "--by", "w", "--until", "2026-01-01"), "an end after its beginning"),
        (("rules", "withdraw", "7", "--by", "w"), "there is none with this number"),
    ],
)
def test_nonsense_is_refused_in_one_line_and_changes_nothing(
    app: typer.Typer, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UndercityError) as refused:
        runner.invoke(app, list(words), catch_exceptions=False)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert run(app, "rules", "history") == ""


@pytest.mark.parametrize("words", [(*SET, "21"), ("rules", "withdraw", "9" * 20, "--by", "w")])
def test_a_lacking_name_or_an_endless_number_is_a_wrong_word(app: typer.Typer, words: tuple[str, ...]) -> None:
    assert runner.invoke(app, list(words)).exit_code == 2
