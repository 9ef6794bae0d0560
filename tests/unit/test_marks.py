"""Marks of alerts for the boards: which findings are drawn, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.settings import DataSettings, Settings
from deploy.wiring import open_database
from processors.alerts.book import AlertBook
from processors.alerts.marks import marks
from processors.engines import gateways
from tests.support.console_fixture import KINDS
from tests.support.findings import MINUTE, T0, finding


@pytest.fixture
def book(tmp_path: Path) -> AlertBook:
    return AlertBook(open_database(Settings(data=DataSettings(dir=tmp_path))))


def test_a_raise_and_a_clear_are_drawn_in_both_languages_and_an_update_is_not(book: AlertBook) -> None:
    stated = [
        finding("WA-1", phase, kind="water_pressure", rule="low_pressure")
        for phase in ("raise", "update", "clear")
    ]
    drawn = marks(stated, book.apply(stated, 20), KINDS)
    assert [(m.phase, m.title_zh, m.title_en, m.time_us) for m in drawn] == [
        ("raise", "水压过低", "pressure too low", T0 + MINUTE),
        ("clear", "已恢复 水压过低", "Cleared: pressure too low", T0 + 10 * MINUTE),
    ]
    assert {(m.kind, m.device, m.rule, m.severity) for m in drawn} == {
        ("water_pressure", "WA-1", "low_pressure", "high")
    }


def test_findings_read_again_after_a_crash_give_the_same_marks(book: AlertBook) -> None:
    stated = [finding(phase="raise"), finding(phase="clear")]
    first = marks(stated, book.apply(stated, 20), KINDS)
    assert book.apply(stated, 20) == []
    assert marks(stated, [], KINDS) == first


def test_the_end_of_what_was_never_told_is_not_drawn(book: AlertBook) -> None:
    stated = [finding(phase="clear")]
    assert marks(stated, book.apply(stated, 20), KINDS) == []


def test_a_gateway_has_its_title_and_an_unknown_rule_its_name() -> None:
    silent = finding("GW-1", kind=gateways.KIND, rule=gateways.RULE)
    strange = finding("X-1", kind="no_such_kind", rule="odd")
    assert [m.title_zh for m in marks([silent, strange], [], KINDS)] == ["网关失联", "odd"]
