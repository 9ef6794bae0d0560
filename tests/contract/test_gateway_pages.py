"""The page for an engineer's first board quotes what our programs really say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "deploy/docs/gateways/first-board.md").read_text(encoding="utf-8")
ERRORS = PAGE[PAGE.index("| It says |") :]
QUOTED = [phrase for row in ERRORS.splitlines()[2:] for phrase in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
# What stands for a name or a number in the page, and for a value in the source.
_VARIES = re.compile(r"…|HELLO|SET|'?GW-\d'?|\b[XYNM]\b|\b\d+\b|'|: ")
_JOINED = re.compile(r"\"\s*\n\s*f?\"")


def source() -> str:
    folders = ("deploy", "devices", "ingest")
    texts = (file.read_text(encoding="utf-8") for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return _JOINED.sub("", "\n".join(texts))


SOURCE = source()


@pytest.mark.parametrize("phrase", QUOTED)
def test_the_quoted_error_is_said_somewhere(phrase: str) -> None:
    fixed = [part.strip(" ;") for part in _VARIES.split(phrase)]
    # A reason for doubting a value is its name in `Reason`, in small letters.
    spoken = [part for part in fixed if len(part) > 3 and part.upper().replace(" ", "_") not in SOURCE]
    assert [part for part in spoken if part not in SOURCE] == []


def test_many_errors_are_explained() -> None:
    assert len(QUOTED) > 25
