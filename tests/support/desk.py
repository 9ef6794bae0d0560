"""The commands for frames on one's desk, run within the test's process."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import typer
from typer.testing import CliRunner

from deploy.cli import codecs
from deploy.cli.main import reason


class Done(NamedTuple):
    """How a command ended: its exit code, its lines on both streams, what a refusal says."""

    code: int
    lines: list[str]
    errors: list[str]

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The samples that were printed."""
        return [json.loads(line) for line in self.lines]


def desk(*words: str, stdin: bytes = b"") -> Done:
    """Run `undercity` with `words`, of which the first is decode, encode or codecs."""
    app = typer.Typer()
    codecs.register(app)
    result = CliRunner().invoke(app, words, input=stdin, standalone_mode=False)
    errors = result.stderr.splitlines()
    if result.exception is None:
        # Typer hands back the code of its Exit instead of raising it.
        return Done(result.return_value or 0, result.stdout.splitlines(), errors)
    said = reason(result.exception) if isinstance(result.exception, Exception) else None
    if said is None:
        raise AssertionError(f"{words}: a traceback instead of a refusal") from result.exception
    code = getattr(result.exception, "exit_code", 1)
    return Done(code, result.stdout.splitlines(), [*errors, *said.splitlines()])
