"""Topic names: `city/{district}/{kind}/{device}/{leaf}`.

From: the wire, where anything may stand. To: decoding, the simulator and whoever sends commands, as a `Topic`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ingest.errors import IngestError

ROOT: Final = "city"
LOGGERS: Final = "hj212"  # first level of the topics of HJ 212 packets, and the codec that reads them
LEAVES: Final = ("up", "down", "status")  # readings, commands, retained state and last will
LEVEL_CHARS_MAX: Final = 64
TOPIC_BYTES_MAX: Final = 512  # three levels of 64 characters of Chinese, and some room
_SHOWN_CHARS = 80


class TopicError(IngestError):
    """Raised when a topic is not one of ours."""


class Topic(NamedTuple):
    """A topic's parts; `leaf` is one of `LEAVES`."""

    district: str
    kind: str
    device: str
    leaf: str = "up"


def parse_topic(text: str) -> Topic:
    """Take a topic apart; TopicError when it is not exactly one of ours.

    >>> parse_topic("city/pudong/water_pressure/WP-0412/up")
    Topic(district='pudong', kind='water_pressure', device='WP-0412', leaf='up')
    """
    levels = text.split("/")
    if len(levels) != 5 or levels[0] != ROOT:
        raise TopicError(
            f"topic {_shown(text)}: expected {ROOT}/DISTRICT/KIND/DEVICE/up|down|status; it was not used"
        )
    topic = Topic(*levels[1:])
    _check(topic)
    return topic


def format_topic(topic: Topic) -> str:
    """The topic's name on the wire; TopicError when a part cannot stand in one.

    >>> format_topic(Topic("pudong", "water_pressure", "WP-0412", "down"))
    'city/pudong/water_pressure/WP-0412/down'
    """
    _check(topic)
    return "/".join((ROOT, *topic))


def subscriptions(leaf: str = "up", *, group: str = "") -> tuple[str, ...]:
    """What to subscribe to for one leaf of every device; shared out among the members of `group` if there is one.

    >>> subscriptions(group="ingest")
    ('$share/ingest/city/+/+/+/up',)
    """
    if leaf not in LEAVES:
        raise TopicError(f"subscription: expected one of {', '.join(LEAVES)}, got {_shown(leaf)}")
    return (shared(f"{ROOT}/+/+/+/{leaf}", group),)


def shared(pattern: str, group: str) -> str:
    """`pattern`, shared out among the members of `group`; `pattern` itself without one.

    >>> shared("city/+/+/+/up", "")
    'city/+/+/+/up'
    """
    if not group:
        return pattern
    if _fault(group) is not None:
        raise TopicError(f"share group {_shown(group)}: {_fault(group)}")
    return f"$share/{group}/{pattern}"


def _check(topic: Topic) -> None:
    for name, level in zip(topic._fields, topic, strict=True):
        fault = _fault(level)
        if fault is not None:
            raise TopicError(f"topic {_shown('/'.join((ROOT, *topic)))}: {name}: {fault}; it was not used")
    if topic.leaf not in LEAVES:
        raise TopicError(
            f"topic {_shown('/'.join((ROOT, *topic)))}: expected {', '.join(LEAVES)} at the end, "
            f"got {_shown(topic.leaf)}; it was not used"
        )
    size = len("/".join((ROOT, *topic)).encode())
    if size > TOPIC_BYTES_MAX:
        raise TopicError(f"topic of {topic.device}: expected up to {TOPIC_BYTES_MAX} bytes, got {size}; not used")


def _fault(level: str) -> str | None:
    """What is wrong with one level, None when nothing is."""
    if not level:
        return "expected a name, got nothing"
    if len(level) > LEVEL_CHARS_MAX:
        return f"expected up to {LEVEL_CHARS_MAX} characters, got {len(level)}"
    for character in level:
        # Printable leaves out control characters, lone surrogates and every space but one.
        if character in "+#/ " or not character.isprintable():
            return f"expected printable characters other than + # / and space, got {character!r}"
    return None


def _shown(text: str) -> str:
    """`text` as it may stand in a log line: quoted, escaped, of bounded length."""
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…")
