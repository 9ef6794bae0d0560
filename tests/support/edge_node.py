"""A Sparkplug edge node of another project, pysparkplug, on this project's version of paho.

pysparkplug decides what is said, in which order and with which bytes; it was written for paho 1, so its MQTT client is
replaced by `Link`, which only carries.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pysparkplug
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pysparkplug import DataType, Device, EdgeNode, Metric

from deploy.brokers import HOST
from tests.support.broker import until

GROUP = "City"


class Link:
    """What `EdgeNode` needs of an MQTT client."""

    def __init__(self) -> None:
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self.client.reconnect_delay_set(1, 1)
        self.connected = False
        self.bd_seq = -1  # of the will that the broker has
        self._callbacks: dict[str, Callable[[Any, Any], None]] = {}

    def set_will(self, message: Any) -> None:
        if not self.connected:  # what is set later is the will of a next connection, which no test makes
            self.bd_seq = message.payload.bd_seq_metric.value
            self.client.will_set(str(message.topic), message.payload.encode(), message.qos, message.retain)

    def connect(self, host: str, *, port: int, callback: Callable[[Any], None], **_: Any) -> None:
        def connected(*_: Any) -> None:
            for topic in self._callbacks:
                self.client.subscribe(topic, 1)
            self.connected = True
            callback(self)

        self.client.on_connect = connected
        self.client.on_message = self._arrived
        self.client.connect(host, port)
        self.client.loop_start()

    def publish(self, message: Any, *, include_dtypes: bool = False) -> None:
        self.client.publish(
            str(message.topic), message.payload.encode(include_dtypes=include_dtypes), message.qos, message.retain
        )

    def subscribe(self, topic: Any, _qos: int, callback: Callable[[Any, Any], None]) -> None:
        self._callbacks[str(topic)] = callback
        if self.connected:
            self.client.subscribe(str(topic), 1)

    def disconnect(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _arrived(self, _client: Any, _data: Any, message: Any) -> None:
        payload = pysparkplug.NCmd.decode(message.payload)
        self._callbacks[message.topic](self, payload)


class Edge:
    """An edge node with one pump; `commands` are those it received, and a rebirth is what it does about them."""

    def __init__(self, port: int, name: str = "Edge", *, obedient: bool = True) -> None:
        self.name = name
        self.commands: list[Any] = []
        self.obedient = obedient
        self.link = Link()
        self._port = port
        self._edge = EdgeNode(GROUP, name, [], client=self.link, cmd_callback=self._command)
        self._edge.register(
            Device("Pump", [metric("Pressure", 400.0, alias=7), metric("Starts", -1, DataType.INT8, alias=8)])
        )

    def connect(self) -> None:
        self._edge.connect(HOST, port=self._port)
        until(lambda: self.link.connected, f"{self.name} to connect")

    def say(self, pressure: float) -> None:
        """One DDATA, by alias alone."""
        short = Metric(timestamp=now_ms(), name=None, alias=7, datatype=DataType.DOUBLE, value=pressure)
        message = self._message(
            "DDATA", pysparkplug.DData(now_ms(), seq=self.next_seq(), metrics=(short,)), "Pump"
        )
        self.link.publish(message)

    def lose(self) -> None:
        """Count a message that never leaves."""
        self.next_seq()

    def next_seq(self) -> int:
        return self._edge._seq

    def cut(self) -> None:
        """Be gone without a word: the broker finds the socket closed and publishes the will."""
        sock = self.link.client.socket()
        self.link.client._reconnect_on_failure = False
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.link.disconnect()

    def _command(self, _edge: EdgeNode, command: Any) -> None:
        self.commands.append(command)
        if self.obedient:
            self.rebirth()

    def rebirth(self) -> None:
        """Both births once more, in the same session, as the specification asks of a rebirth."""
        self._edge._EdgeNode__seq_cycler = itertools.cycle(range(256))
        bd_seq = metric("bdSeq", self.link.bd_seq, DataType.INT64)
        self.link.publish(
            self._message("NBIRTH", pysparkplug.NBirth(now_ms(), self.next_seq(), (bd_seq,))), include_dtypes=True
        )
        metrics = tuple(self._edge.devices["Pump"].metrics.values())
        self.link.publish(
            self._message("DBIRTH", pysparkplug.DBirth(now_ms(), self.next_seq(), metrics), "Pump"),
            include_dtypes=True,
        )

    def _message(self, kind: str, payload: Any, device: str | None = None) -> pysparkplug.Message:
        topic = pysparkplug.Topic(
            message_type=pysparkplug.MessageType[kind],
            group_id=GROUP,
            edge_node_id=self.name,
            device_id=device,
        )
        return pysparkplug.Message(topic=topic, payload=payload, qos=pysparkplug.QoS.AT_MOST_ONCE, retain=False)


def metric(name: str, value: float, datatype: DataType = DataType.DOUBLE, alias: int | None = None) -> Metric:
    return Metric(timestamp=now_ms(), name=name, datatype=datatype, value=value, alias=alias)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def edge_node(port: int, name: str = "Edge", *, obedient: bool = True) -> Iterator[Edge]:
    """An edge node at the broker, births said."""
    edge = Edge(port, name, obedient=obedient)
    edge.connect()
    try:
        yield edge
    finally:
        edge.close()
