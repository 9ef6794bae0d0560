"""The web console: pages for a control room, live through server-sent events.

From: the ports (`ports.py`), which deploy wires to the real stores. To: browsers. Run it with `serve.run_console`.

    GET  /                     overview           GET /events       live updates
    GET  /devices/{device}     one device         GET /api/latest   newest values
    GET  /alerts/{alert}       one alert          GET /api/history  one quantity's course
    GET  /gateways             firmware
    GET  /rules, POST /rules   thresholds         GET /api/alerts   alerts with evidence
    POST /alerts/{alert}/acknowledge, /rules/{number}/withdraw
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dashboards.console.feed import Feed
from dashboards.console.page import FOLDER, Console, refusal
from dashboards.console.ports import (
    Acknowledger,
    AlertsReader,
    GatewaysView,
    Health,
    ReadingsReader,
    RegistryView,
    Thresholds,
    Verdicts,
)
from dashboards.console.security import Guard
from dashboards.console.settings import ConsoleSettings
from dashboards.console.text import both
from dashboards.console.views import alert, api, device, events, gateways, overview, rules
from dashboards.errors import BadRequest
from devices.errors import UndercityError

log = structlog.get_logger(__name__)


def create_app(
    readings: ReadingsReader,
    alerts: AlertsReader,
    registry: RegistryView,
    health: Health,
    settings: ConsoleSettings,
    now: Callable[[], int],
    *,
    acknowledger: Acknowledger | None = None,
    thresholds: Thresholds | None = None,
    gateways_view: GatewaysView | None = None,
    verdicts: Verdicts | None = None,
) -> Starlette:
    """The console over these sources; `now` is UTC microseconds.

    Without `acknowledger` no alert can be acknowledged, without `thresholds` no rule be looked at or changed, without
    `gateways_view` no gateway be looked at, without `verdicts` nobody can say whether an alert was true.
    """
    feed = Feed(readings, alerts, registry, health, settings, now)
    console = Console(feed, settings, acknowledger, thresholds, gateways_view, verdicts)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        console.hub.start()
        try:
            yield
        finally:
            console.hub.close()
            console.feed.close()

    app = Starlette(
        routes=[
            Route("/", overview.overview),
            Route("/devices/{device}", device.device),
            Route("/alerts/{alert}", alert.alert),
            Route("/alerts/{alert}/acknowledge", alert.acknowledge, methods=["POST"]),
            Route("/alerts/{alert}/verdict", alert.judge, methods=["POST"]),
            Route("/gateways", gateways.gateways),
            Route("/rules", rules.rules),
            Route("/rules", rules.change, methods=["POST"]),
            Route("/rules/{number:int}/withdraw", rules.withdraw, methods=["POST"]),
            Route("/events", events.events),
            Route("/api/latest", api.latest),
            Route("/api/history", api.history),
            Route("/api/alerts", api.alerts),
            Mount("/static", _Static(directory=FOLDER / "static"), name="static"),
        ],
        middleware=[Middleware(Guard, hosts=settings.hosts)],
        exception_handlers={
            BadRequest: _refused,
            UndercityError: _unavailable,
            HTTPException: _http,
            Exception: _fault,
        },
        lifespan=lifespan,
    )
    app.state.console = console
    return app


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"  # kept, but asked for again: ETag answers 304
        return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)  # noqa: S101  how starlette dispatches
    return await refusal(request, error.said, error.status)


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("console_source_unavailable", path=request.url.path, reason=str(error))
    return await refusal(request, both("error_source", why=str(error)), 503)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  how starlette dispatches
    path = request.url.path[:100]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET")
        response = await refusal(request, both("error_method", path=path, allowed=allowed), 405)
        response.headers["Allow"] = allowed
        return response
    return await refusal(request, both("error_path", path=path), error.status_code)


async def _fault(request: Request, error: Exception) -> Response:
    log.error("console_fault", path=request.url.path, exc_info=error)
    return await refusal(request, both("error_internal"), 500)
