"""Simulated Sparkplug edge nodes: births before data.

From: `devices.simulator.wire`. To: topics. Addresses are `group/node` or `group/node/device`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

SPARKPLUG: Final = "sparkplug"
_NAMESPACE: Final = "spBv1.0"


def edge_of(address: str) -> str:
    """The edge node that speaks for `address`.

    >>> edge_of("city/pump-7/flow")
    'city/pump-7'
    """
    return "/".join(address.split("/")[:2])


def edge_messages(address: str, memory: MutableMapping[str, Any]) -> tuple[list[str], str]:
    """Topics of the births that must come first, and of the message with the values; `memory` is the edge node's.

    >>> memory = {}
    >>> edge_messages("city/pump-7/flow", memory)
    (['spBv1.0/city/NBIRTH/pump-7'], 'spBv1.0/city/DBIRTH/pump-7/flow')
    >>> edge_messages("city/pump-7/flow", memory)
    ([], 'spBv1.0/city/DDATA/pump-7/flow')
    """
    group, node, *device = (*address.split("/"), "")[:3]
    own = [part for part in device if part]
    born = memory.setdefault("born", [])
    level = "D" if own else "N"
    topic = "/".join((_NAMESPACE, group, f"{level}{'DATA' if address in born else 'BIRTH'}", node, *own))
    births = [] if not own or node in born else [f"{_NAMESPACE}/{group}/NBIRTH/{node}"]
    born.extend({address, node} - set(born))
    return births, topic
