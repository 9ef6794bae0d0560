"""The stream of live updates of one open page."""

from __future__ import annotations

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dashboards.console.live import Client, Hub, new_client
from dashboards.console.page import console_of, language_of
from dashboards.console.params import Query
from dashboards.console.text import both
from dashboards.errors import BadRequest

_ROWS_MAX = 200
_SEQUENCE_MAX = 2**62
_GOODBYE_S = 0.5


async def events(request: Request) -> Response:
    """GET /events?list=0|1&kind=&device=&device=...&since=: server-sent events; see `live`."""
    console = console_of(request)
    query = Query(request, ("list", "kind", "device", "since"), repeated=("device",))
    if len(console.hub) >= console.settings.max_clients:
        raise BadRequest(both("error_busy", n=console.settings.max_clients), 503)
    since = query.whole("since", -1, -1, _SEQUENCE_MAX)
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) <= 18:
        since = int(last)
    client = new_client(
        console.feed,
        language=language_of(request),
        wants_list=query.whole("list", 0, 0, 1) == 1,
        kind=query.one_of("kind", tuple(console.feed.kinds), ""),
        devices=query.texts("device", _ROWS_MAX),
        sequence=since,
    )
    return EventStream(console.hub, client)


class EventStream(Response):
    """Sends a client's queue until it is dropped, goes away, or we stop."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, client: Client) -> None:
        super().__init__(media_type=self.media_type)
        self._hub = hub
        self._client = client

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the connection."""
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async with anyio.create_task_group() as group:
                for part in (self._pump(send), self._until_gone(receive), self._client.dropped.wait()):
                    group.start_soon(_first, part, group.cancel_scope)
        finally:
            self._hub.leave(self._client)
        # A reader that takes nothing must not hold us up: it is cut off after a moment.
        with anyio.move_on_after(_GOODBYE_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        await self._hub.join(self._client)
        while True:
            body = await self._client.queue.get()
            await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


async def _first(part: object, scope: anyio.CancelScope) -> None:
    await part  # type: ignore[misc]
    scope.cancel()
