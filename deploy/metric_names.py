"""What the numbers in the heartbeats mean: metric names, and which of them say that a role is not ready.

From: the field names the roles use in `deploy.status`. To: `/metrics` and `/readyz`. A field that is not in the
table is still shown, as a gauge under its role's name: a number must not wait for this file.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.status import Seen


@dataclass(frozen=True, slots=True)
class Metric:
    """One Prometheus metric. `subject` is the label that says whose number it is; `labels` are further ones."""

    name: str
    meaning: str
    counter: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    subject: str = "role"


ROLE_UP = Metric("undercity_role_up", "1 while the role's heartbeat is fresh")
ROLE_READY = Metric("undercity_role_ready", "1 while the role can do its work")
ROLE_START = Metric("undercity_role_start_time_seconds", "Unix time at which the role started")
RESIDENT = Metric("undercity_process_resident_memory_bytes", "Memory of the role's process")
CURSOR_LAG = Metric("undercity_cursor_lag", "Deliveries a consumer is behind the journal's end", subject="cursor")

_COUNTERS = {
    "received": "Messages received from the broker, packets of loggers",
    "acked": "Messages or packets acknowledged after the commit",
    "journalled": "Deliveries committed to the journal",
    "commits": "Group commits of the journal",
    "bytes": "Payload bytes received",
    "reconnects": "Times the broker link was made again",
    "unrecorded": "Refused packets that were counted only: too many at once",
    "turned_away": "Connections of loggers above a limit",
    "closed_by_us": "Connections of loggers closed for what they did or did not",
    "taken_over": "Connections closed because the same logger connected anew",
    "slowed": "Times a connection sent more than it may and was read more slowly",
    "requests": "Requests to loggers",
    "oversized": "Messages above the size bound",
    "deliveries": "Deliveries the pipeline has read",
    "rows": "Readings that came out of decoding",
    "duplicates": "Readings that were already there",
    "missing": "Readings that a device counted and that did not come in time",
    "late": "Readings that came too late to wake anyone",
    "refused": "Deliveries that went to quarantine",
    "findings": "Findings stated",
    "rows_written": "Readings stored",
    "sent": "Notifications delivered",
    "failed": "Notification attempts that failed",
    "sparkplug_messages": "Messages of Sparkplug edge nodes that the host application saw",
    "sparkplug_births": "Births of edge nodes",
    "sparkplug_deaths": "Deaths of edge nodes",
    "sparkplug_gaps": "Gaps in the sequences of edge nodes",
    "sparkplug_rebirths": "Rebirths that were asked for",
    "sparkplug_withheld": "Requests for a rebirth that their pauses forbade",
    "sparkplug_unread": "Sparkplug messages that cannot be read",
}
_GAUGES = {
    "connected": "1 while the broker link is up",
    "connections": "Connections of loggers that are open",
    "loggers": "Loggers that are connected and known",
    "offset": "Journal offset the pipeline has reached",
    "journal_next": "Journal offset the next delivery gets",
    "journal_full": "1 while the journal has no space and nothing is acknowledged",
    "rejected": "Readings the store refused for good",
    "commit_s": "Duration of the last group commit, seconds",
    "stored_upto": "Journal offset up to which everything is in the store",
    "store_failing": "1 while the store cannot be written",
    "pending": "Notifications that wait",
    "given_up": "Notifications that were given up",
    "sparkplug_connected": "1 while the Sparkplug host application is connected",
    "sparkplug_nodes": "Edge nodes that the host application remembers",
    "sparkplug_online": "Edge nodes that live",
}
_SEVERITIES = ("high", "medium", "low")


def metric_of(role: str, name: str) -> Metric:
    """The metric behind field `name` of `role`."""
    kind = role.partition("-")[0]
    if name in _COUNTERS:
        return Metric(f"undercity_{kind}_{name}", _COUNTERS[name], counter=True)
    if name.removeprefix("alerts_") in _SEVERITIES and name.startswith("alerts_"):
        severity = name.removeprefix("alerts_")
        return Metric("undercity_alerts", "Alerts that are active", labels=(("severity", severity),))
    return Metric(f"undercity_{kind}_{name}", _GAUGES.get(name, f"{name} of the {kind}"))


def faults_of(seen: Seen) -> list[str]:
    """Why a living role cannot do its work: what it says itself, and what its numbers say."""
    faults, fields = list(seen.status.not_ready), seen.status.fields
    if fields.get("connected", 1.0) == 0.0:
        faults.append("expected a link to the broker, has none; the broker keeps the messages")
    if fields.get("journal_full", 0.0):
        faults.append(
            "expected space for the journal, the disk is full; nothing is acknowledged until there is some"
        )
    if fields.get("store_failing", 0.0):
        behind = fields.get("offset", 0.0) - fields.get("stored_upto", 0.0)
        faults.append(
            f"expected a store that takes readings, it fails; {behind:.0f} deliveries wait in the journal"
        )
    return faults
