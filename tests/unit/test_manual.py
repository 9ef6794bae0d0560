"""The manual for operators: every rule of every kind has its section, and a chart of what it saw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devices.kinds import load

FOLDER = Path(__file__).parents[2] / "deploy/docs/detection"
RULES = [(kind.name, use.rule) for kind in load().values() for use in kind.detectors]


def section(kind: str, rule: str) -> str:
    """The part of the kind's page whose heading names `rule`; empty where there is none."""
    page = (FOLDER / f"{kind}.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## ", page)[1:]
    return next((part for part in parts if re.search(rf"\b{rule}\b", part.partition("\n")[0])), "")


def lacking(kind: str, rule: str) -> list[str]:
    """What an operator does not find about `rule`: a section with these paragraphs, and its chart."""
    text, chart = section(kind, rule), FOLDER / f"{kind}.{rule}.svg"
    parts = ("**What", "**What to do", "cannot see.**", f"]({chart.name})")
    return [part for part in parts if part not in text] + ([] if chart.exists() else [chart.name])


@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_every_rule_has_its_half_page_for_an_operator_with_its_chart(kind: str, rule: str) -> None:
    assert lacking(kind, rule) == []
    assert (FOLDER / f"{kind}.{rule}.svg").read_text(encoding="utf-8").startswith("<svg")


def test_no_chart_belongs_to_a_rule_that_is_gone() -> None:
    charts = {tuple(path.stem.split(".", 1)) for path in FOLDER.glob("*.svg")}
    assert charts - set(RULES) - {("generic", "adaptive"), ("generic", "joint")} == set()
