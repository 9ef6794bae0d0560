from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress

import pytest
from paho.mqtt.client import Client
from structlog.testing import capture_logs

from ingest.errors import BrokerError, JournalError, JournalFull
from ingest.journal import CONTROL, LINK, Delivery, Journal
from ingest.mqtt import IngestWorker
from ingest.mqtt_client import BulkClient, StockClient, new_client
from ingest.mqtt_pace import Backoff, IngestStats, Pacer
from ingest.mqtt_settings import MqttSettings
from ingest.topics import TopicError
from tests.fakes.broker import TAKEN_OVER, scripted_broker
from tests.support.broker import quick_settings, until

ONE = b"\x32\x08\x00\x02ab\x00\x07\x00x"  # QoS 1, packet id 7, topic ab, payload x


class FakeJournal:
    """Takes everything, unless told to refuse."""

    def __init__(self, refusal: JournalError | None = None) -> None:
        self.stored: list[Delivery] = []
        self.refusal = refusal

    def append(self, deliveries):
        if self.refusal is not None:
            raise self.refusal
        self.stored += deliveries

    def start(self):
        return 0

    def end(self):
        return 0

    def read(self, *_, **__):
        return []

    def has_link(self):
        return any(one.payload == b"up" for one in self.stored)

    def messages(self):
        return [(one.topic, one.payload) for one in self.stored if not one.topic.startswith(CONTROL)]


@contextmanager
def at_work(port, journal, now=None, **changes):
    stop = threading.Event()
    clock = {"now": now} if now else {}
    worker = IngestWorker(quick_settings(port, **changes), journal, stop=stop, **clock)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize("error", [JournalFull("no space"), JournalError("disk is broken")])
def test_nothing_is_acknowledged_before_the_journal_has_it(bulk, error):
    journal = FakeJournal()
    heard = []

    def script(peer):
        if not heard:
            until(journal.has_link, "the link to be up")
            journal.refusal = error
            peer.send(ONE)
            heard.append(peer.listen())
            journal.refusal = None
            until(lambda: peer.listen(0.05), "the acknowledgement")
            heard.append(peer.listen(0.05))

    with capture_logs() as logs, scripted_broker(script) as port, at_work(port, journal, bulk=bulk):
        until(lambda: len(heard) == 2, "the script")
    assert heard[0] == b""
    assert heard[1].startswith(b"\x40\x02\x00\x07")
    assert journal.messages() == [("ab", b"x")]
    events = [entry["event"] for entry in logs]
    assert ("journal_full" if isinstance(error, JournalFull) else "journal_failing") in events
    assert "journal_recovered" in events


def test_a_message_in_hand_outlives_its_connection_but_its_packet_id_does_not():
    journal = FakeJournal()
    heard = []

    def script(peer):
        if not heard:
            until(journal.has_link, "the link to be up")
            journal.refusal = JournalFull("no space")
            peer.send(ONE)
            heard.append(peer.listen())
            return  # the connection ends here
        heard.append(peer.listen())

    with scripted_broker(script) as port, at_work(port, journal):
        until(lambda: len(heard) == 1, "the first connection")
        journal.refusal = None
        until(lambda: len(heard) == 2, "the second connection")
    assert heard == [b"", b""]
    assert journal.messages() == [("ab", b"x")]
    assert [one.payload for one in journal.stored if one.topic == LINK][:4] == [b"down", b"up", b"down", b"up"]


def test_qos_2_is_confirmed_after_the_commit_and_released_at_once():
    journal = FakeJournal()
    heard = []

    def script(peer):
        peer.send(b"\x34\x08\x00\x02ab\x00\x09\x00y")
        until(lambda: peer.listen(0.05), "PUBREC")
        peer.send(b"\x62\x02\x00\x09")
        until(lambda: len(peer.listen(0.05)) >= 8, "PUBCOMP")
        heard.append(bytes(peer.received))

    with scripted_broker(script) as port, at_work(port, journal):
        until(lambda: heard, "the script")
    assert heard[0][:8] == b"\x50\x02\x00\x09\x70\x02\x00\x09"
    assert journal.messages() == [("ab", b"y")]


def test_a_session_taken_over_is_said_at_once_and_not_hurried():
    script = lambda peer: peer.send(TAKEN_OVER)  # noqa: E731
    with capture_logs() as logs, scripted_broker(script) as port, at_work(port, FakeJournal()) as worker:
        until(lambda: worker.stats.reconnects, "the take-over")
    said = next(entry for entry in logs if entry["event"] == "session_taken_over")
    assert "Session taken over" in said["reason"]


def test_a_broker_that_talks_nonsense_is_left_and_tried_again():
    script = lambda peer: peer.send(b"\x36\x06\x00\x01a\x00\x01\x00")  # noqa: E731
    with capture_logs() as logs, scripted_broker(script) as port, at_work(port, FakeJournal()) as worker:
        until(lambda: worker.stats.reconnects >= 2, "a second attempt")
    assert any("QoS 3" in entry.get("reason", "") for entry in logs)


