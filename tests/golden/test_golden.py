"""Every folder in `scenarios` is a claim: to this input the engine says exactly this, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.stories import FOLDER, findings, outage_in, stories

SCENARIOS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_engine_says_exactly_what_is_expected(name: str) -> None:
    folder = FOLDER / name
    told = findings(
        json.loads((folder / "fleet.json").read_text()), read(folder / "input.jsonl"), outage=outage_in(name)
    )
    assert told == (folder / "expected.jsonl").read_text().splitlines()


def test_every_story_has_its_folder() -> None:
    assert set(stories()) <= set(SCENARIOS)
