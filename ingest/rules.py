"""Topic rules: what a topic that is not ours says about its sender, and the codec by default.

From: settings, one line per rule. To: `ingest.routes`, and the filters that ingest subscribes to. A rule is a topic
with names in braces and the default codec: `application/+/device/{address}/event/{leaf} chirpstack`.

    {device}   the registered id         {address}  its identity on the wire (DevEUI, MN)
    {gateway}  of the devices inside     {kind} {district} {group} {message} {node} {leaf}  of no consequence here
    +          any one level             #          anything that follows
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from ingest.errors import IngestError
from ingest.topics import LOGGERS, ROOT, TOPIC_BYTES_MAX

NAMES: Final = ("device", "address", "gateway", "kind", "district", "group", "message", "node", "leaf")
_LEVEL: Final = re.compile(r"\{([a-z]+)\}", re.ASCII)


@dataclass(frozen=True)
class Rule:
    """One rule. `levels`: the topic's, as written. `codec`: what is spoken there unless the registry says otherwise."""

    levels: tuple[str, ...]
    codec: str

    @cached_property
    def names(self) -> Mapping[str, int]:
        """Name in braces -> its level."""
        found = ((_LEVEL.fullmatch(level), place) for place, level in enumerate(self.levels))
        return {match[1]: place for match, place in found if match}

    @cached_property
    def filter(self) -> str:
        """The MQTT filter that lets exactly these topics come.

        >>> parse("v3/+/devices/{address}/up ttn").filter
        'v3/+/devices/+/up'
        """
        return "/".join("+" if _LEVEL.fullmatch(level) else level for level in self.levels)

    def match(self, levels: list[str]) -> dict[str, str] | None:
        """What the names in braces stand for in a topic of these `levels`; None when the rule is not for it."""
        if not levels or levels[0].startswith("$"):
            return None
        open_end = self.levels[-1] == "#"
        want = self.levels[:-1] if open_end else self.levels
        if len(levels) < len(want) or (len(levels) > len(want) and not open_end):
            return None
        for mine, theirs in zip(want, levels, strict=False):
            if mine not in ("+", theirs) and not (mine.startswith("{") and theirs):
                return None
        return {name: levels[place] for name, place in self.names.items()}


def parse(line: str) -> Rule:
    """A rule out of its line; IngestError when it is none."""
    topic, _, codec = line.strip().rpartition(" ")
    levels = tuple(topic.strip().split("/"))
    if not topic or len(topic.encode()) > TOPIC_BYTES_MAX:
        raise _refusal(line, "a topic and a codec, such as 'dtu/{address}/up modbus'")
    for place, level in enumerate(levels):
        last = place == len(levels) - 1
        named = _LEVEL.fullmatch(level)
        if named and named[1] not in NAMES:
            raise _refusal(line, f"a name among {', '.join(NAMES)} in braces, not {level}")
        if not named and (("#" in level and not (level == "#" and last)) or ("+" in level and level != "+")):
            raise _refusal(line, "+ as a whole level and # as the last")
        if not named and ("{" in level or "}" in level or not level.isprintable()):
            raise _refusal(line, "plain levels or one name in braces as a whole level")
    if levels[0] in ("", "#", "+", ROOT) or levels[0].startswith(("$", "{")):
        raise _refusal(line, f"a plain first level other than {ROOT}, so that not the whole broker is read")
    rule = Rule(levels, codec)
    if sum(name in rule.names for name in ("device", "address", "gateway")) > 1:
        raise _refusal(line, "one of {device}, {address} and {gateway} at most")
    return rule


def _refusal(line: str, expected: str) -> IngestError:
    return IngestError(f"topic rule {line!a:.160}: expected {expected}; it was not taken")


BUILT_IN: Final = (
    parse("application/+/device/{address}/event/{leaf} chirpstack"),
    parse("v3/+/devices/{address}/up ttn"),
    parse("spBv1.0/{group}/{message}/{node} sparkplug"),
    parse("spBv1.0/{group}/{message}/{node}/{leaf} sparkplug"),
    parse(f"{LOGGERS}/{{address}}/up {LOGGERS}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """Topics besides our own.

    `rules`: one line each, `topic codec`, tried before the built-in ones. `built_in`: also take what ChirpStack, The
    Things Network, Sparkplug B and HJ 212 over MQTT send under their usual topics.
    """

    rules: tuple[str, ...] = ()
    built_in: bool = True

    def __post_init__(self) -> None:
        self.all()

    def all(self) -> tuple[Rule, ...]:
        """Every rule, in the order of trial; IngestError when a line is none."""
        return (*map(parse, self.rules), *(BUILT_IN if self.built_in else ()))

    def filters(self) -> tuple[str, ...]:
        """What to subscribe to beside our own topics."""
        return tuple(dict.fromkeys(rule.filter for rule in self.all()))
