"""What the page for hardware makers says is what the code does: every table and every example of it."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from devices.firmware.application.configuration import RULES, Field
from devices.firmware.application.conformance import CHECKS
from devices.firmware.application.frames import Frame, parse
from devices.firmware.application.messages import Connection, Refused, Request, Tag, Trouble, unpack

PAGE = (Path(__file__).parents[2] / "deploy/docs/gateways/protocol.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^type (\w\w)  sequence (\w\w)  body ([0-9A-F -]+)\n([0-9A-F ]+)$", PAGE, re.MULTILINE)


def table(heading: str) -> list[list[str]]:
    """Rows of the first table whose first heading is `heading`."""
    start = PAGE.index(f"\n| {heading} |")
    lines = PAGE[start + 1 :].split("\n\n")[0].splitlines()[2:]
    return [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines]


@pytest.mark.parametrize(
    ("heading", "enum", "base"),
    [
        ("Type | Request", Request, 16),
        ("Tag | Name", Tag, 16),
        ("Tag | Field", Field, 16),
        ("Code | Name", Refused, 10),
        ("LINK", Connection, 10),
        ("LAST_ERROR", Trouble, 10),
    ],
)
def test_the_table_has_the_numbers_of_the_code(heading: str, enum: type[IntEnum], base: int) -> None:
    rows = {(int(row[0], base), row[1]) for row in table(heading)}
    assert rows == {(member.value, member.name) for member in enum}


def test_the_table_of_fields_has_the_limits_of_the_code() -> None:
    for row in table("Tag | Field"):
        rule = RULES[Field(int(row[0], 16))]
        assert row[2] == rule.form + (", **secret**" if rule.secret else "")
        assert int(row[3].split()[0]) == rule.size
        assert (row[4] == "yes") == rule.must


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize(("kind", "sequence", "body", "wire"), EXAMPLES)
def test_the_example_is_computed_alike(kind: str, sequence: str, body: str, wire: str) -> None:
    frame = Frame(int(kind, 16), int(sequence, 16), b"" if body == "-" else bytes.fromhex(body))
    assert frame.wire.hex(" ").upper() == wire
    assert parse(bytes.fromhex(wire)[1:-1]) == frame
    unpack(frame.body)


def test_the_checklist_is_what_the_command_checks() -> None:
    claims = [(check.__doc__ or "").rstrip(".").split(" ", 1) for check in CHECKS]
    assert table("Check | Claim") == claims
