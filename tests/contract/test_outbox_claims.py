"""Senders that share an outbox never hold the same message, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from processors.alerts.book import AlertBook
from processors.notify.outbox import Key, MessageState, Outbox
from processors.notify.settings import Address, NotifySettings
from tests.support.findings import T0, S, finding

SETTINGS = NotifySettings(addresses=(Address(name="duty", url="json://127.0.0.1/"),), max_attempts=3)


@pytest.fixture
def outbox(database: Engine) -> Outbox:
    return Outbox(database, SETTINGS)


def owe(database: Engine, count: int) -> None:
    AlertBook(database, SETTINGS, now=lambda: T0).apply([finding(f"W-{i}", offset=i) for i in range(count)], count)


def test_four_senders_in_parallel_claim_each_message_once(database: Engine, outbox: Outbox) -> None:
    owe(database, 40)
    together = threading.Barrier(4)

    def drain(owner: str) -> list[Key]:
        together.wait(10)
        taken = []
        while message := outbox.claim("duty", owner, T0):
            taken.append(message.key)
        return taken

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(drain, "abcd"))
    taken = [key for share in shares for key in share]
    # PostgreSQL passes over locked rows, so a sender may stop early while another holds the last ones.
    assert len(taken) == len(set(taken)) == 40


def test_a_claim_is_one_message_with_its_attempt_counted(database: Engine, outbox: Outbox) -> None:
    owe(database, 2)
    message = outbox.claim("duty", "a", T0)
    assert message
    assert (message.state, message.attempts, message.finding) == ("sending", 1, finding("W-0", offset=0).line())
    assert outbox.claim("nobody", "a", T0) is None
    assert sorted(m.state for m in outbox.messages()) == ["pending", "sending"]


def test_a_sender_that_lost_its_lease_cannot_take_the_message_back(database: Engine, outbox: Outbox) -> None:
    owe(database, 1)
    late = T0 + int(SETTINGS.lease_s * S)
    first = outbox.claim("duty", "slow", T0)
    assert first
    assert outbox.claim("duty", "other", late - 1) is None
    assert outbox.claim("duty", "other", late)
    outbox.postpone(first.key, "slow", "no answer in time", T0)
    outbox.give_up(first.key, "slow", "no answer in time")
    assert [m.state for m in outbox.messages()] == [MessageState.SENDING]
    # But what it did deliver is delivered: better than once more.
    outbox.delivered(first.key, late)
    assert [(m.state, m.sent_us) for m in outbox.messages()] == [("sent", late)]


def test_a_clear_waits_for_its_raise(database: Engine, outbox: Outbox) -> None:
    book = AlertBook(database, SETTINGS, now=lambda: T0)
    book.apply([finding(), finding(phase="clear", offset=20)], 21)
    raised = outbox.claim("duty", "a", T0)
    assert raised
    assert raised.key.transition == "raise"
    assert outbox.claim("duty", "b", T0) is None
    outbox.delivered(raised.key, T0)
    cleared = outbox.claim("duty", "b", T0)
    assert cleared
    assert cleared.key.transition == "clear"


def test_sent_messages_are_forgotten_after_their_time_and_failed_ones_are_not(
    database: Engine, outbox: Outbox
) -> None:
    owe(database, 2)
    for _ in range(2):
        message = outbox.claim("duty", "a", T0)
        assert message
        if message.finding == finding("W-0", offset=0).line():
            outbox.delivered(message.key, T0)
        else:
            outbox.give_up(message.key, "a", "refused with status 400")
    outbox.sweep(T0 + int(SETTINGS.keep_days * 86_400 * S))
    assert len(outbox.messages()) == 2
    outbox.sweep(T0 + int((SETTINGS.keep_days + 1) * 86_400 * S))
    assert [m.state for m in outbox.messages()] == [MessageState.FAILED]
    # A replay of the journal owes nobody the forgotten message again: its finding is known.
    owe(database, 2)
    assert len(outbox.messages()) == 1
