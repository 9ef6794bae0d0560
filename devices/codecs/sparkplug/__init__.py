"""Sparkplug B: edge nodes that announce their metrics in a birth, send what changes, and die by their will.

From: raw payloads out of the journal, via `ingest.decode`, with the topic they came under. To: samples whose names
are the metrics' own. What a message means depends on those before it (aliases, types, the sequence), so
`Context.memory` has to be one for all topics of an edge node, `group/node`.

    NBIRTH seq 0 ─▶ DBIRTH seq 1 ─▶ NDATA, DDATA seq 2 ... 255, 0 ... ─▶ DDEATH ─▶ NDEATH (the will, no seq)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from devices.codecs import Context, Settings, refuse_unknown
from devices.codecs.sparkplug.births import EdgeNode
from devices.codecs.sparkplug.build import Builder, refused
from devices.codecs.sparkplug.payload import Payload, read
from devices.codecs.sparkplug.readings import FROM_MS, TO_MS, Readings
from devices.codecs.sparkplug.topics import COMMANDS, MESSAGES, SparkplugTopic, parse_topic
from devices.codecs.sparkplug.wire import refusal
from devices.errors import PayloadError, RegistryError
from devices.readings import Sample
from devices.spec import Text

SETTINGS: Final = ("message", "seq", "bdseq", "aliases")


class Sparkplug:
    """The codec; what it remembers of a sender stands in the context alone."""

    name: Final = "sparkplug"
    title: Final = Text("Sparkplug B（MQTT 边缘节点）", "Sparkplug B, MQTT edge nodes")
    models: Final = ()

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """The samples of one message, oldest first; none for commands and hosts' states.

        `BirthMissing`, a PayloadError, says that the bytes will do once the birth has come. A refusal leaves the
        memory as it was.
        """
        topic = _topic(context)
        if topic is None or topic.message in COMMANDS:
            return ()
        content = read(payload)
        node = EdgeNode(context.memory)
        if topic.message == "NDEATH":
            return _node_death(content, node, topic, context)
        readings = Readings(_time_us(content, context), lenient=_received(context))
        birth, kind = node.birth(topic.device), topic.message[1:]
        if kind == "BIRTH":
            birth = node.new_birth(topic.device, content.metrics)
        if kind != "DATA":
            readings.state("online", "true" if kind == "BIRTH" else "false")
        if topic.message != "NBIRTH" and (gap := node.gap(content)):
            readings.state("gap", gap)
        if kind != "DEATH":
            for metric in content.metrics:
                readings.add(metric, node.known(topic.device, birth, metric))
        samples = readings.samples(_sender(topic, context), units_too=kind == "BIRTH")
        if kind == "BIRTH" and birth is not None:
            node.was_born(topic.device, birth, _bd_seq(content))
        elif kind == "DEATH":
            node.has_died(topic.device)
        node.came(content)
        return samples

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """A payload that decodes to `samples` under the context's topic; times to the millisecond.

        The message is the topic's, else the setting `message`, else NDATA or DDATA by the samples' device. PayloadError
        when the format cannot carry them; a command is never built.
        """
        topic = _topic(context, sender=samples[0].device if samples else context.device)
        if topic is None or topic.message in COMMANDS:
            raise refused(f"expected a message among {', '.join(MESSAGES)}", context.topic[:120] or "a command")
        for sample in samples:
            if context.topic and sample.device not in (topic.sender, context.device, ""):
                raise refused(f"expected samples of {topic.sender}", f"{sample.device!a:.80}")
            if sample.device != samples[0].device:
                raise refused("expected samples of one sender in a payload", f"{sample.device!a:.80}")
        settings = context.settings
        builder = Builder(
            topic.message,
            topic.device,
            context.memory.setdefault("sent", {}),
            bd=int(settings.get("bdseq", 0)),
            seq=settings.get("seq"),
            aliases=bool(settings.get("aliases", False)),
        )
        return builder.payload(samples, context.received_us // 1000)

    def fields(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """None of its own: it carries any metric."""
        return {}

    def check(self, settings: Settings) -> None:
        """RegistryError when a setting is unknown or out of bounds."""
        refuse_unknown(self.name, settings, SETTINGS)
        message: Any = settings.get("message", "NDATA")
        if message not in MESSAGES:
            raise RegistryError(
                f"codec sparkplug: message: expected one of {', '.join(MESSAGES)}, got {message!a:.80}; not taken"
            )
        for name in ("seq", "bdseq"):
            value = settings.get(name, 0)
            if type(value) is not int or not 0 <= value <= 255:
                raise RegistryError(f"codec sparkplug: {name}: expected 0 to 255, got {value!a:.80}; not taken")
        if type(settings.get("aliases", False)) is not bool:
            raise RegistryError("codec sparkplug: aliases: expected true or false; not taken")


def _topic(context: Context, sender: str = "") -> SparkplugTopic | None:
    """The context's topic; without one, as on somebody's desk, what settings and names say instead."""
    if context.topic:
        return parse_topic(context.topic)
    group, _, rest = (sender or context.device).partition("/")
    node, _, device = rest.partition("/")
    message = str(context.settings.get("message", "DDATA" if device else "NDATA"))
    if message[:1] == "D" and not device:
        device = "device"
    if message not in MESSAGES:
        raise PayloadError(
            f"sparkplug: expected a message among {', '.join(MESSAGES)}, got {message!a:.40}; not used"
        )
    return SparkplugTopic(group, message, node, device if message[:1] == "D" else "")


def _sender(topic: SparkplugTopic, context: Context) -> str:
    return topic.sender if context.topic else context.device


def _received(context: Context) -> bool:
    return context.settings.get("clock") == "received"


def _time_us(content: Payload, context: Context) -> int:
    """The payload's own time, ours where it has none."""
    if content.time_ms < 0:
        return context.received_us
    if FROM_MS <= content.time_ms < TO_MS:
        return content.time_ms * 1000
    if _received(context):
        return context.received_us
    raise refusal(f"expected the payload's time from 2000 to 2099, got {content.time_ms} ms", 0)


def _bd_seq(content: Payload) -> int:
    """The session that the payload belongs to, -1 where it says none."""
    for metric in content.metrics:
        if metric.name == "bdSeq" and metric.form == "integer":
            return int(metric.value)
    return -1


def _node_death(content: Payload, node: EdgeNode, topic: SparkplugTopic, context: Context) -> Sequence[Sample]:
    """The node is gone, unless this is the late will of a session that a newer birth has replaced."""
    if not node.ended(_bd_seq(content)):
        return ()
    # A will's time is that of the connection it was made for, so a death is known by when we heard of it.
    node.has_died("")
    return (Sample(_sender(topic, context), context.received_us, {}, units={}, states={"online": "false"}),)


CODEC: Final = Sparkplug()
