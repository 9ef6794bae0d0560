"""What a topic means: whose it is, what is spoken there, and what the codec must know.

From: topics out of the journal and the registered fleet. To: `ingest.decode`. Three scopes: one device under its own
topic, a gateway for its children, and a topic open to every device whose address the frame itself names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from devices.codecs import Codec, Context
from devices.fleet import Fleet, KindFleet
from devices.readings import Sample
from ingest.rules import BUILT_IN, Rule
from ingest.topics import ROOT, Topic, TopicError, parse_topic

GATEWAY: Final = "gateway"  # topic kind under which a gateway sends for its children
JSON: Final = "json"
HINT: Final = "import it with 'undercity devices import'"
_OWN_RULE: Final = Rule((ROOT, "{district}", "{kind}", "{device}", "up"), JSON)

Place = tuple[KindFleet, int]
Memory = dict[str, dict[str, Any]]


class Scope(Enum):
    """Whose readings may come under a topic."""

    OWN = auto()  # one device
    GATEWAY = auto()  # the children of a gateway
    OPEN = auto()  # every device that the frame names by its address


@dataclass(slots=True)
class Route:
    """One topic's meaning. `sender`: as a person knows it. `fleet`, `row`: of the device, in the scope OWN."""

    sender: str
    kind: str
    codec: Codec
    context: Context
    scope: Scope
    fleet: KindFleet | None = None
    row: int = -1


