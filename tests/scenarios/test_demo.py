"""The demo city end to end, in our JSON and in the field's protocols: the same score."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from deploy.brokers import free_port
from deploy.demo.run import Result, report, run
from deploy.demo.start import plan_for
from tests.support.broker import needs_mosquitto

pytestmark = pytest.mark.scenario

SECONDS = 12.0
SPEED = 240.0  # 48 minutes of the city


def scored(folder: Path, *, mixed: bool) -> tuple[Result, str]:
    """What a short run came to, and all that it printed."""
    said = io.StringIO()
    console = Console(file=said, width=160)
    plan = plan_for(folder, devices=200, seed=2, speed=SPEED, port=free_port(), for_s=SECONDS, mixed=mixed)
    result = run(plan, SECONDS, console)
    report(result, console)
    return result, said.getvalue()


@needs_mosquitto
@pytest.mark.parametrize("mixed", [False, True])
def test_nothing_is_lost_or_doubled_and_every_fault_is_seen_and_no_other(tmp_path: Path, *, mixed: bool) -> None:
    result, said = scored(tmp_path, mixed=mixed)
    kept, seen = result.delivery, result.detection
    assert result.passed, said
    assert (kept.lost, kept.duplicated, kept.strange, result.quarantined) == (0, 0, 0, 0), said
    assert kept.published >= result.messages > 1000
    assert seen.injected >= 6, said
    assert (seen.missed, seen.false) == ([], []), said
    if mixed:
        spoken = next(line for line in said.splitlines() if "listener" in line)
        assert all(name in spoken for name in ("chirpstack", "modbus", "cjt188", "mbus", "hj212")), said
        assert "json" not in spoken
