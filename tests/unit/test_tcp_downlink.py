"""What is sent to a logger: three requests, two answers, and no way to send anything else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import deploy
import ingest
from devices.codecs.hj212.frame import parse
from ingest.tcp_downlink import (
    EXE_RETURNS,
    QN_RETURNS,
    Answer,
    Downlink,
    Speech,
    answer_for,
    build_answer,
    build_request,
    clock_cp,
    in_words,
    minutes_cp,
)
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_settings import TcpError

RULE = LoggerRule("010000A8900016F000169DC0", "inflow-1", password="100000", st="32")
SPOKE = Speech("32", 5, "100000")
AFTERNOON = 1_767_600_000_000_000  # 2026-01-05 16:00 in Beijing


def test_only_three_commands_can_be_built() -> None:
    built = set()
    for command in range(10_000):
        try:
            built.add(parse(build_request(Downlink(command), RULE, SPOKE, qn="1")).cn)
        except ValueError:
            continue
    assert built == {"1011", "1012", "2051"}


@pytest.mark.parametrize("command", [1072, 3012, "2051", 1012, 9014, None, True])
def test_a_number_is_not_a_request(command: object) -> None:
    with pytest.raises(TcpError, match="not sent"):
        build_request(command, RULE, SPOKE, qn="1")  # type: ignore[arg-type]


def test_an_answer_is_a_notice_or_data_and_nothing_else() -> None:
    assert {one.value for one in Answer} == {9013, 9014}
    with pytest.raises(ValueError, match="3012"):
        build_answer(3012, RULE, qn="1", pw="", flag=5)  # type: ignore[arg-type]


def _calls_of(name: str, folder: Path) -> set[str]:
    """Files below `folder` that import `name` from the packets' module."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            whole = isinstance(node, ast.ImportFrom) and node.module == "devices.codecs.hj212"
            part = isinstance(node, ast.ImportFrom) and node.module == "devices.codecs.hj212.frame"
            if (part and any(one.name == name for one in node.names)) or (
                whole and any(one.name == "frame" for one in node.names)
            ):
                found.add(file.name)
    return found


def test_no_other_part_of_ingest_builds_packets() -> None:
    assert _calls_of("build", Path(ingest.__file__).parent) == {"tcp_downlink.py"}


def test_nothing_in_deployment_sends_to_a_logger_but_the_simulator_of_one() -> None:
    assert _calls_of("build", Path(deploy.__file__).parent / "cli") == set()


@pytest.mark.parametrize(
    ("cn", "flag", "answer"),
    [
        (2011, 5, Answer.DATA),
        (2011, 4, None),
        (2011, None, None),
        (2051, 7, Answer.DATA),
        (3020, 9, Answer.DATA),
        (1011, 5, Answer.DATA),
        (1013, 5, Answer.NOTICE),
        (9015, 9, Answer.NOTICE),
        (9015, 8, None),
        (9021, 1, Answer.NOTICE),
        (9011, 5, None),
        (9012, 5, None),
        (9013, 5, None),
        (9014, 5, None),
    ],
)
def test_who_wants_an_answer_gets_the_right_one(cn: int, flag: int | None, answer: Answer | None) -> None:
    assert answer_for(cn, flag) is answer


@pytest.mark.parametrize(("flag", "back"), [(1, 0), (3, 0), (5, 4), (7, 4), (9, 8), (11, 8)])
def test_an_answer_echoes_number_and_version_and_wants_nothing(flag: int, back: int) -> None:
    sent = parse(build_answer(Answer.DATA, RULE, qn="20160801085857223", pw="100000", flag=flag), strict=True)
    assert (sent.qn, sent.st, sent.cn, sent.pw, sent.mn) == ("20160801085857223", "91", "9014", "100000", RULE.mn)
    assert (sent.flag, sent.cp) == (back, "")


def test_the_answer_is_the_one_that_the_field_shows() -> None:
    # As published with a surface-water platform's log (public index entry 67573960039).
    published = b"##0075QN=20260706103512345;ST=91;CN=9014;PW=123456;MN=A110000_0001;Flag=8;CP=&&&&0140\r\n"
    rule = LoggerRule("A110000_0001", "station-1")
    assert build_answer(Answer.DATA, rule, qn="20260706103512345", pw="123456", flag=9) == published


def test_a_request_speaks_as_the_logger_does() -> None:
    rule = LoggerRule("A1", "kitchen-1")
    sent = parse(build_request(Downlink.TIME, rule, Speech("31", 11, "654321"), qn="7"))
    assert (sent.st, sent.pw, sent.flag) == ("31", "654321", 9)


def test_without_a_system_code_nothing_is_sent() -> None:
    with pytest.raises(TcpError, match="expected the setting st of kitchen-1, got none; nothing was sent"):
        build_request(Downlink.TIME, LoggerRule("A1", "kitchen-1"), Speech("", 5, ""), qn="7")


def test_times_on_the_wire_are_beijing_times() -> None:
    assert clock_cp(AFTERNOON) == "SystemTime=20260105160000"
    assert clock_cp(AFTERNOON, "w01018") == "PolId=w01018;SystemTime=20260105160000"


def test_a_span_is_written_as_the_loggers_standard_writes_it() -> None:
    of_2005, of_2017 = (minutes_cp(AFTERNOON, AFTERNOON + 60_000_000, flag) for flag in (3, 5))
    assert of_2005 == "BeginTime=20260105160000,EndTime=20260105160100"
    assert of_2017 == "BeginTime=20260105160000;EndTime=20260105160100"


def test_every_return_code_has_words_in_both_languages() -> None:
    assert set(QN_RETURNS) == {*range(1, 10), 100}
    assert set(EXE_RETURNS) == {*range(1, 7), 100}
    assert in_words(3, QN_RETURNS, "QnRtn") == "QnRtn=3: wrong password (PW), 密码错误"
    assert in_words(77, QN_RETURNS, "QnRtn").startswith("QnRtn=77: a code that is not in the standard")
