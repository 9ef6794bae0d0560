"""Sparkplug topics: `spBv1.0/GROUP/MESSAGE/NODE`, with `/DEVICE` behind it for a device's own messages.

From: MQTT, where anything may stand. To: the codec, the host, and whoever routes by sender, as a `SparkplugTopic`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from devices.errors import PayloadError

NAMESPACE: Final = "spBv1.0"
STATE: Final = "STATE"  # a host application's own state: JSON, and no edge node's
NODE_MESSAGES: Final = ("NBIRTH", "NDATA", "NDEATH")
DEVICE_MESSAGES: Final = ("DBIRTH", "DDATA", "DDEATH")
COMMANDS: Final = ("NCMD", "DCMD")
MESSAGES: Final = NODE_MESSAGES + DEVICE_MESSAGES
_PART_CHARS_MAX: Final = 128
_SHOWN_CHARS: Final = 120


class SparkplugTopic(NamedTuple):
    """A topic's parts; `device` is empty for the edge node itself."""

    group: str
    message: str
    node: str
    device: str = ""

    @property
    def edge(self) -> str:
        """The edge node: all its messages share one sequence, one life and one set of aliases."""
        return f"{self.group}/{self.node}"

    @property
    def sender(self) -> str:
        """Whose metrics the message carries: `group/node` or `group/node/device`."""
        return f"{self.group}/{self.node}/{self.device}" if self.device else f"{self.group}/{self.node}"


def parse_topic(text: str) -> SparkplugTopic | None:
    """Take a topic apart; None for a host's STATE, PayloadError for what Sparkplug B does not know.

    >>> parse_topic("spBv1.0/Plant/DDATA/Edge1/Pump")
    SparkplugTopic(group='Plant', message='DDATA', node='Edge1', device='Pump')
    """
    parts = text.split("/")
    if parts[0] == STATE or parts[:2] == [NAMESPACE, STATE]:
        return None
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE:
        raise _refusal(f"expected {NAMESPACE}/GROUP/MESSAGE/NODE or .../NODE/DEVICE", text)
    if parts[2] not in MESSAGES + COMMANDS:
        raise _refusal(f"expected a message among {', '.join(MESSAGES + COMMANDS)}", text)
    if (len(parts) == 5) != (parts[2][0] == "D"):
        raise _refusal(f"expected a device behind the node for D messages only, not for {parts[2]}", text)
    if not all(map(_is_name, parts)):
        raise _refusal(f"expected printable names of 1 to {_PART_CHARS_MAX} characters without + and #", text)
    return SparkplugTopic(*parts[1:])


def _is_name(part: str) -> bool:
    return 0 < len(part) <= _PART_CHARS_MAX and part.isprintable() and "+" not in part and "#" not in part


def _refusal(wanted: str, text: str) -> PayloadError:
    return PayloadError(f"sparkplug: topic: {wanted}, got {text[:_SHOWN_CHARS]!a}; nothing was used")
