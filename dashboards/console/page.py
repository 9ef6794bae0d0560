"""What every page has in common: language, clock, banner, templates, refusals.

From: a request. To: HTML out of `templates/`, which escape everything they are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from dashboards.console.feed import AlertsNow, Feed
from dashboards.console.live import Hub
from dashboards.console.params import bad
from dashboards.console.ports import Acknowledger, GatewaysView, Thresholds, Verdicts
from dashboards.console.settings import LANGUAGES, ConsoleSettings
from dashboards.console.shown import Shown, reason, rule_title, sign
from dashboards.console.text import Words
from dashboards.errors import BadRequest
from devices.spec import Kind, Text
from processors.alerts.alert import Alert
from processors.alerts.states import rank

FOLDER = Path(__file__).parent
_BEATS_MISSED = 5  # by real time: so many heartbeats missed, and the connection counts as lost
_COOKIE = "undercity_lang"
_ENGINE_KIND = Text("网关", "gateway")


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert, ready to be printed."""

    alert: Alert
    number: int
    title: str
    kind: str
    site: str
    since: str
    reason: str
    known: bool


class Console:
    """The parts one console is made of; `app.state.console`."""

    def __init__(
        self,
        feed: Feed,
        settings: ConsoleSettings,
        acknowledger: Acknowledger | None,
        thresholds: Thresholds | None = None,
        gateways: GatewaysView | None = None,
        verdicts: Verdicts | None = None,
    ) -> None:
        self.feed = feed
        self.settings = settings
        self.acknowledger = acknowledger
        self.thresholds = thresholds
        self.gateways = gateways
        self.verdicts = verdicts
        self.zone = ZoneInfo(settings.time_zone)
        self.shown = {language: Shown(Words(language), self.zone) for language in LANGUAGES}
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.hub = Hub(feed, self.alert_list, self.announce)

    def render(self, template: str, shown: Shown, **values: Any) -> str:
        """The HTML of `template`."""
        return self._templates.get_template(template).render(
            t=shown.words, shown=shown, sign=sign, zone=self.settings.time_zone, **values
        )

    def alert_list(self, alerts: AlertsNow, language: str) -> str:
        """The list of active alerts as HTML."""
        shown = self.shown[language]
        listed = alerts.active[: self.settings.listed_alerts]
        rows = [self.alert_row(alert, shown) for alert in listed]
        more = len(alerts.active) - len(rows)
        return self.render("_alerts.html", shown, rows=rows, more=more, now_us=self.feed.now())

    def alert_row(self, alert: Alert, shown: Shown) -> AlertRow:
        """One alert as the lists show it."""
        kind = self.feed.kinds.get(alert.kind)
        found = self.feed.known_fleet.find(alert.device)
        site = found[0].site[found[1]] if found else ""
        return AlertRow(
            alert=alert,
            number=rank(alert.severity),
            title=shown.words.pick(rule_title(kind, alert.rule)),
            kind=shown.words.pick(self.kind_label(alert.kind)),
            site=self.feed.registry.site_name(site) if site else "",
            since=shown.short(alert.onset_us),
            reason=reason(alert.evidence, shown),
            known=found is not None,
        )

    def kind_label(self, kind: str) -> Text:
        """The name of a kind for a person; gateways are a kind to alerts alone."""
        known: Kind | None = self.feed.kinds.get(kind)
        if known is not None:
            return known.label
        return _ENGINE_KIND if kind == "gateway" else Text(kind, kind)

    def announce(self, alert: Alert, language: str) -> str:
        """One alert in one spoken line."""
        row = self.alert_row(alert, self.shown[language])
        return f"{row.title} · {alert.device} · {row.reason}"


def console_of(request: Request) -> Console:
    """The console this request belongs to."""
    console: Console = request.app.state.console
    return console


def language_of(request: Request) -> str:
    """The language asked for: by query, else by cookie, else the setting. BadRequest for one we do not speak."""
    asked = request.query_params.get("lang")
    if asked is not None:
        if asked not in LANGUAGES:
            raise bad("lang", Text(" zh, en 之一", "one of zh, en"), asked)
        return asked
    kept = request.cookies.get(_COOKIE, "")
    return kept if kept in LANGUAGES else console_of(request).settings.language


def shown_of(request: Request) -> Shown:
    """How this request wants to see things."""
    return console_of(request).shown[language_of(request)]


async def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """A whole page; remembers a language that was asked for in the address."""
    console, shown = console_of(request), shown_of(request)
    other = "en" if shown.words.language == "zh" else "zh"
    stale, _vitals = await console.feed.staleness()
    html = console.render(
        template,
        shown,
        stale=stale,
        has_rules=console.thresholds is not None,
        has_gateways=console.gateways is not None,
        server_ms=console.feed.now() // 1000,
        script_words=msgspec.json.encode(shown.words.script()).decode(),
        other_url=str(request.url.include_query_params(lang=other).replace(scheme="", netloc="")),
        other_language=other,
        stale_after_ms=int(console.settings.stale_after_s * 1000),
        silence_ms=int(console.settings.heartbeat_s * _BEATS_MISSED * 1000),
        **values,
    )
    response = HTMLResponse(html, status)
    if "lang" in request.query_params:
        response.set_cookie(_COOKIE, shown.words.language, max_age=31_536_000, samesite="lax", httponly=True)
    return response


async def refusal(request: Request, said: Text, status: int) -> Response:
    """One clear line in both languages: JSON under /api, a page elsewhere."""
    if request.url.path.startswith(("/api/", "/events")):
        return JSONResponse({"error": said.en, "error_zh": said.zh}, status)
    console = console_of(request)
    try:
        shown = shown_of(request)
    except BadRequest:
        shown = console.shown[console.settings.language]
    return HTMLResponse(console.render("error.html", shown, said=said, status=status), status)
