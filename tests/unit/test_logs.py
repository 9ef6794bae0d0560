"""Logs: one line, in UTC, with role and pid, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from deploy.logs import configure
from deploy.settings import LogSettings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_in_utc_with_role_and_pid(stream: io.StringIO) -> None:
    configure(LogSettings(), role="processor", stream=stream)
    structlog.get_logger("a.b").info("journal_retained", deleted=3)
    (line,) = _lines(stream)
    assert line["timestamp"].endswith("Z")
    expected = {"event": "journal_retained", "deleted": 3, "level": "info", "logger": "a.b", "role": "processor"}
    assert expected.items() <= line.items()
    assert line["pid"] == os.getpid()


def test_libraries_log_through_the_same_lines(stream: io.StringIO) -> None:
    configure(LogSettings(), role="console", stream=stream)
    logging.getLogger("library").warning("odd: %s", "x")
    (line,) = _lines(stream)
    assert (line["event"], line["role"], line["level"]) == ("odd: x", "console", "warning")


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    configure(LogSettings(level="warning"), stream=stream)
    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    assert stream.getvalue() == ""


def test_secrets_are_masked_wherever_they_stand(stream: io.StringIO) -> None:
    configure(LogSettings(), stream=stream)
    log = structlog.get_logger("a")
    log.info("x", password="hunter2", nested={"api_token": "hunter2"}, url="https://u:hunter2@h/p?token=hunter2")
    logging.getLogger("b").warning("failed at postgresql://u:hunter2@db/x")
    log.error("broke", exc_info=RuntimeError("mqtt://u:hunter2@broker"))
    assert "hunter2" not in stream.getvalue()
    assert len(_lines(stream)) == 3


def test_console_format_is_for_eyes(stream: io.StringIO) -> None:
    configure(LogSettings(format="console"), stream=stream)
    structlog.get_logger("a").warning("store_failing", reason="refused")
    assert "store_failing" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()
