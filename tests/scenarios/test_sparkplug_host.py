# ruff: noqa: F811  fixtures are imported by name
"""A real edge node, a real broker, and us as the host application: births, gaps, rebirths, wills."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pysparkplug import DataType, NCmd

from deploy.brokers import HOST
from deploy.settings import DataSettings, Settings
from deploy.status import read_all
from deploy.wiring import run_ingest
from devices.codecs import Context
from devices.codecs.sparkplug import CODEC
from devices.codecs.sparkplug.topics import parse_topic
from devices.readings import Sample
from ingest.journal import CONTROL
from ingest.mqtt import utc_us
from ingest.sparkplug_host import SparkplugHost, watching
from ingest.sparkplug_settings import SparkplugSettings
from tests.support.broker import (
    journalled,
    mosquitto,  # noqa: F401
    publish,
    quick_settings,
    until,
    working,
)
from tests.support.edge_node import edge_node

pytestmark = pytest.mark.scenario


class Ear:
    """Hears everything of Sparkplug at the broker."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda *_: self._client.subscribe("spBv1.0/#", 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _c, _d, message: self.heard.append(
            (message.topic, bytes(message.payload))
        )
        self._client.connect(HOST, port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def of(self, message: str) -> list[bytes]:
        return [payload for topic, payload in self.heard if f"/{message}/" in topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def ear(port: int) -> Iterator[Ear]:
    one = Ear(port)
    try:
        yield one
    finally:
        one.close()


@contextmanager
def host(port: int, **changes: Any) -> Iterator[SparkplugHost]:
    quick = SparkplugSettings(**{"rebirth_min_s": 0.05, "rebirth_max_s": 0.2, "rebirths_per_s": 500, **changes})
    with watching(quick, quick_settings(port), now=utc_us) as one:
        until(lambda: one.stats.connected, "the host to connect")
        yield one


def decoded(path: Path) -> list[Sample]:
    """What the journal holds, as decoding reads it: one memory per edge node."""
    memories: dict[str, dict[str, Any]] = {}
    samples: list[Sample] = []
    for one in journalled(path):
        if not one.topic.startswith(CONTROL) and (topic := parse_topic(one.topic)):
            memory = memories.setdefault(topic.edge, {})
            context = Context(topic=one.topic, memory=memory, received_us=one.received_us)
            samples += CODEC.decode(one.payload, context)
    return samples


def test_births_data_by_alias_and_a_death_come_through_the_journal(mosquitto, tmp_path):
    path = tmp_path / "journal.db"
    settings = quick_settings(mosquitto.port, subscriptions=("spBv1.0/#",))
    with working(settings, path) as worker, edge_node(mosquitto.port) as edge:
        until(lambda: worker.stats.received == 2, "both births")
        edge.say(401.5)
        until(lambda: worker.stats.received == 3, "the data")
        edge.cut()
        until(lambda: worker.stats.received == 4, "the broker to publish the will")
    samples = decoded(path)
    values = [(s.device, dict(s.values)) for s in samples if s.values]
    assert values[-1] == ("City/Edge/Pump", {"Pressure": 401.5})
    assert {k: v for device, said in values[:-1] for k, v in said.items()} == {"Pressure": 400.0, "Starts": -1.0}
    states = [(s.device, s.states) for s in samples if s.states]
    assert states == [
        ("City/Edge", {"online": "true"}),
        ("City/Edge/Pump", {"online": "true"}),
        ("City/Edge", {"online": "false"}),
    ]


def test_a_gap_brings_a_rebirth_and_the_node_is_understood_again(mosquitto):
    with host(mosquitto.port) as watch, edge_node(mosquitto.port) as edge:
        until(lambda: watch.stats.births == 1, "the birth")
        edge.say(401.0)
        edge.lose()
        edge.say(402.0)
        until(lambda: edge.commands, "the rebirth request")
        until(lambda: watch.stats.births == 2, "the rebirth")
        messages = watch.stats.messages
        edge.say(403.0)
        until(lambda: watch.stats.messages > messages, "the data after it")
    (asked,) = edge.commands
    assert [(m.name, m.datatype, m.value) for m in asked.metrics] == [
        ("Node Control/Rebirth", DataType.BOOLEAN, True)
    ]
    assert (watch.stats.gaps, watch.stats.rebirths) == (1, 1)


def test_a_host_that_comes_late_asks_for_the_births_it_missed(mosquitto):
    with ExitStack() as stack:
        with host(mosquitto.port) as early:  # it sees to it that the births are over
            edge = stack.enter_context(edge_node(mosquitto.port))
            until(lambda: early.stats.births == 1, "the birth")
        watch = stack.enter_context(host(mosquitto.port))
        edge.say(401.0)
        until(lambda: watch.stats.births == 1, "the rebirth")
        assert len(edge.commands) == 1
        assert watch.stats.online == 1


def test_300_messages_in_sequence_pass_255_without_a_gap(mosquitto):
    with host(mosquitto.port) as watch, edge_node(mosquitto.port) as edge:
        until(lambda: watch.stats.messages == 2, "the births")
        for number in range(300):
            edge.say(400 + number / 10)
        until(lambda: watch.stats.messages == 302, "all data")
    assert (watch.stats.gaps, watch.stats.rebirths, watch.stats.unread) == (0, 0, 0)


def test_a_cut_socket_is_a_death(mosquitto):
    with host(mosquitto.port) as watch, edge_node(mosquitto.port) as edge:
        until(lambda: watch.stats.online == 1, "the birth")
        edge.cut()
        until(lambda: watch.stats.deaths == 1, "the will")
        assert watch.stats.online == 0
    assert edge.commands == []


def test_a_node_that_does_not_obey_is_asked_ever_more_rarely(mosquitto):
    with host(mosquitto.port, rebirth_min_s=60, rebirth_max_s=600) as watch:
        with edge_node(mosquitto.port, obedient=False) as edge:
            until(lambda: watch.stats.messages == 2, "the births")
            edge.lose()
            for number in range(20):
                edge.say(400 + number)
            until(lambda: watch.stats.messages == 22, "all data")
            until(lambda: edge.commands, "the request")
        assert (len(edge.commands), watch.stats.rebirths, watch.stats.withheld) == (1, 1, 19)


def test_edge_nodes_see_whether_the_host_is_there(mosquitto):
    with ear(mosquitto.port) as heard:
        with host(mosquitto.port, host_id="undercity"):
            until(lambda: len(heard.of("STATE")) == 1, "our birth")
            # The will of an earlier connection, late.
            publish(mosquitto.port, "spBv1.0/STATE/undercity", [b'{"online":false,"timestamp":1}'])
            until(lambda: len(heard.of("STATE")) >= 3, "the host to contradict it")
        until(lambda: len(heard.of("STATE")) >= 4, "our farewell")
    birth, _, again, farewell = map(json.loads, heard.of("STATE"))
    assert birth["online"] is again["online"] is True
    assert birth["timestamp"] == again["timestamp"]
    assert farewell["online"] is False
    assert farewell["timestamp"] >= birth["timestamp"]
    assert all("/STATE/undercity" in topic for topic, _ in heard.heard)


def test_a_killed_host_is_declared_dead_by_its_will(mosquitto):
    with ear(mosquitto.port) as heard, host(mosquitto.port, host_id="undercity"):
        until(lambda: len(heard.of("STATE")) == 1, "our birth")
        with taken_over(mosquitto.port, "undercity-ingest-sparkplug"):
            until(lambda: len(heard.of("STATE")) >= 2, "the will")
    birth, will, *_ = map(json.loads, heard.of("STATE"))
    assert will == {"online": False, "timestamp": birth["timestamp"]}


@contextmanager
def taken_over(port: int, client_id: str) -> Iterator[None]:
    """Connect under `client_id`: the broker closes the older connection and publishes its will."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect(HOST, port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def test_without_a_host_id_nothing_is_said_but_requests(mosquitto):
    by_alias = bytes.fromhex("0801 120b 1007 69000000000000f03f 1805")
    with ear(mosquitto.port) as heard, host(mosquitto.port):
        for topic, payload in (
            ("spBv1.0/City/DDATA/Ghost/Pump", b"{}"),
            ("spBv1.0/nonsense", b"{}"),
            ("spBv1.0/City/DCMD/Ghost/Pump", by_alias),
            ("spBv1.0/City/DDATA/Ghost/Pump", by_alias),
        ):
            publish(mosquitto.port, topic, [payload])
        until(lambda: heard.of("NCMD"), "the request")
    ours = [(topic, payload) for topic, payload in heard.heard if payload not in (b"{}", by_alias)]
    assert [topic for topic, _ in ours] == ["spBv1.0/City/NCMD/Ghost"]
    assert [(m.name, m.value) for m in NCmd.decode(ours[0][1]).metrics] == [("Node Control/Rebirth", True)]


def test_the_host_finds_its_broker_again(mosquitto):
    with host(mosquitto.port) as watch:
        mosquitto.stop()
        until(lambda: not watch.stats.connected, "the loss to be noticed")
        mosquitto.start()
        until(lambda: watch.stats.connected, "the host to come back")
        with edge_node(mosquitto.port):
            until(lambda: watch.stats.births == 1, "a birth")


def test_the_ingest_role_runs_the_host_when_it_is_enabled(mosquitto, tmp_path):
    settings = Settings(
        data=DataSettings(dir=tmp_path),
        mqtt=quick_settings(mosquitto.port),
        sparkplug=SparkplugSettings(enabled=True, host_id="undercity"),
    )
    stop = threading.Event()
    role = threading.Thread(target=run_ingest, args=(settings, 0, stop))
    with ear(mosquitto.port) as heard:
        role.start()
        try:
            until(lambda: heard.of("STATE"), "our birth")
            with edge_node(mosquitto.port) as edge:
                edge.say(401.0)
                until(lambda: status(settings, "sparkplug_births") == 1.0, "the status to tell of the birth")
                assert status(settings, "sparkplug_connected") == 1.0
                until(lambda: status(settings, "received") >= 3.0, "the readings to go into the journal")
        finally:
            stop.set()
            role.join(10)
        until(lambda: len(heard.of("STATE")) == 2, "our farewell")
    assert [json.loads(one)["online"] for one in heard.of("STATE")] == [True, False]


def status(settings: Settings, name: str) -> float:
    seen = read_all(settings.status_dir, time.time()).get("ingest-0")
    return seen.status.fields.get(name, 0.0) if seen else 0.0
