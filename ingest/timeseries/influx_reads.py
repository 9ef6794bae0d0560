"""Questions to InfluxDB, in Flux: the text is fixed, what varies goes as parameters.

From: `InfluxStore`. To: arrays. Answers are CSV, read by Arrow rather than record by record.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships none
import pyarrow.csv as pcsv  # type: ignore[import-untyped]
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException

from devices.readings import Float64, Int64, Quality, UInt8
from devices.spec import Kind
from ingest.timeseries.lines import tag_text
from ingest.timeseries.ports import History, Latest

_FIELD: Final = """
from(bucket: bucket)
  |> range(start: time(v: start), stop: time(v: stop))
  |> filter(fn: (r) => r._measurement == kind and r.device == device and r._field == field)
"""
_POINTS: Final = (
    _FIELD
    + """
  |> keep(columns: ["_time", "_value"])
  |> group()
  |> sort(columns: ["_time"])
"""
)
_BUCKETS: Final = (
    "data = "
    + _FIELD
    + """
stat = (name, fn) => data
  |> aggregateWindow(every: every, fn: fn, createEmpty: false, timeSrc: "_start")
  |> toFloat()
  |> set(key: "stat", value: name)
union(tables: [stat(name: "mean", fn: mean), stat(name: "min", fn: min), stat(name: "max", fn: max),
  stat(name: "count", fn: count)])
  |> keep(columns: ["_time", "_value", "stat"])
  |> group()
"""
)
# One field at a time: over all fields at once the server takes a hundred times as long for the same points.
_LATEST: Final = """
from(bucket: bucket)
  |> range(start: time(v: 0), stop: time(v: stop))
  |> filter(fn: (r) => r._measurement == kind and r._field == field)
  |> last()
  |> keep(columns: ["_time", "_value", "device"])
  |> group()
"""
_CURSOR: Final = """
from(bucket: bucket)
  |> range(start: time(v: 0), stop: 2200-01-01T00:00:00Z)
  |> filter(fn: (r) => r._measurement == measurement and r._field == "next")
  |> group()
  |> max()
  |> keep(columns: ["_value"])
"""
_PLAIN: Final = Dialect(  # type: ignore[no-untyped-call]
    header=True, delimiter=",", annotations=[], comment_prefix="#", date_time_format="RFC3339"
)
_COLUMNS: Final = pcsv.ConvertOptions(
    column_types={
        "_time": pa.timestamp("ns", tz="UTC"),
        "_value": pa.float64(),
        "device": pa.string(),
        "stat": pa.string(),
    }
)


def message(error: ApiException) -> str:
    """The server's own words."""
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason or error.body or "no reason given")


