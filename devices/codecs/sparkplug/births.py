"""What an edge node has said of itself: its births, its life, its place in the sequence.

From: the codec, message by message. To: `Context.memory` of the edge node, as JSON values, so that it survives in
snapshots:

    {"online": true, "bd": 3, "seq": 17, "at": 1767600000000,
     "births": {"Pump": {"names": {"Pressure": [10, "kPa"]}, "aliases": {"7": "Pressure"}}}}

`births` is by device, "" for the node itself; `names` gives the datatype and the unit of each metric.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final, NamedTuple

from devices.codecs.sparkplug.payload import Metric, Payload
from devices.codecs.sparkplug.wire import refusal
from devices.errors import PayloadError

METRICS_MAX: Final = 5_000  # of one edge node with all its devices
SEQ_COUNT: Final = 256
Birth = dict[str, dict[str, Any]]


class BirthMissing(PayloadError):  # noqa: N818  a state of affairs, read aloud as such
    """Raised when data lean on a birth that never came here; after the birth the same bytes decode."""


class Known(NamedTuple):
    """What a metric is: by its own words, else by those of its birth."""

    name: str
    datatype: int
    unit: str


class EdgeNode:
    """One edge node's memory; what is asked changes nothing, what happened is said by a verb in the past."""

    def __init__(self, memory: MutableMapping[str, Any]) -> None:
        self._memory = memory

    @property
    def online(self) -> bool | None:
        """Whether the node is there; None while nothing is known."""
        online: bool | None = self._memory.get("online")
        return online

    def birth(self, device: str) -> Birth | None:
        """The birth of the node (`device` empty) or of one of its devices, None without one."""
        birth: Birth | None = self._memory.get("births", {}).get(device)
        return birth

    def known(self, device: str, birth: Birth | None, metric: Metric) -> Known:
        """What `metric` is; BirthMissing when only a birth could say."""
        name = metric.name
        if not name and metric.alias >= 0:
            name = birth["aliases"].get(str(metric.alias), "") if birth else ""
            if not name:
                raise _missing(device, f"no name for alias {metric.alias}", metric.at)
        if not name:
            raise refusal("expected a metric with a name or an alias, got neither", metric.at)
        datatype, unit = birth["names"].get(name, (0, "")) if birth else (0, "")
        if not metric.datatype and not datatype and metric.form == "integer" and birth is None:
            raise _missing(device, f"no datatype of {name!a:.80}", metric.at)
        return Known(name, metric.datatype or datatype, metric.unit or unit)

    def gap(self, payload: Payload) -> str | None:
        """What is missing before `payload`, None when it is next, came before, or cannot be compared."""
        expected = self._expected()
        if payload.seq < 0 or expected < 0 or payload.seq == expected or self._is_old(payload, expected):
            return None
        return f"expected {expected}, got {payload.seq}"

    def came(self, payload: Payload) -> None:
        """Count `payload` in the sequence."""
        if payload.seq >= 0 and not self._is_old(payload, self._expected()):
            self._memory["seq"] = payload.seq
            self._memory["at"] = payload.time_ms

    def _expected(self) -> int:
        """The next number, -1 while none is known."""
        last = self._memory.get("seq", -1)
        return -1 if last < 0 else (last + 1) % SEQ_COUNT

    def _is_old(self, payload: Payload, expected: int) -> bool:
        """Whether `payload` was sent before the last one: out of quarantine, overtaken, or delivered twice."""
        if payload.seq == expected or payload.time_ms < 0:
            return False  # what is next is not old, whatever its clock says
        at = int(self._memory.get("at", -1))
        return payload.time_ms < at or (payload.time_ms == at and payload.seq == self._memory.get("seq"))

    def was_born(self, device: str, birth: Birth, bd: int) -> None:
        """Take the birth of the node, which ends all its devices' births, or of one of its devices."""
        if device:
            self._memory.setdefault("births", {})[device] = birth
        else:
            self._memory["births"] = {"": birth}
            self._memory["online"] = True
            self._memory["bd"] = bd
            self._memory.pop("at", None)  # the sequence begins anew, even where the clock was set back

    def ended(self, bd: int) -> bool:
        """Whether a node's death with this bdSeq ends the life that we know: a will may come after the next birth."""
        mine = self._memory.get("bd", -1)
        return mine < 0 or bd < 0 or bd == mine

    def has_died(self, device: str) -> None:
        """Forget the births that the death of the node, or of one of its devices, ends."""
        if device:
            self._memory.get("births", {}).pop(device, None)
            return
        self._memory["births"] = {}
        self._memory["online"] = False
        for name in ("seq", "at"):
            self._memory.pop(name, None)

    def new_birth(self, device: str, metrics: list[Metric]) -> Birth:
        """The birth that `metrics` state; PayloadError when the node would have too many or an alias means two."""
        birth: Birth = {"names": {}, "aliases": {}}
        for metric in metrics:
            if not metric.name:
                raise refusal("expected every metric of a birth with its name, got one without", metric.at)
            birth["names"][metric.name] = [metric.datatype, metric.unit]
            if metric.alias >= 0:
                other = birth["aliases"].setdefault(str(metric.alias), metric.name)
                if other != metric.name:
                    both = f"{other!a:.80} and {metric.name!a:.80}"
                    raise refusal(f"expected alias {metric.alias} for one metric, got it for {both}", metric.at)
        others = self._memory.get("births", {}) if device else {}
        count = sum(len(one["names"]) + 1 for name, one in others.items() if name != device) + len(metrics)
        if count > METRICS_MAX:
            raise refusal(f"expected at most {METRICS_MAX} metrics of an edge node, got {count}", 0)
        return birth


def _missing(device: str, what: str, at: int) -> BirthMissing:
    message = "DBIRTH" if device else "NBIRTH"
    return BirthMissing(
        f"sparkplug: expected a {message} before these data, got {what}; the birth is missing, nothing was used",
        offset=at,
    )
