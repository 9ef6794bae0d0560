"""Who reports, who is silent, who alarms, who has yet to be heard from: one kind's devices at one moment, as arrays.

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

REPORTING, WAITING, SILENT, ALARMING = 0, 1, 2, 3
STATES = ("reporting", "waiting", "silent", "alarming")


class Counts(NamedTuple):
    """How many devices of a kind are in which state; `worst`: the most urgent priority, 0 without an alert.

    `waiting`: registered a moment ago and not yet heard from, which is neither healthy nor abnormal.
    """

    reporting: int
    silent: int
    alarming: int
    worst: int
    waiting: int


@dataclass(slots=True)
class KindNow:
    """One kind's registered devices; n devices.

    `ids`: (n,) device ids. `row`: (n,) row in the fleet. `place`: (n,) row in `latest`, -1 for never reported.
    `newest_us`: (n,) UTC of the newest value, 0 for never. `state`: (n,) one of REPORTING to ALARMING.
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
        """Devices in each state, and the worst priority among them."""
        reporting, waiting, silent, alarming = np.bincount(self.state, minlength=len(STATES)).tolist()
        ranks = self.rank[self.rank > 0]
        return Counts(reporting, silent, alarming, int(ranks.min()) if len(ranks) else 0, waiting)


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
        state = self._by_silence(fleet, base.row, newest, now_us)
        rank = np.zeros(len(base.ids), dtype=np.int8)
        for device, worst in alarming.items():
            if (at := base.index.get(device)) is not None:
                rank[at] = worst
        state[rank > 0] = ALARMING
        return KindNow(fleet, latest, base.ids, base.index, base.row, base.place, newest, state, rank)

    def _by_silence(self, fleet: KindFleet, row: Int64, newest_us: Int64, now_us: int) -> NDArray[np.int8]:
        """REPORTING, WAITING or SILENT; who never reported is given as long from its registration as any other."""
        unheard = newest_us == 0
        since_us = np.where(unheard, fleet.registered_us[row], newest_us)
        overdue = now_us - since_us > fleet.cadence_s[row] * (self._periods * 1e6)
        return np.where(overdue, SILENT, np.where(unheard, WAITING, REPORTING)).astype(np.int8)

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
    """Indices of the devices that match: alarming first, worst first, then silent, then waiting, then by id.

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
