"""The sender's patience, with a channel that fails on command and a clock that is stepped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from devices.database import METADATA, connect, sqlite_url
from processors.alerts.book import AlertBook
from processors.errors import NotifyError
from processors.notify.messages import Composed
from processors.notify.outbox import MessageState, Outbox
from processors.notify.sender import Channel, Sender
from processors.notify.settings import Address, NotifySettings
from tests.support.findings import T0, S, finding
from tests.support.kinds import WELL

CHAT = "wecombot://s3cr3t-key"

# apprise looks at everything Python offers for images, the deprecated too.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class FakeChannel:
    """Takes messages unless told otherwise."""

    def __init__(self) -> None:
        self.taken: list[Composed] = []
        self.tries = 0
        self.answer: str | None = None
        self.raises: Exception | None = None
        self.refuses = ""
        self.hold: threading.Event | None = None

    def send(self, message: Composed, *, clear: bool) -> str | None:  # noqa: ARG002  the port's
        self.tries += 1
        if self.refuses and self.refuses in message.body:
            return "refused with status 400"
        if self.hold:
            self.hold.wait(10)
        if self.raises:
            raise self.raises
        if self.answer is None:
            self.taken.append(message)
        return self.answer


class Clock:
    def __init__(self) -> None:
        self.us = T0

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(sqlite_url(tmp_path / "x.db"))
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


def settings_for(*names: str, max_attempts: int = 4) -> NotifySettings:
    return NotifySettings(
        addresses=tuple(Address(name=name, url=CHAT) for name in names),
        retry_s=10,
        retry_max_s=25,
        max_attempts=max_attempts,
    )


class Desk:
    """A book, an outbox and a sender over one database."""

    def __init__(self, engine: Engine, *names: str, max_attempts: int = 4) -> None:
        self.settings = settings_for(*names, max_attempts=max_attempts)
        self.clock = Clock()
        self.book = AlertBook(engine, self.settings, now=self.clock)
        self.outbox = Outbox(engine, self.settings)
        self.channels = {name: FakeChannel() for name in names}
        self.sender = self.another(engine)

    def another(self, engine: Engine) -> Sender:
        def opened(address: Address, _timeout_s: float) -> Channel:
            return self.channels[address.name]

        return Sender(engine, self.settings, self.clock, kinds={"well": WELL}, channel=opened, chance=lambda: 1.0)

    def states(self) -> list[tuple[str, int]]:
        return [(m.state.value, m.attempts) for m in self.outbox.messages()]


def test_every_address_gets_every_message_once(engine: Engine) -> None:
    desk = Desk(engine, "a", "b")
    desk.book.apply([finding(f"W-{i}", offset=i) for i in range(5)], 5)
    assert desk.sender.run_once() == 10
    assert desk.sender.run_once() == 0
    assert [len(channel.taken) for channel in desk.channels.values()] == [5, 5]
    assert {state for state, _ in desk.states()} == {"sent"}


def test_the_most_severe_message_goes_first_and_no_clear_before_its_raise(engine: Engine) -> None:
    desk = Desk(engine, "a")
    desk.book.apply([finding("LOW", severity="low"), finding("LOW", "clear", severity="low", offset=11)], 12)
    desk.book.apply([finding("HIGH", offset=12)], 13)
    desk.sender.run_once()
    assert [m.title for m in desk.channels["a"].taken] == [
        "[▲1 高] HIGH 水位过高",
        "[●3 低] LOW 水位过高",
        "已恢复 [●3 低] LOW 水位过高",
    ]


def test_the_pause_doubles_up_to_the_longest(engine: Engine) -> None:
    desk = Desk(engine, "a", max_attempts=9)
    desk.channels["a"].answer = "refused with status 502"
    desk.book.apply([finding()], 11)
    pauses = []
    for _ in range(4):
        desk.sender.run_once()
        (message,) = desk.outbox.messages()
        pauses.append((message.next_try_us - desk.clock.us) / S)
        desk.clock.us = message.next_try_us - 1
        tries = desk.channels["a"].tries
        desk.sender.run_once()
        assert desk.channels["a"].tries == tries
        desk.clock.us += 1
    assert pauses == [10, 20, 25, 25]
    desk.channels["a"].answer = None
    assert desk.sender.run_once() == 1


def test_a_message_given_up_stays_visible_with_its_reason(engine: Engine) -> None:
    desk = Desk(engine, "a", max_attempts=2)
    desk.channels["a"].answer = "refused with status 502"
    desk.book.apply([finding()], 11)
    with capture_logs() as logs:
        for _ in range(4):
            desk.sender.run_once()
            desk.clock.us += 60 * S
    (message,) = desk.outbox.messages(state=MessageState.FAILED)
    assert (message.attempts, message.last_error) == (2, "refused with status 502")
    assert [entry["event"] for entry in logs] == ["notify_postponed", "notify_failed"]


def test_a_failing_address_rests_instead_of_failing_every_message_that_waits(engine: Engine) -> None:
    desk = Desk(engine, "a", "b")
    desk.channels["a"].answer = "could not be reached"
    desk.book.apply([finding(f"W-{i}", offset=i) for i in range(20)], 20)
    for _ in range(5):
        desk.sender.run_once()
    assert desk.channels["a"].tries == 1
    assert len(desk.channels["b"].taken) == 20


def test_one_message_that_is_always_refused_does_not_hold_up_the_others(engine: Engine) -> None:
    desk = Desk(engine, "a", max_attempts=50)
    channel = desk.channels["a"]
    desk.book.apply([finding("POISON"), finding("W-1", offset=11)], 12)
    channel.refuses = "POISON"
    for _ in range(6):
        desk.sender.run_once()
        desk.clock.us += 10 * S
    assert [m.title for m in channel.taken] == ["[▲1 高] W-1 水位过高"]


def test_a_slow_address_holds_up_nobody(engine: Engine) -> None:
    desk = Desk(engine, "slow", "quick")
    desk.channels["slow"].hold = threading.Event()
    desk.book.apply([finding()], 11)
    assert desk.sender.run_once(patience_s=0.2) == 1
    desk.book.apply([finding("W-2", offset=20)], 21)
    assert desk.sender.run_once(patience_s=0.2) == 1
    desk.channels["slow"].hold.set()
    desk.sender.close()
    assert len(desk.channels["quick"].taken) == 2


def test_two_senders_share_the_work_and_repeat_nothing(engine: Engine) -> None:
    desk = Desk(engine, "a")
    second = desk.another(engine)
    desk.book.apply([finding(f"W-{i}", offset=i) for i in range(40)], 40)
    threads = [threading.Thread(target=sender.run_once) for sender in (desk.sender, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(desk.channels["a"].taken) == 40
    assert len({m.title for m in desk.channels["a"].taken}) == 40


def test_a_lease_that_ran_out_is_taken_over_and_counted(engine: Engine) -> None:
    desk = Desk(engine, "a")
    desk.book.apply([finding()], 11)
    assert desk.outbox.claim("a", "a sender that was killed", desk.clock())
    assert desk.sender.run_once() == 0
    desk.clock.us += int(desk.settings.lease_s * S)
    assert desk.sender.run_once() == 1
    assert desk.states() == [("sent", 2)]


def test_a_message_that_kills_every_sender_ends_as_failed(engine: Engine) -> None:
    desk = Desk(engine, "a", max_attempts=3)
    desk.book.apply([finding()], 11)
    for _ in range(3):
        assert desk.outbox.claim("a", "killed", desk.clock())
        desk.clock.us += int(desk.settings.lease_s * S)
    assert desk.sender.run_once() == 0
    (message,) = desk.outbox.messages()
    assert (message.state, message.last_error) == ("failed", "the sender stopped during the last attempt")


def test_messages_of_an_address_that_was_removed_fail_visibly(engine: Engine) -> None:
    Desk(engine, "gone").book.apply([finding()], 11)
    desk = Desk(engine, "a")
    desk.sender.run_once()
    (message,) = desk.outbox.messages()
    assert (message.state, message.last_error) == ("failed", "this address is no longer in the settings")


def test_no_secret_reaches_a_log_or_a_row_whatever_a_plugin_raises(engine: Engine) -> None:
    desk = Desk(engine, "a")
    desk.channels["a"].raises = RuntimeError(f"cannot post to {CHAT}")
    desk.book.apply([finding()], 11)
    with capture_logs() as logs:
        desk.sender.run_once()
    assert "s3cr3t" not in repr(logs) + repr(desk.outbox.messages())
    assert desk.outbox.messages()[0].last_error == "sending raised RuntimeError"


def test_a_url_that_means_nothing_stops_only_its_own_address(engine: Engine, tmp_path: Path) -> None:
    settings = NotifySettings(
        addresses=(
            Address(name="typo", url="jsn://127.0.0.1/s3cr3t"),
            Address(name="missing", url_file=tmp_path / "nothing"),
        )
    )
    with capture_logs() as logs, Sender(engine, settings, kinds={}) as sender:
        AlertBook(engine, settings).apply([finding()], 11)
        sender.run_once()
    assert [entry["event"] for entry in logs if "unusable" in entry["event"]] == ["notify_address_unusable"] * 2
    assert "s3cr3t" not in repr(logs)
    errors = {m.last_error for m in Outbox(engine, settings).messages()}
    assert errors == {"the address cannot be used as it is set"}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"name": "", "url": CHAT}, "expected a name"),
        ({"name": "a"}, "expected either url or url_file"),
        ({"name": "a", "url": "s3cr3t"}, "expected an apprise URL"),
        ({"name": "a", "url": CHAT, "language": "fr"}, "expected language zh, en or both, got fr"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_showing_its_url(bad: dict[str, str], says: str) -> None:
    with pytest.raises(NotifyError, match=says) as refusal:
        Address(**bad)  # type: ignore[arg-type]
    assert "s3cr3t" not in str(refusal.value)


def test_settings_that_would_repeat_messages_are_refused() -> None:
    with pytest.raises(NotifyError, match="below lease_s"):
        NotifySettings(timeout_s=90, lease_s=90)
    with pytest.raises(NotifyError, match="each name once"):
        settings_for("a", "a")
