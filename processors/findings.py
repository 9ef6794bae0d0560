"""A finding: what a detector states, with its evidence.

From: the engine, out of detector hits. To: alerts, replay, the golden files. A finding's id is a hash of
device, rule and onset: processing the journal twice states the same thing twice, under the same id.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from devices.beijing import EPOCH, MICROSECOND


class Phase(StrEnum):
    """A condition's life: it rises, may worsen, and ends."""

    RAISE = "raise"
    UPDATE = "update"
    CLEAR = "clear"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity's course in a chart; as many values as the chart has times, null where there was none."""

    quantity: str
    unit: str
    values: list[float | None]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule saw, to be drawn: p points, the rule's own quantity first.

    `seconds`: (p,) before (negative) the moment of the decision. `expected`, `limit`: (p,) in the first line's unit, or
    empty where they are one number or none.
    """

    seconds: list[float]
    lines: list[Line]
    expected: list[float | None] = []
    limit: list[float | None] = []


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why the detector says so. `window` is UTC: from where it looked to where it decided.

    `why`: the sentence by language, "zh" and "en". `numbers`: what else the sentence names. `place`: devices nearest to
    the cause, most likely first, within `radius_m` of the first. All empty in what was stated before there were such.
    """

    quantity: str | None
    unit: str
    observed: float | None
    expected: float | None
    limit: float | None
    hold_s: float
    quality: str
    window: tuple[str, str]
    params: dict[str, float]
    why: dict[str, str] = {}
    numbers: dict[str, float] = {}
    place: list[str] = []
    radius_m: float | None = None
    chart: Chart | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One statement about one device. Times are ISO 8601 UTC; `offset` is the journal offset that decided it."""

    id: str
    phase: Phase
    device: str
    kind: str
    rule: str
    version: int
    severity: str
    onset: str
    at: str
    offset: int
    evidence: Evidence

    def line(self) -> bytes:
        """Canonical JSON: equal findings have equal bytes."""
        return _ENCODER.encode(self)


_ENCODER = msgspec.json.Encoder(order="deterministic")


def finding_id(device: str, rule: str, onset_us: int) -> str:
    """Identity of a condition: the same device, rule and onset always give the same id."""
    return hashlib.blake2b(f"{device}|{rule}|{onset_us}".encode(), digest_size=10).hexdigest()


def iso(time_us: int) -> str:
    """`time_us` as ISO 8601 UTC with milliseconds; a time outside the calendar as its number."""
    try:
        moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_us}us"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us // 1000 % 1000:03d}Z"


def micros(text: str) -> int:
    """UTC microseconds of a finding's time, the inverse of `iso`.

    >>> micros("2026-01-05T08:00:00.250Z")
    1767600000250000
    """
    if text.endswith("us"):
        return int(text.removesuffix("us"))
    return (datetime.fromisoformat(text) - EPOCH) // MICROSECOND