class Router:
    """Routes for one fleet; `memory` outlives it, key by key as senders speak."""

    def __init__(
        self,
        fleet: Fleet,
        codecs: Mapping[str, Codec],
        rules: Sequence[Rule] = BUILT_IN,
        memory: Memory | None = None,
    ) -> None:
        self._fleet = fleet
        self._codecs = codecs
        self._rules = rules
        self.memory: Memory = memory if memory is not None else {}
        self._by_address: dict[str, list[Place]] = {}
        self._children: dict[str, dict[str, Place]] = {}
        self._nodes: set[str] = set()
        for kind in fleet.kinds.values():
            for row, address in enumerate(kind.address):
                if address:
                    self._by_address.setdefault(address.casefold(), []).append((kind, row))
                    self._nodes.add("/".join(address.casefold().split("/")[:2]))
            for device, row in kind.index.items():
                gateway = kind.gateway_id[row]
                if gateway:
                    children = self._children.setdefault(gateway, {})
                    children[device] = (kind, row)
                    if kind.address[row]:  # a frame that names nobody is not that of a child without an address
                        children.setdefault(kind.address[row].casefold(), (kind, row))

    def route(self, topic: str) -> Route | str:
        """What `topic` means; the reason when it means nothing to us."""
        if topic.startswith(f"{ROOT}/"):
            return self._ours(topic)
        levels = topic.split("/")
        for rule in self._rules:
            names = rule.match(levels)
            if names is not None:
                return self._foreign(topic, rule, names)
        try:
            parse_topic(topic)
        except TopicError as error:
            return str(error)
        raise AssertionError(topic)  # a topic of ours begins like one

    def _ours(self, topic: str) -> Route | str:
        try:
            parsed = parse_topic(topic)
        except TopicError as error:
            return str(error)
        if parsed.leaf != "up":
            return f"{parsed.device}: readings come under up, this came under {parsed.leaf}; it was not used"
        if parsed.kind == GATEWAY:
            return self._gateway(topic, parsed.device, JSON)
        return self._device(topic, parsed)

    def _device(self, topic: str, parsed: Topic) -> Route | str:
        fleet = self._fleet.kinds.get(parsed.kind)
        if fleet is None:
            return f"{parsed.device}: kind {parsed.kind} is unknown; known are {', '.join(self._fleet.kinds)}"
        row = fleet.index.get(parsed.device)
        if row is None:
            return f"{parsed.device}: not registered as {parsed.kind}; {HINT}"
        return self._own(topic, fleet, row, _OWN_RULE)

    def _foreign(self, topic: str, rule: Rule, names: Mapping[str, str]) -> Route | str:
        if "gateway" in names:
            return self._gateway(topic, names["gateway"], rule.codec)
        if "device" in names:
            found = self._fleet.find(names["device"])
            if found is None:
                return f"{_name(names['device'])}: not registered; {HINT}"
            return self._own(topic, *found, rule)
        if "address" in names:
            place = self.addressed(names["address"], rule.codec)
            return place if isinstance(place, str) else self._own(topic, *place, rule)
        codec = self._codec(rule.codec, topic)
        if isinstance(codec, str):
            return codec
        return self._open(topic, codec, "/".join(names[name] for name in ("group", "node") if name in names))

    def _open(self, topic: str, codec: Codec, node: str) -> Route | str:
        """A topic under which frames name their device. `node`: an edge node that speaks for its devices, or empty."""
        if not node:
            return Route(topic, "", codec, Context(topic=topic), Scope.OPEN)
        if node.casefold() not in self._nodes:
            # Nothing of a stranger is kept, or whoever invents names would fill our memory.
            return f"{_name(node)}: no device of this edge node is registered; {HINT}"
        return Route(node, "", codec, Context(topic=topic, memory=self._memory(codec, node)), Scope.OPEN)

    def _own(self, topic: str, fleet: KindFleet, row: int, rule: Rule) -> Route | str:
        device = fleet.ids[row]
        codec = self._codec(fleet.codec[row] or rule.codec, device)
        if isinstance(codec, str):
            return codec
        context = self.context(topic, codec, fleet, row)
        return Route(device, fleet.kind.name, codec, context, Scope.OWN, fleet, row)

    def _gateway(self, topic: str, gateway: str, default: str) -> Route | str:
        children = self._children.get(gateway)
        if not children:
            return f"{_name(gateway)}: no registered device belongs to this gateway; nothing was stored"
        spoken = sorted({fleet.codec[row] or default for fleet, row in children.values()})
        if len(spoken) > 1:
            return f"{gateway}: its devices speak {' and '.join(spoken)}; expected one codec behind one topic"
        codec = self._codec(spoken[0], gateway)
        if isinstance(codec, str):
            return codec

        def child(address: str) -> Context | None:
            place = children.get(address) or children.get(address.casefold())
            return self.context(topic, codec, *place) if place else None

        context = Context(topic=topic, device=gateway, memory=self._memory(codec, gateway), child=child)
        return Route(gateway, GATEWAY, codec, context, Scope.GATEWAY)

    def context(self, topic: str, codec: Codec, fleet: KindFleet, row: int) -> Context:
        """What the codec must know of one device."""
        return Context(
            topic=topic,
            device=fleet.address[row] or fleet.ids[row],
            model=fleet.model[row],
            settings=fleet.settings[row] or {},
            memory=self._memory(codec, fleet.ids[row]),
        )

    def _memory(self, codec: Codec, sender: str) -> dict[str, Any]:
        return self.memory.setdefault(f"{codec.name}:{sender}", {})

    def _codec(self, name: str, who: str) -> Codec | str:
        codec = self._codecs.get(name)
        return codec or f"{_name(who)}: codec {name} is unknown; known are {', '.join(self._codecs)}"

    def addressed(self, address: str, codec: str) -> Place | str:
        """The one device at `address`, which speaks `codec` or leaves that open; the reason when there is none."""
        found = self._by_address.get(address.casefold(), [])
        fitting = [(kind, row) for kind, row in found if kind.codec[row] in ("", codec)] or found
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and (known := self._fleet.find(address)) is not None and not known[0].address[known[1]]:
            return known  # its identity on the wire is its id, as `context` and the listener take it
        if not fitting:
            return f"{_name(address)}: no device with this address is registered; {HINT}"
        names = ", ".join(kind.ids[row] for kind, row in fitting[:3])
        return f"{_name(address)}: the address of {names}; expected it at one device; nothing was stored"

    def whose(self, sample: Sample, route: Route) -> Place | str:
        """The registered device that `sample` came from; the reason when there is none."""
        device = sample.device
        if route.fleet is not None:
            return self._itself(sample, route.fleet, route.row)
        if route.scope is Scope.OPEN:
            return self.addressed(device, route.codec.name)
        place = self._children[route.sender].get(device) or self._children[route.sender].get(device.casefold())
        if place is not None:
            return place
        found = self._fleet.find(device)
        if found is None:
            return f"{_name(device)}: not registered; gateway {route.sender} reported it"
        registered = found[0].gateway_id[found[1]] or "none"
        return f"{device}: registered under gateway {registered}, not {route.sender}"

    @staticmethod
    def _itself(sample: Sample, fleet: KindFleet, row: int) -> Place | str:
        own, address = fleet.ids[row], fleet.address[row]
        if sample.device in (own, ""):
            return fleet, row
        if sample.device.casefold() == address.casefold():
            return fleet, row
        if not address and sample.units is not None:
            return fleet, row  # the topic says whose it is; nobody registered what its frames call themselves
        if sample.units is None:
            return f"{own}: its payload names {_name(sample.device)}; a device reports under its own id only"
        return f"{own}: its frame names {_name(sample.device)}, registered is {address}; nothing was stored"


def _name(text: str) -> str:
    """What the wire calls somebody, as it may stand in a line for a person."""
    return f"{text:.140}" if text.isprintable() else f"{text!a:.140}"
