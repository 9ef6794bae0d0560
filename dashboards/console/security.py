"""What every request must pass and every answer carries.

The host check refuses DNS rebinding: a foreign page that resolves its own name to 127.0.0.1 still sends that name.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.console.text import both

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Guard:
    """ASGI middleware: host check before, security headers after. Streams pass through unbuffered."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        host = host_name(Headers(scope=scope).get("host", ""))
        if host in self._hosts:
            await self._app(scope, receive, guarded)
            return
        said = both("error_host", host=(host or "?")[:100], expected=", ".join(sorted(self._hosts)))
        await PlainTextResponse(f"{said.zh}\n{said.en}\n", status_code=421)(scope, receive, guarded)


def host_name(header: str) -> str:
    """The host of a Host header, lower case, without port; empty when it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises ValueError when it is not a number
    except ValueError:
        return ""
    if parts.username is not None or parts.path or parts.query or not parts.hostname:
        return ""
    return f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname


def same_origin(headers: Headers) -> bool:
    """Whether a request that changes something was made by one of our own pages."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") in {"same-origin", "none"}
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
