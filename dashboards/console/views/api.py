"""JSON for the page's own scripts and for anyone who asks nicely; never stored by a cache."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from dashboards.console.live import row_json
from dashboards.console.page import Console, console_of, shown_of
from dashboards.console.params import Query, bad
from dashboards.console.ports import DeviceFacts
from dashboards.console.shown import rule_title, sign
from dashboards.console.state import find
from dashboards.console.text import both
from dashboards.console.views.device import RANGES, known_device
from dashboards.errors import BadRequest
from devices.readings import Quality
from devices.spec import Kind, Quantity, Text
from ingest.timeseries.ports import History
from processors.alerts.alert import Alert

_RAW_POINTS = 1_500  # a chart is about so many pixels wide: above that, buckets
_POINTS = 480
_SPAN_MAX_S = 366 * 86_400
_TIME_MAX_S = 4_102_444_800  # the year 2100
_ROWS_MAX = 1_000
_ALERTS_MAX = 500
_STEPS_S = (1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)


async def latest(request: Request) -> Response:
    """GET /api/latest?kind=&q=&offset=&limit=: newest values of one kind's devices."""
    console = console_of(request)
    query = Query(request, ("kind", "q", "offset", "limit"))
    kind = _kind(console, query.required("kind"))
    offset = query.whole("offset", 0, 0, 10_000_000)
    limit = query.whole("limit", 100, 1, _ROWS_MAX)
    now = await console.feed.kind_now(kind.name)
    matches = await console.feed.call(find, now, query.text("q"), "", console.feed.registry.site_name)
    rows = {now.ids[at]: row_json(now, at) for at in matches[offset : offset + limit]}
    return _json({"kind": kind.name, "found": len(matches), "offset": offset, "devices": rows})


async def alerts(request: Request) -> Response:
    """GET /api/alerts?active=1&device=&limit=: alerts with their evidence; ETag is the book's sequence."""
    console = console_of(request)
    query = Query(request, ("active", "device", "limit"))
    limit = query.whole("limit", 100, 1, _ALERTS_MAX)
    active = query.whole("active", 1, 0, 1)
    device = query.text("device") or None
    sequence = await console.feed.call(console.feed.book.sequence)
    tag = f'"{sequence}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
    if active and device is None:
        found = await console.feed.call(console.feed.book.active, limit)
    else:
        found = await console.feed.call(partial(console.feed.book.recent, _ALERTS_MAX, device=device))
        found = [alert for alert in found if alert.active or not active][:limit]
    response = _json({"sequence": sequence, "alerts": [_alert(console, alert) for alert in found]})
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "no-cache"
    return response


def _alert(console: Console, alert: Alert) -> dict[str, Any]:
    title = rule_title(console.feed.kinds.get(alert.kind), alert.rule)
    body: dict[str, Any] = msgspec.to_builtins(alert)
    return {**body, "title": {"zh": title.zh, "en": title.en}}