def test_many_messages_share_commits_within_their_bounds():
    journal = FakeJournal()
    sizes = []
    plain = journal.append
    journal.append = lambda deliveries: (sizes.append(len(deliveries)), plain(deliveries))

    def script(peer):
        peer.send(ONE * 1_000)
        until(lambda: len(peer.listen(0.05)) >= 4_000, "all acknowledgements")

    with scripted_broker(script) as port, at_work(port, journal, commit_max_messages=100) as worker:
        until(lambda: worker.stats.acked == 1_000, "all messages")
    assert len(journal.messages()) == 1_000
    assert max(sizes) <= 101  # the link's own record may ride along


def test_what_is_kept_in_hand_is_bounded_while_the_journal_takes_nothing():
    journal = FakeJournal()

    def script(peer):
        until(journal.has_link, "the link to be up")
        if worker.stats.reconnects:
            peer.listen()
            return
        journal.refusal = JournalFull("no space")
        flood = b"\x30\x05\x00\x02ab\x00" * 200  # QoS 0 knows no window
        with suppress(OSError):
            for _ in range(2_000):
                peer.send(flood)

    limits = {"commit_max_messages": 100, "receive_maximum": 10, "keepalive_s": 1}
    with scripted_broker(script) as port, at_work(port, journal, **limits) as worker:
        until(lambda: worker.stats.reconnects, "the link to be given up")
        assert worker.stats.received <= 500
        journal.refusal = None
        until(lambda: not worker.stats.journal_full, "the journal to take it")
    assert len(journal.messages()) >= 400


def test_our_clock_never_runs_back_in_the_journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    journal.append([Delivery("t", b"", 5_000)])
    stop = threading.Event()
    stop.set()
    IngestWorker(MqttSettings(), journal, now=lambda: 1_000, stop=stop).run()
    assert [block.received_us for block in journal.read(1)] == [[5_000]]
    journal.close()


def test_a_topic_read_twice_at_once_gets_two_times_also_while_the_clock_stands():
    """A frame without a time gets that of its receipt: with equal ones the second would count as a repeat."""
    other = ONE.replace(b"ab", b"cd")
    journal = FakeJournal()

    def read():
        return [(d.topic, d.received_us) for d in journal.stored if not d.topic.startswith(CONTROL)]

    def script(peer):
        peer.send(ONE + other + ONE + ONE + other)
        until(lambda: len(read()) >= 5, "the first")
        peer.send(ONE)
        until(lambda: len(read()) >= 6, "the second")

    with scripted_broker(script) as port, at_work(port, journal, now=lambda: 1_000):
        until(lambda: len(read()) >= 6, "all")
    found = read()
    times = [at for _, at in found]
    assert times == sorted(times)
    assert len(set(found)) == len(found) == 6
    assert times[0] == times[1]


def test_stopping_is_quick_while_there_is_no_broker():
    with at_work(1, FakeJournal()) as worker:
        until(lambda: worker.stats.reconnects, "an attempt")
        started = time.monotonic()
    assert time.monotonic() - started < 2


def test_paho_without_the_internals_we_know_still_works(monkeypatch):
    assert isinstance(new_client(MqttSettings(), "a"), BulkClient)
    assert type(new_client(MqttSettings(bulk=False), "a")) is StockClient
    monkeypatch.delattr(Client, "_packet_read")
    with capture_logs() as logs:
        assert type(new_client(MqttSettings(), "a")) is StockClient
    assert logs[0]["event"] == "paho_not_as_known"
    assert logs[0]["missing"] == ["_packet_read"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"port": 0}, "mqtt.port: expected 1 to 65535, got 0"),
        ({"client_id": ""}, "client_id"),
        ({"subscriptions": ()}, "subscriptions"),
        ({"max_packet_bytes": 1_000}, "max_packet_bytes"),
        ({"reconnect_max_s": 0.1}, "reconnect_max_s"),
        ({"tls_cert": "x"}, "tls_key"),
        ({"receive_maximum": 70_000}, "receive_maximum"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, said):
    with pytest.raises(BrokerError, match=said):
        MqttSettings(**changes)


def test_a_group_with_a_slash_is_refused():
    with pytest.raises(TopicError, match="share group"):
        MqttSettings(share_group="a/b")


def test_a_certificate_that_is_not_there_is_said_by_name(tmp_path):
    with pytest.raises(BrokerError, match=r"no-such\.crt"):
        new_client(MqttSettings(tls_ca=tmp_path / "no-such.crt"), "a")


def test_a_pause_grows_with_the_rate_and_ends_where_it_would_only_slow():
    pacer = Pacer(0.005)
    assert pacer.pause_s(1, 1.0) < 0.0001
    assert pacer.pause_s(100, 0.01) == 0.005
    assert pacer.pause_s(20, 0.001) == 0.005
    assert pacer.pause_s(20, 0.001) == 0.0  # the broker's window is full


def test_pauses_double_up_to_the_longest_and_differ():
    backoff = Backoff(1.0, 4.0, iter([0.0, 1.0, 0.5, 1.0, 1.0]).__next__)
    assert [backoff.next() for _ in range(4)] == [0.5, 2.0, 3.0, 4.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_counters_are_plain_numbers():
    stats = IngestStats(connected=True)
    stats.committed(3, 0.5)
    assert stats.as_dict()["connected"] == 1.0
    assert stats.as_dict()["journalled"] == 3.0
