"""One device's page: facts, latest values, charts, its alerts."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dashboards.console.live import cells
from dashboards.console.page import Console, console_of, page, shown_of
from dashboards.console.params import Query
from dashboards.console.ports import DeviceFacts
from dashboards.console.shown import Shown, free_number
from dashboards.console.state import STATES
from dashboards.console.text import both
from dashboards.errors import BadRequest
from devices.errors import UndercityError

RANGES = ("1", "6", "24", "168")
_ALERTS = 50


async def device(request: Request) -> Response:
    """One device's page: `GET /devices/{device}`."""
    console, shown = console_of(request), shown_of(request)
    await console.feed.know_names()
    query = Query(request, ("hours",))
    hours = query.one_of("hours", RANGES, "6")
    found = await known_device(console, request.path_params["device"])
    alerts, alerts_why = [], ""
    try:
        views = await console.feed.call(partial(console.feed.book.recent, _ALERTS, device=found.id))
        alerts = [console.alert_row(alert, shown) for alert in views]
    except UndercityError as error:
        alerts_why = str(error)
    return await page(
        request,
        "device.html",
        device=found,
        kind=console.feed.kinds[found.kind],
        kind_label=console.kind_label(found.kind),
        facts=_facts(console, found, shown),
        hours=hours,
        ranges=RANGES,
        alerts=alerts,
        alerts_why=alerts_why,
        **await _values(console, found),
    )


async def known_device(console: Console, device: str) -> DeviceFacts:
    """What the registry knows of `device`; BadRequest (404) when it is not registered."""
    found: DeviceFacts | None = await console.feed.call(console.feed.registry.device, device)
    if found is None or found.kind not in console.feed.kinds:
        raise BadRequest(both("error_device", device=device[:100]), 404)
    return found


async def _values(console: Console, found: DeviceFacts) -> dict[str, Any]:
    nothing: dict[str, Any] = {"cells": None, "state": "silent", "rank": 0, "newest_us": 0, "values_why": ""}
    try:
        now = await console.feed.kind_now(found.kind)
    except UndercityError as error:
        return {**nothing, "values_why": str(error)}
    at = now.index.get(found.id)
    if at is None:
        return {**nothing, "state": "waiting"}  # registered since the devices were last read
    return {
        "cells": cells(now, at),
        "state": STATES[now.state[at]],
        "rank": int(now.rank[at]),
        "newest_us": int(now.newest_us[at]),
        "values_why": "",
    }


def _facts(console: Console, found: DeviceFacts, shown: Shown) -> list[tuple[str, str]]:
    """(key of the label, text) in reading order; an empty text is shown as not recorded."""
    where = "" if found.latitude is None or found.longitude is None else _coordinates(found)
    charge, owner, upkeep = found.departments
    return [
        ("kind", shown.words.pick(console.kind_label(found.kind))),
        ("site", console.feed.registry.site_name(found.site) if found.site else ""),
        ("address", found.address),
        ("district", " / ".join(filter(None, (found.district, found.street)))),
        ("coordinates", where),
        ("department_charge", charge),
        ("department_owner", owner),
        ("department_upkeep", upkeep),
        ("gateway", found.gateway),
        ("grid_cell", found.grid_cell),
        ("component_code", found.component_code),
        ("codec", " ".join(filter(None, (found.codec, found.model)))),
        ("wire_address", found.wire_address),
        *_presence(found, shown),
        ("cadence", shown.span(found.cadence_s) if found.cadence_s else ""),
    ]


def _presence(found: DeviceFacts, shown: Shown) -> list[tuple[str, str]]:
    if found.presence is None:
        return []
    online, at_us = found.presence
    word = shown.words("presence_online" if online else "presence_offline")
    return [("presence", f"{word}, {shown.time(at_us)}")]


def _coordinates(found: DeviceFacts) -> str:
    return f"{free_number(found.latitude)}, {free_number(found.longitude)}"