async def history(request: Request) -> Response:
    """GET /api/history?device=&quantity=&hours= (or &from=&to= in epoch seconds): one quantity's course."""
    console, shown = console_of(request), shown_of(request)
    query = Query(request, ("device", "quantity", "hours", "from", "to"))
    device = await known_device(console, query.required("device"))
    kind = console.feed.kinds[device.kind]
    quantity = _quantity(kind, device, query.required("quantity"))
    start_s, end_s = _range(query, console.feed.now() // 1_000_000)
    every_s = bucket_s(end_s - start_s, device.cadence_s or kind.cadence_s)
    course: History = await console.feed.call(
        console.feed.readings.history,
        kind,
        device.id,
        quantity.name,
        start_s * 1_000_000,
        end_s * 1_000_000,
        every_s * 1_000_000 if every_s else None,
    )
    spans = await console.feed.call(partial(console.feed.book.recent, 100, device=device.id))
    gap_s = 3.5 * max(every_s or 0, device.cadence_s or kind.cadence_s)
    return _json(
        {
            "device": device.id,
            "quantity": quantity.name,
            "label": shown.words.pick(quantity.label),
            "unit": sign(quantity.unit),
            "decimals": quantity.decimals,
            "from": start_s,
            "to": end_s,
            "every_s": every_s or 0,
            "plausible": quantity.plausible,
            "limits": limits(kind, quantity),
            "alerts": [
                {
                    "id": alert.id,
                    "from": alert.onset_us / 1e6,
                    "to": (alert.cleared_us or console.feed.now()) / 1e6,
                    "severity": alert.severity,
                    "title": shown.words.pick(rule_title(kind, alert.rule)),
                }
                for alert in spans
                if alert.evidence.quantity in {None, quantity.name}
            ],
            **columns(course, gap_s),
        }
    )


def limits(kind: Kind, quantity: Quantity) -> list[dict[str, Any]]:
    """The fixed limits that rules of this kind hold `quantity` against."""
    found: list[dict[str, Any]] = []
    for use in kind.detectors:
        if use.detector == "limit" and use.quantity is not None and use.quantity.name == quantity.name:
            found += [
                {"rule": use.rule, "side": side, "value": use.params[side]}
                for side in ("low", "high")
                if math.isfinite(use.params.get(side, math.nan))
            ]
    return found


def bucket_s(span_s: int, cadence_s: float) -> int | None:
    """Bucket length that gives about _POINTS points, None where the raw values are few enough."""
    if span_s / max(cadence_s, 1e-3) <= _RAW_POINTS:
        return None
    wanted = span_s / _POINTS
    return next((step for step in _STEPS_S if step >= wanted), _STEPS_S[-1])


def columns(course: History, gap_s: float) -> dict[str, Any]:
    """The course as JSON columns `t` (s), `v`, `low`, `high`; null breaks the line at gaps and at bad values.

    `bad` counts values not drawn.
    """
    time_s = course.time_us / 1e6
    value = course.value.astype(np.float64).copy()
    bad_rows = course.quality >= Quality.BAD if course.low is None else np.zeros(len(value), dtype=np.bool_)
    value[bad_rows] = np.nan
    breaks = np.flatnonzero(np.diff(time_s) > gap_s) + 1
    between = (time_s[breaks - 1] + time_s[breaks]) / 2 if len(breaks) else np.empty(0)

    def broken(column: Any) -> list[float | None]:
        return [v if math.isfinite(v) else None for v in np.insert(column, breaks, np.nan).tolist()]

    return {
        "t": np.insert(time_s, breaks, between).tolist(),
        "v": broken(value),
        "low": broken(course.low) if course.low is not None else None,
        "high": broken(course.high) if course.high is not None else None,
        "bad": int(bad_rows.sum()),
    }


def _kind(console: Console, name: str) -> Kind:
    kind = console.feed.kinds.get(name)
    if kind is None:
        raise BadRequest(both("error_kind", kind=name[:100], expected=", ".join(console.feed.kinds)))
    return kind


def _quantity(kind: Kind, device: DeviceFacts, name: str) -> Quantity:
    for quantity in kind.quantities:
        if quantity.name == name:
            return quantity
    names = ", ".join(q.name for q in kind.quantities)
    raise BadRequest(both("error_quantity", device=device.id, quantity=name[:100], expected=names))


def _range(query: Query, now_s: int) -> tuple[int, int]:
    """(start, end) in epoch seconds: the last hours, or from and to."""
    if not (query.given("from") or query.given("to")):
        return now_s - int(query.one_of("hours", RANGES, "6")) * 3600, now_s + 1
    if query.given("hours"):
        raise bad("hours", Text("与 from/to 二选一", "either hours or from and to"), query.text("hours"))
    start = query.whole("from", -1, 0, _TIME_MAX_S)
    end = query.whole("to", -1, 0, _TIME_MAX_S)
    if not (0 <= start < end <= start + _SPAN_MAX_S):
        raise bad(
            "from", Text("早于 to 且相距至多 366 天", "a time before to, at most 366 days"), f"{start}..{end}"
        )
    return start, end


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
