"""The overview: counts per kind, active alerts, and one kind's latest values, filtered and paged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dashboards.console.live import cells
from dashboards.console.page import Console, console_of, page, shown_of
from dashboards.console.params import Query
from dashboards.console.state import STATES, Counts, KindNow, find
from devices.errors import UndercityError
from devices.spec import Kind

_PAGES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class KindCount:
    """One kind's line of the overview; `counts` None where its values cannot be read."""

    kind: Kind
    counts: Counts | None
    registered: int


async def overview(request: Request) -> Response:
    """The overview page: `GET /`."""
    console = console_of(request)
    query = Query(request, ("kind", "q", "state", "page"))
    counts, why = await _counts(console)
    chosen = query.one_of("kind", tuple(console.feed.kinds), _default_kind(counts))
    table = await _table(console, query, chosen)
    alerts_html, alerts_why, sequence, alert_count = "", "", -1, 0
    try:
        alerts = await console.feed.alerts()
        alerts_html = console.alert_list(alerts, shown_of(request).words.language)
        sequence, alert_count = alerts.sequence, len(alerts.active)
    except UndercityError as error:
        alerts_why = str(error)
    return await page(
        request,
        "overview.html",
        counts=counts,
        registered=sum(count.registered for count in counts),
        alerts_html=alerts_html,
        alerts_why=alerts_why,
        alert_count=alert_count,
        sequence=sequence,
        values_why=why,
        chosen=chosen,
        query={"q": query.text("q"), "state": query.one_of("state", STATES, "")},
        states=STATES,
        **table,
    )


async def _counts(console: Console) -> tuple[list[KindCount], str]:
    counts, why = [], ""
    try:
        fleet = await console.feed.fleet()
    except UndercityError as error:
        return [], str(error)
    for name, kind in console.feed.kinds.items():
        registered = len(fleet.kinds[name].index) if name in fleet.kinds else 0
        try:
            found = (await console.feed.kind_now(name)).counts() if registered else Counts(0, 0, 0, 0, 0)
            counts.append(KindCount(kind, found, registered))
        except UndercityError as error:
            why = str(error)
            counts.append(KindCount(kind, None, registered))
    return counts, why


def _default_kind(counts: list[KindCount]) -> str:
    """The first kind that has devices, else the first."""
    return next((c.kind.name for c in counts if c.registered), counts[0].kind.name if counts else "")


async def _table(console: Console, query: Query, chosen: str) -> dict[str, Any]:
    asked = query.whole("page", 1, 1, _PAGES_MAX)
    empty: dict[str, Any] = {"kind": console.feed.kinds.get(chosen), "rows": [], "page": 1, "pages": 1, "found": 0}
    if not chosen:
        return empty
    try:
        now = await console.feed.kind_now(chosen)
    except UndercityError:
        return empty
    matches = await console.feed.call(
        find, now, query.text("q"), query.one_of("state", STATES, ""), console.feed.registry.site_name
    )
    size = console.settings.page_rows
    pages = max(1, -(-len(matches) // size))
    number = min(asked, pages)
    rows = [_row(console, now, at) for at in matches[(number - 1) * size : number * size]]
    return {**empty, "rows": rows, "page": number, "pages": pages, "found": len(matches)}


def _row(console: Console, now: KindNow, at: int) -> dict[str, Any]:
    row = now.row[at]
    site = now.fleet.site[row]
    return {
        "device": now.ids[at],
        "site": console.feed.registry.site_name(site) if site else "",
        "district": " / ".join(filter(None, (now.fleet.district[row], now.fleet.street[row]))),
        "state": STATES[now.state[at]],
        "rank": int(now.rank[at]),
        "newest_us": int(now.newest_us[at]),
        "cells": cells(now, at),
    }
