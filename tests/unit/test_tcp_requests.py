"""A request to a logger from first word to last: replies, refusals, time-outs, tries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from devices.codecs.hj212.frame import Packet, build, parse
from ingest.tcp_downlink import Downlink, Speech
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_requests import Exchange, Link, Outcome, Requests, Step
from ingest.tcp_settings import TcpError, TcpSettings

RULE = LoggerRule("A1", "inflow-1", password="123456", st="32")
QN = "20260105160000000"
QUICK = TcpSettings(reply_timeout_s=0.1, execute_timeout_s=0.1, tries=3)


def reply(cn: str, cp: str, qn: str = QN, st: str = "91") -> Packet:
    return parse(build(qn=qn, st=st, cn=cn, pw="123456", mn="A1", flag=4, cp=cp))


def follow(downlink: Downlink, *packets: Packet, span: tuple[str, str] = ("", "")) -> Exchange:
    exchange = Exchange(downlink, QN, span)
    for one in packets:
        exchange.heard(int(one.cn), one)
    return exchange


def test_taken_then_done() -> None:
    assert follow(Downlink.SET_CLOCK, reply("9011", "QnRtn=1")).step is Step.TAKEN
    exchange = follow(Downlink.SET_CLOCK, reply("9011", "QnRtn=1"), reply("9012", "ExeRtn=1"))
    assert (exchange.step, exchange.refusal) == (Step.ENDED, "")


def test_a_refusal_ends_it_in_words() -> None:
    exchange = follow(Downlink.SET_CLOCK, reply("9011", "QnRtn=3"))
    assert (exchange.step, exchange.refusal) == (Step.ENDED, "QnRtn=3: wrong password (PW), 密码错误")


def test_a_failure_ends_it_in_words() -> None:
    exchange = follow(Downlink.MINUTES, reply("9011", "QnRtn=1"), reply("9012", "ExeRtn=100"))
    assert exchange.refusal == "ExeRtn=100: it has no data for this, 没有数据"


def test_replies_to_another_request_change_nothing() -> None:
    other = "20260105150000000"
    exchange = follow(Downlink.SET_CLOCK, reply("9011", "QnRtn=2", other), reply("9012", "ExeRtn=2", other))
    assert exchange.step is Step.ASKED
    assert not exchange.stirred.is_set()


def test_the_number_may_stand_inside_as_in_2005() -> None:
    assert follow(Downlink.SET_CLOCK, reply("9012", f"QN={QN};ExeRtn=1", "")).step is Step.ENDED


def test_only_data_of_the_span_belongs_to_a_back_fill() -> None:
    span = ("20260105140000", "20260105150000")
    inside, live = "DataTime=20260105143000;w01018-Avg=1", "DataTime=20260105160000;w01018-Avg=1"
    exchange = follow(Downlink.MINUTES, reply("2051", live, "9"), span=span)
    assert (exchange.packets, exchange.step) == (0, Step.ASKED)
    exchange = follow(Downlink.MINUTES, reply("2051", inside, "9"), reply("2011", inside, "9"), span=span)
    assert (exchange.packets, exchange.step) == (1, Step.TAKEN)


Reaction = Callable[[int], Sequence[Packet]]


def perform(react: Reaction, downlink: Downlink = Downlink.SET_CLOCK) -> tuple[Outcome, list[bytes], list[str]]:
    """Ask a logger that answers its n-th request as `react` says; the outcome, what was sent, what was said."""
    sent: list[bytes] = []
    said: list[str] = []

    async def work() -> Outcome:
        requests = Requests(QUICK, lambda _: Link(Speech("32", 5, "123456"), send), lambda: 1_767_600_000_000_000)

        def send(raw: bytes) -> None:
            sent.append(raw)
            for one in react(len(sent)):
                answer = reply(one.cn, one.cp, parse(raw).qn, one.st)
                asyncio.get_running_loop().call_soon(requests.heard, "A1", int(one.cn), answer)

        return await requests.ask(RULE, downlink, lambda _: "SystemTime=20260105160000", said.append)

    return asyncio.run(work()), sent, said


def test_a_logger_that_obeys() -> None:
    outcome, sent, said = perform(lambda _: [reply("9011", "QnRtn=1"), reply("9012", "ExeRtn=1")])
    assert outcome == Outcome(ok=True, say="ExeRtn=1: done, 执行成功")
    assert len(sent) == 1
    assert said[0].startswith("try 1 of 3: CN=1012 sent, QN=20260105160000")


def test_a_deaf_logger_is_asked_three_times_with_one_number() -> None:
    outcome, sent, said = perform(lambda _: [])
    assert outcome == Outcome(ok=False, say="no answer to 3 requests")
    assert len(sent) == 3
    assert len({parse(raw).qn for raw in sent}) == 1
    assert len(said) == 3


def test_the_second_try_may_succeed() -> None:
    outcome, sent, _ = perform(lambda number: [reply("9012", "ExeRtn=1")] if number == 2 else [])
    assert (outcome.ok, len(sent)) == (True, 2)


def test_a_logger_that_never_ends_is_given_up() -> None:
    outcome, _, _ = perform(lambda _: [reply("9011", "QnRtn=1")])
    assert outcome == Outcome(ok=False, say="taken, but nothing came for 0.1 s")


def test_its_clock_is_read() -> None:
    outcome, _, _ = perform(
        lambda _: [reply("9011", "QnRtn=1"), reply("1011", "PolId=w01018;SystemTime=20260105155901", st="32")],
        Downlink.TIME,
    )
    assert (outcome.ok, outcome.clock) == (True, "20260105155901")


def test_one_request_at_a_time_and_none_without_a_connection() -> None:
    async def work() -> None:
        link = Link(Speech("32", 5, ""), lambda _: None)
        links = {"A1": link}
        requests = Requests(QUICK, links.get, lambda: 0)
        first = asyncio.create_task(requests.ask(RULE, Downlink.TIME, lambda _: "", lambda _: None))
        await asyncio.sleep(0)
        with pytest.raises(TcpError, match="another request is under way"):
            await requests.ask(RULE, Downlink.TIME, lambda _: "", lambda _: None)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        links.clear()
        with pytest.raises(TcpError, match="inflow-1 is not connected; nothing was sent"):
            await requests.ask(RULE, Downlink.TIME, lambda _: "", lambda _: None)
        assert not requests.busy("A1")

    asyncio.run(work())
