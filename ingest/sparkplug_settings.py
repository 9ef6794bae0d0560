"""How we act as a Sparkplug host application, checked without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ingest.errors import IngestError

_HOST_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkplugSettings:
    """The Sparkplug host application beside the first ingest worker; reading Sparkplug needs none of it.

    `enabled`: watch the edge nodes and ask for a rebirth where data cannot be understood or went missing. `host_id`:
    our name as a host application; with one, edge nodes see under `spBv1.0/STATE/host_id` whether we are there, empty
    for none. `subscriptions`: whose messages to watch. `rebirth_min_s`: pause after the first request to an edge node;
    it doubles while the node goes on giving reason. `rebirth_max_s`: the longest such pause; a node that was not asked
    for twice as long counts as healed. `rebirths_per_s`: requests to all edge nodes together. `nodes_max`: edge nodes
    that are remembered; beyond, the one longest silent is forgotten. `metrics_max`: the same for the metrics of all.
    """

    enabled: bool = False
    host_id: str = ""
    subscriptions: tuple[str, ...] = ("spBv1.0/#",)
    rebirth_min_s: float = 5.0
    rebirth_max_s: float = 600.0
    rebirths_per_s: float = 5.0
    nodes_max: int = 2_000
    metrics_max: int = 200_000

    def __post_init__(self) -> None:
        if not 0 < self.rebirth_min_s <= self.rebirth_max_s:
            raise IngestError(
                f"sparkplug.rebirth_min_s: expected above 0 and at most rebirth_max_s, got {self.rebirth_min_s}"
            )
        if not 0 < self.rebirths_per_s <= 1_000:
            raise IngestError(f"sparkplug.rebirths_per_s: expected above 0 to 1000, got {self.rebirths_per_s}")
        if self.nodes_max < 1 or self.metrics_max < 1:
            raise IngestError("sparkplug.nodes_max and metrics_max: expected at least 1")
        if not self.subscriptions:
            raise IngestError("sparkplug.subscriptions: expected at least one topic filter, got none")
        name = self.host_id
        if len(name) > _HOST_CHARS_MAX or not name.isprintable() or set(name) & set("/+# "):
            raise IngestError(
                f"sparkplug.host_id: expected up to {_HOST_CHARS_MAX} printable characters without / + # and space, "
                f"got {name!a:.80}"
            )
