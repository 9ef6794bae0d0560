"""Who is asked for a rebirth, how often, and that nothing else is ever asked."""

from __future__ import annotations

import itertools
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pysparkplug import _protobuf as peer

from devices.codecs.sparkplug.payload import Metric, write, write_metric
from ingest.errors import IngestError
from ingest.mqtt_settings import MqttSettings
from ingest.sparkplug_host import SparkplugHost, rebirth_request
from ingest.sparkplug_nodes import Ask, EdgeNodes
from ingest.sparkplug_settings import SparkplugSettings

T_MS = 1_767_600_000_000


def payload(seq: int | None = 0, *metrics: Metric) -> bytes:
    return write([write_metric(one) for one in metrics], time_ms=T_MS, seq=seq)


BD_SEQ = Metric(0, "bdSeq", datatype=4, form="integer", value=1)
PRESSURE = Metric(0, "Pressure", 7, datatype=10, form="float", value=1.0)
BY_ALIAS = Metric(0, "", 7, form="float", value=1.0)


class Watch:
    """Edge nodes under a clock that the test turns."""

    def __init__(self, **changes: Any) -> None:
        quick = {"rebirth_min_s": 10, "rebirth_max_s": 80, "rebirths_per_s": 1000, **changes}
        self.nodes = EdgeNodes(SparkplugSettings(**quick), lambda: 1.0)
        self.at_s = 1000.0

    def hear(self, message: str, body: bytes, node: str = "Edge", device: str = "") -> Ask | None:
        topic = "/".join(filter(None, ("spBv1.0", "City", message, node, device)))
        return self.nodes.heard(topic, body, now_us=T_MS * 1000, at_s=self.at_s)

    def born(self, node: str = "Edge") -> None:
        assert self.hear("NBIRTH", payload(0, BD_SEQ), node) is None
        assert self.hear("DBIRTH", payload(1, PRESSURE), node, "Pump") is None

    def data(self, seq: int, node: str = "Edge") -> Ask | None:
        return self.hear("DDATA", payload(seq, BY_ALIAS), node, "Pump")


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_node_that_is_understood_is_left_alone(watch):
    watch.born()
    assert [watch.data(seq % 256) for seq in range(2, 600)] == [None] * 598
    assert watch.nodes.stats.rebirths == 0


@pytest.mark.parametrize(
    ("prepare", "message", "device", "body", "reason"),
    [
        (False, "DDATA", "Pump", payload(5, BY_ALIAS), "data lean on a birth that did not come"),
        (False, "NDATA", "", payload(5, PRESSURE), "a message before the birth of the node"),
        (False, "DBIRTH", "Pump", payload(5, PRESSURE), "a message before the birth of the node"),
        (True, "DDATA", "Pump", payload(3, BY_ALIAS), "a gap in the sequence"),
        (True, "DDATA", "Other", payload(2, PRESSURE), "data before the birth of the device"),
    ],
)
def test_whatever_cannot_be_relied_on_calls_for_a_rebirth(watch, prepare, message, device, body, reason):
    if prepare:
        watch.born()
    assert watch.hear(message, body, device=device) == Ask("City", "Edge", reason)


def test_one_request_is_enough_until_the_birth_comes(watch):
    assert watch.data(5)
    assert [watch.data(6), watch.data(7)] == [None, None]
    watch.born()
    watch.at_s += 1
    assert watch.data(2) is None
    assert watch.nodes.stats.withheld == 2


def test_a_request_that_the_pause_forbade_is_made_up_for(watch):
    watch.born()
    assert watch.data(9)
    watch.born()
    assert watch.data(9) is None  # a second gap right behind
    watch.at_s += 10
    assert watch.data(10) == Ask("City", "Edge", "a gap in the sequence")


def test_pauses_double_for_a_node_that_goes_on_giving_reason_and_shrink_when_it_has_healed(watch):
    asked = []
    for _ in range(300):
        if watch.data(5):
            asked.append(watch.at_s)
        watch.at_s += 1
    assert [after - before for before, after in itertools.pairwise(asked)] == [10, 20, 40, 80, 80]
    watch.at_s += 200
    asked = []
    for _ in range(31):
        if watch.data(5):
            asked.append(watch.at_s)
        watch.at_s += 1
    assert [after - before for before, after in itertools.pairwise(asked)] == [10, 20]


def test_all_nodes_together_are_asked_no_faster_than_allowed():
    watch = Watch(rebirths_per_s=5)
    asked = 0
    for _ in range(20):
        asked += sum(watch.data(5, f"Edge{number}") is not None for number in range(30))
        watch.at_s += 0.1
    assert asked == 10


