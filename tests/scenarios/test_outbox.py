"""Messages reach people through real servers, whatever dies on the way."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from processors.alerts.book import AlertBook
from processors.notify.outbox import MessageState, Outbox
from processors.notify.sender import Sender, run_sender
from processors.notify.settings import Address, NotifySettings
from tests.support.databases import operations, sqlite_file
from tests.support.findings import finding
from tests.support.kinds import WELL
from tests.support.receivers import mailbox, until, webhook

pytestmark = [
    pytest.mark.scenario,
    # apprise looks at everything Python offers for images, the deprecated too.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

SENDER = """
import signal, sys, threading
from processors.notify.sender import run_sender
from processors.notify.settings import Address, NotifySettings
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
address = Address(name="hook", url=sys.argv[2])
settings = NotifySettings(addresses=(address,), lease_s=1.0, timeout_s=0.9, retry_s=0.1, retry_max_s=0.2)
print("ready", flush=True)
run_sender(settings, sys.argv[1], stop, pause_s=0.02)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_file(tmp_path)


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    with operations(url) as engine:
        yield engine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def quick(*addresses: Address) -> NotifySettings:
    return NotifySettings(addresses=addresses, retry_s=0.05, retry_max_s=0.2)


def test_a_mail_arrives_with_chinese_subject_and_text(database: Engine) -> None:
    with mailbox(free_port()) as box:
        mail = f"mailto://127.0.0.1:{box.port}?from=undercity@example.org&to=crew@example.org&mode=insecure"
        settings = quick(Address(name="mail", url=mail, language="both"))
        AlertBook(database, settings).apply([finding()], 11)
        with Sender(database, settings, kinds={"well": WELL}) as sender:
            assert sender.run_once(20) == 1
        (taken,) = box.taken
        body = taken.get_body(("plain",))
        assert body
        assert taken["subject"] == "[▲1 高] WP-0412 水位过高 | [▲1 HIGH] WP-0412 level too high"
        assert "开始：2026-01-05 16:00:00" in body.get_content()
        assert "Since: 2026-01-05 16:00:00" in body.get_content()


def test_a_webhook_that_fails_twice_gets_the_message_on_the_third_try(database: Engine) -> None:
    with webhook() as hook:
        hook.statuses = [502, 503]
        settings = quick(Address(name="hook", url=hook.url))
        AlertBook(database, settings).apply([finding()], 11)
        reasons = []
        with Sender(database, settings, kinds={"well": WELL}) as sender:

            def delivered() -> bool:
                sent = sender.run_once()
                reasons.append(Outbox(database, settings).messages()[0].last_error)
                return sent == 1

            until(delivered)
        assert list(dict.fromkeys(reasons)) == ["refused with status 502", "refused with status 503", ""]
        assert (hook.tries, [message["title"] for message in hook.taken]) == (3, ["[▲1 高] WP-0412 水位过高"])


def test_what_is_owed_while_a_server_is_away_arrives_when_it_is_back(
    database: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    settings = quick(Address(name="hook", url=f"json://127.0.0.1:{port}/s3cr3t-path"))
    AlertBook(database, settings).apply([finding(f"W-{i}", offset=i) for i in range(5)], 5)
    outbox = Outbox(database, settings)
    with Sender(database, settings, kinds={"well": WELL}) as sender:
        sender.run_once()
        waiting = outbox.messages()
        assert {m.last_error for m in waiting} == {"", "could not be reached"}
        with webhook(port) as hook:
            until(lambda: sender.run_once() is not None and len(hook.taken) == 5)
    assert {m.state for m in outbox.messages()} == {MessageState.SENT}
    assert "s3cr3t" not in repr(waiting) + "".join(capfd.readouterr())


def test_a_sender_killed_at_random_moments_loses_nothing(url: str, database: Engine) -> None:
    count, kills = 40, 3
    chance = random.Random(7)
    with webhook() as hook:
        hook.delay_s = 0.01
        settings = quick(Address(name="hook", url=hook.url))
        AlertBook(database, settings).apply([finding(f"W-{i:02}", offset=i) for i in range(count)], count)
        for _ in range(kills):
            process = started(url, hook.url)
            before = len(hook.taken)
            until(lambda before=before: len(hook.taken) > before)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.08))
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            closed(process)
        process = started(url, hook.url)
        outbox = Outbox(database, settings)
        until(lambda: not [m for m in outbox.messages() if m.state != MessageState.SENT])
        process.terminate()
        assert process.wait(10) == 0
        closed(process)
        devices = Counter(message["title"].split()[2] for message in hook.taken)
    assert set(devices) == {f"W-{i:02}" for i in range(count)}
    # The honest minimum: only what was under way when a sender died comes again.
    assert sum(devices.values()) - count <= kills


def started(database_url: str, hook_url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SENDER, database_url, hook_url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def closed(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    process.stdout.close()


def test_the_process_entry_sends_until_it_is_told_to_stop(url: str, database: Engine) -> None:
    with webhook() as hook:
        settings = quick(Address(name="hook", url=hook.url))
        book = AlertBook(database, settings)
        stop = threading.Event()
        thread = threading.Thread(target=run_sender, args=(settings, url, stop), kwargs={"pause_s": 0.02})
        thread.start()
        try:
            for i in range(3):
                book.apply([finding(f"W-{i}", offset=i)], i + 1)
                until(lambda i=i: len(hook.taken) == i + 1)  # type: ignore[misc]
        finally:
            stop.set()
            thread.join(10)
        assert not thread.is_alive()
