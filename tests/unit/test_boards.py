"""Boards follow from what kinds declare; publishing them is idempotent and keeps what people changed.

Publishing is tried against a double of Grafana's API (`tests.fakes.grafana`), not against a Grafana.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from typer.testing import CliRunner

from dashboards.errors import BoardError
from dashboards.grafana.boards import build_all, uid
from dashboards.grafana.publish import (
    FOLDER_UID,
    Grafana,
    GrafanaSettings,
    Outcome,
    SourceSettings,
    content_hash,
    stamped,
)
from deploy.cli import boards as command
from devices.kinds import load
from devices.spec import Kind, Panel, Quantity, Text
from tests.fakes.grafana import TOKEN, FakeGrafana
from tests.support.kinds import BATTERY, LEVEL, WELL

GOLDEN = Path(__file__).parent.parent / "golden" / "boards" / "well.json"
KINDS = {"well": replace(WELL, panels=(*WELL.panels, Panel(type="stat", quantity=BATTERY)))}
ALL = {**load(), **KINDS}


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    fake = FakeGrafana()
    yield fake
    fake.close()


def client(fake: FakeGrafana, token: str = TOKEN) -> Grafana:
    return Grafana(GrafanaSettings(url=fake.url, token=token, timeout_s=5))


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def outcomes(fake: FakeGrafana, boards: list[dict[str, Any]], **options: bool) -> dict[str, Outcome]:
    return {one.uid: one.outcome for one in client(fake).publish(boards, **options)}


# the boards


def test_a_small_kind_s_board_is_exactly_the_golden_one() -> None:
    board = build_all(KINDS, language="en")[1]
    assert board == json.loads(GOLDEN.read_text("utf-8"))


def test_the_same_kinds_give_the_same_bytes() -> None:
    assert json.dumps(build_all(ALL)) == json.dumps(build_all(dict(reversed(ALL.items()))))


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("number", range(len(ALL) + 1))
def test_a_board_is_sound(number: int, language: str) -> None:
    board = build_all(ALL, language=language)[number]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert board["timezone"] == "Asia/Shanghai"
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["noValue"], "stale must not look healthy"
        assert panel["targets"][0]["datasource"] == {"type": "influxdb", "uid": "${source}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    cells = [(p["gridPos"]["x"] + x, p["gridPos"]["y"] + y) for p in board["panels"]
             for x in range(p["gridPos"]["w"]) for y in range(p["gridPos"]["h"])]  # fmt: skip
    assert len(set(cells)) == len(cells), "panels overlap"


@pytest.mark.parametrize("kind", ALL.values(), ids=lambda kind: kind.name)
def test_every_panel_asks_for_a_declared_quantity_of_its_kind(kind: Kind) -> None:
    board = next(board for board in build_all(ALL) if board["uid"] == uid(kind.name))
    declared = {quantity.name for quantity in kind.quantities}
    for panel in panels(board):
        query = panel["targets"][0]["query"]
        assert f'r._measurement == "{kind.name}"' in query
        fields = set(re.findall(r'r\._field == "(\w+?)"', query))
        assert {field.removeprefix("quality_") for field in fields} <= declared
    titles = [panel["title"] for panel in panels(board)]
    assert [panel.quantity.label.zh for panel in kind.panels] == titles[1 : 1 + len(kind.panels)]


@pytest.mark.parametrize("kind", ALL.values(), ids=lambda kind: kind.name)
def test_no_panel_asks_for_every_device_at_once(kind: Kind) -> None:
    for panel in panels(next(board for board in build_all(ALL) if board["uid"] == uid(kind.name))):
        query = panel["targets"][0]["query"]
        assert "${device:regex}" in query or "limit(n: " in query
    variables = {v["name"]: v for v in build_all({kind.name: kind})[1]["templating"]["list"]}
    assert variables["device"]["includeAll"] is False
    assert "limit(n: 2000)" in variables["device"]["query"]


@pytest.mark.parametrize("number", range(len(ALL) + 1))
def test_a_board_survives_the_sdk_and_back(number: int) -> None:
    register_default_plugins()
    board = build_all(ALL)[number]
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(board)))
    # The SDK does not know Flux annotations: their target is the one thing it drops. Defaults it may add.
    del board["annotations"]
    assert lost(board, again) == []


def lost(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Paths of what is in `ours` and not the same in `theirs`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [one for key, value in ours.items() for one in lost(value, theirs.get(key), f"{path}/{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [one for at, value in enumerate(ours) for one in lost(value, theirs[at], f"{path}/{at}")]
    return [] if ours == theirs else [path]


def test_thresholds_are_the_rules_limits_within_the_plausible_range() -> None:
    level = next(panel for panel in panels(build_all(KINDS)[1]) if panel["title"] == "水位")
    steps = [(step["value"], step["color"]) for step in level["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert [value for value, _ in steps] == [None, 0, 10]
    assert steps[2][1] == "#c4162a"


def test_units_are_grafana_s_own_or_a_suffix() -> None:
    odd = Quantity(name="x", unit="NTU", label=Text("浊度", "turbidity"), physical=(0, 9), plausible=(0, 9))
    kind = replace(
        WELL,
        quantities=(LEVEL, BATTERY, odd),
        panels=(Panel(type="stat", quantity=odd), Panel(type="table", quantity=BATTERY)),
    )
    found = [panel["fieldConfig"]["defaults"].get("unit") for panel in panels(build_all({"well": kind})[1])]
    assert found[1:3] == ["suffix: NTU", "volt"]


def test_an_undrawable_panel_and_a_name_that_could_break_a_query_are_refused() -> None:
    with pytest.raises(BoardError, match="expected timeseries, stat or table, got 'pie'"):
        build_all({"well": replace(WELL, panels=(Panel(type="pie", quantity=LEVEL),))})
    with pytest.raises(BoardError, match="expected a name of letters"):
        build_all({"w": replace(WELL, name='well") |> drop()')})
    with pytest.raises(BoardError, match="expected language zh or en"):
        build_all(KINDS, language="fr")


# publishing


def test_publishing_twice_changes_nothing(grafana: FakeGrafana) -> None:
    boards = build_all(KINDS)
    assert set(outcomes(grafana, boards).values()) == {Outcome.CREATED}
    before = json.dumps(grafana.boards)
    assert set(outcomes(grafana, boards).values()) == {Outcome.UNCHANGED}
    assert json.dumps(grafana.boards) == before
    assert grafana.folders[FOLDER_UID]["title"] == "Undercity"
    assert {board["meta"]["folderUid"] for board in grafana.boards.values()} == {FOLDER_UID}


def test_our_own_change_replaces_an_untouched_board(grafana: FakeGrafana) -> None:
    outcomes(grafana, build_all(KINDS))
    found = outcomes(grafana, build_all(KINDS, language="en"))
    assert set(found.values()) == {Outcome.UPDATED}
    assert grafana.boards["undercity-well"]["dashboard"]["title"] == "Undercity · well"


@pytest.mark.parametrize("touch", ["title", "panel", "tag", "hash"])
def test_an_edited_board_is_kept_unless_forced(grafana: FakeGrafana, touch: str) -> None:
    outcomes(grafana, build_all(KINDS))
    stored = grafana.boards["undercity-well"]["dashboard"]
    stored["version"] += 1
    if touch == "title":
        stored["title"] = "mine"
    elif touch == "panel":
        stored["panels"][1]["gridPos"]["h"] = 9
    elif touch == "tag":
        stored["tags"].append("night shift")
    else:
        stored["tags"] = ["undercity"]
    edited = json.dumps(stored)
    found = outcomes(grafana, build_all(KINDS, language="en"))
    assert found["undercity-well"] is Outcome.EDITED
    assert found["undercity-overview"] is Outcome.UPDATED
    assert json.dumps(grafana.boards["undercity-well"]["dashboard"]) == edited
    forced = outcomes(grafana, build_all(KINDS, language="en"), force=True)
    assert forced["undercity-well"] is Outcome.OVERWRITTEN
    assert grafana.boards["undercity-well"]["dashboard"]["title"] == "Undercity · well"


def test_the_hash_knows_content_from_bookkeeping() -> None:
    board = build_all(KINDS)[1]
    same = json.loads(json.dumps({**stamped(board), "id": 5, "version": 9}).replace(".0,", ","))
    assert content_hash(same) == content_hash(board)
    assert content_hash({**board, "refresh": "5s"}) != content_hash(board)


def test_an_edit_while_publishing_is_refused_not_lost(grafana: FakeGrafana) -> None:
    outcomes(grafana, build_all(KINDS))
    answer = grafana.answer

    def meddle(method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            grafana.boards["undercity-overview"]["dashboard"]["version"] += 1
        return answer(method, path, body)

    grafana.answer = meddle  # type: ignore[method-assign]
    with pytest.raises(BoardError, match="changed while it was being published; publish again"):
        outcomes(grafana, build_all(KINDS, language="en"))


def test_the_data_source_is_created_once_and_then_updated(grafana: FakeGrafana) -> None:
    source = SourceSettings(url="http://influx:8086", organisation="undercity", token="read-only")
    assert client(grafana).provide_source(source) is True
    assert client(grafana).provide_source(source) is False
    assert grafana.sources["Undercity"]["uid"] == "undercity-influx"
    assert grafana.sources["Undercity"]["jsonData"]["version"] == "Flux"
    assert "read-only" not in repr(source)


def test_an_empty_answer_is_an_answer(grafana: FakeGrafana) -> None:
    grafana.empty = True
    assert client(grafana)._ask(client(grafana)._api.folder.get_all_folders) == {}


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ({"status": 500}, "HTTP 500"),
        ({"status": 403}, "HTTP 403: Client Error 403: made to fail"),
        ({"html": True}, "the answer is not JSON; is this address a Grafana?"),
    ],
)
def test_a_failing_server_is_one_line(grafana: FakeGrafana, fail: dict[str, Any], said: str) -> None:
    for name, value in fail.items():
        setattr(grafana, name, value)
    with pytest.raises(BoardError, match=re.escape(said)):
        outcomes(grafana, build_all(KINDS))


def test_a_refused_token_and_a_closed_port_are_one_line_without_the_token(grafana: FakeGrafana) -> None:
    with pytest.raises(BoardError, match="the token was refused") as refused:
        client(grafana, "glsa_wrong").publish([])
    assert "glsa_wrong" not in str(refused.value)
    with pytest.raises(BoardError, match="cannot be reached"):
        Grafana(GrafanaSettings(url="http://127.0.0.1:9", token="t")).publish([])


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://x", "https://admin:secret@host", ""])
def test_an_address_that_is_none_is_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(BoardError, match="grafana: expected") as refused:
        GrafanaSettings(url=url, token="t")
    assert "secret" not in str(refused.value)
    assert "glsa" not in repr(GrafanaSettings(url="http://x", token="glsa_1"))


# the commands


def test_export_writes_one_file_a_board(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.app, ["export", str(tmp_path / "new"), "--language", "en"])
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == sorted(f"{uid(name)}.json" for name in ["overview", *load()])


def test_publish_reads_the_token_from_the_environment_and_reports_each_board(
    grafana: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    result = CliRunner().invoke(command.app, ["publish", "--grafana", grafana.url])
    assert result.exit_code == 0, result.output
    assert "undercity-overview: created" in result.output
    grafana.boards["undercity-overview"]["dashboard"]["title"] = "mine"
    again = CliRunner().invoke(command.app, ["publish", "--grafana", grafana.url])
    assert isinstance(again.exception, BoardError)
    assert str(again.exception) == (
        "boards: undercity-overview: edited in Grafana, so kept as they are; --force overwrites them"
    )


def test_publish_without_a_token_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    result = CliRunner().invoke(command.app, ["publish", "--grafana", "http://127.0.0.1:9"])
    assert str(result.exception) == "boards: expected a token in GRAFANA_TOKEN, got none; not published"