def test_what_no_birth_could_mend_calls_for_none(watch):
    watch.born()
    for topic, body in (("spBv1.0/x", b""), ("spBv1.0/City/NDATA/Edge", b"{}"), ("spBv1.0/City/NDATA/Edge", b"")):
        assert watch.nodes.heard(topic, body, now_us=T_MS * 1000, at_s=watch.at_s) is None
    assert watch.nodes.stats.unread == 3


def test_a_late_will_changes_nothing_and_the_right_one_ends_the_node(watch):
    watch.born()
    watch.hear("NDEATH", payload(None, Metric(0, "bdSeq", datatype=4, form="integer", value=0)))
    assert (watch.nodes.stats.deaths, watch.nodes.stats.online) == (0, 1)
    watch.hear("NDEATH", payload(None, BD_SEQ))
    assert (watch.nodes.stats.deaths, watch.nodes.stats.online) == (1, 0)


def test_the_longest_silent_nodes_are_forgotten_beyond_the_bounds():
    watch = Watch(nodes_max=3)
    for number in range(10):
        watch.born(f"Edge{number}")
    assert (watch.nodes.stats.nodes, watch.nodes.stats.online) == (3, 3)
    watch = Watch(metrics_max=4)
    for number in range(10):
        watch.born(f"Edge{number}")
    assert watch.nodes.stats.nodes == watch.nodes.stats.online == 2


def test_a_node_with_a_wrong_clock_is_understood(watch):
    watch.hear("NBIRTH", write([write_metric(BD_SEQ)], time_ms=5, seq=0))
    assert watch.nodes.stats.online == 1


def test_the_request_is_what_the_specification_calls_a_rebirth():
    command = peer.Payload.FromString(rebirth_request(T_MS))
    (metric,) = command.metrics
    assert (metric.name, metric.datatype, metric.boolean_value) == ("Node Control/Rebirth", 11, True)
    assert command.timestamp == T_MS
    assert not command.HasField("seq")


class FakeClient:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(self, topic: str, body: bytes, **_: Any) -> None:
        self.published.append((topic, body))


PARTS = st.sampled_from(["City", "Edge", "Pump", "STATE", "NCMD", "undercity", "闸门"])
NODE_TOPICS = st.tuples(PARTS, st.sampled_from(["NBIRTH", "NDATA", "NDEATH", "NCMD"]), PARTS)
DEVICE_TOPICS = st.tuples(PARTS, st.sampled_from(["DBIRTH", "DDATA", "DDEATH", "DCMD"]), PARTS, PARTS)
TOPICS = (NODE_TOPICS | DEVICE_TOPICS).map(lambda parts: "/".join(("spBv1.0", *parts))) | st.sampled_from(
    ["spBv1.0/STATE/undercity", "spBv1.0/STATE/other", "spBv1.0", "", "STATE/undercity", "spBv1.0//NDATA/"]
)
CONTROL = Metric(0, "Node Control/Reboot", 9, datatype=11, form="boolean", value=1)
BODIES = st.builds(payload, st.integers(0, 255), *[st.sampled_from([BD_SEQ, PRESSURE, BY_ALIAS, CONTROL])] * 2) | (
    st.binary(max_size=40) | st.sampled_from([b'{"online":false}', b'{"online":true}', b"OFFLINE"])
)


@given(st.lists(st.tuples(TOPICS, BODIES, st.booleans()), max_size=30))
@example([("spBv1.0/City/DDATA/Edge/Pump", payload(3, BY_ALIAS, CONTROL), False)])
def test_whatever_comes_only_rebirths_and_our_own_state_are_published(messages):
    settings = SparkplugSettings(host_id="undercity", rebirth_min_s=1e-9, rebirth_max_s=1e-9, rebirths_per_s=1000)
    host = SparkplugHost(settings, MqttSettings(), now=lambda: T_MS * 1000, stop=threading.Event())
    client: Any = FakeClient()
    for topic, body, retain in messages:
        host._arrived(client, None, SimpleNamespace(topic=topic, payload=body, retain=retain))
    for topic, body in client.published:
        if topic == "spBv1.0/STATE/undercity":
            assert json.loads(body) == {"online": True, "timestamp": 0}
        else:
            assert topic.split("/")[2] == "NCMD"
            assert body == rebirth_request(T_MS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rebirth_min_s": 0},
        {"rebirth_min_s": 700},
        {"rebirths_per_s": 0},
        {"nodes_max": 0},
        {"metrics_max": 0},
        {"subscriptions": ()},
        {"host_id": "a/b"},
        {"host_id": "#"},
        {"host_id": "x" * 65},
    ],
)
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(IngestError, match=r"sparkplug\.\w+.*expected"):
        SparkplugSettings(**wrong)