class Query:
    """One question to one bucket; raises what influxdb-client raises."""

    def __init__(self, client: InfluxDBClient, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def _ask(self, flux: str, **params: object) -> dict[str, Any]:
        """The answer's columns by name; none when it is empty."""
        given = {"bucket": self._bucket} | params
        response = self._client.query_api().query_raw(flux, dialect=_PLAIN, params=given)
        body = response.data.strip()
        if not body:
            return {}
        table = pcsv.read_csv(pa.py_buffer(body), convert_options=_COLUMNS)
        if "error" in table.column_names:
            raise OSError(f"the query failed: {table.column('error')[0]}")
        columns = {name: table.column(name).to_numpy() for name in table.column_names if name}
        if "_time" in columns:
            columns["_time"] = columns["_time"].astype("datetime64[ns]").astype(np.int64) // 1000
        return columns

    def _points(self, kind: Kind, device: str, name: str, span_us: tuple[int, int]) -> tuple[Int64, Float64]:
        found = self._ask(_POINTS, kind=kind.name, device=tag_text(device), field=name, **_span(span_us))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0)
        # Two series of one device, after its tags changed, may hold the same time.
        time_us, first = np.unique(found["_time"], return_index=True)
        return time_us, found["_value"][first]

    def history(
        self, kind: Kind, device: str, quantity: str, span_us: tuple[int, int], every_us: int | None
    ) -> History:
        """See `TimeSeriesStore.history`."""
        judged_us, judged = self._points(kind, device, f"quality_{quantity}", span_us)
        if every_us is not None and not (judged >= Quality.BAD).any():
            quick = self._buckets(kind, device, quantity, span_us, every_us, (judged_us, judged))
            if quick is not None:
                return quick
        time_us, value = self._points(kind, device, quantity, span_us)
        quality = np.zeros(len(time_us), dtype=np.uint8)
        place = np.searchsorted(time_us, judged_us)
        quality[place] = judged.astype(np.uint8)
        raw = History(time_us, value, quality)
        # The server's quick sums would include bad values, and keep two series of one device apart.
        return raw if every_us is None else bucketed(raw, every_us)

    def _buckets(
        self,
        kind: Kind,
        device: str,
        quantity: str,
        span_us: tuple[int, int],
        every_us: int,
        judged: tuple[Int64, Float64],
    ) -> History | None:
        found = self._ask(
            _BUCKETS,
            kind=kind.name,
            device=tag_text(device),
            field=quantity,
            every=timedelta(microseconds=every_us),
            **_span(span_us),
        )
        if not found:
            return bucketed(History(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.uint8)), every_us)
        # The first bucket's start is the range's, where that lies within it.
        starts, at = np.unique(found["_time"] // every_us * every_us, return_inverse=True)
        stat, value = found["stat"], found["_value"]
        if len(stat) != 4 * len(starts):
            return None
        parts = {name: np.zeros(len(starts)) for name in ("mean", "min", "max", "count")}
        for name, part in parts.items():
            part[at[stat == name]] = value[stat == name]
        quality = np.zeros(len(starts), dtype=np.uint8)
        place = np.searchsorted(starts, judged[0] // every_us * every_us)
        np.maximum.at(quality, place, judged[1].astype(np.uint8))
        return History(starts, parts["mean"], quality, parts["min"], parts["max"], parts["count"].astype(np.int64))

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `TimeSeriesStore.latest`."""
        stop = (now_us + 1) * 1000
        fields = [name for q in kind.quantities for name in (q.name, f"quality_{q.name}")]
        found = [self._ask(_LATEST, kind=kind.name, field=name, stop=stop) for name in fields]
        devices = sorted({device for answer in found[::2] if answer for device in answer["device"]})
        row = {device: number for number, device in enumerate(devices)}
        shape = (len(devices), len(kind.quantities))
        time_us, values = np.zeros(shape, np.int64), np.full(shape, np.nan)
        quality = np.full(shape, Quality.MISSING, dtype=np.uint8)
        for column in range(len(kind.quantities)):
            parts = (time_us[:, column], values[:, column], quality[:, column])
            _fill(parts, row, found[2 * column], found[2 * column + 1])
        return Latest(kind, devices, time_us, values, quality)

    def cursor(self, measurement: str) -> int:
        """The highest cursor stored, 0 without one."""
        found = self._ask(_CURSOR, measurement=measurement)
        return int(found["_value"][0]) if found else 0


def _span(span_us: tuple[int, int]) -> dict[str, int]:
    return {"start": span_us[0] * 1000, "stop": span_us[1] * 1000}


def _fill(
    parts: tuple[Int64, Float64, UInt8], row: dict[str, int], found: dict[str, Any], judged: dict[str, Any]
) -> None:
    """One quantity's column of each part, from the newest values and the newest judgements."""
    time_us, values, quality = parts
    if found:
        rows, order = _by_time(row, found)
        time_us[rows], values[rows], quality[rows] = found["_time"][order], found["_value"][order], Quality.GOOD
    if judged:
        rows, order = _by_time(row, judged)
        # A judgement of an older value says nothing of this one.
        same = judged["_time"][order] == time_us[rows]
        quality[rows[same]] = judged["_value"][order][same].astype(np.uint8)


def _by_time(row: dict[str, int], found: dict[str, Any]) -> tuple[Int64, Int64]:
    """Rows of the answer's devices and their places in it, ascending in time.

    Two series of one device, after its tags changed: the later comes later, and holds.
    """
    order = np.argsort(found["_time"], kind="stable")
    rows = np.array([row.get(device, -1) for device in found["device"][order]], dtype=np.int64)
    return rows[rows >= 0], order[rows >= 0]


def bucketed(raw: History, every_us: int) -> History:
    """`raw` per bucket of `every_us`; what is bad or missing stays out."""
    used = raw.quality < Quality.BAD
    value, quality = raw.value[used], raw.quality[used]
    bucket = raw.time_us[used] // every_us * every_us
    starts, at, count = np.unique(bucket, return_inverse=True, return_counts=True)
    total, worst = np.zeros(len(starts)), np.zeros(len(starts), dtype=np.uint8)
    low, high = np.full(len(starts), np.inf), np.full(len(starts), -np.inf)
    np.add.at(total, at, value)
    np.minimum.at(low, at, value)
    np.maximum.at(high, at, value)
    np.maximum.at(worst, at, quality)
    return History(starts, total / np.maximum(count, 1), worst, low, high, count.astype(np.int64))
