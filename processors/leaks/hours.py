"""Readings of many devices into hours of their zones, each hour judged once.

From: rows in the order of the journal. To: a subclass's `judge`, with the hour's mean of every device of a zone. A
value counts for the hour of its event time if it reached us within `wait_s` of that hour's end; the hour is judged
when our clock passes that end by `wait_s` and a minute. So what is judged depends on the rows, never on how the
journal was cut or on when somebody looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np
import structlog

from devices.readings import Float64, Int64
from processors.condition import rows_of
from processors.detectors import NEVER, Hits, Step, Window
from processors.parameters import Parameters

log = structlog.get_logger(__name__)

HOUR_US: Final = 3_600_000_000
SENSORS: Final = 64  # judged of one zone: beyond that, more sensors cost more memory than they tell
_SETTLE_US: Final = 60_000_000  # so long after `wait_s` nothing that counts can still be on its way to us
_HUGE: Final = 1e100
_NONE: Final = -1


class Column(NamedTuple):
    """One state array: type, value of a device not heard of, further axes."""

    dtype: str
    fill: float
    axes: tuple[int, ...] = ()


class Hours:
    """Zones, their devices' hours, and the deadlines at which hours are judged.

    `slot`: (n,) a device's place in its zone's matrices, kept while it stays there. `held`, `total`, `count`: (n, 2)
    the even and the odd hour being filled. `due_us`: (n,) set in the first row of a zone only.
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {
        "slot": Column("int16", _NONE),
        "held": Column("int64", _NONE, (2,)),
        "total": Column("float64", 0.0, (2,)),
        "count": Column("int32", 0, (2,)),
        "due_us": Column("int64", NEVER),
    }
    slot: np.ndarray[tuple[int], np.dtype[np.int16]]
    held: Int64
    total: Float64
    count: Int64
    due_us: Int64

    def __init__(self, params: Mapping[str, float]) -> None:
        self.params = Parameters(params)
        self._wait_us = min(int(params["wait_s"] * 1e6), HOUR_US - 2 * _SETTLE_US)
        self._late_us = self._wait_us + _SETTLE_US
        self._zone: Int64 = np.empty(0, dtype=np.int64)
        self._lead: Int64 = np.empty(0, dtype=np.int64)  # first row of each device's zone, -1 without zone
        self._members: dict[int, Int64] = {}  # rows by lead
        for name, column in self.COLUMNS.items():
            setattr(self, name, np.empty((0, *column.axes), dtype=column.dtype))

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:  # noqa: ARG002  an hour is an hour
        """Make room for `len(cadence_s)` devices; the state of those already known stays."""
        self.params.grow(len(cadence_s))
        for name, column in self.COLUMNS.items():
            old = getattr(self, name)
            new = np.full((len(cadence_s) - len(old), *column.axes), column.fill, dtype=column.dtype)
            setattr(self, name, np.concatenate([old, new]))

    def group(self, zone: Int64) -> None:
        """Say which devices belong together: `zone` (n,), -1 for none. Who changed zones starts anew."""
        self._leave(zone)
        self._zone = zone.copy()
        self._members, self._lead = {}, np.full(len(zone), _NONE, dtype=np.int64)
        for number in np.unique(zone[zone >= 0]):
            rows = np.flatnonzero(zone == number)
            if len(rows) > SENSORS:
                log.warning("zone_has_many_sensors", sensors=len(rows), judged=SENSORS)
                rows = rows[:SENSORS]
            self._members[int(rows[0])] = rows
            self._lead[rows] = rows[0]
        for lead, rows in self._members.items():
            due = self._next_due(rows)
            self.due_us[rows] = NEVER
            self.due_us[lead] = due

    def _leave(self, zone: Int64) -> None:
        """Forget what devices know that are not with the others of their zone any more."""
        known = len(self._zone)
        for number in np.unique(self._zone[self._zone >= 0]):
            rows = np.flatnonzero(self._zone == number)
            now = zone[:known][rows]
            stays = np.bincount(now[now >= 0]).argmax() if (now >= 0).any() else _NONE
            self._reset(rows[now != stays] if stays >= 0 else rows)

    def _reset(self, rows: Int64) -> None:
        for name, column in self.COLUMNS.items():
            getattr(self, name)[rows] = column.fill

    def seats(self, rows: Int64) -> Int64:
        """(s,) the slot of each of a zone's `rows`; new ones get free slots.

        Two in one slot, after a registry that changed while we were away, are parted.
        """
        slot = self.slot[rows].astype(np.int64)
        _, first = np.unique(slot, return_index=True)
        good = np.zeros(len(rows), dtype=np.bool_)
        good[first] = True
        good &= slot >= 0
        if good.all():
            return slot
        new = rows[~good]
        held = {name: getattr(self, name)[new].copy() for name in ("held", "total", "count", "due_us")}
        self._reset(new)
        for name, values in held.items():
            getattr(self, name)[new] = values
        free = np.setdiff1d(np.arange(SENSORS), slot[good])[: len(new)]
        self.slot[new] = free
        self.vacate(rows, free)
        return self.slot[rows].astype(np.int64)

    def vacate(self, rows: Int64, slots: Int64) -> None:
        """Devices of the zone with `rows` got `slots`: what others remember of whoever sat there is void."""
        raise NotImplementedError

    def judge(self, rows: Int64, hour: int, value: Float64, now_us: int) -> list[Hits]:
        """Take one zone's `hour`: `value` (s,) means of its `rows`, NaN where nothing came; `now_us` the deadline."""
        raise NotImplementedError

    def step(self, step: Step) -> list[Hits]:
        """As `take`."""
        return self.take(step)

    def take(self, step: Step) -> list[Hits]:
        """Take a whole segment's rows in journal order, a device any number of times."""
        device, now = rows_of(step.device), step.received_us
        good = (self._lead[device] >= 0) & (np.abs(step.value) < _HUGE)
        if not good.any():
            return []
        # Between two of these marks the same two hours can be filled; at a mark the older one is over.
        mark = (now - self._late_us) // HOUR_US
        parts = [np.flatnonzero(good)]
        if mark[0] != mark[-1]:
            parts = np.split(parts[0], np.searchsorted(parts[0], np.flatnonzero(np.diff(mark)) + 1))
        found: list[Hits] = []
        for part in parts:
            if len(part):
                found += self._part(device[part], step.time_us[part], now[part], step.value[part])
        return found

    def _part(self, device: Int64, time_us: Int64, now_us: Int64, value: Float64) -> list[Hits]:
        found: list[Hits] = []
        for lead in np.unique(self._lead[device]).tolist():
            found += self._due(lead, int(now_us[0]))
        hour = time_us // HOUR_US
        end = (hour + 1) * HOUR_US
        rows = np.flatnonzero((now_us <= end + self._wait_us) & (time_us <= now_us))
        if not len(rows):
            return found
        device, hour = device[rows], hour[rows]
        side = hour & 1
        # A clock of ours that was set back may bring an hour again that is judged: the newer one stays.
        other = self.held[device, side]
        stale = other < hour
        self.total[device[stale], side[stale]] = 0.0
        self.count[device[stale], side[stale]] = 0
        self.held[device[stale], side[stale]] = hour[stale]
        keep = other <= hour
        np.add.at(self.total, (device[keep], side[keep]), value[rows][keep])  # one by one, however it was cut
        np.add.at(self.count, (device[keep], side[keep]), 1)
        leads = self._lead[device]
        np.minimum.at(self.due_us, leads, (hour + 1) * HOUR_US + self._late_us)
        return found

    def deadlines(self) -> Int64 | None:
        """(n,) our clock, UTC microseconds, when a zone's hour is to be judged, in its first row; NEVER elsewhere."""
        return self.due_us

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:
        """Judge the hours of the zones led by `device` (m,) that are due at `now_us` (m,)."""
        found: list[Hits] = []
        for row, now in zip(device.tolist(), now_us.tolist(), strict=True):
            self.due_us[row] = NEVER  # where rows changed while we were away, this is not the first one any more
            if self._lead[row] >= 0:
                found += self._due(int(self._lead[row]), now)
        return found

    def _due(self, lead: int, now_us: int) -> list[Hits]:
        found: list[Hits] = []
        rows = self._members[lead]
        while (due := self._next_due(rows)) <= now_us:
            hour = (due - self._late_us) // HOUR_US - 1
            mine = self.held[rows, hour & 1] == hour
            count = self.count[rows, hour & 1]
            value = np.where(mine, self.total[rows, hour & 1] / np.maximum(count, 1), np.nan)
            self.held[rows[mine], hour & 1] = _NONE
            found += self.judge(rows, hour, value, due)
        self.due_us[lead] = due
        return found

    def _next_due(self, rows: Int64) -> int:
        held = self.held[rows]
        held = held[held >= 0]
        return int((held.min() + 1) * HOUR_US + self._late_us) if len(held) else NEVER

    def forget(self, device: Int64) -> None:
        """Nothing: hours go by our clock, and one of the device's that is set back fills no hour twice."""

    def window(self, device: int) -> Window | None:
        """What a subclass kept."""
        raise NotImplementedError
