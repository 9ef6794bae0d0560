"""The gateways: what runs on each, who flashed it and shown by what, and whether what is behind it reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from dashboards.console.feed import Feed
from dashboards.console.page import Console, console_of, page
from dashboards.console.params import Query
from dashboards.console.ports import GatewayFacts
from dashboards.console.state import SILENT, WAITING, KindNow
from dashboards.console.text import both
from dashboards.errors import BadRequest
from devices.errors import UndercityError
from devices.firmware.journal import Provisioned

_ROWS = 500


@dataclass(slots=True)
class Behind:
    """The devices behind one gateway: how many there are, report, and are silent; newest value, UTC microseconds."""

    devices: int = 0
    reporting: int = 0
    silent: int = 0
    newest_us: int = 0

    @property
    def state(self) -> str:
        """How the gateway is, judged by what is behind it: as a kind's devices are."""
        if not self.devices or self.reporting + self.silent == 0:
            return "waiting"
        return "silent" if not self.reporting else "reporting"


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """One gateway as the page shows it. `reported`: (text's key, details) of how it was seen to report."""

    facts: GatewayFacts
    site: str
    reported: tuple[str, str]
    behind: Behind = field(default_factory=Behind)


async def gateways(request: Request) -> Response:
    """Every gateway: `GET /gateways`."""
    console = console_of(request)
    if console.gateways is None:
        raise BadRequest(both("error_path", path=request.url.path[:100]), 404)
    query = Query(request, ("q", "version"))
    text, version = query.text("q"), query.text("version")
    known = await console.feed.call(console.gateways.gateways)
    behind, values_why = await _behind(console.feed)
    rows = [
        GatewayRow(facts, _site(console, facts), _reported(facts.provisioned), behind.get(facts.id, Behind()))
        for facts in known
        if _matches(facts, text, _site(console, facts)) and (not version or facts.version == version)
    ]
    rows.sort(key=lambda row: (row.behind.state != "silent", row.facts.id))
    return await page(
        request,
        "gateways.html",
        rows=rows[:_ROWS],
        more=max(len(rows) - _ROWS, 0),
        versions=_versions(known),
        unfinished=await console.feed.call(console.gateways.unfinished),
        values_why=values_why,
        query={"q": text, "version": version},
        now_us=console.feed.now(),
    )


async def _behind(feed: Feed) -> tuple[Mapping[str, Behind], str]:
    """(gateway -> what is behind it, why values cannot be read)."""
    found: dict[str, Behind] = {}
    why = ""
    for kind in feed.kinds:
        try:
            _count(found, await feed.kind_now(kind))
        except UndercityError as error:
            why = str(error)
    return found, why


def _count(found: dict[str, Behind], now: KindNow) -> None:
    names = np.array(now.fleet.gateway_id, dtype=object)[now.row] if len(now.ids) else np.array([], dtype=object)
    reported = now.newest_us > 0
    # A device that alarms reports, unless it was never heard from.
    silent = (now.state == SILENT) | ((now.state != WAITING) & ~reported)
    for name in set(names.tolist()) - {""}:
        mine = names == name
        one = found.setdefault(name, Behind())
        one.devices += int(mine.sum())
        one.silent += int((mine & silent).sum())
        one.reporting += int((mine & reported & ~silent).sum())
        one.newest_us = max(one.newest_us, int(now.newest_us[mine].max()))


def _versions(known: Sequence[GatewayFacts]) -> list[tuple[str, int]]:
    """(version, gateways that run it), the most frequent first; empty for what nobody flashed."""
    return Counter(facts.version for facts in known).most_common()


def _site(console: Console, facts: GatewayFacts) -> str:
    return console.feed.registry.site_name(facts.site) if facts.site else ""


def _reported(provisioned: str) -> tuple[str, str]:
    for one in Provisioned:
        if provisioned.startswith(one):
            return f"provisioned_{one.name.lower()}", provisioned.removeprefix(one).removeprefix(": ")
    return "", provisioned


def _matches(facts: GatewayFacts, text: str, site: str) -> bool:
    wanted = text.casefold()
    return any(wanted in one.casefold() for one in (facts.id, facts.label, site, facts.board, facts.serial))
