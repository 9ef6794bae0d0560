"""Gateways by the signs of life of their children: one notice when a gateway drops, not one per child.

From: arrivals of all kinds. To: findings of rule `gateway_silent`, and to silence rules, which hold their
tongue about the children of a silent gateway. A gateway is silent when nothing of any child came for
`periods` reporting periods of its fastest child. A gateway with one child has no voice of its own.
"""

from __future__ import annotations

from math import nan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.fleet import Fleet
from devices.readings import Bool, Int64
from devices.spec import Severity, Text
from ingest.decode import Timeline
from processors.evidence.sentence import Facts, sentence
from processors.findings import Evidence, Finding, Phase, finding_id, iso

RULE = "gateway_silent"
KIND = "gateway"
_BECAUSE: Final = Text(
    "网关自{since}起其下没有任何设备上报，已{lasted}，允许的间隔为{limit}；这些设备状态未知，并非告警",
    "no device behind the gateway has reported since {since}, for {lasted}; {limit} are allowed; "
    "they are unknown, not alarming",
)
_NEVER: int = np.iinfo(np.int64).max


class GatewayWatch:
    """Silence of whole gateways; g gateways."""

    STATE = ("last_us", "silent", "onset_us")

    def __init__(self, fleet: Fleet, periods: float) -> None:
        self._periods = periods
        self.ids: list[str] = []
        self.last_us = np.empty(0, dtype=np.int64)
        self.silent = np.empty(0, dtype=np.bool_)
        self.onset_us = np.empty(0, dtype=np.int64)
        self._wait_us = np.empty(0, dtype=np.int64)
        self.grow(fleet)

    def grow(self, fleet: Fleet) -> None:
        """Follow a changed registry; known gateways keep their state."""
        count, known = len(fleet.gateways), len(self.last_us)
        fastest, children = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
        first = np.full(count, _NEVER)
        for kind in fleet.kinds.values():
            rows = np.flatnonzero(kind.gateway >= 0)
            gateway = kind.gateway[rows]
            np.minimum.at(fastest, gateway, kind.cadence_s[rows])
            np.minimum.at(first, gateway, kind.registered_us[rows])
            np.add.at(children, gateway, 1)
        self.ids = fleet.gateways
        wait = np.where(children >= 2, fastest * self._periods, np.inf)
        self._wait_us = np.where(np.isfinite(wait), np.nan_to_num(wait, posinf=0) * 1e6, 0).astype(np.int64)
        self.last_us = np.concatenate([self.last_us, first[known:]])
        self.silent = np.concatenate([self.silent, np.zeros(count - known, dtype=np.bool_)])
        self.onset_us = np.concatenate([self.onset_us, np.zeros(count - known, dtype=np.int64)])

    def deadlines(self) -> Int64:
        """(g,) UTC when each gateway counts as silent; NEVER where it is already, or is not watched."""
        watched = (self._wait_us > 0) & ~self.silent & (self.last_us < _NEVER)
        return np.where(watched, np.where(watched, self.last_us, 0) + self._wait_us, _NEVER)

    def hush(self, gateway: NDArray[np.int32]) -> Bool:
        """(n,) true where a device's gateway is silent; `gateway` (n,) holds -1 for none."""
        if not len(self.silent):
            return np.zeros(len(gateway), dtype=np.bool_)
        return (gateway >= 0) & self.silent[np.maximum(gateway, 0)]

    def arrived(self, gateway: Int64, received_us: Int64, offset: Int64, findings: list[Finding]) -> Int64:
        """Signs of life, (m,) each, any order; the gateways (k,) that spoke again after silence."""
        order = np.lexsort((offset, received_us, gateway))
        rows, firsts = np.unique(gateway[order], return_index=True)
        at, first_offset = received_us[order][firsts], offset[order][firsts]
        self._raise(
            rows[self.deadlines()[rows] < at], findings, offsets=dict(zip(rows, first_offset, strict=True))
        )
        back = self.silent[rows]
        for row, when, where in zip(rows[back], at[back], first_offset[back], strict=True):
            findings.append(self._finding(int(row), Phase.CLEAR, int(when), int(where)))
        self.silent[rows[back]] = False
        np.maximum.at(self.last_us, gateway, received_us)
        never = self.last_us == _NEVER
        self.last_us[gateway[never[gateway]]] = received_us[never[gateway]]
        return rows[back]

    def expire(self, timeline: Timeline, findings: list[Finding]) -> None:
        """Let every gateway deadline speak that our clock has passed."""
        due = np.flatnonzero(self.deadlines() < timeline.clock[-1])
        offsets = {row: timeline.position(int(self.deadlines()[row])) for row in due.tolist()}
        self._raise(due, findings, offsets)

    def excuse(self, now_us: int) -> None:
        """We were away until `now_us`: no gateway's silence counts from before."""
        live = (self.last_us < now_us) & ~self.silent
        self.last_us[live] = now_us

    def _raise(self, rows: Int64, findings: list[Finding], offsets: dict[int, int]) -> None:
        for row in rows.tolist():
            self.onset_us[row] = self.last_us[row]
            self.silent[row] = True
            at = int(self.last_us[row] + self._wait_us[row])
            findings.append(self._finding(row, Phase.RAISE, at, int(offsets[row])))

    def _finding(self, row: int, phase: Phase, at_us: int, offset: int) -> Finding:
        onset = int(self.onset_us[row])
        waited = (at_us - onset) / 1e6
        allowed = float(self._wait_us[row]) / 1e6
        facts = Facts(
            quantity=None,
            observed=waited,
            expected=nan,
            limit=allowed,
            onset_us=onset,
            at_us=at_us,
            over=phase is Phase.CLEAR,
        )
        return Finding(
            id=finding_id(self.ids[row], RULE, onset),
            phase=phase,
            device=self.ids[row],
            kind=KIND,
            rule=RULE,
            version=1,
            severity=Severity.HIGH.value,
            onset=iso(onset),
            at=iso(at_us),
            offset=offset,
            evidence=Evidence(
                quantity=None,
                unit="s",
                observed=waited,
                expected=None,
                limit=allowed,
                hold_s=0.0,
                quality="good",
                window=(iso(onset), iso(at_us)),
                params={"periods": self._periods},
                why=sentence(_BECAUSE, facts),
            ),
        )
