"""Which edge nodes are understood, and which have to be asked for a rebirth.

From: Sparkplug messages in the order of the broker. To: `ingest.sparkplug_host`, which does the asking. Nothing here
sends, sleeps or reads a clock. What a message means is the codec's to say, so that a rebirth is asked for exactly where
decoding will miss one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from devices.codecs import Context
from devices.codecs.sparkplug import CODEC
from devices.codecs.sparkplug.births import BirthMissing
from devices.codecs.sparkplug.topics import COMMANDS, SparkplugTopic, parse_topic
from devices.errors import PayloadError
from devices.readings import Sample
from ingest.mqtt_pace import Backoff
from ingest.sparkplug_settings import SparkplugSettings


@dataclass(slots=True)
class HostStats:
    """Counters since the start, and how the host is now; plain values that any thread may read.

    `nodes`: edge nodes that are remembered; `online`: those of them that live. `withheld`: requests that the pauses
    forbade. `unread`: messages that are none.
    """

    connected: bool = False
    nodes: int = 0
    online: int = 0
    messages: int = 0
    births: int = 0
    deaths: int = 0
    gaps: int = 0
    rebirths: int = 0
    withheld: int = 0
    unread: int = 0

    def as_dict(self) -> dict[str, float]:
        """All of it by name, as the ingest role reports it; true is 1."""
        return {f"sparkplug_{name}": float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Ask:
    """A rebirth that is to be asked for, and why."""

    group: str
    node: str
    reason: str


@dataclass(slots=True)
class _Node:
    backoff: Backoff
    memory: dict[str, Any] = field(default_factory=dict)
    metrics: int = 0
    wanted: str = ""  # why a rebirth is wanted that has not come yet
    asked_s: float | None = None
    not_before_s: float = 0.0


class EdgeNodes:
    """All edge nodes that were heard. `chance`: 0 to 1, so that many nodes are not asked at once."""

    def __init__(self, settings: SparkplugSettings, chance: Callable[[], float]) -> None:
        self.stats = HostStats()
        self._settings = settings
        self._chance = chance
        self._nodes: OrderedDict[str, _Node] = OrderedDict()
        self._metrics = 0
        self._next_ask_s = 0.0

    def heard(self, topic_name: str, payload: bytes, *, now_us: int, at_s: float) -> Ask | None:
        """Take a message in; what to ask for because of it. `at_s`: by a clock that never goes back."""
        try:
            topic = parse_topic(topic_name)
        except PayloadError:
            self.stats.unread += 1
            return None
        if topic is None or topic.message in COMMANDS:
            return None
        self.stats.messages += 1
        node = self._node(topic.edge)
        was_online = node.memory.get("online") is True
        # A node whose clock is wrong is a node all the same.
        context = Context(topic=topic_name, memory=node.memory, received_us=now_us, settings={"clock": "received"})
        reason = self._take(node, topic, payload, context)
        self.stats.online += (node.memory.get("online") is True) - was_online
        if topic.message.endswith(("BIRTH", "DEATH")):
            self._count_metrics(topic.edge, node)
        if reason and not node.wanted:
            node.wanted = reason
        return self._ask(topic, node, at_s) if node.wanted else None

    def _take(self, node: _Node, topic: SparkplugTopic, payload: bytes, context: Context) -> str:
        """Decode the message; why a rebirth is wanted, empty if it is not."""
        try:
            samples = CODEC.decode(payload, context)
        except BirthMissing:
            return "data lean on a birth that did not come"
        except PayloadError:
            self.stats.unread += 1  # a birth could not mend it
            return ""
        if topic.message == "NBIRTH" or (topic.message == "NDEATH" and samples):
            node.wanted = ""
            self.stats.births += topic.message == "NBIRTH"
            self.stats.deaths += topic.message == "NDEATH"
        return "" if topic.message in ("NBIRTH", "NDEATH") else self._judge(node, topic, samples)

    def _judge(self, node: _Node, topic: SparkplugTopic, samples: Sequence[Sample]) -> str:
        """Why a message that could be decoded still calls for a rebirth, empty if it does not."""
        if any("gap" in (sample.states or {}) for sample in samples):
            self.stats.gaps += 1
            return "a gap in the sequence"
        if node.memory.get("online") is not True:
            return "a message before the birth of the node"
        if topic.message == "DDATA" and topic.device not in node.memory.get("births", {}):
            return "data before the birth of the device"
        return ""

    def _ask(self, topic: SparkplugTopic, node: _Node, at_s: float) -> Ask | None:
        """The request, unless this node, or all of them, were asked too recently."""
        if at_s < max(node.not_before_s, self._next_ask_s):
            self.stats.withheld += 1
            return None
        if node.asked_s is not None and at_s - node.asked_s >= self._settings.rebirth_max_s * 2:
            node.backoff.reset()
        node.asked_s = at_s
        node.not_before_s = at_s + node.backoff.next()
        self._next_ask_s = at_s + 1 / self._settings.rebirths_per_s
        self.stats.rebirths += 1
        return Ask(topic.group, topic.node, node.wanted)

    def _node(self, edge: str) -> _Node:
        node = self._nodes.get(edge)
        if node is None:
            pauses = (self._settings.rebirth_min_s, self._settings.rebirth_max_s)
            node = self._nodes[edge] = _Node(Backoff(*pauses, self._chance))
        self._nodes.move_to_end(edge)
        while len(self._nodes) > self._settings.nodes_max:
            self._forget_oldest()
        self.stats.nodes = len(self._nodes)
        return node

    def _count_metrics(self, edge: str, node: _Node) -> None:
        count = sum(len(birth["names"]) for birth in node.memory.get("births", {}).values())
        self._metrics += count - node.metrics
        node.metrics = count
        while self._metrics > self._settings.metrics_max and next(iter(self._nodes)) != edge:
            self._forget_oldest()
        self.stats.nodes = len(self._nodes)

    def _forget_oldest(self) -> None:
        _, node = self._nodes.popitem(last=False)
        self._metrics -= node.metrics
        self.stats.online -= node.memory.get("online") is True
