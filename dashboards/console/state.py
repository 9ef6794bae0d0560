"""Who reports, who is silent, who alarms: one kind's devices at one moment, as arrays.

From: the store's latest values, the fleet and the active alerts. To: the overview and its live updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.fleet import KindFleet
from devices.readings import Int64
from ingest.timeseries.ports import Latest

REPORTING, SILENT, ALARMING = 0, 1, 2
STATES = ("reporting", "silent", "alarming")


class Counts(NamedTuple):
    """How many devices of a kind are in which state; `worst`: the most urgent priority, 0 without an alert."""

    reporting: int
    silent: int
    alarming: int
    worst: int


@dataclass(slots=True)
class KindNow:
    """One kind's registered devices; n devices.

    `ids`: (n,) device ids. `row`: (n,) row in the fleet. `place`: (n,) row in `latest`, -1 for never reported.
    `newest_us`: (n,) UTC of the newest value, 0 for never. `state`: (n,) REPORTING, SILENT or ALARMING.
    `rank`: (n,) priority of its worst active alert, 1 to 3, 0 without one.
    """

    fleet: KindFleet
    latest: Latest
    ids: list[str]
    index: dict[str, int]
    row: Int64
    place: Int64
    newest_us: Int64
    state: NDArray[np.int8]
    rank: NDArray[np.int8]

    def counts(self) -> Counts:
        """Devices reporting, silent and alarming, and the worst priority among them."""
        reporting, silent, alarming = np.bincount(self.state, minlength=3).tolist()
        ranks = self.rank[self.rank > 0]
        return Counts(reporting, silent, alarming, int(ranks.min()) if len(ranks) else 0)


class Surveyor:
    """Builds `KindNow`, remembering which row is which while neither fleet nor device list changes."""

    def __init__(self, silent_periods: float) -> None:
        self._periods = silent_periods
        self._known: dict[str, tuple[KindFleet, list[str], KindNow]] = {}

    def survey(self, fleet: KindFleet, latest: Latest, alarming: Mapping[str, int], now_us: int) -> KindNow:
        """The state of every registered device of `fleet`'s kind; `alarming`: device -> worst rank."""
        base = self._aligned(fleet, latest)
        newest = np.zeros(len(base.ids), dtype=np.int64)
        if latest.time_us is not None and latest.time_us.size:
            reported = base.place >= 0
            newest[reported] = latest.time_us.max(axis=1)[base.place[reported]]
        patience_us = fleet.cadence_s[base.row] * (self._periods * 1e6)
        state = np.where(now_us - newest > patience_us, SILENT, REPORTING).astype(np.int8)
        rank = np.zeros(len(base.ids), dtype=np.int8)
        for device, worst in alarming.items():
            if (at := base.index.get(device)) is not None:
                rank[at] = worst
        state[rank > 0] = ALARMING
        return KindNow(fleet, latest, base.ids, base.index, base.row, base.place, newest, state, rank)

    def _aligned(self, fleet: KindFleet, latest: Latest) -> KindNow:
        known = self._known.get(fleet.kind.name)
        if known and known[0] is fleet and known[1] == latest.devices:
            return known[2]
        ids = list(fleet.index)
        place = {device: at for at, device in enumerate(latest.devices)}
        base = KindNow(
            fleet,
            latest,
            ids,
            {device: at for at, device in enumerate(ids)},
            np.array(list(fleet.index.values()), dtype=np.int64),
            np.array([place.get(device, -1) for device in ids], dtype=np.int64),
            np.zeros(len(ids), dtype=np.int64),
            np.zeros(len(ids), dtype=np.int8),
            np.zeros(len(ids), dtype=np.int8),
        )
        self._known[fleet.kind.name] = (fleet, list(latest.devices), base)
        return base


def find(now: KindNow, text: str, state: str, site_name: Callable[[str], str] = str) -> list[int]:
    """Indices of the devices that match: alarming first, worst first, then silent, then by id.

    `text` is looked for in id, site, its name, district, street and gateway, whatever its case; empty matches all.
    `state` is one of STATES or empty for all.
    """
    chosen = list(range(len(now.ids)))
    if state:
        chosen = np.flatnonzero(now.state == STATES.index(state)).tolist()
    if needle := text.casefold().strip():
        fleet, row = now.fleet, now.row
        columns = (fleet.district, fleet.street, fleet.site, fleet.gateway_id)
        chosen = [
            i
            for i in chosen
            if needle in now.ids[i].casefold()
            or any(needle in column[row[i]].casefold() for column in columns)
            or needle in site_name(fleet.site[row[i]]).casefold()
        ]
    return sorted(chosen, key=lambda i: (-int(now.state[i]), int(now.rank[i]), now.ids[i]))
